"""Messages: requests and answers as datums.

What this module knows: the form of a message, and when a broken one costs a request and when the connection. What it
refuses to know: boxes, packets, which requests are outstanding.

Where its facts come from: that messages are s-expressions, that something in them matches answers to requests, and
that a handler's error travels back as a string is *stated* or *certain* (API reference); `(request ID DATUM)`,
`(response ID DATUM)` and `(error ID "message")` are choices of `inferred-1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..errors import ReadError, RemoteProtocolError
from ..sexpr import Dialect, Symbol, dumps_between, parse, parser, read_list_head, skip_atmosphere, type_name

__all__ = ["ERROR", "MAX_ID", "REQUEST", "RESPONSE", "MessageCodec", "Messages", "TaggedList", "Unreadable", "legible"]

REQUEST = 0
"""Kind of a message: the peer asks."""
RESPONSE = 1
"""Kind of a message: the peer answers."""
ERROR = 2
"""Kind of a message: the peer could not answer."""

MAX_ID = 2**62 - 1
"""The largest ID: CHICKEN's largest fixnum on 64 bits (`most-positive-fixnum`, seen in 4.13.0 and 5.3.0)."""


_WHITE_SPACE = b" \t\n\v\f\r"
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


@dataclass(frozen=True)
class TaggedList:
    """`inferred-1`: `(request ID DATUM)`, `(response ID DATUM)`, `(error ID "message")`.

    Attributes:
        request: the tag of a request, a symbol's name that is written without bars.
        response: the tag of a response.
        error: the tag of a failed request.
    """

    name: str = "tagged-list"
    request: str = "request"
    response: str = "response"
    error: str = "error"
    first_id: int = 0
    id_step: int = 1

    def bind(self, dialect: Dialect, depth: int) -> MessageCodec:
        """See `Messages.bind`."""
        tags = {self.request: REQUEST, self.response: RESPONSE, self.error: ERROR}
        kinds = {tag.encode(): kind for tag, kind in tags.items()}
        # How every known writer spells the beginning of a message; anything else goes the long way round.
        usual = re.compile(b"\\((%s) (0|[1-9][0-9]{0,17}) " % b"|".join(map(re.escape, kinds))).match
        parse_next = parser(dialect=dialect, max_depth=depth)

        def decode(body: bytes) -> tuple[int, int, Any]:
            head = usual(body)
            if head is not None:
                start = head.end()
                # A string in which nothing is escaped, and nothing else: an error's text always, much else often.
                if (
                    body.find(b'"', start, start + 1) == start
                    and body.find(b'"', start + 1) == len(body) - 2
                    and body.endswith(b")")
                    and body.find(b"\\", start) < 0
                ):
                    text = body[start + 1 : -2].decode("utf-8", "surrogateescape")
                    return kinds[head[1]], int(head[2]), text
                try:
                    datum, end = parse_next(body, start)
                    if body[end:] == b")":
                        kind = kinds[head[1]]
                        if kind != ERROR or type(datum) is str:
                            return kind, int(head[2]), datum
                except ReadError:
                    pass  # whether it costs the request or the connection is decided below
            return _decode_unusual(body, tags, dialect, depth)

        def encoder(tag: str) -> Callable[[int, Any], bytes]:
            return lambda id, datum: dumps_between(f"({tag} {id} ", datum, ")", dialect)

        encode_error = encoder(self.error)
        return MessageCodec(
            request=encoder(self.request),
            response=encoder(self.response),
            error=lambda id, message: encode_error(id, _travelling(message)),
            decode=decode,
        )


def _travelling(text: str) -> str:
    """An error's text with everything replaced that no string can carry: an answer must not fail for its wording."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _decode_unusual(body: bytes, tags: dict[str, int], dialect: Dialect, depth: int) -> tuple[int, int, Any]:
    """Decode a message that is spelt otherwise than usual, or broken."""
    try:
        # The message is one level above its datum, which may be `depth` levels deep.
        message, end = parse(body, 0, dialect=dialect, max_depth=depth + 1)
    except ReadError as error:
        return _decode_broken(body, error, tags, dialect)
    try:
        rest = skip_atmosphere(body, end, dialect=dialect)
    except ReadError as error:
        raise RemoteProtocolError(f"after the message: {error}") from None
    if rest != len(body):
        raise RemoteProtocolError(f"{len(body) - rest} bytes after the message, at byte {rest}; expected nothing")
    if not isinstance(message, list):
        raise RemoteProtocolError(f"a message is a list; got {_kind_of(message)}")
    if not message:
        raise RemoteProtocolError("a message is a list of three; got the empty list")
    kind, id = _check_head(message[0], message[1] if len(message) > 1 else None, tags)
    if len(message) != 3:
        raise RemoteProtocolError(f"a message is a list of three; got {len(message)} items")
    if kind == ERROR and type(message[2]) is not str:
        raise RemoteProtocolError(f"the message of a failed request is a string; got {_kind_of(message[2])}")
    return kind, id, message[2]


def _decode_broken(
    body: bytes, problem: ReadError, tags: dict[str, int], dialect: Dialect
) -> tuple[int, int, Unreadable]:
    """A message that does not read: only its request fails if it can be told which one that is, and where it ends."""
    try:
        start = skip_atmosphere(body, 0, dialect=dialect)
        # White space only: where a comment stands last, nothing says that the list ends before it.
        if body[start : start + 1] != b"(" or not body.rstrip(_WHITE_SPACE).endswith(b")"):
            raise problem
        (tag, id), _ = read_list_head(body, 2, dialect=dialect)
        kind, id = _check_head(tag, id, tags)
    except ReadError:
        raise RemoteProtocolError(f"a message that does not read: {problem}") from None
    return kind, id, Unreadable(str(problem))


def _check_head(tag: Any, id: Any, tags: dict[str, int]) -> tuple[int, int]:
    kind = tags.get(tag.value()) if isinstance(tag, Symbol) else None
    if kind is None:
        expected = ", ".join(tags)
        shown = repr(tag.value()[:40]) if isinstance(tag, Symbol) else _kind_of(tag)
        raise RemoteProtocolError(f"unknown kind of message: {shown}, expected one of {expected}")
    if type(id) is not int or not 0 <= id <= MAX_ID:
        shown = str(id) if type(id) is int and abs(id) < 10**30 else _kind_of(id)
        raise RemoteProtocolError(f"the ID of a {tag.value()} is a fixnum from 0 up; got {shown}")
    return kind, id


def _kind_of(datum: Any) -> str:
    return "nothing" if datum is None else f"a datum of type {type_name(datum)}"
