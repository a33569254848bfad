"""The default's messages: a list of tag, ID and datum."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import ReadError, RemoteProtocolError
from ...sexpr import (
    Dialect,
    Symbol,
    dumps_between,
    parse,
    parser,
    read_list_head,
    skip_atmosphere,
    type_name,
)
from ._strategy import ERROR, MAX_ID, REQUEST, RESPONSE, WHITE_SPACE, MessageCodec, Unreadable, travelling

__all__ = [
    "TaggedList",
]


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
            error=lambda id, message: encode_error(id, travelling(message)),
            decode=decode,
        )


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
        if body[start : start + 1] != b"(" or not body.rstrip(WHITE_SPACE).endswith(b")"):
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
