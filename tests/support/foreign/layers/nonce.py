"""Nonce scheme: which nonce a box is made with, and whether it travels. It knows 24 bytes and how to count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..registry import Strategy, strategy
from ..state import BEHIND, CLIENT, FRONT, KEY, MESSAGE, NONCE_SIZE, UNSENT, Message, State, other

if TYPE_CHECKING:
    from ..format import Format

ZERO = bytes(NONCE_SIZE)

SAME = "same"
"""The session-key box is treated like every other."""
ZEROS = "zero"
"""The session-key box has the nonce of zeros, which is not sent."""
COUNTED = "counted"
"""The session-key box takes the first number of the client's counter."""
APART = "apart"
"""The session-key box has the counter's first number, and so has the client's first message."""

NONCE_BASE = "nonce base"
"""The trailing material of a session-key box that is the base of all nonces."""


class NonceScheme(Strategy):
    """Which nonces are used, and where they travel."""

    base_packet = False
    """Whether a packet before the session key's carries what `travelling` gives for it."""
    base_field = False
    """Whether a field of the hello's datum, behind the session key's, carries it."""

    key_nonce = UNSENT
    """Where the session-key box has a nonce of its own, beside whatever else travels with it."""

    def travelling(self, state: State, packet: str) -> bytes | None:
        """What travels beside the next box if it is not the nonce that the box is made with."""
        return None

    def place(self, state: State, packet: str, sending: bool) -> str:
        """Where the nonce of the next such box travels: `front`, `behind` or `unsent`."""
        raise NotImplementedError

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        """The nonce of the next box."""
        raise NotImplementedError

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        """The nonce of the box that came, `sent` if it came along."""
        raise NotImplementedError

    def heard(self, state: State, number: int, nonce: bytes) -> None:
        """The request `number` has come, in a box with this nonce."""


@strategy("nonce", "sent", weight=3)
@dataclass(frozen=True)
class Sent(NonceScheme):
    """A nonce with every box; how the sender makes it up is not fixed."""

    where: str = FRONT
    made: str = "random"
    key_box: str = SAME

    @classmethod
    def draw(cls, rng: Random) -> Sent:
        made = rng.choice(["random", "random", "prefix and counter"])
        return cls(rng.choice([FRONT, BEHIND]), made, rng.choice([SAME, SAME, ZEROS]))

    def text(self) -> str:
        key = "; zero and unsent for the session-key box" if self.key_box == ZEROS else ""
        made = "random" if self.made == "random" else "16 random bytes and a u64 big-endian counter"
        return f"{'in front' if self.where == FRONT else 'behind'}, {made}{key}"

    def place(self, state: State, packet: str, sending: bool) -> str:
        return UNSENT if packet == KEY and self.key_box == ZEROS else self.where

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        if packet == KEY and self.key_box == ZEROS:
            return ZERO
        if self.made == "random":
            return state.random(NONCE_SIZE)
        if "prefix" not in state.memory:
            state.memory["prefix"] = state.random(16)
        prefix: bytes = state.memory["prefix"]
        return prefix + state.take("nonces", 0).to_bytes(8, "big")

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        return sent or ZERO


