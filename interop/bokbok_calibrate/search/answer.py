"""What is known before, and what came of it.

What this module knows: the secrets that a calibrator is given, and its answer. What it refuses to know: how the answer
comes about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from bokbok.errors import ProfileError
from bokbok.wire import Profile
from bokbok.wire.derivation import DERIVATIONS

from ..verify import Proof
from .findings import Region, Step

__all__ = ["Answer", "Secrets"]


_BEYOND = ("sha512-hex-twice", "sha512-hex-first-32", "sha256-twice", "sha512-256", "blake2b-256")
"""Derivations that no document lets expect: a claim wants more than that a box opens by one of many."""


@dataclass(frozen=True)
class Secrets:
    """What is known of the client; none of it is shown.

    Attributes:
        user: the username's bytes; `None` for insecure connections.
        passphrase: its bytes, if known.
        key: the key, if given instead.
    """

    user: bytes | None = None
    passphrase: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def secure(self) -> bool:
        """Whether boxes are to be expected."""
        return self.user is not None

    def keys(self, *, beyond: bool = False) -> dict[str, bytes]:
        """Every key that may be the user's, by the name of its derivation.

        Args:
            beyond: those of the derivations that can be spoken and are not in the table of what peers may have.
        """
        if self.key is not None:
            return {} if beyond else {"": self.key}
        assert self.passphrase is not None
        out: dict[str, bytes] = {}
        for name, derive in DERIVATIONS.items():
            if (name in _BEYOND) != beyond:
                continue
            with contextlib.suppress(ProfileError):  # a passphrase that is no key in digits
                made = derive(self.passphrase)
                if made not in out.values():
                    out[name] = made
        return out


@dataclass
class Answer:
    """What came of it.

    Attributes:
        profiles: those that explain every byte, the likeliest first.
        proofs: one for each connection, of the first profile.
        steps: the reasoning.
        apart: what would tell the profiles apart.
        open: what the recording leaves open although it should show it, so that one profile stands for several.
        answered: whether an answer of a peer's was seen.
        notes: what the recording does not show.
        regions: what is known of which bytes.
        opened: where no profile was found: the first messages that were opened: connection, direction, plaintext.
        advice: where no profile was found: what to do next.
        lost: directions whose recording ended early, and why.
        skipped: what was not used of the recording's file, and how often.
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
