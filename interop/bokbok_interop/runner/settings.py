"""How a run is played: what the command line, a test or a worker's plan chooses."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..spoken import Spoken

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How to play.

    Attributes:
        timeout: seconds for one case, in addition to what the case itself asks for.
        jobs: cells played at once.
        repeat: how often every cell is played.
        until_failure: stop at the first failed cell, and repeat until there is one.
        fail_fast: stop at the first failed cell.
        keep_going: play the rest even if the preflight fails.
        strict: also play cases of kinds that a peer does not claim.
        pin_seconds: how long a round looks for the cells behind which others fail that pass alone; 0: it does not.
        seed: the seed of everything random in the cases.
        spoken: the format of all peers.
        evidence: `failures` or `all`.
    """

    timeout: float = 30.0
    jobs: int = 16
    repeat: int = 1
    until_failure: bool = False
    fail_fast: bool = False
    keep_going: bool = False
    strict: bool = False
    pin_seconds: float = 20.0
    seed: int = 0
    spoken: Spoken = field(default_factory=Spoken)
    evidence: str = "all"

    @property
    def ends_at_a_failure(self) -> bool:
        """Whether the first failed cell ends the run."""
        return self.fail_fast or self.until_failure