@strategy("nonce", "counter", weight=3)
@dataclass(frozen=True)
class Counter(NonceScheme):
    """A counter of 24 bytes per direction that is not sent."""

    endian: str = "big"
    first: int = 0
    key_box: str = COUNTED
    server_first: int = 0

    @classmethod
    def draw(cls, rng: Random) -> Counter:
        first = rng.choice([0, 1])
        key_box = rng.choices([COUNTED, ZEROS, APART, FRONT, BEHIND], [4, 3, 1, 1, 1])[0]
        if key_box == APART and not first:
            key_box = ZEROS  # the same thing
        server_first = first if rng.random() < 0.85 else 1 - first
        return cls(rng.choice(["big", "little"]), first, key_box, server_first)

    def text(self) -> str:
        key = {
            COUNTED: "the session-key box is counted",
            ZEROS: "zero for the session-key box",
            APART: f"{self.first} for the session-key box, which is not counted",
            FRONT: "the session-key box has a random one in front",
            BEHIND: "the session-key box has a random one behind",
        }[self.key_box]
        first = f"{self.first}"
        if self.server_first != self.first:
            first += f" (the server's from {self.server_first})"
        return f"a {self.endian}-endian counter per direction, not sent, from {first}; {key}"

    def readings(self) -> list[str]:
        found = []
        if self.key_box == APART:
            found.append("the counter's first number serves the session-key box and the first message")
        if self.key_box in (FRONT, BEHIND):
            found.append("the counter is for messages; the session-key box carries a random nonce")
        if self.server_first != self.first:
            found.append("the two directions count from different numbers")
        return found

    def place(self, state: State, packet: str, sending: bool) -> str:
        return self.key_box if packet == KEY and self.key_box in (FRONT, BEHIND) else UNSENT

    def _next(self, state: State, packet: str, role: str) -> bytes:
        first = self.first if role == CLIENT else self.server_first
        if packet == KEY and self.key_box != COUNTED:
            number = {ZEROS: 0, APART: first}[self.key_box]
        else:
            number = state.take(f"nonces of {role}", first)
        return number.to_bytes(NONCE_SIZE, self.endian)  # type: ignore[arg-type]

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        if self.place(state, packet, True) != UNSENT:
            return state.random(NONCE_SIZE)
        return self._next(state, packet, state.role)

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        return sent or self._next(state, packet, other(state.role))


