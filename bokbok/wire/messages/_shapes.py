"""Messages as datums of any shape, given an example of each kind.

A shape is a datum in which `ID`, `DATUM` and `MESSAGE` stand for what changes: `(request ID DATUM)`,
`#(1 ID DATUM)`, `((id . ID) (body . DATUM))`, or several datums without a list around them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..._later import pattern
from ...errors import ProfileError, ReadError, RemoteProtocolError
from ...sexpr import Dialect, Parser, Symbol, dumps, dumps_between, loads, parse, skip_atmosphere_in_pieces
from ...sexpr.pieces import UNLIMITED, Steps
from .._foreign import foreign
from ..strategy import Choice, Integer, key, shown
from ._holes import HOLES, fill, has_tail_hole, holes_in, match
from ._strategy import (
    ERROR,
    MAX_ID,
    REQUEST,
    RESPONSE,
    WHITE_SPACE,
    InPieces,
    MessageCodec,
    Messages,
    Readers,
    Unreadable,
    behind,
    does_not_read,
    in_a_string,
    kind_of,
    legible_in_pieces,
    read_nested,
    travelling,
)
from ._tagged import tagged_codec

__all__ = ["Shapes"]

_ID, _DATUM, _MESSAGE = HOLES
_PLAIN_SYMBOL = pattern(r"[a-zA-Z][a-zA-Z0-9-]*\Z")
"""A symbol that every dialect writes as it is."""
_MOST_DIGITS = 19


def _shape(text: str) -> tuple[Any, bool]:
    """A shape, and whether it stands for several datums without a list around them."""
    datums = loads(f"({text})")
    return (datums[0], False) if len(datums) == 1 else (datums, True)


@dataclass(frozen=True)
class Shapes(Messages):
    """Messages as datums of given shapes.

    Attributes:
        request: the shape of a request, with `ID` and `DATUM`.
        response: the shape of a response, with `ID` and `DATUM`.
        error: the shape of a failed request, with `ID` and `MESSAGE`.
        id: how an ID is written: `fixnum`, `string`, `flonum`, or `symbol` (its digits behind `id_prefix`).
        id_prefix: what stands before the digits of a string or symbol.
        id_width: digits that are always there, with zeros in front, in a string or symbol; 0 for as many as are needed.
        id_base: of a string's or symbol's digits: 10, or 16 (small letters).
        payload: `datum`, or `string`: the datum's text in a string.
        message: `string`, or `text`: the error's message written once more, as a string in a string.
        separator: between several datums without a list around them.
        ending: white space behind each message.

    The others are those of `Messages`: `first_id`, `server_first_id`, `id_step`.
    """

    strategy: ClassVar[str] = "shapes"
    request: str = key("(request ID DATUM)", always=True)
    response: str = key("(response ID DATUM)", always=True)
    error: str = key("(error ID MESSAGE)", always=True)
    id: str = key("fixnum", Choice("fixnum", "string", "flonum", "symbol"), always=True)
    id_prefix: str = ""
    id_width: int = key(0, Integer(0, _MOST_DIGITS))
    id_base: int = key(10, Choice(10, 16))
    payload: str = key("datum", Choice("datum", "string"), always=True)
    message: str = key("string", Choice("string", "text"))
    separator: str = " "
    ending: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, holes in (("request", "ID DATUM"), ("response", "ID DATUM"), ("error", "ID MESSAGE")):
            text = getattr(self, name)
            try:
                datums = loads(f"({text})")
            except ReadError as error:
                raise ProfileError(f"{name}: the shape {shown(text)} does not read: {error}") from None
            found: list[str] = []
            holes_in(datums, found)
            if sorted(found) != sorted(holes.split()):
                raise ProfileError(
                    f"{name}: expected a shape with {holes.replace(' ', ' and ')} once each; got {shown(text)}"
                )
            # One spelling for each shape, however it was given.
            spelt = b" ".join(map(dumps, datums)).decode("utf-8", "surrogateescape")
            object.__setattr__(self, name, spelt)
        for name in ("separator", "ending"):
            if getattr(self, name).strip():
                raise ProfileError(f"{name}: expected white space, or nothing; got {shown(getattr(self, name))}")
        if self.id in ("fixnum", "flonum") and (self.id_prefix, self.id_width, self.id_base) != ("", 0, 10):
            raise ProfileError(
                f"id is {self.id!r}: expected no id-prefix, id-width and id-base; a string or symbol has them"
            )

    def words(self) -> str:
        """See `Strategy.words`."""
        form = "" if self.id == "fixnum" else f", ID as {self.id}"
        nested = "" if self.payload == "datum" else ", the payload as text in a string"
        return f"{self.request}, {self.response}, {self.error}{form}{nested}"

    @property
    def digits(self) -> str:
        """The digits of an ID, as a format."""
        return f"%{f'0{self.id_width}' if self.id_width else ''}{'x' if self.id_base == 16 else 'd'}"

    def write_id(self, id: int) -> Any:
        """The datum that stands for an ID."""
        if self.id == "fixnum":
            return id
        if self.id == "flonum":
            return float(id)
        text = f"{self.id_prefix}{self.digits % id}"
        return text if self.id == "string" else Symbol(text)

    def read_id(self, value: Any) -> int:
        """The reverse; raises `RemoteProtocolError`."""
        prefix = self.id_prefix
        text = ""
        if self.id == "fixnum" and type(value) is int and 0 <= value <= MAX_ID:
            return value
        if self.id == "flonum" and type(value) is float and 0 <= value <= MAX_ID and value.is_integer():
            return int(value)
        if self.id == "string" and type(value) is str:
            text = value
        elif self.id == "symbol" and isinstance(value, Symbol):
            text = value.value()
        digits = text[len(prefix) :]
        if text.startswith(prefix) and _DIGITS[self.id_base].match(digits):
            number = int(digits, self.id_base)
            if self.digits % number == digits:
                return number
        atom = isinstance(value, (str, float)) or (type(value) is int and abs(value) < 10**30)
        shown = repr(str(value)[:40]) if atom else kind_of(value)
        raise RemoteProtocolError(f"the ID of a message is {shown}; expected a {self.id} from 0 up")

    @functools.cached_property
    def _tags(self) -> tuple[str, str, str] | None:
        """The three tags, where each message is a list of a symbol, a fixnum and a datum; `None` for other messages."""
        if (self.id, self.payload, self.message, self.ending) != ("fixnum", "datum", "string", ""):
            return None
        tags = []
        for text, hole in ((self.request, _DATUM), (self.response, _DATUM), (self.error, _MESSAGE)):
            shape, several = _shape(text)
            if several or type(shape) is not list or shape[1:] != [_ID, hole] or not isinstance(shape[0], Symbol):
                return None
            tags.append(shape[0].value())
        if len(set(tags)) != 3 or not all(map(_PLAIN_SYMBOL.match, tags)):
            return None
        return tags[0], tags[1], tags[2]

    def make_codec(self, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
        """See `Messages.make_codec`."""
        tags = self._tags
        if tags is not None:
            return tagged_codec(*tags, dialect, depth, memory)
        return _codec(self, dialect, depth, memory)


def _codec(form: Shapes, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
    """What writes a message: the text of the datum, put into the text of the shape; and what reads it."""
    nested, twice = form.payload == "string", form.message == "text"
    write_request, write_response, write_error = (
        _shape_writer(form, text, hole, dialect, depth)
        for text, hole in ((form.request, _DATUM), (form.response, _DATUM), (form.error, _MESSAGE))
    )

    def payload(datum: Any, most: int = UNLIMITED) -> bytes:
        text = dumps_between("", datum, "", dialect, most)
        return in_a_string(text, dialect) if nested else text

    def error(id: int, text: str) -> bytes:
        written = dumps(travelling(text), dialect=dialect)
        return write_error(id, in_a_string(written, dialect) if twice else written)

    readers = Readers(lambda: _Reader(form, dialect, depth, memory))

    def read(body: bytes) -> InPieces:
        reader = readers.take()
        message = yield from reader.read(body)
        if type(message[2]) is not Unreadable:  # else it remembers what it has failed with
            readers.give(reader)
        return message

    return MessageCodec.around(write_request, write_response, error, payload, read)


_Write = Callable[[int, bytes], bytes]


def _shape_writer(form: Shapes, text: str, hole: Symbol, dialect: Dialect, depth: int) -> _Write:
    """What puts an ID and a datum's text into a shape."""
    shape, bare = _shape(text)
    separator, ending = form.separator.encode(), form.ending.encode()
    if bare:
        parts = [_datum_writer(form, part, hole, dialect, depth) for part in shape]
        return lambda id, text: separator.join([part(id, text) for part in parts]) + ending
    whole = _datum_writer(form, shape, hole, dialect, depth)
    return (lambda id, text: whole(id, text) + ending) if ending else whole


