"""The part of CHICKEN's external representation that a peer needs, in plain Python.

What it knows: how CHICKEN 4 writes and reads a datum. A Scheme string is a run of bytes; here it is a `str` with one
character per byte (Latin-1), so nothing is ever lost or refused. `list` is a proper list, `tuple` a vector, `bytes` a
blob, `None` the unspecified value.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_DIGITS = 4_300  # of a number; a longer one makes its request fail
MAX_DEPTH = 10_000  # of nesting; a deeper datum makes its request fail


class ReadError(ValueError):
    """Bytes that are not a datum."""


class Incomplete(ReadError):
    """The text ends in the middle of a datum, or does not contain one."""


class WriteError(ValueError):
    """A value that has no external representation."""


class Symbol(str):
    """A symbol, by its name."""


class Keyword(str):
    """A keyword, by its name without the colon."""


@dataclass(frozen=True)
class Char:
    """A character, by its code point (CHICKEN 4's are bytes when they come from a string)."""

    code: int


@dataclass
class Dotted:
    """A list that does not end in the empty list."""

    items: list[Any]
    tail: Any


@dataclass
class Numbers:
    """A SRFI-4 vector: its tag (`u8` … `f64`) and its elements."""

    tag: str
    items: list[Any]


class Eof:
    """The end-of-file object, `#!eof`."""


EOF = Eof()

NAMES = {
    "space": 32, "newline": 10, "linefeed": 10, "tab": 9, "return": 13, "nul": 0, "null": 0, "alarm": 7, "vtab": 11,
    "backspace": 8, "delete": 127, "escape": 27, "esc": 27, "altmode": 27, "page": 12,
}  # fmt: skip
CHAR_NAMES = {
    32: "space", 10: "newline", 9: "tab", 13: "return", 0: "null", 7: "alarm", 11: "vtab", 8: "backspace",
    127: "delete", 27: "escape", 12: "page",
}  # fmt: skip
ESCAPES = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
STRING_ESCAPES = {ord(v): "\\" + k for k, v in ESCAPES.items()} | {34: '\\"', 92: "\\\\"}
for _code in (*range(32), 127):
    STRING_ESCAPES.setdefault(_code, f"\\x{_code:02x}")
SYMBOL_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256))} | {124: "\\|", 92: "\\\\"}

_UREAL = r"(?:\d+/\d+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_REAL = rf"(?:[+-]?{_UREAL}|[+-](?:inf|nan)\.0)"
INTEGER = re.compile(r"[+-]?\d+\Z")
RATIO = re.compile(r"[+-]?\d+/\d+\Z")
FLONUM = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z")
SPECIAL = re.compile(r"([+-])(inf|nan)\.0\Z")
# What any CHICKEN could read as a number, including complex ones: such a symbol is written with bars.
NUMBER_LIKE = re.compile(rf"(?:{_REAL}|{_REAL}@{_REAL}|{_REAL}?[+-](?:{_UREAL}|(?:inf|nan)\.0)?i)\Z")
NUMBER = re.compile(rf"{_REAL}\Z")
PLAIN = re.compile(r"""[^\x00-\x20()\[\]{}"';,|\\`#][^\x00-\x20()\[\]{}"';,|\\`]*\Z""")

_SPACE = " \t\n\v\f\r"
_DELIMITER = set(_SPACE + "()[]{}\";',")
_CLOSER = {"(": ")", "[": "]", "{": "}"}
_QUOTES = {"'": "quote", "`": "quasiquote", ",": "unquote", ",@": "unquote-splicing"}


# ---------------------------------------------------------------------------------------------- reading


def skip_blank(text: str, at: int) -> int:
    """The position after white space and whole comments (line and block; `#;` is the reader's)."""
    while at < len(text):
        if text[at] in _SPACE:
            at += 1
        elif text[at] == ";":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
        elif text.startswith("#|", at):
            depth, at = 1, at + 2
            while depth:
                opened, closed = text.find("#|", at), text.find("|#", at)
                if closed < 0:
                    raise Incomplete(f"a block comment is never closed (at byte {at})")
                depth += 1 if 0 <= opened < closed else -1
                at = (opened if 0 <= opened < closed else closed) + 2
        else:
            break
    return at


