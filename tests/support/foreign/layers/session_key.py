"""Session-key box: what is in it. It knows the key and what may stand behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..registry import Nonsense, Strategy, strategy
from ..sexpr import to_bytes, write
from ..state import KEY_SIZE, NONCE_SIZE, State
from .encoding import BLOB, STRING, U8VECTOR, as_literal, from_literal, read_one
from .nonce import NONCE_BASE

if TYPE_CHECKING:
    from ..format import Format


class SessionKey(Strategy):
    """The plaintext of the box that carries the session key."""

    trailing: str = ""
    """What stands behind the key, if anything."""

    def wrap(self, key: bytes, state: State) -> bytes:
        """The plaintext that carries `key`."""
        raise NotImplementedError

    def unwrap(self, plaintext: bytes, state: State) -> bytes:
        """The key in a plaintext.

        Raises:
            Nonsense: it holds none.
        """
        raise NotImplementedError

    def used(self, key: bytes, state: State) -> bytes:
        """The key that messages are boxed under: in the table, the one that travelled."""
        return key


@strategy("session_key", "raw", weight=2)
@dataclass(frozen=True)
class RawKey(SessionKey):
    """The key and nothing else."""

    def text(self) -> str:
        return "32 raw bytes"

    def wrap(self, key: bytes, state: State) -> bytes:
        return key

    def unwrap(self, plaintext: bytes, state: State) -> bytes:
        return of_size(plaintext)


def of_size(key: bytes) -> bytes:
    """The key, if it has the size of one."""
    if len(key) != KEY_SIZE:
        raise Nonsense(f"a session key of {len(key)} bytes")
    return key


@strategy("session_key", "trailing", weight=1.5)
@dataclass(frozen=True)
class TrailingMaterial(SessionKey):
    """The key, and something behind it."""

    trailing: str = "zeros"
    size: int = 32
    form: str = ""
    """How a base of nonces stands there: raw behind the key (empty), raw before it (`before`), or as CHICKEN writes a
    list of the two, in a literal form."""

    BEFORE = "before"

    @classmethod
    def draw(cls, rng: Random) -> TrailingMaterial:
        trailing = rng.choice(["zeros", "random", "user", NONCE_BASE])
        sizes = {"user": [0], NONCE_BASE: [NONCE_SIZE]}
        form = cls.draw_form(rng) if trailing == NONCE_BASE else ""
        return cls(trailing, rng.choice(sizes.get(trailing, [1, 4, 8, 16, 24, 32])), form)

    @classmethod
    def draw_form(cls, rng: Random) -> str:
        """A form of a base."""
        return rng.choice(["", "", cls.BEFORE, BLOB, U8VECTOR, STRING])

    def text(self) -> str:
        if self.trailing == "user":
            return "32 raw bytes, the username behind them"
        if self.trailing == NONCE_BASE:
            place = {"": "behind them", self.BEFORE: "before them"}.get(self.form, f"in a list of {self.form} literals")
            return f"32 raw bytes, the nonces' base ({NONCE_SIZE} bytes) {place}"
        return f"32 raw bytes, {self.size} {'zero' if self.trailing == 'zeros' else 'random'} bytes behind them"

    def objections(self, fmt: Format) -> Iterator[str]:
        if self.trailing == NONCE_BASE and not (fmt.nonce.kind == "base" and fmt.nonce.where == "inside"):
            yield "the session-key box carries a nonce base where the nonces have one, and it is sent there"

    def wrap(self, key: bytes, state: State) -> bytes:
        if self.trailing == "user":
            return key + to_bytes(state.user or "")
        if self.trailing == "zeros":
            return key + bytes(self.size)
        material = state.random(self.size)
        if self.trailing == NONCE_BASE:
            material = state.memory.setdefault("base", material)
            if self.form == self.BEFORE:
                return material + key
            if self.form:
                return write([as_literal(key, self.form), as_literal(material, self.form)])
        return key + material

    def unwrap(self, plaintext: bytes, state: State) -> bytes:
        if self.form == self.BEFORE:
            plaintext = plaintext[self.size :] + plaintext[: self.size]
        elif self.form:
            both = read_one(plaintext)
            if not isinstance(both, list):
                raise Nonsense("a session key and a base that are not a list")
            plaintext = b"".join(from_literal(one, self.form) for one in both)
        key, behind = plaintext[:KEY_SIZE], plaintext[KEY_SIZE:]
        expected = len(to_bytes(state.user or "")) if self.trailing == "user" else self.size
        if len(behind) != expected:
            raise Nonsense(f"{len(behind)} bytes behind a session key")
        if self.trailing == NONCE_BASE:
            state.memory["base"] = behind
        return of_size(key)


@strategy("session_key", "datum", weight=1.5)
@dataclass(frozen=True)
class KeyDatum(SessionKey):
    """The key as CHICKEN writes it."""

    form: str = BLOB

    @classmethod
    def draw(cls, rng: Random) -> KeyDatum:
        return cls(rng.choice([BLOB, U8VECTOR, STRING]))

    def text(self) -> str:
        return f"the key as a {self.form} literal"

    def wrap(self, key: bytes, state: State) -> bytes:
        return write(as_literal(key, self.form))

    def unwrap(self, plaintext: bytes, state: State) -> bytes:
        return of_size(from_literal(read_one(plaintext), self.form))
