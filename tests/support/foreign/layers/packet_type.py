"""Packet type: what says, in front of every packet, whether it is hello, session key or message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..registry import Strategy, strategy
from ..state import CLIENT, HELLO, KEY, MESSAGE, SERVER

if TYPE_CHECKING:
    from ..format import Format

INSIDE = "inside"
"""The mark is the packet's first bytes, counted by its length."""
BEFORE = "before"
"""The mark stands before the length."""
ALONE = "alone"
"""Without framing: the mark is a datum of its own."""


class PacketType(Strategy):
    """A mark in front of packets."""

    place = INSIDE

    def marks(self, packet: str, role: str) -> bytes:
        """The mark in front of such a packet from `role`."""
        raise NotImplementedError


@strategy("packet_type", "none", weight=2)
@dataclass(frozen=True)
class NoType(PacketType):
    """No packet type: a packet's place in the conversation says what it is."""

    def text(self) -> str:
        return "none"

    def marks(self, packet: str, role: str) -> bytes:
        return b""


@strategy("packet_type", "byte")
@dataclass(frozen=True)
class TypeByte(PacketType):
    """A byte in front of every packet."""

    hello: int = 0
    key: int = 1
    client_message: int = 2
    server_message: int = 2
    place: str = INSIDE

    @classmethod
    def draw(cls, rng: Random) -> TypeByte:
        values = rng.choice(
            [(0, 1, 2, 3), (1, 2, 3, 4), (0x10, 0x20, 0x30, 0x40), tuple(b"HKMR"), (0x80, 0x81, 0x82, 0x83)]
        )
        server = values[2] if rng.random() < 0.5 else values[3]
        return cls(*values[:3], server, rng.choice([INSIDE, BEFORE]))

    def text(self) -> str:
        messages = f"{self.client_message:#04x}"
        if self.server_message != self.client_message:
            messages += f" (the server's {self.server_message:#04x})"
        where = "counted by the length" if self.place == INSIDE else "before the length"
        return f"a byte {where}: hello {self.hello:#04x}, session key {self.key:#04x}, message {messages}"

    def marks(self, packet: str, role: str) -> bytes:
        message = self.client_message if role == CLIENT else self.server_message
        return bytes([{HELLO: self.hello, KEY: self.key, MESSAGE: message}[packet]])


@strategy("packet_type", "symbol")
@dataclass(frozen=True)
class TypeSymbol(PacketType):
    """A symbol and a space or newline in front of every packet."""

    hello: str = "hello"
    key: str = "key"
    client_message: str = "message"
    server_message: str = "message"
    between: str = " "
    place: str = INSIDE

    @classmethod
    def draw(cls, rng: Random) -> TypeSymbol:
        names = rng.choice(
            [
                ("hello", "key", "message", "reply"),
                ("user", "session", "data", "answer"),
                ("H", "K", "M", "R"),
                ("login", "secret", "packet", "back"),
            ]
        )
        server = names[2] if rng.random() < 0.5 else names[3]
        return cls(*names[:3], server, rng.choice([" ", " ", "\n"]), rng.choice([INSIDE, BEFORE]))

    def text(self) -> str:
        messages = self.client_message
        if self.server_message != self.client_message:
            messages += f" (the server's {self.server_message})"
        where = {INSIDE: "counted by the length", BEFORE: "before the length", ALONE: "a datum of its own"}[self.place]
        between = "a space" if self.between == " " else "a newline"
        return f"a symbol and {between}, {where}: hello {self.hello}, session key {self.key}, message {messages}"

    def marks(self, packet: str, role: str) -> bytes:
        message = self.client_message if role == CLIENT else self.server_message
        return ({HELLO: self.hello, KEY: self.key, MESSAGE: message}[packet] + self.between).encode()

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.framing.datums_only != (self.place == ALONE):
            yield "a type is a datum of its own exactly where there is no framing"


def directions_differ(packet_type: PacketType) -> bool:
    """Whether the two sides mark their messages differently."""
    return packet_type.marks(MESSAGE, CLIENT) != packet_type.marks(MESSAGE, SERVER)
