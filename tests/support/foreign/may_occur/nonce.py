"""Nonce schemes that may occur; and keys that are not made of a passphrase."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from ..layers.derivation import KeyDerivation
from ..layers.nonce import ZERO, NonceScheme
from ..registry import MAY_OCCUR, strategy
from ..state import CLIENT, ERROR, FRONT, KEY, KEY_SIZE, NONCE_SIZE, RESPONSE, UNSENT, Message, State, other


class _Unsent(NonceScheme):
    """A nonce that both sides know."""

    def place(self, state: State, packet: str, sending: bool) -> str:
        return UNSENT

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        return self._next(state, packet, state.role)

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        return self._next(state, packet, other(state.role))

    def _next(self, state: State, packet: str, role: str) -> bytes:
        raise NotImplementedError


@strategy("nonce", "one counter", group=MAY_OCCUR)
@dataclass(frozen=True)
class OneCounter(_Unsent):
    """One counter for both directions: it only works while the two sides take turns."""

    endian: str = "big"
    first: int = 0
    key_counted: bool = True

    lockstep = True

    @classmethod
    def draw(cls, rng: Random) -> OneCounter:
        return cls(rng.choice(["big", "little"]), rng.choice([0, 1]), rng.random() < 0.6)

    def text(self) -> str:
        key = "counted" if self.key_counted else "zero"
        return (
            f"one {self.endian}-endian counter for both directions from {self.first}, not sent; session-key box {key}"
        )

    def _next(self, state: State, packet: str, role: str) -> bytes:
        if packet == KEY and not self.key_counted:
            return ZERO
        return state.take("nonces", self.first).to_bytes(NONCE_SIZE, self.endian)  # type: ignore[arg-type]


@strategy("nonce", "counter with direction", group=MAY_OCCUR)
@dataclass(frozen=True)
class CounterWithDirection(_Unsent):
    """A counter per direction, and in the nonce a byte or bit that says which direction it is."""

    how: str = "first byte"
    endian: str = "big"
    first: int = 0
    server_mark: int = 1

    @classmethod
    def draw(cls, rng: Random) -> CounterWithDirection:
        how = rng.choice(["first byte", "last byte", "lowest bit", "highest bit"])
        return cls(how, rng.choice(["big", "little"]), rng.choice([0, 1]), rng.choice([0, 1]))

    def text(self) -> str:
        return (
            f"a {self.endian}-endian counter per direction from {self.first}, not sent, the {self.how} being "
            f"{self.server_mark} for the server and {1 - self.server_mark} for the client"
        )

    def _next(self, state: State, packet: str, role: str) -> bytes:
        count = state.take(f"nonces of {role}", self.first)
        mark = 1 - self.server_mark if role == CLIENT else self.server_mark
        if self.how == "lowest bit":
            count = count * 2 + mark
        elif self.how == "highest bit":
            count += mark << NONCE_SIZE * 8 - 1
        if self.how in ("lowest bit", "highest bit"):
            return count.to_bytes(NONCE_SIZE, self.endian)  # type: ignore[arg-type]
        counter = count.to_bytes(NONCE_SIZE - 1, self.endian)  # type: ignore[arg-type]
        return bytes([mark]) + counter if self.how == "first byte" else counter + bytes([mark])


@strategy("nonce", "hashed", group=MAY_OCCUR)
@dataclass(frozen=True)
class Hashed(_Unsent):
    """A hash of the direction and a counter, not sent."""

    algorithm: str = "sha512"
    keyed: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Hashed:
        return cls(rng.choice(["sha512", "sha256"]), rng.random() < 0.5)

    def text(self) -> str:
        keyed = "the key, " if self.keyed else ""
        return f"the first 24 bytes of {self.algorithm} of {keyed}the direction and a counter, not sent"

    def _next(self, state: State, packet: str, role: str) -> bytes:
        key = (state.user_key if packet == KEY else state.session_key) if self.keyed else b""
        seed = key + f"{role} {state.take(f'nonces of {role}', 0)}".encode()
        return hashlib.new(self.algorithm, seed).digest()[:NONCE_SIZE]


@strategy("nonce", "answer under its request's", group=MAY_OCCUR)
@dataclass(frozen=True)
class RequestsNonce(NonceScheme):
    """A random nonce in front of a request; its answer has the same one, in front, too."""

    def text(self) -> str:
        return "in front, random; an answer under its request's"

    def place(self, state: State, packet: str, sending: bool) -> str:
        return FRONT

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        if message is not None and message.kind in (RESPONSE, ERROR):
            known: bytes = state.memory[f"nonce of {message.number}"]
            return known
        return state.random(NONCE_SIZE)

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        return sent

    def heard(self, state: State, number: int, nonce: bytes) -> None:
        state.memory[f"nonce of {number}"] = nonce


@strategy("derivation", "raw key", group=MAY_OCCUR)
@dataclass(frozen=True)
class RawKeyGiven(KeyDerivation):
    """No passphrase: the key itself is given, as 64 hex digits, in the passphrase's place."""

    def text(self) -> str:
        return "none: the key is given, in the passphrase's place, as 64 hex digits"

    example = "3f" * KEY_SIZE

    def derive(self, passphrase: bytes, user: bytes) -> bytes:
        key = bytes.fromhex(passphrase.decode("ascii"))
        if len(key) != KEY_SIZE:
            raise ValueError("this format needs a key of 64 hex digits in the passphrase's place")
        return key