def read(text: str, at: int = 0) -> tuple[Any, int]:
    """Read one datum of `text` from position `at`. Returns it and the position after it.

    There is no recursion: what is open is on a list of frames (kind, closing bracket, items so far).
    """
    frames: list[tuple[str, str, list[Any]]] = []
    while True:
        at = skip_blank(text, at)
        if at >= len(text):
            raise Incomplete(f"the text ends inside a datum (at byte {at})")
        char = text[at]
        done: list[Any]  # the finished value, in a list since any value is possible
        if char in ")]}":
            if not frames or frames[-1][1] != char:
                raise ReadError(f"a {char!r} that closes nothing (at byte {at})")
            kind, _, items = frames.pop()
            at += 1
            done = [_finish(kind, items, at)]
        elif char in _CLOSER:
            frames.append(("list", _CLOSER[char], []))
            at += 1
            done = []
        elif char in "'`,":
            mark = ",@" if text.startswith(",@", at) else char
            frames.append((_QUOTES[mark], "", []))
            at += len(mark)
            done = []
        elif text.startswith("#;", at):
            frames.append(("#;", "", []))
            at += 2
            done = []
        elif opener := re.compile(r"#([us](?:8|16|32)|f32|f64)?\(").match(text, at):
            frames.append((opener[1] or "vector", ")", []))
            at = opener.end()
            done = []
        else:
            value, at = _atom(text, at)
            if isinstance(value, _Dot):
                if not frames or frames[-1][0] != "list" or not frames[-1][2]:
                    raise ReadError(f"a dot out of place (at byte {at})")
                frames[-1][2].append(value)
                continue
            done = [value]
        if len(frames) > MAX_DEPTH + 1:  # the outermost list is the message, which does not count
            raise ReadError(f"nested deeper than {MAX_DEPTH}")
        while done:  # give the value to what is open; it completes a quote, which is a value itself
            if not frames:
                return done[0], at
            kind, _, items = frames[-1]
            if kind in _QUOTES.values():
                frames.pop()
                done = [[Symbol(kind), done[0]]]
            elif kind == "#;":
                frames.pop()
                done = []
            else:
                items.append(done.pop())


class _Dot:
    pass


