"""What one side of one connection remembers, and the small values that layers hand to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .sexpr import Datum

CLIENT = "client"
SERVER = "server"

HELLO = "hello"
"""A packet of the hello that is not the boxed session key alone."""
KEY = "key"
"""The packet that is the boxed session key, or its box."""
MESSAGE = "message"
PACKETS = (HELLO, KEY, MESSAGE)

REQUEST = "request"
RESPONSE = "response"
ERROR = "error"
GOODBYE = "goodbye"
KEEP_ALIVE = "keep-alive"

NONCE_SIZE = 24
TAG_SIZE = 16
KEY_SIZE = 32

FRONT = "front"
BEHIND = "behind"
UNSENT = "unsent"

Random = Callable[[int], bytes]
"""A source of that many random bytes."""


def other(role: str) -> str:
    """The other side."""
    return SERVER if role == CLIENT else CLIENT


@dataclass(frozen=True)
class Shape:
    """What a framing may know of a packet: its kind, and how many bytes of it are a nonce (in front, or behind) and a
    tag: all 0 where it is not one box.
    """

    packet: str
    nonce: int = 0
    tag: int = 0
    nonce_behind: int = 0


@dataclass
class Message:
    """A message, whatever it looks like. `payload` is a datum, or the text of an error."""

    kind: str
    number: int
    payload: Datum = None


@dataclass
class Program:
    """What outlives a connection: counters of the program that it belongs to."""

    memory: dict[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """One side of one connection. `memory` is where a strategy keeps what it has to."""

    role: str
    random: Random
    program: Program
    user: str | None = None
    user_key: bytes = field(default=b"", repr=False)
    session_key: bytes = field(default=b"", repr=False)
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    def take(self, name: str, first: int, step: int = 1) -> int:
        """The next number of the sequence `name`."""
        number: int = self.memory.get(name, first)
        self.memory[name] = number + step
        return number
