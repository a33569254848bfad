"""S-expressions as CHICKEN writes and reads them: the values, a writer per dialect, a reader that can be interrupted.

Written from the vectors' README alone and checked against the vectors. It knows the external representation; it
knows nothing of packets or messages. The reader takes what the writers here make and what people type into a script;
it is not a conformance reader (`#<unspecified>` is read, because peers send it).

Strings, symbols and keywords are Python `str`, whose bytes are UTF-8 with surrogate escapes: every byte string has one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CHICKEN_4",
    "CHICKEN_4_EXACT",
    "CHICKEN_5",
    "DIALECTS",
    "EOF",
    "BadDatum",
    "Char",
    "Datum",
    "Dotted",
    "Incomplete",
    "Keyword",
    "Numbers",
    "Symbol",
    "Unwritable",
    "from_bytes",
    "read",
    "read_all",
    "read_prefix",
    "same",
    "to_bytes",
    "write",
]

CHICKEN_4 = "chicken-4"
CHICKEN_4_EXACT = "chicken-4-exact"
CHICKEN_5 = "chicken-5"
DIALECTS = (CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5)


class BadDatum(ValueError):
    """These bytes are not a datum."""


class Incomplete(BadDatum):
    """The bytes end before the datum does."""


class Unwritable(ValueError):
    """The value cannot be written in this dialect."""


@dataclass(frozen=True)
class Symbol:
    name: str


@dataclass(frozen=True)
class Keyword:
    name: str


@dataclass(frozen=True)
class Char:
    code: int


@dataclass(frozen=True)
class Dotted:
    """A list whose end is not the empty list: `items`, then `tail`."""

    items: tuple
    tail: Any


@dataclass(frozen=True)
class Numbers:
    """An SRFI-4 vector: `tag` is `u8` … `f64`."""

    tag: str
    items: tuple


@dataclass(frozen=True)
class EndOfFile:
    """The value of `#!eof`."""


EOF = EndOfFile()

Datum = bool | int | float | str | bytes | list | tuple | Symbol | Keyword | Char | Dotted | Numbers | EndOfFile | None
"""None is the unspecified value, `list` a proper list, `tuple` a vector, `bytes` a blob."""


def to_bytes(text: str) -> bytes:
    """The bytes of a Scheme string or name."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """The string or name that has these bytes."""
    return data.decode("utf-8", "surrogateescape")


def same(one: Datum, other: Datum) -> bool:
    """Whether two datums are the same; `1`, `1.0` and `#t` differ, NaN is itself, None is the empty list."""
    if one is None or other is None:
        return one in (None, []) and other in (None, [])
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (one == other or (one != one and other != other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Dotted):
        return same(one.items, other.items) and same(one.tail, other.tail)
    if isinstance(one, Numbers):
        return one.tag == other.tag and same(one.items, other.items)
    return one == other


# --- writing ---------------------------------------------------------------------------------------------------------

FIXNUM = range(-(2**62), 2**62)
"""Exact numbers of CHICKEN 4 on 64 bits."""

STRING_ESCAPES = {
    7: b"\\a",
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    11: b"\\v",
    12: b"\\f",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}
STRING_BYTES = [
    STRING_ESCAPES.get(byte, b"\\x%02x" % byte if byte < 32 or byte == 127 else bytes([byte])) for byte in range(256)
]

CHARACTER_NAMES = {
    0: "null",
    7: "alarm",
    8: "backspace",
    9: "tab",
    10: "newline",
    11: "vtab",
    12: "page",
    13: "return",
    27: "escape",
    32: "space",
    127: "delete",
}

NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+/[0-9]+|[+-](?:inf|nan)\.0")
ONLY_5_NUMBERS = (b"+i", b"-i")
SPECIAL_IN_SYMBOLS = frozenset(b"()[]{}'`,;|\\\" ") | frozenset(range(32))


def write(value: Datum, dialect: str = CHICKEN_4) -> bytes:
    """What `(write value)` prints.

    Raises:
        Unwritable: a value in it cannot be written in the dialect.
    """
    out: list[bytes] = []
    _write(value, dialect, out)
    return b"".join(out)


def _write(value: Any, dialect: str, out: list[bytes]) -> None:
    if value is None:
        out.append(b"()")
    elif isinstance(value, bool):
        out.append(b"#t" if value else b"#f")
    elif isinstance(value, int):
        if dialect != CHICKEN_5 and value not in FIXNUM:
            raise Unwritable(f"{value} is not a fixnum of CHICKEN 4")
        out.append(b"%d" % value)
    elif isinstance(value, float):
        out.append(_flonum(value, dialect))
    elif isinstance(value, str):
        out.append(b'"' + b"".join(map(STRING_BYTES.__getitem__, to_bytes(value))) + b'"')
    elif isinstance(value, bytes):
        out.append(b"#${" + value.hex().encode() + b"}")
    elif isinstance(value, Symbol):
        out.append(_symbol(to_bytes(value.name), dialect))
    elif isinstance(value, Keyword):
        name = _keyword_name(to_bytes(value.name), dialect)
        out.append(b"#:" + name if dialect == CHICKEN_5 else name + b":")
    elif isinstance(value, Char):
        out.append(_character(value.code))
    elif isinstance(value, list):
        _write_items(b"(", value, dialect, out)
        out.append(b")")
    elif isinstance(value, tuple):
        _write_items(b"#(", value, dialect, out)
        out.append(b")")
    elif isinstance(value, Dotted):
        _write_items(b"(", value.items, dialect, out)
        out.append(b" . ")
        _write(value.tail, dialect, out)
        out.append(b")")
    elif isinstance(value, Numbers):
        opening = b"#" + value.tag.encode() + b"("
        if value.tag.startswith("f"):
            _write_items(opening, value.items, dialect, out)
            out.append(b")")
        else:
            out.append(opening + " ".join(map(str, value.items)).encode() + b")")
    elif value is EOF:
        out.append(b"#!eof")
    else:
        raise Unwritable(f"no external representation: {type(value).__name__}")


def _write_items(opening: bytes, items: Any, dialect: str, out: list[bytes]) -> None:
    out.append(opening)
    for index, item in enumerate(items):
        if index:
            out.append(b" ")
        _write(item, dialect, out)


def _flonum(value: float, dialect: str) -> bytes:
    if value != value:
        return b"+nan.0"
    if math.isinf(value):
        return b"+inf.0" if value > 0 else b"-inf.0"
    if dialect == CHICKEN_5 and value.is_integer() and 1e15 <= abs(value) < 1e21:
        return b"%.1f" % value
    text = b"%.15g" % value
    if dialect == CHICKEN_4:
        text = next(text for digits in (15, 16, 17) if float(text := b"%.*g" % (digits, value)) == value)
    return text if b"." in text or b"e" in text else text + b".0"


def _symbol(name: bytes, dialect: str) -> bytes:
    if dialect == CHICKEN_4_EXACT and len(name) == 1 and name < b" ":
        return b"||:" if name == b"\0" else name  # faults of CHICKEN 4's own
    return _barred(name) if _needs_bars(name, dialect) else name


def _keyword_name(name: bytes, dialect: str) -> bytes:
    plain = not (SPECIAL_IN_SYMBOLS.intersection(name) or name.startswith(b"#") or not name)
    return name if plain else _barred(name)


def _needs_bars(name: bytes, dialect: str) -> bool:
    if not name or name == b"." or name.startswith(b"#") or SPECIAL_IN_SYMBOLS.intersection(name):
        return True
    if name.endswith(b":") and len(name) > 1:
        return True
    if dialect == CHICKEN_5 and name.startswith(b":") and len(name) > 1:
        return True
    if dialect != CHICKEN_4_EXACT and name in ONLY_5_NUMBERS:
        return True
    return NUMBER.fullmatch(name) is not None


def _barred(name: bytes) -> bytes:
    return b"|" + b"".join(b"\\x%02x" % c if c < 32 else b"\\" * (c in b"|\\") + bytes([c]) for c in name) + b"|"


def _character(code: int) -> bytes:
    if code in CHARACTER_NAMES:
        return b"#\\" + CHARACTER_NAMES[code].encode()
    return b"#\\x%x" % code if code < 32 or code > 255 else b"#\\" + bytes([code])


# --- reading ---------------------------------------------------------------------------------------------------------

WHITE_SPACE = b" \t\n\r\f\v"
TOKEN_END = re.compile(rb"[ \t\n\r\f\v()\[\]{}\"';`,|]")
STRING_STOP = re.compile(rb'["\\]')
PLAIN_NUMBERS = re.compile(rb"(?:-?[0-9]+ ?)*")
BAR_STOP = re.compile(rb"[|\\]")
CLOSING = {ord("("): ord(")"), ord("["): ord("]"), ord("{"): ord("}")}
CHARACTER_CODES = {name: code for code, name in CHARACTER_NAMES.items()} | {
    "nul": 0,
    "linefeed": 10,
    "altmode": 27,
    "rubout": 127,
}
STRING_UNESCAPES = {text[1]: byte for byte, text in STRING_ESCAPES.items()}
ABBREVIATIONS = {b"'": "quote", b"`": "quasiquote", b",": "unquote", b",@": "unquote-splicing"}
SIZES = {"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"}
RADIXES = {"b": 2, "o": 8, "d": 10, "x": 16}
UNREADABLE = {b"unspecified": None}


def read_prefix(data: bytes, at: int = 0, *, at_end: bool = False) -> tuple[Datum, int]:
    """The first datum in `data` from `at` on, and the index behind it.

    Args:
        data: the bytes.
        at: where to begin.
        at_end: nothing will follow, so that a token at the very end is complete.

    Raises:
        Incomplete: it has not ended yet.
        BadDatum: it is none.
    """
    return _Reader(bytes(data), at, at_end).datum()


def read(data: bytes | str) -> Datum:
    """The one datum that `data` is, with white space and comments around it at most.

    Raises:
        BadDatum: it is not exactly one.
    """
    values = read_all(data)
    if len(values) != 1:
        raise BadDatum(f"{len(values)} datums where one belongs")
    return values[0]


def read_all(data: bytes | str) -> list[Datum]:
    """Every datum of a text, such as a script."""
    reader = _Reader(to_bytes(data) if isinstance(data, str) else bytes(data), 0, True)
    values = []
    while reader.skip():
        values.append(reader.datum()[0])
    return values


class _Reader:
    def __init__(self, data: bytes, at: int, at_end: bool) -> None:
        self.data = data
        self.at = at
        self.at_end = at_end

    def skip(self) -> bool:
        """Past white space and comments; False at the end."""
        data, size = self.data, len(self.data)
        while self.at < size:
            byte = data[self.at]
            if byte in WHITE_SPACE:
                self.at += 1
            elif byte == 0x3B:  # ;
                end = data.find(b"\n", self.at)
                self.at = size if end < 0 else end + 1
            elif data.startswith(b"#|", self.at):
                self.at = self._past_block_comment()
            elif data.startswith(b"#;", self.at):
                self.at += 2
                self.datum()
            else:
                return True
        return False

    def _past_block_comment(self) -> int:
        depth, at = 0, self.at
        for match in re.compile(rb"#\||\|#").finditer(self.data, at):
            depth += 1 if match.group() == b"#|" else -1
            if not depth:
                return match.end()
        raise Incomplete("a comment does not end")

    def datum(self) -> tuple[Datum, int]:
        if not self.skip():
            raise Incomplete("no datum yet")
        value = self._datum()
        return value, self.at

    def _peek(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count and not self.at_end:
            raise Incomplete("the bytes end inside a token")
        return found

    def _datum(self) -> Datum:
        byte = self.data[self.at]
        if byte in CLOSING:
            self.at += 1
            return self._list(CLOSING[byte])
        if byte in b")]}":
            raise BadDatum(f"a closing bracket with nothing open, at byte {self.at}")
        if byte == 0x22:
            return self._string()
        if byte in b"'`,":
            mark = b",@" if byte == 0x2C and self._peek(2) == b",@" else bytes([byte])
            self.at += len(mark)
            return [Symbol(ABBREVIATIONS[mark]), self.datum()[0]]
        if byte == 0x23:
            return self._hash()
        return self._atom()

    def _items(self, closing: int) -> tuple[list, Any, bool]:
        items: list = []
        while True:
            if not self.skip():
                raise Incomplete("a list does not end")
            byte = self.data[self.at]
            if byte == closing:
                self.at += 1
                return items, None, False
            if byte == 0x2E and self._lone_dot():
                self.at += 1
                if not items:
                    raise BadDatum("a dot with nothing before it")
                tail = self.datum()[0]
                if not self.skip():
                    raise Incomplete("a list does not end")
                if self.data[self.at] != closing:
                    raise BadDatum("more than one datum behind the dot")
                self.at += 1
                return items, tail, True
            items.append(self._datum())

    def _lone_dot(self) -> bool:
        return TOKEN_END.match(self._peek(2)[1:]) is not None

    def _list(self, closing: int) -> Datum:
        items, tail, dotted = self._items(closing)
        if not dotted or tail == []:
            return items
        if isinstance(tail, list):
            return items + tail
        if isinstance(tail, Dotted):
            return Dotted(tuple(items) + tail.items, tail.tail)
        return Dotted(tuple(items), tail)

    def _string(self) -> str:
        out, at, data = bytearray(), self.at + 1, self.data
        while True:
            stop = STRING_STOP.search(data, at)
            if stop is None:
                raise Incomplete("a string does not end")
            out += data[at : stop.start()]
            at = stop.end()
            if stop.group() == b'"':
                self.at = at
                return from_bytes(bytes(out))
            if at >= len(data):
                raise Incomplete("a string does not end")
            at = self._escape(at, out)

    def _escape(self, at: int, out: bytearray) -> int:
        """Adds what the escape at `at` (behind the backslash) stands for; returns the index behind it."""
        byte = self.data[at]
        if byte in STRING_UNESCAPES:
            out.append(STRING_UNESCAPES[byte])
            return at + 1
        width = {0x78: 2, 0x75: 4, 0x55: 8}.get(byte)
        if width is None:
            raise BadDatum(f"an unknown escape in a string, at byte {at}")
        digits = self.data[at + 1 : at + 1 + width]
        if len(digits) < width:
            raise Incomplete("a string does not end")
        try:
            code = int(digits, 16)
        except ValueError:
            raise BadDatum(f"{width} hexadecimal digits belong at byte {at + 1}") from None
        out += bytes([code]) if width == 2 else chr(code).encode("utf-8", "surrogatepass")
        return at + 1 + width

    def _token(self) -> bytes:
        """Bytes up to what ends a token; parts between bars are kept with their bars."""
        start, at, data = self.at, self.at, self.data
        while True:
            stop = TOKEN_END.search(data, at)
            if stop is None:
                if not self.at_end:
                    raise Incomplete("a token has not ended")
                self.at = len(data)
                return data[start:]
            if stop.group() != b"|":
                self.at = stop.start()
                return data[start : self.at]
            at = stop.end()
            while True:
                bar = BAR_STOP.search(data, at)
                if bar is None:
                    raise Incomplete("a symbol does not end")
                at = bar.end()
                if bar.group() == b"|":
                    break
                at += 1

    def _atom(self) -> Datum:
        token = self._token()
        if NUMBER.fullmatch(token):
            return _number(token)
        if token.endswith(b":") and len(token) > 1 and token != b"||:":
            return Keyword(_name(token[:-1]))
        return Symbol(_name(token))

    def _hash(self) -> Datum:
        two = self._peek(2)
        if two == b"#(":
            self.at += 2
            return tuple(self._list(ord(")")))
        if two == b"#$":
            return self._blob()
        if two == b"#\\":
            return self._character()
        if two == b"#:":
            self.at += 2
            return Keyword(_name(self._token()))
        if two == b"#<":
            end = self.data.find(b">", self.at)
            if end < 0:
                raise Incomplete("an unreadable value does not end")
            name, self.at = self.data[self.at + 2 : end], end + 1
            if name not in UNREADABLE:
                raise BadDatum(f"unreadable: #<{from_bytes(name)}>")
            return UNREADABLE[name]
        token = self._token()
        word = token[1:].decode("ascii", "replace")
        if word[:1] in RADIXES:
            try:
                return int(word[1:], RADIXES[word[0]])
            except ValueError:
                raise BadDatum(f"no number: {token!r}") from None
        if word in SIZES and self._peek(1) == b"(":
            self.at += 1
            return Numbers(word, self._numbers())
        if word in ("t", "true", "f", "false"):
            return word[0] == "t"
        if word == "!eof":
            return EOF
        raise BadDatum(f"unknown syntax: {token!r}")

    def _numbers(self) -> tuple:
        plain = PLAIN_NUMBERS.match(self.data, self.at)
        assert plain is not None
        end = plain.end()
        if end == len(self.data):
            raise Incomplete("a vector does not end")
        if self.data[end] != ord(")"):
            return tuple(self._list(ord(")")))  # flonums, or another way of writing
        self.at = end + 1
        return tuple(map(int, plain.group().split()))

    def _blob(self) -> bytes:
        end = self.data.find(b"}", self.at)
        if end < 0:
            raise Incomplete("a blob does not end")
        text, self.at = self.data[self.at + 2 : end], end + 1
        try:
            return bytes.fromhex(text[1:].decode("ascii"))
        except ValueError:
            raise BadDatum("a blob of something else than hexadecimal digits") from None

    def _character(self) -> Char:
        first = self._peek(3)[2:]
        if not first:
            raise Incomplete("no character")
        self.at += 3
        start = self.at
        token = first + (self._token() if self.at_end or start < len(self.data) else self._peek(1))
        if len(token) == 1:
            return Char(token[0])
        text = token.decode("utf-8", "surrogateescape")
        if text in CHARACTER_CODES:
            return Char(CHARACTER_CODES[text])
        if re.fullmatch("[xuU][0-9a-fA-F]+", text):
            return Char(int(text[1:], 16))
        if len(text) == 1:
            return Char(ord(text))
        raise BadDatum(f"unknown character: {token!r}")


def _number(token: bytes) -> int | float:
    if token.endswith(b".0") and token[1:4] in (b"inf", b"nan"):
        return float(token[:4])
    if b"/" in token:
        top, bottom = token.split(b"/")
        if not int(bottom):
            raise BadDatum("a fraction of zero parts")
        return int(top) // int(bottom) if int(top) % int(bottom) == 0 else int(top) / int(bottom)
    return float(token) if re.search(rb"[.eE]", token) else int(token)


def _name(token: bytes) -> str:
    """A symbol's name: bars taken off, escapes between them resolved."""
    if b"|" not in token:
        return from_bytes(token)
    out, at, inside = bytearray(), 0, False
    while at < len(token):
        byte = token[at]
        if byte == 0x7C:
            inside = not inside
        elif byte == 0x5C and inside and token[at + 1 : at + 2] == b"x":
            out.append(int(token[at + 2 : at + 4], 16))
            at += 3
        elif byte == 0x5C and inside:
            at += 1
            out += token[at : at + 1]
        else:
            out.append(byte)
        at += 1
    return from_bytes(bytes(out))