def _finish(kind: str, items: list[Any], at: int) -> Any:
    dots = [i for i, item in enumerate(items) if isinstance(item, _Dot)]
    if kind == "list":
        if not dots:
            return items
        if dots != [len(items) - 2]:
            raise ReadError(f"a dot that is not followed by exactly one datum (at byte {at})")
        head, tail = items[:-2], items[-1]
        if isinstance(tail, list):
            return head + tail
        if isinstance(tail, Dotted):
            return Dotted(head + tail.items, tail.tail)
        return Dotted(head, tail)
    if kind == "vector":
        return tuple(items)
    real = kind.startswith("f")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, float) if real else int):
            raise ReadError(f"an element that a {kind}vector cannot hold (before byte {at})")
        bits = int(kind[1:])
        low, high = (0, 1 << bits) if kind[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
        if not real and not low <= item < high:
            raise ReadError(f"{item} does not fit a {kind}vector (before byte {at})")
    if kind == "f32":
        try:
            items = list(struct.unpack(f"{len(items)}f", struct.pack(f"{len(items)}f", *items)))
        except OverflowError:
            raise ReadError(f"a number too large for an f32vector (before byte {at})") from None
    return Numbers(kind, [float(item) for item in items] if real else items)


def _atom(text: str, at: int) -> tuple[Any, int]:
    if text[at] == '"':
        return _quoted(text, at + 1, '"')
    if text.startswith("#\\", at):
        end = at + 3
        while end < len(text) and text[end] not in _DELIMITER:
            end += 1
        return Char(_character(text[at + 2 : end], at)), end
    if text.startswith("#${", at):
        end = text.find("}", at)
        if end < 0:
            raise Incomplete(f"a blob is never closed (at byte {at})")
        try:
            return bytes.fromhex(text[at + 3 : end]), end + 1
        except ValueError:
            raise ReadError(f"a blob with something else than hexadecimal digits (at byte {at})") from None
    if text.startswith("#<", at):
        if text.startswith("#<unspecified>", at):
            return None, at + 14
        raise ReadError(f"#<...> is not a datum (at byte {at})")
    if text.startswith(("##", "#!", "#%"), at):
        return _special(text, at)
    if text[at] == "#" and text[at + 1 : at + 2] not in (":", "x", "b", "o", "d", "e", "i"):
        word = re.compile(r"#(true|false|[tTfF])").match(text, at)
        if not word:
            raise ReadError(f"unknown syntax after # (at byte {at})")
        return word[1][0] in "tT", word.end()
    return _token(text, at)


def _special(text: str, at: int) -> tuple[Any, int]:
    end = at
    while end < len(text) and text[end] not in _DELIMITER:
        end += 1
    plain = text[at:end]  # in it, bars and backslashes are bytes like others
    if plain == "#!eof":
        return EOF, end
    if plain in ("#!optional", "#!rest", "#!key") or (plain.startswith("#%") and "\0" not in plain):
        return Symbol(plain), end
    prefix, found, rest = plain[2:].partition("#")
    if plain.startswith("#!") or not found or len(prefix) > 31 or "\0" in plain:
        raise ReadError(f"unknown {plain!r} (at byte {at})")
    return (Symbol(chr(len(prefix)) + prefix + rest) if prefix else Keyword(rest)), end


def _token(text: str, at: int) -> tuple[Any, int]:
    start, name, barred = at, [], False
    while at < len(text) and text[at] not in _DELIMITER:
        if text[at] == "|":
            part, at = _quoted(text, at + 1, "|")
            name.append(part)
            barred = True
        elif text[at] == "\\" and at + 1 < len(text):
            name.append(text[at + 1])
            at += 2
            barred = True
        else:
            name.append(text[at])
            at += 1
    word, plain = "".join(name), text[start:at]
    if plain.startswith("#:"):
        return Keyword(word[2:]), at
    if plain.startswith("#"):
        return _prefixed(plain, start), at
    if plain.endswith(":") and len(plain) > 1:
        return Keyword(word[:-1]), at
    if barred:
        return Symbol(word), at
    if plain == ".":
        return _Dot(), at
    if INTEGER.match(plain):
        if (digits := len(plain.lstrip("+-"))) > MAX_DIGITS:
            raise ReadError(f"a number of {digits} digits (at byte {start})")
        return int(plain), at
    if RATIO.match(plain) and not re.search(r"/0+\Z", plain):
        ratio = Fraction(plain)
        return (ratio.numerator if ratio.denominator == 1 else float(ratio)), at
    if FLONUM.match(plain):
        return float(plain), at
    if special := SPECIAL.match(plain):
        return (math.nan if special[2] == "nan" else math.inf if special[1] == "+" else -math.inf), at
    return Symbol(word), at


def _prefixed(plain: str, at: int) -> Any:
    base = {"#x": 16, "#b": 2, "#o": 8, "#d": 10}.get(plain[:2])
    try:
        if base == 10 or plain[1] == "i":
            value = float(plain[2:])
            return int(value) if base and value.is_integer() and "." not in plain else value
        if base is not None and re.fullmatch(r"[+-]?\w+", plain[2:]) and "_" not in plain and len(plain) < 4_000:
            return int(plain[2:], base)
    except ValueError:
        pass
    raise ReadError(f"unknown syntax after # (at byte {at})")


def _quoted(text: str, at: int, closer: str) -> tuple[str, int]:
    """The body of a string, or of a symbol between bars: CHICKEN escapes both in the same way."""
    out: list[str] = []
    stop = re.compile(r"[\\" + closer + "]")
    while True:
        found = stop.search(text, at)
        if not found:
            raise Incomplete(f"a {closer}...{closer} is never closed (at byte {at})")
        out.append(text[at : found.start()])
        at = found.end()
        if found[0] == closer:
            return "".join(out), at
        if number := re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})").match(
            text, at
        ):
            if number[1]:
                out.append(chr(int(number[1], 16)))
            elif number[4]:
                out.append(chr(int(number[4], 8)))
            else:
                out.append(_utf8(int(number[2] or number[3], 16), at))
            at = number.end()
        elif blank := re.compile(r"[ \t]*\n[ \t]*").match(text, at):
            at = blank.end()
        elif text[at : at + 1] in ESCAPES:
            out.append(ESCAPES[text[at]])
            at += 1
        elif at >= len(text) or text[at] in "xuU01234567":
            raise ReadError(f"an unknown escape (at byte {at - 1})")
        else:
            out.append(text[at])
            at += 1