def _datum_writer(form: Shapes, shape: Any, hole: Symbol, dialect: Dialect, depth: int) -> _Write:
    """The same for one datum of a message."""
    if has_tail_hole(shape):

        def refilled(id: int, text: bytes) -> bytes:
            value = parse(text, dialect=dialect, max_depth=depth)[0]
            return dumps(fill(shape, {"ID": form.write_id(id), hole.value(): value}), dialect=dialect)

        return refilled
    # The shape's text is cut at the places of the ID and the datum once, so that a message costs one formatting. The
    # plain version is `refilled`: it reads the datum again, fills it into the shape and writes the whole.
    before, after = _cut(dumps(_marked(shape, hole, form), dialect=dialect), form.digits.encode())
    if after is None:
        return lambda id, _: before % id
    if isinstance(before, _Constant):
        return lambda id, text: before + text + after % id
    return lambda id, text: before % id + text + after


class _Reader:
    """Reads messages of given shapes."""

    def __init__(self, form: Shapes, dialect: Dialect, depth: int, memory: int) -> None:
        self._form, self._dialect, self._depth, self._memory = form, dialect, depth, memory
        # The message is some levels above its datum, which may be `depth` levels deep.
        self._parser = Parser(dialect=dialect, max_depth=depth + 8, max_memory=memory)
        self._nested = Parser(dialect=dialect, max_depth=depth, max_memory=memory)
        texts = (form.request, form.response, form.error)
        self._shapes = {kind: _shape(texts[kind]) for kind in (REQUEST, RESPONSE, ERROR)}
        self._bare = any(several for _, several in self._shapes.values())
        # The most special first: `(response ID (error MESSAGE))` before `(response ID DATUM)`.
        self._order = sorted(self._shapes, key=lambda kind: -len(texts[kind]))
        self._heads = {
            kind: shape for kind, (shape, several) in self._shapes.items()
            if not several and isinstance(shape, list) and len(shape) == 3 and shape[2] in HOLES
        }  # fmt: skip
        self._frames = {
            kind: frame for kind in self._order if (frame := _frame(form, *self._shapes[kind], dialect)) is not None
        }

    def read(self, body: bytes) -> InPieces:
        """See `MessageCodec.read_in_pieces`."""
        form = self._form
        try:
            value = yield from self._read(body)
        except ReadError as problem:
            return (yield from self._broken(body, problem))
        spent = self._parser.spent
        for kind, found in self._matches(value):
            if kind != ERROR:
                id, datum = form.read_id(found["ID"]), found["DATUM"]
                if form.payload == "string":
                    datum = yield from self._unnested(datum)
                    spent += self._nested.spent
                return kind, id, datum, spent
            text = found["MESSAGE"]
            if form.message == "text" and type(text) is str:
                text = yield from self._unnested(text)
            if type(text) is str:
                return kind, form.read_id(found["ID"]), text, spent
        raise foreign(
            f"the message does not have one of the shapes {form.request}, {form.response}, {form.error}: {body[:60]!r}"
        )

    def _matches(self, value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """The kinds of message that a value may be, and what stands in its holes."""
        for kind in self._order:
            shape, several = self._shapes[kind]
            found: dict[str, Any] = {}
            if match(shape, value[0] if self._bare and not several and len(value) == 1 else value, found):
                yield kind, found

    def _read(self, body: bytes) -> Steps[Any]:
        if self._bare:
            body = b"(" + body + b"\n)"
        value, end = yield from self._parser.datum_in_pieces(body, 0)
        end = yield from skip_atmosphere_in_pieces(body, end, dialect=self._dialect, max_memory=self._memory)
        if end != len(body):
            raise behind(body, end)
        return value

    def _unnested(self, text: Any) -> Steps[Any]:
        if type(text) is not str:
            raise RemoteProtocolError(f"the payload is {kind_of(text)}; expected a string with the text of a datum")
        return (yield from read_nested(self._nested, text))

    def _broken(self, body: bytes, problem: ReadError) -> InPieces:
        """Only its request fails if it can be told which one that is, and where the message ends."""
        form = self._form
        if len(self._heads) == 3 and body.rstrip(WHITE_SPACE).endswith(b")"):
            head = self._parser.begun[0][:2]
            for kind, shape in self._heads.items():
                found: dict[str, Any] = {}
                if match(shape[:2], head, found) and "ID" in found:
                    return kind, form.read_id(found["ID"]), Unreadable(str(problem)), 0
        # What no `read` takes stands in place of the datum, or in it: `(#<thread: t> request 3)`.
        legible_body = yield from legible_in_pieces(body)
        if legible_body is not None:
            try:
                value = yield from self._read(legible_body)
            except ReadError:
                value = None
            for kind, found in self._matches(value):
                return kind, form.read_id(found["ID"]), Unreadable(str(problem)), 0
        for kind, frame in self._frames.items():
            if framed := frame.fullmatch(body):
                id = int(framed[1], form.id_base)
                if id <= MAX_ID and form.digits.encode() % id == framed[1]:
                    return kind, id, Unreadable(str(problem)), 0
        raise does_not_read(problem) from None


def _frame(form: Shapes, shape: Any, bare: bool, dialect: Dialect) -> re.Pattern[bytes] | None:
    """Matches a message of a shape by its text around the datum, whatever stands there; the ID's digits are its group.

    `None` where the ID does not stand before the datum: then it may as well be a part of what does not read.
    """
    found: list[str] = []
    holes_in(shape, found)
    if bare or found[0] != "ID" or len(found) != 2:
        return None
    text = dumps(_marked(shape, Symbol(found[1]), form), dialect=dialect)
    before, _, after = text.partition(_MARK_DATUM.encode())
    start, _, middle = before.partition(_MARK_ID.encode())
    digits = rb"([0-9a-f]{1,19})" if form.id_base == 16 else rb"([0-9]{1,19})"
    # A list behind a dot is written as the rest of the list that the dot is in.
    dot = rb" (?:\. )?" if middle.endswith(b" . ") else b""
    middle = middle.removesuffix(b" . ") if dot else middle
    return re.compile(
        re.escape(start) + digits + re.escape(middle) + dot + rb".*" + re.escape(after) + rb"[ \t\r\n]*", re.DOTALL
    )


_DIGITS = {10: pattern(r"[0-9]{1,19}\Z"), 16: pattern(r"[0-9a-f]{1,15}\Z")}

_MARK_ID, _MARK_DATUM = Symbol("bokbok-id-goes-here"), Symbol("bokbok-datum-goes-here")


def _marked(shape: Any, hole: Symbol, form: Shapes) -> Any:
    """A shape with marks in the places of what changes."""
    text = f"{form.id_prefix}{_MARK_ID.value()}"
    marks: dict[str, Any] = {"fixnum": _MARK_ID, "string": text, "flonum": Symbol(f"{text}.0"), "symbol": Symbol(text)}
    return fill(shape, {"ID": marks[form.id], hole.value(): _MARK_DATUM})


def _cut(text: bytes, digits: bytes) -> tuple[bytes, bytes | None]:
    """A shape's text as formats for the ID, before and behind the datum."""
    before, mark, after = text.replace(b"%", b"%%").replace(_MARK_ID.encode(), digits).partition(_MARK_DATUM.encode())
    if not mark:
        return _plain(before), None
    return _plain(before), _plain(after)


def _plain(text: bytes) -> bytes:
    """A format must hold an ID: `% id` would fail without."""
    return text if b"%" in text.replace(b"%%", b"") else _Constant(text.replace(b"%%", b"%"))


class _Constant(bytes):
    """Bytes that take an ID and ignore it."""

    def __mod__(self, _: Any) -> bytes:
        return bytes(self)
