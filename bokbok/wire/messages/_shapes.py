"""Messages as datums of any shape, given an example of each kind.

A shape is a datum in which `ID`, `DATUM` and `MESSAGE` stand for what changes: `(request ID DATUM)`,
`#(1 ID DATUM)`, `((id . ID) (body . DATUM))`, or several datums without a list around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import BokbokError, ReadError, RemoteProtocolError
from ...sexpr import (
    Dialect,
    Symbol,
    dumps,
    loads,
    parse,
    read_list_head,
    skip_atmosphere,
    type_name,
)
from ._holes import HOLES, fill, has_tail_hole, holes_in, match
from ._strategy import ERROR, MAX_ID, REQUEST, RESPONSE, WHITE_SPACE, MessageCodec, Unreadable, legible, travelling

__all__ = [
    "Shapes",
]

_DATUM, _MESSAGE = Symbol("DATUM"), Symbol("MESSAGE")


@dataclass(frozen=True)
class Shapes:
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
        first_id: the first ID of a client's request.
        server_first_id: the first ID of a server's request.
        id_step: from one ID to the next.
    """

    strategy: ClassVar[str] = "shapes"
    request: str = "(request ID DATUM)"
    response: str = "(response ID DATUM)"
    error: str = "(error ID MESSAGE)"
    id: str = "fixnum"
    id_prefix: str = ""
    id_width: int = 0
    id_base: int = 10
    payload: str = "datum"
    message: str = "string"
    separator: str = " "
    ending: str = ""
    first_id: int = 0
    server_first_id: int = 0
    id_step: int = 1

    def __post_init__(self) -> None:
        for text, holes in ((self.request, "ID DATUM"), (self.response, "ID DATUM"), (self.error, "ID MESSAGE")):
            try:
                datums = loads(f"({text})")
            except ReadError as error:
                raise BokbokError(f"the shape {text!r} does not read: {error}") from None
            found: list[str] = []
            holes_in(datums, found)
            if sorted(found) != sorted(holes.split()):
                raise BokbokError(f"the shape {text!r} needs {' and '.join(holes.split())}, once each")
        for field, value, known in (
            ("id", self.id, ("fixnum", "string", "flonum", "symbol")),
            ("payload", self.payload, ("datum", "string")),
            ("message", self.message, ("string", "text")),
        ):
            if value not in known:
                raise BokbokError(f"{field} is one of {', '.join(known)}, not {value!r}")
        if self.id_base not in (10, 16) or self.id_width < 0:
            raise BokbokError(f"an ID has digits in base 10 or 16, not {self.id_base}, and a width from 0 up")
        if self.id in ("fixnum", "flonum") and (self.id_prefix, self.id_width, self.id_base) != ("", 0, 10):
            raise BokbokError(f"a {self.id} has no prefix, no width and no base; a string or symbol may")

    @property
    def name(self) -> str:
        """How it is called."""
        return "shapes"

    @property
    def _digits(self) -> str:
        """The digits of an ID, as a format."""
        return f"%{f'0{self.id_width}' if self.id_width else ''}{'x' if self.id_base == 16 else 'd'}"

    def _shape(self, text: str) -> tuple[Any, bool]:
        """A shape, and whether it stands for several datums without a list around them."""
        datums = loads(f"({text})")
        return (datums[0], False) if len(datums) == 1 else (datums, True)

    def _write_id(self, id: int) -> Any:
        if self.id == "fixnum":
            return id
        if self.id == "flonum":
            return float(id)
        text = f"{self.id_prefix}{self._digits % id}"
        return text if self.id == "string" else Symbol(text)

    def _read_id(self, value: Any) -> int:
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
            if self._digits % number == digits:
                return number
        atom = isinstance(value, (str, float)) or (type(value) is int and abs(value) < 10**30)
        shown = repr(str(value)[:40]) if atom else f"a datum of type {type_name(value)}"
        raise RemoteProtocolError(f"an ID is a {self.id} from 0 up; got {shown}")

    def bind(self, dialect: Dialect, depth: int) -> MessageCodec:
        """See `Messages.bind`."""
        shapes = {
            REQUEST: self._shape(self.request),
            RESPONSE: self._shape(self.response),
            ERROR: self._shape(self.error),
        }
        separator, ending = self.separator.encode(), self.ending.encode()
        nested = self.payload == "string"

        def writer(kind: int, hole: Symbol) -> Callable[[int, Any], bytes]:
            shape, bare = shapes[kind]
            if bare:
                parts = [part_writer(part, hole) for part in shape]
                return lambda id, text: separator.join([part(id, text) for part in parts]) + ending
            whole = part_writer(shape, hole)
            return (lambda id, text: whole(id, text) + ending) if ending else whole

        def part_writer(shape: Any, hole: Symbol) -> Callable[[int, bytes], bytes]:
            """One datum of a message."""
            if has_tail_hole(shape):

                def refilled(id: int, text: bytes) -> bytes:
                    value = parse(text, dialect=dialect, max_depth=depth)[0]
                    return dumps(fill(shape, {"ID": self._write_id(id), hole.value(): value}), dialect=dialect)

                return refilled
            before, after = _cut(dumps(_marked(shape, hole, self), dialect=dialect), self._digits.encode())
            if after is None:
                return lambda id, _: before % id
            if isinstance(before, _Constant):
                return lambda id, text: before + text + after % id
            return lambda id, text: before % id + text + after

        writers = {
            REQUEST: writer(REQUEST, _DATUM), RESPONSE: writer(RESPONSE, _DATUM), ERROR: writer(ERROR, _MESSAGE),
        }  # fmt: skip

        def payload(datum: Any) -> bytes:
            text = dumps(datum, dialect=dialect)
            return dumps(text.decode("utf-8", "surrogateescape"), dialect=dialect) if nested else text

        def message(text: str) -> bytes:
            written = dumps(travelling(text), dialect=dialect)
            return (
                dumps(written.decode("utf-8", "surrogateescape"), dialect=dialect)
                if self.message == "text"
                else written
            )

        def request(id: int, datum: Any) -> bytes:
            return writers[REQUEST](id, payload(datum))

        def response(id: int, datum: Any) -> bytes:
            return writers[RESPONSE](id, payload(datum))

        def error(id: int, text: str) -> bytes:
            return writers[ERROR](id, message(text))

        bare = any(several for _, several in shapes.values())
        # The most special first: `(response ID (error MESSAGE))` before `(response ID DATUM)`.
        order = sorted(shapes, key=lambda kind: -len((self.request, self.response, self.error)[kind]))

        def unnest(text: Any) -> Any:
            if type(text) is not str:
                raise RemoteProtocolError(
                    f"a payload is the text of a datum in a string; got a datum of type {type_name(text)}"
                )
            data = text.encode("utf-8", "surrogateescape")
            try:
                return loads(data, dialect=dialect, max_depth=depth)
            except ReadError as problem:
                return Unreadable(str(problem))

        def read(body: bytes) -> Any:
            if bare:
                return loads(b"(" + body + b"\n)", dialect=dialect, max_depth=depth + 8)
            value, end = parse(body, 0, dialect=dialect, max_depth=depth + 8)
            if skip_atmosphere(body, end) != len(body):
                raise RemoteProtocolError(f"{len(body) - end} bytes after the message, at byte {end}")
            return value

        def decode(body: bytes) -> tuple[int, int, Any]:
            try:
                value = read(body)
            except ReadError as problem:
                return broken(body, problem)
            for kind in order:
                found: dict[str, Any] = {}
                shape, several = shapes[kind]
                candidate = value[0] if bare and not several and len(value) == 1 else value
                if not match(shape, candidate, found):
                    continue
                if kind == ERROR:
                    text = found["MESSAGE"]
                    if type(text) is not str:
                        continue
                    if self.message == "text":
                        text = unnest(text)
                        if type(text) is not str:
                            continue
                    return kind, self._read_id(found["ID"]), text
                datum = found["DATUM"]
                return kind, self._read_id(found["ID"]), unnest(datum) if nested else datum
            raise RemoteProtocolError(
                f"a message that has none of the shapes {self.request}, {self.response}, {self.error}: {body[:60]!r}"
            )

        heads = {
            kind: shape for kind, (shape, several) in shapes.items()
            if not several and isinstance(shape, list) and len(shape) == 3 and shape[2] in HOLES
        }  # fmt: skip

        def broken(body: bytes, problem: ReadError) -> tuple[int, int, Any]:
            """Only its request fails if it can be told which one that is, and where the message ends."""
            if len(heads) == 3 and body.rstrip(WHITE_SPACE).endswith(b")"):
                try:
                    head, _ = read_list_head(body, 2, dialect=dialect)
                except ReadError:
                    head = []
                for kind, shape in heads.items():
                    found: dict[str, Any] = {}
                    if match(shape[:2], head, found) and "ID" in found:
                        return kind, self._read_id(found["ID"]), Unreadable(str(problem))
            # What no `read` takes stands in place of the datum, or in it: `(#<thread: t> request 3)`.
            shown = legible(body)
            if shown is not None:
                try:
                    value = read(shown)
                except ReadError:
                    value = None
                for kind in order:
                    found = {}
                    shape, several = shapes[kind]
                    if match(shape, value[0] if bare and not several and len(value) == 1 else value, found):
                        return kind, self._read_id(found["ID"]), Unreadable(str(problem))
            raise RemoteProtocolError(f"a message that does not read: {problem}") from None

        return MessageCodec(request=request, response=response, error=error, decode=decode)


_DIGITS = {10: re.compile(r"[0-9]{1,19}\Z"), 16: re.compile(r"[0-9a-f]{1,15}\Z")}

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
    """A format without an ID is no format: `% id` would fail."""
    return text if b"%" in text.replace(b"%%", b"") else _Constant(text.replace(b"%%", b"%"))


class _Constant(bytes):
    """Bytes that take an ID and ignore it."""

    def __mod__(self, _: Any) -> bytes:
        return bytes(self)
