"""The result of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bokbok.wire import Profile

from ..verify import Proof
from .findings import Region, Step

__all__ = ["Answer"]


@dataclass
class Answer:
    """What was found in a recording.

    Attributes:
        profiles: those that explain every byte, the likeliest first.
        proofs: one for each connection, of the first profile.
        steps: the reasoning.
        apart: what would tell the profiles apart.
        open: what the recording should show but does not, so that one profile stands for several.
        answered: whether an answer of a peer was seen.
        notes: what the recording does not show.
        regions: what is known about which bytes.
        opened: if no profile was found, the first messages that were opened: connection, direction, plaintext.
        advice: if no profile was found, what to do next.
        lost: directions whose recording ended early, and why.
        skipped: what was not used from the recording's file, and how often.
        seconds: how long it took.
    """

    profiles: list[Profile] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    answered: bool = False
    notes: list[str] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    opened: list[tuple[int, str, bytes]] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    skipped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """The exit status: 0 one profile, 3 several, 4 none."""
        if not self.profiles:
            return 4
        return 0 if len(self.profiles) == 1 and not self.open else 3
