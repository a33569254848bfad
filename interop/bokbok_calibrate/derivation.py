"""The user's key: how it may be made of the passphrase, and the secrets that a calibrator is given."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from bokbok.errors import ProfileError
from bokbok.wire.derivation import DERIVATIONS

__all__ = ["Secrets"]

_BEYOND = ("sha512-hex-twice", "sha512-hex-first-32", "sha256-twice", "sha512-256", "blake2b-256")
"""Derivations that no document suggests: that a box opens by one of many is not enough for a claim."""


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
            with contextlib.suppress(ProfileError):  # a passphrase that is not a key in digits
                made = derive(self.passphrase)
                if made not in out.values():
                    out[name] = made
        return out
