"""The fast codec of messages `(TAG ID DATUM)`, those of `inferred-1` among them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from ..._later import pattern
from ...errors import ReadError, RemoteProtocolError
from ...sexpr import (
    PIECE,
    Dialect,
    Parser,
    Symbol,
    cost,
    cost_of_plain,
    dumps_between,
    read_plain_list,
    skip_atmosphere_in_pieces,
    writer,
)
from ...sexpr.native import Compiled, Found
from ...sexpr.pieces import BRIEF, UNLIMITED, Steps
from ...sexpr.reader import at_once
from ._strategy import (
    ERROR,
    MAX_ID,
    REQUEST,
    RESPONSE,
    WHITE_SPACE,
    Brief,
    Form,
    InPieces,
    MessageCodec,
    Read,
    Readers,
    Unreadable,
    behind,
    does_not_read,
    kind_of,
    no_string,
    travelling,
)

__all__ = ["tagged_codec"]

STRING_COST = 128
"""What a message that is a string takes in memory beyond its text: the string, the packet's place in lists."""
_HEAD_MEMORY = 256
"""Of a message's memory, what its head takes at most: a list of three with a tag and an ID."""
_MUCH = 1 << 20
"""Bytes of memory that the accelerator has taken in vain for a long message, from which on the reader in Python looks
first whether it reads: what is that long and odd has mostly been made to take memory. Measured: 400,000 lists, for
each message that was refused in the end, had Python's collector look at everything there is, three times."""
_LONG = 4096
"""Bytes from which on a copy costs more than a view."""


