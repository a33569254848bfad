"""Key derivations: how a passphrase becomes a key.

Where its facts come from: it is *stated* (API reference) that `passphrase->key` makes a key of a passphrase, but not
how. The first 32 bytes of SHA-512 are *likely*: the same author's other program on the `tweetnacl` egg does this.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..errors import ProfileError
from .boxes import KEY_BYTES
from .strategy import Choice, Strategy, key

__all__ = ["DERIVATIONS", "KEY_DERIVATIONS", "Derivation", "KeyDerivation"]


class KeyDerivation(Strategy):
    """Strategy: passphrase bytes to the 32 bytes of a key."""

    @abstractmethod
    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to key bytes."""


def _padded(passphrase: bytes) -> bytes:
    return passphrase[:KEY_BYTES].ljust(KEY_BYTES, b"\0")


def _hash(name: str, data: bytes) -> bytes:
    import hashlib  # only here: OpenSSL comes with it, and a client with a key file needs none

    if name == "blake2b-256":
        return hashlib.blake2b(data, digest_size=32).digest()
    if name == "sha512_256" and name not in hashlib.algorithms_available:
        return _sha512(data)[:32]
    return hashlib.new(name, data).digest()


def _sha512(data: bytes) -> bytes:
    return _hash("sha512", data)


def _from_hex(passphrase: bytes) -> bytes:
    try:
        key = bytes.fromhex(passphrase.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ProfileError(
            f"this profile takes the key itself for a passphrase; expected {2 * KEY_BYTES} hexadecimal digits"
        )
    return key


DERIVATIONS: dict[str, Callable[[bytes], bytes]] = {
    "sha512-first-32": lambda p: _sha512(p)[:32],
    "sha512-last-32": lambda p: _sha512(p)[32:],
    "sha512-twice": lambda p: _sha512(_sha512(p))[:32],
    "sha512-twice-last-32": lambda p: _sha512(_sha512(p))[32:],
    "sha512-of-first-32": lambda p: _sha512(_sha512(p)[:32])[:32],
    "sha512-hex-twice": lambda p: _sha512(_sha512(p).hex().encode())[:32],
    "sha512-hex-first-32": lambda p: _sha512(p).hex().encode()[:32],
    "sha256": lambda p: _hash("sha256", p),
    "sha256-twice": lambda p: _hash("sha256", _hash("sha256", p)),
    "sha512-256": lambda p: _hash("sha512_256", p),
    "blake2b-256": lambda p: _hash("blake2b-256", p),
    "padded": _padded,
    "hex": _from_hex,
}  # fmt: skip
"""How a passphrase becomes a key, by name. `padded`: the passphrase itself, cut or filled with zeros to 32 bytes.
`hex`: there is no derivation, the passphrase is the key in 64 hexadecimal digits."""


@dataclass(frozen=True)
class Derivation(KeyDerivation):
    """A key derivation of the table `DERIVATIONS`; by default that of `inferred-1`.

    Attributes:
        name: which.
    """

    strategy: ClassVar[str] = "derivation"
    name: str = key("sha512-first-32", Choice(*DERIVATIONS), always=True)

    def words(self) -> str:
        """See `Strategy.words`."""
        return self.name

    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to the 32 bytes of a key."""
        return DERIVATIONS[self.name](passphrase)


KEY_DERIVATIONS: tuple[type[KeyDerivation], ...] = (Derivation,)
"""The key derivations that a profile file may name."""
