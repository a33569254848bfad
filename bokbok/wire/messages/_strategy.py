"""What a form of messages is, and what all of them share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import ReadError, RemoteProtocolError
from ...sexpr import Dialect, dumps, type_name
from .._limits import DEFAULT_MESSAGE_MEMORY
from ..strategy import Integer, Strategy, key

__all__ = [
    "ERROR",
    "MAX_ID",
    "REQUEST",
    "RESPONSE",
    "WHITE_SPACE",
    "MessageCodec",
    "Messages",
    "Unreadable",
    "behind",
    "does_not_read",
    "in_a_string",
    "kind_of",
    "legible",
    "no_string",
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
    """A message format bound to a dialect and limits: what one connection calls for every message.

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


@dataclass(frozen=True, kw_only=True)
class Messages(Strategy):
    """Strategy: the form of messages, and how requests are numbered.

    Attributes:
        first_id: the first ID of a client's request.
        server_first_id: the first ID of a server's request.
        id_step: from one ID to the next.
    """

    first_id: int = key(0, Integer(0, MAX_ID), always=True)
    server_first_id: int = key(0, Integer(0, MAX_ID), always=True)
    id_step: int = key(1, Integer(1, MAX_ID), always=True)

    @abstractmethod
    def bind(self, dialect: Dialect, depth: int, memory: int = DEFAULT_MESSAGE_MEMORY) -> MessageCodec:
        """Bind the format to a dialect, for one connection.

        Args:
            dialect: how datums are written and read.
            depth: how deep a datum may nest that is read.
            memory: how many bytes of memory a message may take that is read.
        """


def travelling(text: str) -> str:
    """An error's text with everything replaced that no string can carry: an answer must not fail for its wording."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def in_a_string(written: bytes, dialect: Dialect) -> bytes:
    """A datum's text once more, as a string that holds it."""
    return dumps(written.decode("utf-8", "surrogateescape"), dialect=dialect)


def kind_of(datum: Any) -> str:
    """A datum's type in words, for errors."""
    return "nothing" if datum is None else f"a datum of type {type_name(datum)}"


def does_not_read(problem: ReadError) -> RemoteProtocolError:
    """What `decode` raises for a message of which not even the request can be told."""
    return RemoteProtocolError(f"a message does not read as a datum: {problem}")


def behind(body: bytes, end: int) -> RemoteProtocolError:
    """What `decode` raises for bytes after a message."""
    return RemoteProtocolError(f"{len(body) - end} bytes after the message, at byte {end}; expected nothing")


def no_string(datum: Any) -> RemoteProtocolError:
    """What `decode` raises for an error whose message is anything but a string."""
    return RemoteProtocolError(f"the message of a failed request is {kind_of(datum)}; expected a string")
