"""Key derivation: from a passphrase's bytes to a key of 32."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from ..registry import Strategy, strategy
from ..state import KEY_SIZE


class KeyDerivation(Strategy):
    """How a passphrase becomes the user key."""

    example = "mypassphrase"
    """A passphrase that it takes: that of the egg's demo."""

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        """The user key, of 32 bytes. Nothing in the table makes use of the username."""
        raise NotImplementedError


@strategy("derivation", "sha512", weight=3)
@dataclass(frozen=True)
class Sha512(KeyDerivation):
    """Half of a SHA-512."""

    half: str = "first"
    times: int = 1

    @classmethod
    def draw(cls, rng: Random) -> Sha512:
        half, times = rng.choice([("first", 1), ("last", 1), ("first", 2), ("first", 2), ("last", 2)])
        return cls(half, times)

    def text(self) -> str:
        return f"SHA-512{' twice' if self.times == 2 else ''}, {self.half} 32 bytes"

    def readings(self) -> list[str]:
        return ["SHA-512 twice, of which the last 32 bytes"] if (self.half, self.times) == ("last", 2) else []

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        for _ in range(self.times):
            passphrase = hashlib.sha512(passphrase).digest()
        return passphrase[:KEY_SIZE] if self.half == "first" else passphrase[-KEY_SIZE:]


@strategy("derivation", "sha256")
@dataclass(frozen=True)
class Sha256(KeyDerivation):
    """SHA-256."""

    def text(self) -> str:
        return "SHA-256"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        return hashlib.sha256(passphrase).digest()


@strategy("derivation", "padded")
@dataclass(frozen=True)
class Padded(KeyDerivation):
    """The passphrase itself."""

    def text(self) -> str:
        return "the passphrase, cut or padded with zeros to 32 bytes"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        return passphrase[:KEY_SIZE].ljust(KEY_SIZE, b"\0")
