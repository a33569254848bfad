"""What a form of messages is, and what all of them share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ...sexpr import (
    Dialect,
)

__all__ = [
    "ERROR",
    "MAX_ID",
    "REQUEST",
    "RESPONSE",
    "WHITE_SPACE",
    "MessageCodec",
    "Messages",
    "Unreadable",
    "legible",
    "travelling",
]

REQUEST = 0
"""Kind of a message: the peer asks."""
RESPONSE = 1
"""Kind of a message: the peer answers."""
ERROR = 2
"""Kind of a message: the peer could not answer."""

MAX_ID = 2**62 - 1
"""The largest ID: CHICKEN's largest fixnum on 64 bits (`most-positive-fixnum`, seen in 4.13.0 and 5.3.0)."""


WHITE_SPACE = b" \t\n\v\f\r"
"""What CHICKEN's `char-whitespace?` takes, among bytes."""


class Unreadable:
    """Stands for a datum that came in a well-formed message and does not read.

    Attributes:
        problem: what is wrong with it.
    """

    __slots__ = ("problem",)

    def __init__(self, problem: str) -> None:
        self.problem = problem

    def __repr__(self) -> str:
        return f"Unreadable({self.problem!r})"


_OPAQUE = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|\|[^|]*(?:\||\Z)|#\\.|(#<[^<>]*>)', re.DOTALL)
"""What `write` prints of objects that no `read` takes, as `#<thread: thread3>`; strings, bars and characters may look
the same inside, and are passed over, whole or not: no byte is looked at twice."""


def legible(body: bytes) -> bytes | None:
    """A message with a symbol in the place of each `#<...>`, so that what is around those can be read.

    Returns:
        `None` if there is no such thing in it.
    """
    before = body
    for _ in range(_MOST_NESTED):
        after = _OPAQUE.sub(lambda match: b"unreadable-object" if match[1] else match[0], before)
        if after == before:
            break
        before = after
    return None if before == body else before


_MOST_NESTED = 4
"""How deep objects stand in each other as they are printed, as `#<queue (#<thread: a>)>`."""


class MessageCodec(NamedTuple):
    """A message format bound to a dialect and a depth limit: what one connection calls for every message.

    Attributes:
        request: ID and datum to bytes; raises `WriteError` for a datum that cannot travel.
        response: the same for an answer.
        error: ID and text to bytes; any text can travel.
        decode: bytes to `(kind, id, datum)`; the datum is an `Unreadable` where only it is broken. Raises
            `RemoteProtocolError` where the message is.
    """

    request: Callable[[int, Any], bytes]
    response: Callable[[int, Any], bytes]
    error: Callable[[int, str], bytes]
    decode: Callable[[bytes], tuple[int, int, Any]]


class Messages(Protocol):
    """Strategy: the form of messages."""

    @property
    def name(self) -> str:
        """How a profile file calls it."""

    @property
    def first_id(self) -> int:
        """The first ID that a side uses."""

    @property
    def id_step(self) -> int:
        """From one ID to the next."""

    def bind(self, dialect: Dialect, depth: int) -> MessageCodec:
        """Bind the format to a dialect, for one connection."""


def travelling(text: str) -> str:
    """An error's text with everything replaced that no string can carry: an answer must not fail for its wording."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