@strategy("nonce", "base", weight=2)
@dataclass(frozen=True)
class RandomBase(NonceScheme):
    """A random base that travels once, then is incremented by one a box, in each direction."""

    endian: str = "big"
    where: str = FRONT
    key_box: str = "base"
    client_first: int = 1
    server_first: int = 0
    server_base: str = "the client's"

    INSIDE = "inside"
    """The base is in the session-key box, beside the key."""
    PACKET = "packet"
    """The base is a packet of its own before the session key's."""
    FIELD = "field"
    """The base is a field of its own in the hello's datum, behind the session key's."""

    NEXT = "base + 1"
    OWN_FRONT = "its own in front"
    OWN_BEHIND = "its own behind"
    """What the session-key box is made with, besides `base` and `zero`."""

    OWN = "its own"
    ZEROS = "zeros"
    """What the server counts from, besides `the client's`: a base that its first box brings, or zeros."""

    @classmethod
    def draw(cls, rng: Random) -> RandomBase:
        where = rng.choices([FRONT, BEHIND, cls.INSIDE, cls.PACKET, cls.FIELD], [6, 4, 2, 2, 2])[0]
        others = [ZEROS, cls.OWN_FRONT, cls.OWN_BEHIND]
        key_box = rng.choices([*others, "base", cls.NEXT], [3, 3, 3, *((0, 0) if where == cls.INSIDE else (7, 1))])[0]
        bases = [cls.OWN] if where in (FRONT, BEHIND) else []
        server_base = rng.choices(["the client's", cls.ZEROS, *bases], [14, 2, *[3 for _ in bases]])[0]
        client_first = {cls.NEXT: 2, "base": 1}.get(key_box, 0)
        if key_box == "base" and rng.random() < 0.15:
            client_first = 0
        server_first = rng.choice([0, 1]) if server_base == "the client's" else 0
        return cls(rng.choice(["big", "little"]), where, key_box, client_first, server_first, server_base)

    def text(self) -> str:
        where = {
            FRONT: "in front of the session-key box",
            BEHIND: "behind the session-key box",
            self.INSIDE: "in the session-key box",
            self.PACKET: "in a packet of its own before the session key's",
            self.FIELD: "in a field of its own behind the session key's",
        }[self.where]
        nonce = {"base": "the base"}.get(self.key_box, self.key_box)
        server = f"base + {self.server_first}"
        if self.server_base == self.OWN:
            server = f"a base of its own, sent {self.where} with its first box"
        elif self.server_base == self.ZEROS:
            server = f"zeros + {self.server_first}"
        return (
            f"a random base, {where}, whose nonce is {nonce}; incremented "
            f"{self.endian}-endian: the client's messages from base + {self.client_first}, the server's from {server}"
        )

    def readings(self) -> list[str]:
        found = []
        if self.where == self.INSIDE:
            found.append("the random base is sent in the session-key box, as its trailing material")
        if self.where in (self.PACKET, self.FIELD):
            found.append(f"the random base is sent in a {self.where} of its own")
        if self.where != self.INSIDE and self.key_box == ZEROS:
            found.append("the random base is for messages; the session-key box beside it has the nonce of zeros")
        if self.key_nonce != UNSENT:
            found.append("the random base is for messages; the session-key box has a random nonce besides")
        if self.key_box == self.NEXT:
            found.append("the session-key box has the number behind the base")
        if self.key_box == "base" and not self.client_first:
            found.append("the base, which the session-key box has used, serves the first message again")
        if self.server_base == self.OWN:
            found.append("the server sends a random base of its own with its first box")
        if self.server_base == self.ZEROS:
            found.append("the server counts from zeros")
        return found

    def objections(self, fmt: Format) -> Iterator[str]:
        if (self.where == self.INSIDE) != (fmt.session_key.trailing == NONCE_BASE):
            yield "a base in the session-key box is its trailing material"
        if self.where == self.PACKET and fmt.hello.kind != "two packets":
            yield "a base has a packet of its own where the session key has"
        if self.where == self.FIELD and getattr(fmt.hello, "container", "") not in ("list", "alist"):
            yield "a base has a field of its own in a hello of one datum"

    @property
    def base_packet(self) -> bool:  # type: ignore[override]
        return self.where == self.PACKET

    @property
    def base_field(self) -> bool:  # type: ignore[override]
        return self.where == self.FIELD

    @property
    def key_nonce(self) -> str:  # type: ignore[override]
        return {self.OWN_FRONT: FRONT, self.OWN_BEHIND: BEHIND}.get(self.key_box, UNSENT)

    def _own(self, state: State, packet: str, sending: bool) -> bool:
        """Whether this box is one of a server that has a base of its own."""
        return self.server_base == self.OWN and packet == MESSAGE and sending == (state.role != CLIENT)

    def place(self, state: State, packet: str, sending: bool) -> str:
        if self.where not in (FRONT, BEHIND):
            return UNSENT
        if packet == KEY:
            return self.where
        return self.where if self._own(state, packet, sending) and "own base" not in state.memory else UNSENT

    def travelling(self, state: State, packet: str) -> bytes:
        name = "base" if packet == KEY else "own base"
        if name not in state.memory:
            state.memory[name] = state.random(NONCE_SIZE)
        base: bytes = state.memory[name]
        return base

    def outgoing(self, state: State, packet: str, message: Message | None) -> bytes:
        if packet == KEY:
            if self.key_nonce != UNSENT:
                return state.random(NONCE_SIZE)
            return ZERO if self.key_box == ZEROS else self._key_nonce(self.travelling(state, KEY))
        if self._own(state, packet, True):
            self.travelling(state, MESSAGE)
        return self._next(state, state.role)

    def incoming(self, state: State, packet: str, sent: bytes) -> bytes:
        if packet == KEY:
            if sent:
                state.memory["base"] = sent
            return ZERO if self.key_box == ZEROS or self.key_nonce != UNSENT else self._key_nonce(state.memory["base"])
        if sent:
            state.memory["own base"] = sent
        return self._next(state, other(state.role))

    def _key_nonce(self, base: bytes) -> bytes:
        return self._beyond(base, 1 if self.key_box == self.NEXT else 0)

    def _next(self, state: State, role: str) -> bytes:
        names = {self.OWN: "own base", self.ZEROS: ""}
        name = names.get(self.server_base, "base") if role != CLIENT else "base"
        base: bytes = state.memory[name] if name else ZERO
        first = self.client_first if role == CLIENT else self.server_first
        return self._beyond(base, state.take(f"nonces of {role}", first))

    def _beyond(self, base: bytes, step: int) -> bytes:
        number = (int.from_bytes(base, self.endian) + step) % 256**NONCE_SIZE  # type: ignore[arg-type]
        return number.to_bytes(NONCE_SIZE, self.endian)  # type: ignore[arg-type]
