"""What a form of messages is, and what all of them share."""

from __future__ import annotations

import functools
import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ..._later import pattern
from ...errors import ReadError, RemoteProtocolError
from ...sexpr import Dialect, Parser, dumps, type_name
from ...sexpr.pieces import BRIEF, Steps
from ...sexpr.problems import MORE_AFTER_DATUM
from ...sexpr.reader import at_once
from .._limits import DEFAULT_MESSAGE_MEMORY
from ..strategy import Integer, Strategy, key

__all__ = [
    "ERROR",
    "MAX_ID",
    "REQUEST",
    "RESPONSE",
    "WHITE_SPACE",
    "Brief",
    "Form",
    "InPieces",
    "MessageCodec",
    "Messages",
    "Read",
    "Readers",
    "Unreadable",
    "behind",
    "does_not_read",
    "forget_codecs",
    "in_a_string",
    "kind_of",
    "legible",
    "legible_in_pieces",
    "no_string",
    "read_nested",
    "travelling",
]

_R = TypeVar("_R")

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


_OPAQUE = pattern(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|\|[^|]*(?:\||\Z)|#\\.|(#<[^<>]*>)', re.DOTALL)
"""What `write` prints of objects that no `read` takes, as `#<thread: thread3>`; strings, bars and characters may look
the same inside, and are passed over, whole or not: no byte is looked at twice."""


def legible(body: bytes) -> bytes | None:
    """A message with a symbol in the place of each `#<...>`, so that what is around those can be read.

    Returns:
        `None` if there is no such thing in it.
    """
    return at_once(legible_in_pieces(body))


def legible_in_pieces(body: bytes) -> Steps[bytes | None]:
    """`legible` as a generator, which stops now and then and goes on when it is asked to."""
    before = body
    for _ in range(_MOST_NESTED):
        after, end = bytearray(), 0
        for number, match in enumerate(_OPAQUE.finditer(before)):
            if match[1]:
                after += before[end : match.start()]
                after += b"unreadable-object"
                end = match.end()
            if not number % _MATCHES:
                yield None
        if not end:
            break
        after += before[end:]
        before = bytes(after)
    return None if before is body else before


_MATCHES = 1024
"""Matches between two stops."""
_MOST_NESTED = 4
"""How deep objects stand in each other as they are printed, as `#<queue (#<thread: a>)>`."""


Read = tuple[int, int, Any, int]
"""A message that was read: its kind, ID and datum, and what it takes in memory, in bytes, by the reader's estimate."""
InPieces = Steps[Read]
"""Reading of a message that stops now and then, so that others have their turn; it returns what was read."""


class Form(NamedTuple):
    """What the messages `(TAG ID DATUM)` of one connection are.

    Attributes:
        tags: of a request, a response and an error.
        version: of CHICKEN, whose syntax it is.
        depth: how deep a datum may nest.
        memory: how many bytes of memory a message may take.
        head: how many of them are its head's.
        read: reads one in Python; the form says nothing of a codec that reads otherwise.
    """

    tags: tuple[bytes, bytes, bytes]
    version: int
    depth: int
    memory: int
    head: int
    read: Callable[[bytes], Read]


class Brief(NamedTuple):
    """What writes messages where others wait: as in `MessageCodec`, but each raises `TakesLong` for what takes long."""

    request: Callable[[int, Any], bytes]
    response: Callable[[int, Any], bytes]
    payload: Callable[[Any], bytes]

    @classmethod
    def around(
        cls,
        request: Callable[[int, bytes], bytes],
        response: Callable[[int, bytes], bytes],
        payload: Callable[[Any, int], bytes],
    ) -> Brief:
        """Of functions that take the text of a datum, and one that writes it, up to so many bytes by the estimate."""
        return cls(
            request=lambda id, datum: request(id, payload(datum, BRIEF)),
            response=lambda id, datum: response(id, payload(datum, BRIEF)),
            payload=lambda datum: payload(datum, BRIEF),
        )


class MessageCodec(NamedTuple):
    """A message format bound to a dialect and limits: what a connection calls for every message.

    Nothing in it belongs to one connection: all that have the same format and limits may share it, in any thread.

    Attributes:
        request: ID and datum to bytes; raises `WriteError` for a datum that cannot travel.
        response: the same for an answer.
        error: ID and text to bytes; any text can travel.
        payload: a datum to its text, which is all of a message that takes long to make.
        request_of: ID and such a text to bytes: the same as `request` of the datum.
        response_of: the same for an answer.
        read: bytes to what they are; the datum is an `Unreadable` where only it is broken. Raises
            `RemoteProtocolError` where the message is.
        read_in_pieces: the same as a generator.
        form: what the compiled path has to know of messages `(TAG ID DATUM)`; `None` for others.
        brief: what writes where others wait; `None` if it cannot stop, and they wait.
        read_string: the same as `read` for a message that is one long plain string, which is read in one piece anyway;
            it returns `None` for every other.
    """

    request: Callable[[int, Any], bytes]
    response: Callable[[int, Any], bytes]
    error: Callable[[int, str], bytes]
    payload: Callable[[Any], bytes]
    request_of: Callable[[int, bytes], bytes]
    response_of: Callable[[int, bytes], bytes]
    read: Callable[[bytes], Read]
    read_in_pieces: Callable[[bytes], InPieces]
    form: Form | None = None
    brief: Brief | None = None
    read_string: Callable[[bytes], Read | None] = lambda body: None

    @classmethod
    def around(
        cls,
        request: Callable[[int, bytes], bytes],
        response: Callable[[int, bytes], bytes],
        error: Callable[[int, str], bytes],
        payload: Callable[..., bytes],
        read: Callable[[bytes], InPieces],
    ) -> MessageCodec:
        """Of functions that take the text of a datum, one that writes it (see `Brief.around`), and a reader in
        pieces."""
        return cls(
            request=lambda id, datum: request(id, payload(datum)),
            response=lambda id, datum: response(id, payload(datum)),
            error=error,
            payload=payload,
            request_of=request,
            response_of=response,
            read=lambda body: at_once(read(body)),
            read_in_pieces=read,
            brief=Brief.around(request, response, payload),
        )

    def decode(self, body: bytes) -> tuple[int, int, Any]:
        """The kind, ID and datum of a message, as `read` returns them."""
        return self.read(body)[:3]


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

    def bind(self, dialect: Dialect, depth: int, memory: int = DEFAULT_MESSAGE_MEMORY) -> MessageCodec:
        """Bind the format to a dialect.

        Args:
            dialect: how datums are written and read.
            depth: how deep a datum may nest that is read.
            memory: how many bytes of memory a message may take that is read.
        """
        return _bound(self, dialect, depth, memory)

    @abstractmethod
    def make_codec(self, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
        """What `bind` returns, made anew."""


@functools.lru_cache(maxsize=64)
def _bound(messages: Messages, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
    # Made once: it is a good hundred objects, and Python's collector looks at those of all connections in one piece.
    return messages.make_codec(dialect, depth, memory)


forget_codecs = _bound.cache_clear
"""For tests that choose the implementation anew."""


class Readers(Generic[_R]):
    """What reads messages, and may be in the middle of one: as many as messages are read at a time, in all threads.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], _R]) -> None:
        self._make = make
        self._free: list[_R] = []
        self.give = self._free.append

    def take(self) -> _R:
        """One that nobody else has. `give` it back if it has read its message; after an error it is not used again."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()


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


def read_nested(parser: Parser, text: str | bytes) -> Steps[Any]:
    """The one datum that a text is, or `Unreadable`. As a generator, which stops now and then."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    try:
        value, end = yield from parser.datum_in_pieces(data, 0)
        end = yield from parser.atmosphere_in_pieces(data, end)
        if end != len(data):
            raise MORE_AFTER_DATUM.at(end)
    except ReadError as problem:
        return Unreadable(str(problem))
    return value


def kind_of(datum: Any) -> str:
    """A datum's type in words, for errors."""
    return "nothing" if datum is None else f"a datum of type {type_name(datum)}"


def does_not_read(problem: ReadError) -> RemoteProtocolError:
    """What `decode` raises for a message of which not even the request can be told."""
    return RemoteProtocolError(f"a message does not read as a datum: {problem}")


def behind(body: bytes, end: int) -> RemoteProtocolError:
    """What `decode` raises for bytes after a message."""
    return RemoteProtocolError(f"{len(body) - end} bytes after the message of {end} bytes; expected nothing")


def no_string(datum: Any) -> RemoteProtocolError:
    """What `decode` raises for an error whose message is anything but a string."""
    return RemoteProtocolError(f"the message of a failed request is {kind_of(datum)}; expected a string")
