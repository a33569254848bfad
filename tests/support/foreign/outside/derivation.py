"""Key derivations that cannot be guessed from the table."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from random import Random

from ..layers.derivation import KeyDerivation
from ..registry import OUTSIDE, strategy
from ..state import KEY_SIZE


@strategy("derivation", "salted", group=OUTSIDE)
@dataclass(frozen=True)
class Salted(KeyDerivation):
    """SHA-512 of a constant salt and the passphrase."""

    salt: str = "bokbok"
    behind: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Salted:
        return cls(rng.choice(["bokbok", "kitten", "\x01", "salt:"]), rng.random() < 0.3)

    def text(self) -> str:
        return f"SHA-512 of the passphrase with the salt {self.salt!r} {'behind' if self.behind else 'before'} it"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        salt = self.salt.encode("latin-1")
        return hashlib.sha512(passphrase + salt if self.behind else salt + passphrase).digest()[:KEY_SIZE]


@strategy("derivation", "salted with the username", group=OUTSIDE)
@dataclass(frozen=True)
class SaltedWithUser(KeyDerivation):
    """SHA-512 of the username, a separator and the passphrase."""

    separator: str = ":"

    @classmethod
    def draw(cls, rng: Random) -> SaltedWithUser:
        return cls(rng.choice([":", "", "\0"]))

    def text(self) -> str:
        return f"SHA-512 of username, {self.separator!r} and passphrase"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        return hashlib.sha512(user + self.separator.encode() + passphrase).digest()[:KEY_SIZE]


@strategy("derivation", "another hash", group=OUTSIDE)
@dataclass(frozen=True)
class AnotherHash(KeyDerivation):
    """A hash that the table does not name."""

    algorithm: str = "blake2b"

    @classmethod
    def draw(cls, rng: Random) -> AnotherHash:
        return cls(rng.choice(["blake2b", "blake2s", "sha3_256", "sha3_512", "sha384", "sha512_256"]))

    def text(self) -> str:
        return f"{self.algorithm}, first 32 bytes"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        return hashlib.new(self.algorithm, passphrase).digest()[:KEY_SIZE]


@strategy("derivation", "password hash", group=OUTSIDE)
@dataclass(frozen=True)
class PasswordHash(KeyDerivation):
    """A password hash, or many rounds of one."""

    algorithm: str = "pbkdf2"

    @classmethod
    def draw(cls, rng: Random) -> PasswordHash:
        return cls(rng.choice(["pbkdf2", "scrypt", "1000 rounds", "hmac"]))

    def text(self) -> str:
        return {
            "pbkdf2": "PBKDF2-HMAC-SHA-512 of 1000 rounds, salted with the username",
            "scrypt": "scrypt (N 1024, r 8, p 1), salted with the username",
            "1000 rounds": "SHA-512 a thousand times, first 32 bytes",
            "hmac": "HMAC-SHA-512 of the passphrase under the username, first 32 bytes",
        }[self.algorithm]

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        if self.algorithm == "pbkdf2":
            return hashlib.pbkdf2_hmac("sha512", passphrase, user, 1000, KEY_SIZE)
        if self.algorithm == "scrypt":
            return hashlib.scrypt(passphrase, salt=user or b"salt", n=1024, r=8, p=1, dklen=KEY_SIZE)
        if self.algorithm == "hmac":
            return hmac.digest(user, passphrase, "sha512")[:KEY_SIZE]
        for _ in range(1000):
            passphrase = hashlib.sha512(passphrase).digest()
        return passphrase[:KEY_SIZE]


@strategy("derivation", "text of a hash", group=OUTSIDE)
@dataclass(frozen=True)
class TextOfHash(KeyDerivation):
    """The first 32 hex digits of a hash, as text."""

    algorithm: str = "sha512"

    @classmethod
    def draw(cls, rng: Random) -> TextOfHash:
        return cls(rng.choice(["sha512", "sha256", "md5"]))

    def text(self) -> str:
        return f"the first 32 hex digits of {self.algorithm}, as text"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        return hashlib.new(self.algorithm, passphrase, usedforsecurity=False).hexdigest()[:KEY_SIZE].encode()


@strategy("derivation", "altered passphrase", group=OUTSIDE)
@dataclass(frozen=True)
class Altered(KeyDerivation):
    """SHA-512 of something that is not quite the passphrase."""

    how: str = "reversed"

    @classmethod
    def draw(cls, rng: Random) -> Altered:
        return cls(rng.choice(["reversed", "upper case", "with a newline", "as UTF-16", "written"]))

    def text(self) -> str:
        return f"SHA-512 of the passphrase {self.how}, first 32 bytes"

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        altered = {
            "reversed": passphrase[::-1],
            "upper case": passphrase.upper(),
            "with a newline": passphrase + b"\n",
            "as UTF-16": passphrase.decode("utf-8", "surrogateescape").encode("utf-16-le", "surrogatepass"),
            "written": b'"' + passphrase + b'"',
        }[self.how]
        return hashlib.sha512(altered).digest()[:KEY_SIZE]
