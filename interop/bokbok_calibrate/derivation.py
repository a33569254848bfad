"""The user's key: how it may be derived from the passphrase, and the secrets that a calibrator is given."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from bokbok.errors import ProfileError
from bokbok.wire.derivation import DERIVATIONS

__all__ = ["Secrets"]

_BEYOND = ("sha512-hex-twice", "sha512-hex-first-32", "sha256-twice", "sha512-256", "blake2b-256")
"""Derivations that no document suggests. If a box opens by one of so many, that is not enough for a claim."""


@dataclass(frozen=True)
class Secrets:
    """What is known about the client. None of it is ever shown.

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
        """Whether to expect boxes."""
        return self.user is not None

    def keys(self, *, beyond: bool = False) -> dict[str, bytes]:
        """Every key that may be the user's, by the name of its derivation.

        Args:
            beyond: use the derivations that can be spoken but are not in the table of what peers may have.
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