def _utf8(code: int, at: int) -> str:
    try:
        return chr(code).encode().decode("latin-1")
    except (ValueError, OverflowError):
        raise ReadError(f"U+{code:X} is not a character (at byte {at})") from None


def _character(name: str, at: int) -> int:
    if len(name) == 1:
        return ord(name)
    if name in NAMES:
        return NAMES[name]
    if re.fullmatch(r"[xuU][0-9a-fA-F]{1,8}", name):
        return int(name[1:], 16)
    try:
        char = name.encode("latin-1").decode()
    except UnicodeDecodeError:
        char = ""
    if len(char) != 1:
        raise ReadError(f"no character is named {name!r} (at byte {at})")
    return ord(char)


# ---------------------------------------------------------------------------------------------- writing


def write(value: Any) -> str:
    """The external representation of a value, as one line. Walks with a list of its own, not by recursion."""
    out: list[str] = []
    todo: list[Any] = [value]
    opened: set[int] = set()
    while todo:
        item = todo.pop()
        if isinstance(item, _Text):
            out.append(item.text)
            if item.closes is not None:
                opened.discard(item.closes)
            continue
        if isinstance(item, list | tuple | Dotted):
            if id(item) in opened:
                raise WriteError("a circular structure has no external representation")
            opened.add(id(item))
            parts = item.items if isinstance(item, Dotted) else item
            out.append("#(" if isinstance(item, tuple) else "(")
            todo.append(_Text(")", id(item)))
            if isinstance(item, Dotted):
                todo += [item.tail, _Text(" . ")]
            for index in range(len(parts) - 1, -1, -1):
                todo.append(parts[index])
                if index:
                    todo.append(_Text(" "))
        else:
            out.append(_write_atom(item))
    return "".join(out)


@dataclass
class _Text:
    text: str
    closes: int | None = None


def _write_atom(value: Any) -> str:
    if value is None:
        return "()"
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, int):
        if not -(1 << 62) <= value < 1 << 62:
            raise WriteError(f"an integer of {value.bit_length()} bits is not a fixnum")
        return str(value)
    if isinstance(value, float):
        return write_flonum(value)
    if isinstance(value, Keyword):
        return write_keyword(value)
    if isinstance(value, Symbol):
        return write_symbol(value)
    if isinstance(value, str):
        return '"' + value.translate(STRING_ESCAPES) + '"'
    if isinstance(value, bytes):
        return "#${" + value.hex() + "}"
    if isinstance(value, Char):
        if value.code in CHAR_NAMES:
            return "#\\" + CHAR_NAMES[value.code]
        return f"#\\x{value.code:x}" if value.code < 32 or value.code > 255 else "#\\" + chr(value.code)
    if isinstance(value, Numbers):
        return f"#{value.tag}({' '.join(map(_write_atom, value.items))})"
    if value is EOF:
        return "#!eof"
    raise WriteError(f"{value!r} has no external representation")


def write_symbol(name: str) -> str:
    """A symbol's name, between bars if it would be read as something else."""
    plain = (
        PLAIN.match(name) and not NUMBER_LIKE.match(name) and name != "." and not (name.endswith(":") and len(name) > 1)
    )
    return name if plain else "|" + name.translate(SYMBOL_ESCAPES) + "|"


def write_keyword(name: str) -> str:
    """A keyword, between bars if CHICKEN 4 reads its name as a number (it does not know complex or too large ones)."""
    number = NUMBER.match(name) and not (FLONUM.match(name) and math.isinf(float(name)))
    if name == ":" or (NUMBER_LIKE.match(name) and not number):
        return name + ":"
    return write_symbol(name) + ":" if name else "#:||"


def write_flonum(value: float) -> str:
    """The shortest of 15, 16 and 17 digits, in C's `%g`, that is read back as the same number."""
    if math.isnan(value) or math.isinf(value):
        return "+nan.0" if math.isnan(value) else "+inf.0" if value > 0 else "-inf.0"
    text = next(text for digits in (15, 16, 17) if float(text := f"{value:.{digits}g}") == value)
    return text if "." in text or "e" in text else text + ".0"