@functools.cache
def _usual_head(tags: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """The whole head in one match: the tag, the ID and where the datum begins, of which there is a byte."""
    return pattern(b"(?s)\\((%s) (0|[1-9][0-9]{0,17}) (?=.)" % b"|".join(map(re.escape, tags)))


_Encode = Callable[[int, Any], bytes]


@functools.cache
def _writers(
    request: str, response: str, error: str, dialect: Dialect, write: Callable[..., bytes | None] | None
) -> tuple[_Encode, _Encode, _Encode, Callable[[Any], bytes], _Encode, _Encode, Brief]:
    """What writes messages, in the order of `MessageCodec`: the same for all connections, since it keeps nothing."""

    def encoder(tag: str, most: int = UNLIMITED) -> _Encode:
        front, code = f"({tag} ", dialect.code
        if write is None:
            return lambda id, datum: dumps_between(f"{front}{id} ", datum, ")", dialect, most)
        # What `dumps_between` does, without that call.
        return lambda id, datum: (
            write(before := f"{front}{id} ", datum, ")", code, most) or dumps_between(before, datum, ")", dialect, most)
        )

    def around(tag: str) -> _Encode:
        front = tag.encode()

        def write(id: int, text: bytes) -> bytes:
            if len(text) <= _LONG:
                return b"(%b %d %b)" % (front, id, text)
            return b"".join((b"(%b %d " % (front, id), text, b")"))  # in a place of the right size from the start

        return write

    write_error = encoder(error)
    return (
        encoder(request),
        encoder(response),
        lambda id, message: write_error(id, travelling(message)),
        lambda datum: dumps_between("", datum, "", dialect),
        around(request),
        around(response),
        Brief(
            encoder(request, BRIEF),
            encoder(response, BRIEF),
            lambda datum: dumps_between("", datum, "", dialect, BRIEF),
        ),
    )


def tagged_codec(request: str, response: str, error: str, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
    """The codec of three tags, names of symbols that are written without bars.

    The plain version is that of `Shapes`, which takes these messages too: it writes a datum and fills it into a text,
    reads a message whole and holds it against each shape in turn. This one writes around the datum in one call, and
    reads what every known writer writes by one regular expression for the head and one call for the datum; anything
    else (more white space, a comment, an ID like `+1`) is read as any datum is, and looked at afterwards.
    Measured: 3.3 microseconds to write and read a small request, where the general codec takes 18.

    Args:
        request: the tag of a request.
        response: the tag of a response.
        error: the tag of a failed request.
        dialect: see `Messages.bind`.
        depth: see `Messages.bind`.
        memory: see `Messages.bind`.
    """
    tags = {request: REQUEST, response: RESPONSE, error: ERROR}
    kinds = {tag.encode(): kind for tag, kind in tags.items()}
    usual = _usual_head(tuple(kinds))
    symbols = {tag.encode(): Symbol(tag) for tag in tags}
    # The message is one level above its datum, which may be `depth` levels deep.
    compiled = Compiled(dialect, depth, memory - _HEAD_MEMORY)
    is_compiled = compiled.available
    readers = Readers(lambda: Parser(dialect=dialect, max_depth=depth + 1, max_memory=memory))

    def is_whole(body: bytes, kind: int, found: Found) -> bool:
        """Whether a message ends plainly behind its datum; an error's is a string."""
        datum, end, _ = found
        return body[end:] == b")" and (kind != ERROR or type(datum) is str)

    def read(body: bytes) -> Read:
        # Four ways to the same result, the shortest first; each gives way to the next for what it is not sure of. The
        # plain version is the last one alone, with `reader.datum` and `_check`. Nothing fails before it.
        head = usual.match(body)
        if head is not None:
            start = head.end()
            tag, id = head.groups()
            # 1. The accelerator, if it is installed, takes nearly every datum.
            if is_compiled:
                found = compiled.read(body, start)
                if found is not None and is_whole(body, kinds[tag], found):
                    return kinds[tag], int(id), found[0], found[2] + _HEAD_MEMORY
            opening = body[start]
            # 2. A string in which nothing is escaped, and nothing else: an error's text mostly, much else often. A
            # few searches in C find that out, and the text is one slice.
            if opening == 0x22:
                plain_string = _plain_string(body, start)
                if plain_string is not None:
                    text, spent = plain_string
                    return kinds[tag], int(id), text, spent
            # 3. A short list of plain atoms, as most requests are: one match of a regular expression.
            elif opening == 0x28:
                plain = read_plain_list(body, start)
                if plain is not None:
                    datum, end = plain
                    if body[end:] == b")" and (kind := kinds[tag]) != ERROR:
                        return kind, int(id), datum, cost_of_plain(datum, end - start)
        # 4. The reader, for everything. What is known of the head is not read again, so every byte is read once, also
        # of what does not read.
        reader = readers.take()
        try:
            if head is not None:
                message, end = reader.rest_of_list(body, head.end(), [symbols[head[1]], int(head[2])], 0)
            else:
                message, end = reader.datum(body, 0)
        except ReadError as problem:
            return _decode_broken(body, problem, reader.begun, tags)
        spent = reader.spent
        readers.give(reader)
        if end != len(body):
            at_once(_check_rest(body, end, dialect, memory))
        return *_check(message, tags), spent

    def read_string(body: bytes) -> Read | None:
        head = None if is_compiled else usual.match(body)
        if head is None or not body.startswith(b'"', head.end()):
            return None
        plain_string = _plain_string(body, head.end())
        # Where that may be too much, the reader decides, which counts the head too.
        if plain_string is None or plain_string[1] + _HEAD_MEMORY >= memory:
            return None
        return kinds[head[1]], int(head[2]), *plain_string

    def read_in_pieces(body: bytes) -> InPieces:
        """The same for a long message, without the short path of lists. A string is read in one piece here as there."""
        string = read_string(body)
        if string is not None:
            return string
        head = usual.match(body)
        doubtful = False
        if head is not None:
            found = yield from compiled.read_in_pieces(body, head.end(), PIECE)
            if isinstance(found, int):
                doubtful = found > _MUCH
            elif is_whole(body, kinds[head[1]], found):
                return kinds[head[1]], int(head[2]), found[0], found[2] + _HEAD_MEMORY
        reader = readers.take()
        try:
            if head is not None:
                begun = [symbols[head[1]], int(head[2])]
                message, end = yield from reader.rest_of_list_in_pieces(body, head.end(), begun, 0, doubtful=doubtful)
            else:
                message, end = yield from reader.datum_in_pieces(body, 0)
        except ReadError as problem:
            return _decode_broken(body, problem, reader.begun, tags)
        spent = reader.spent
        readers.give(reader)
        if end != len(body):
            yield from _check_rest(body, end, dialect, memory)
        return *_check(message, tags), spent

    encode_request, encode_response, encode_error, payload, request_of, response_of, brief = _writers(
        request, response, error, dialect, writer.WRITE
    )
    return MessageCodec(
        request=encode_request,
        response=encode_response,
        error=encode_error,
        payload=payload,
        request_of=request_of,
        response_of=response_of,
        read=read,
        read_in_pieces=read_in_pieces,
        form=Form(
            (request.encode(), response.encode(), error.encode()), dialect.version, depth, memory, _HEAD_MEMORY, read
        ),
        brief=brief,
        read_string=read_string,
    )


def _plain_string(body: bytes, start: int) -> tuple[str, int] | None:
    """The text of a message that is a string from there on, in which nothing is escaped, and the end of a list; and
    what the message takes in memory."""
    if len(body) <= _LONG:
        # Decoded first: a search in a `str` takes half the steps of one in `bytes`.
        text = body[start + 1 :].decode("utf-8", "surrogateescape")
        if text[-2:] != '")':
            return None
        text = text[:-2]
        if '"' in text or "\\" in text:
            return None
    else:
        if body.find(b'"', start + 1) != len(body) - 2 or not body.endswith(b")") or body.find(b"\\", start) >= 0:
            return None
        with memoryview(body) as whole, whole[start + 1 : -2] as part:  # without a copy of the bytes
            text = str(part, "utf-8", "surrogateescape")
    return text, STRING_COST + (len(text) if text.isascii() else cost(text))


def _check_rest(body: bytes, end: int, dialect: Dialect, memory: int) -> Steps[None]:
    """Refuses everything after a message except white space and comments."""
    try:
        rest = yield from skip_atmosphere_in_pieces(body, end, dialect=dialect, max_memory=memory)
    except ReadError as problem:
        raise RemoteProtocolError(f"after the message: {problem}") from None
    if rest != len(body):
        raise behind(body, rest)


def _check(message: Any, tags: dict[str, int]) -> tuple[int, int, Any]:
    """Kind, ID and datum of a message."""
    if not isinstance(message, list) or not message:
        shown = "the empty list" if message == [] else kind_of(message)
        raise RemoteProtocolError(f"the message is {shown}; expected a list of three: a tag, an ID and a datum")
    kind, id = _check_head(message[0], message[1] if len(message) > 1 else None, tags)
    if len(message) != 3:
        raise RemoteProtocolError(f"the message is a list of {len(message)}; expected three: a tag, an ID and a datum")
    if kind == ERROR and type(message[2]) is not str:
        raise no_string(message[2])
    return kind, id, message[2]


def _decode_broken(
    body: bytes, problem: ReadError, begun: tuple[list[Any], int], tags: dict[str, int]
) -> tuple[int, int, Unreadable, int]:
    """A message that does not read: only its request fails if it can be told which one that is, and where it ends."""
    elements, opened = begun
    # White space only: where a comment stands last, nothing says that the list ends before it.
    if len(elements) < 2 or body[opened : opened + 1] != b"(" or not body.rstrip(WHITE_SPACE).endswith(b")"):
        raise does_not_read(problem) from None
    kind, id = _check_head(elements[0], elements[1], tags)
    return kind, id, Unreadable(str(problem)), 0


def _check_head(tag: Any, id: Any, tags: dict[str, int]) -> tuple[int, int]:
    kind = tags.get(tag.value()) if isinstance(tag, Symbol) else None
    if kind is None:
        expected = ", ".join(tags)
        shown = repr(tag.value()[:40]) if isinstance(tag, Symbol) else kind_of(tag)
        raise RemoteProtocolError(f"the message's tag is {shown}; expected one of {expected}")
    if type(id) is not int or not 0 <= id <= MAX_ID:
        shown = str(id) if type(id) is int and abs(id) < 10**30 else kind_of(id)
        raise RemoteProtocolError(f"the ID of a {tag.value()} is {shown}; expected a fixnum from 0 up")
    return kind, id
