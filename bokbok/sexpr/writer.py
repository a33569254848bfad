"""Values to bytes: what CHICKEN's `write` prints, or what both CHICKENs read back as the same value.

What this module knows: the spelling of every value in every dialect, and which values have none. Nothing is returned
unless the whole value can be written.

The text is gathered as a `str`, in which `surrogateescape` stands for bytes that are not valid UTF-8, and is encoded
once at the end. What is open is kept on a stack; the writer does not recurse.

Where others wait, it gives up what takes long (`TakesLong`). So it counts what it writes by the estimate of `memory`,
before it writes it: a container where it opens, so that a small atom costs nothing more.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, Literal

from sexpdata import Brackets, Delimiters, Parens, Quoted

from bokbok._later import pattern
from bokbok.errors import WriteError
from bokbok.sexpr.dialect import CHICKEN_4, DIALECTS, Dialect
from bokbok.sexpr.memory import ITEM, LIST_COST
from bokbok.sexpr.native import make_writer
from bokbok.sexpr.numbers import FIXNUM_MAX, FIXNUM_MIN, MAX_DIGITS, flonum_text, is_number
from bokbok.sexpr.pieces import UNLIMITED, TakesLong
from bokbok.sexpr.text import CHAR_NAMES, decode, encode
from bokbok.sexpr.types import Char, Dotted, EofType, Keyword, Symbol, is_fraction
from bokbok.sexpr.vectors import TAGS, tag_of

__all__ = ["dump", "dumps"]

# Quotes, backslashes and control characters of a string are escaped; bytes from 128 up are not.
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_ESCAPES: Final = {  # what is found most often first
    "\n": "\\n", '"': '\\"', "\\": "\\\\", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\v": "\\v", "\f": "\\f",
}  # fmt: skip
_ESCAPES.update((chr(code), f"\\x{code:02x}") for code in (*range(32), 127) if chr(code) not in _ESCAPES)
_ESCAPE_TABLE: Final = str.maketrans(_ESCAPES)
# Measured: from how many characters on a translation is faster than the regular expression, and a search for each
# character to be escaped, one after another, faster than a translation.
_LONG: Final = 256
_VERY_LONG: Final = 4096
_PART: Final = 1 << 16
"""Characters of a string, and elements of a vector, that are written in one go: some milliseconds, in which no other
thread runs."""
_SHORT: Final = 16
"""A list of at most this many items is tried on the fast path first: little is lost if the last item does not fit."""

# Symbols that no dialect puts bars round: they do not begin like a number, and hold neither a special character nor a
# colon.
_PLAIN_SYMBOL: Final = re.compile(r"[a-zA-Z!$%&*/<=>?@^_~][a-zA-Z0-9!#$%&*/<=>?@^_~.+\-]*")

# The characters that CHICKEN's printer treats as special in a symbol: everything up to the space, and these.
_SPECIAL: Final = pattern(rb"[\x00-\x20(),\[\]{}'\";`|\\]")
_NUMBER_STARTS: Final = frozenset(b"0123456789+.-")
_NUMBER_STARTS_OR_HASH: Final = _NUMBER_STARTS | {0x23}
_U8_TEXT: Final = [str(number) for number in range(256)]
_BARRED: Final = pattern(rb"[\x00-\x1f\x7f-\xff|\\]")
_HASH_SYMBOLS: Final = frozenset({b"#!rest", b"#!key", b"#!optional"})
_QUALIFIED: Final = pattern(rb"##[^#]", re.DOTALL)

_QUOTE: Final = Symbol("quote")


class _Dot:
    """The type of the mark that stands for a dot among the elements of a list."""


class _Refusal(Exception):
    """What is being written has no external representation; the argument says why. The caller knows where it is."""


_DOT: Final = _Dot()


def dumps(value: Any, *, dialect: Dialect = CHICKEN_4) -> bytes:
    """Writes a value.

    Args:
        value: what the table in the package's documentation has, nested as deep as you like. Instances of subclasses
            are written as those of the built-in types. `bytearray` and `memoryview` are blobs; `sexpdata.Quoted` is
            `(quote …)`.
        dialect: how.

    Returns:
        Its external representation, on one line.

    Raises:
        WriteError: if something in it has no external representation in the dialect: an integer that is not a fixnum
            for CHICKEN 4, a function, a list that holds itself, a string with a lone surrogate that does not stand for
            a byte. `path` says where it is.
    """
    return dumps_between("", value, "", dialect)


def dumps_between(before: str, value: Any, after: str, dialect: Dialect, most: int = UNLIMITED) -> bytes:
    """Writes a value between two texts, without copying it once more for that. Part of the low level.

    Args:
        before: what stands in front of it, as it is.
        value: as for `dumps`.
        after: what stands behind it.
        dialect: how.
        most: bytes of memory that may be written, by the estimate; see `BRIEF`.

    Raises:
        WriteError: as `dumps`.
        TakesLong: it is more than `most`.
    """
    if WRITE is not None and (written := WRITE(before, value, after, dialect.code, most)) is not None:
        return written
    try:
        if type(value) is str and 4 * len(value) <= most:
            if len(value) < _LONG and not _ESCAPED.search(value):  # most are so: in as few steps as there are
                return f'{before}"{value}"{after}'.encode("utf-8", "surrogateescape")
            return _encoded(f'{before}"{_escape_string(value, _ESCAPED.search)}"{after}')
        if type(value) is list and len(value) <= _SHORT:
            text = _plain_list(value)
            if text is not None:
                return f"{before}({text}){after}".encode("utf-8", "surrogateescape")
        return _joined(_write(before, value, after, dialect, _ESCAPED.search, most))
    except UnicodeEncodeError:
        # Some string holds a lone surrogate. Do it again, slowly, to find out which.
        return _joined(_write(before, value, after, dialect, _checked_search, most))


def dump(value: Any, file: IO[bytes], *, dialect: Dialect = CHICKEN_4) -> None:
    """Writes a value to a file. The same as writing what `dumps` returns: on an error, nothing is written.

    Args:
        value: as for `dumps`.
        file: a file open for writing bytes.
        dialect: how.

    Raises:
        WriteError: as `dumps`.
    """
    file.write(dumps(value, dialect=dialect))


def _plain_list(items: list[Any]) -> str | None:
    """The text of a list's items, if they are nothing but plain strings, fixnums and symbols, as most messages are."""
    texts: list[str] = []
    for item in items:
        kind = type(item)
        if kind is str and len(item) < _LONG and not _ESCAPED.search(item):
            texts.append(f'"{item}"')
        elif (kind is int and FIXNUM_MIN <= item <= FIXNUM_MAX) or (kind is Symbol and _PLAIN_SYMBOL.fullmatch(item)):
            texts.append(str(item))
        else:
            return None
    return " ".join(texts)


def _write(
    before: str, value: Any, after: str, dialect: Dialect, escaped: Callable[[str], object], left: int
) -> list[str]:
    """The text of a value, in pieces, each of them followed by a space or by the end of a list, which replaces it."""
    out: list[str] = [before]
    emit = out.append
    # What is open: each container with what iterates over its elements, and the identities of those containers.
    stack: list[tuple[Any, Iterator[Any]]] = []
    active: set[int] = set()
    container: Any = None
    elements: Iterator[Any] = iter((value,))
    plain_symbol = _PLAIN_SYMBOL.fullmatch
    bignums = dialect.version == 5
    try:
        while True:
            for item in elements:
                kind = type(item)
                if kind is str:
                    if len(item) < _LONG and not escaped(item):
                        emit(f'"{item}"')
                    else:
                        left = _take(left, len(item) if item.isascii() else 4 * len(item))
                        out += '"', _escape_string(item, escaped), '"'
                elif kind is int:
                    if FIXNUM_MIN <= item <= FIXNUM_MAX:
                        emit(str(item))
                    else:
                        left = _take(left, item.bit_length())
                        emit(_integer_text(item, bignums))
                elif kind is Symbol:
                    emit(item if plain_symbol(item) else _symbol_text(encode(item), dialect))
                else:
                    text: str | None
                    if kind is list:
                        text, opening, inner = None, "(", item
                    else:
                        if kind is not float:
                            left = _take(left, _weight(item))
                        text, opening, inner = _text_or_elements(item, dialect)
                    if text is not None:
                        emit(text)
                    elif inner:
                        identity = id(item)
                        if identity in active:
                            raise _Refusal("a cycle: this value is part of itself")
                        active.add(identity)
                        left -= LIST_COST + ITEM * len(inner)  # `_take`, without the call
                        if left < 0:
                            raise TakesLong
                        stack.append((container, elements))
                        container, elements = item, iter(inner)
                        emit(opening)
                        break
                    else:
                        emit(opening + ")")
                emit(" ")
            else:
                if not stack:
                    out[-1] = after
                    return out
                out[-1] = ")"
                emit(" ")
                active.remove(id(container))
                container, elements = stack.pop()
    except _Refusal as refusal:
        raise WriteError(str(refusal), _path([*stack, (container, elements)])) from None
    except UnicodeEncodeError as error:
        problem = f"lone surrogate U+{ord(error.object[error.start]):04X} that does not stand for a byte"
        raise WriteError(problem, _path([*stack, (container, elements)])) from None


def _joined(pieces: list[str]) -> bytes:
    """The bytes of some pieces of text."""
    if len(pieces) <= _PART:
        return _encoded("".join(pieces))
    # In parts, which are freed as they are joined: two million pieces take a tenth of a second, in which no other
    # thread runs.
    parts = []
    for start in range(0, len(pieces), _PART):
        part = pieces[start : start + _PART]
        pieces[start : start + _PART] = [""] * len(part)
        parts.append("".join(part).encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def _encoded(text: str) -> bytes:
    if len(text) <= _PART or text.isascii():
        return text.encode("utf-8", "surrogateescape")
    parts = (text[start : start + _PART] for start in range(0, len(text), _PART))
    return b"".join([part.encode("utf-8", "surrogateescape") for part in parts])


def _take(left: int, cost: int) -> int:
    """What is left of what may be written."""
    if cost > left:
        raise TakesLong
    return left - cost


def _weight(item: Any) -> int:
    """What an atom that is not a string, an integer, a flonum or a symbol has, that takes its time to be written."""
    if isinstance(item, array):
        return ITEM * len(item)
    if isinstance(item, (str, bytes, bytearray)):
        return len(item)
    return item.nbytes if isinstance(item, memoryview) else 0


def _checked_search(text: str) -> object:
    """Raises `UnicodeEncodeError` if the text has no bytes, else does what the fast path does."""
    encode(text)
    return _ESCAPED.search(text)


def _escape_string(text: str, escaped: Callable[[str], object]) -> str:
    """What stands between the quotes, for a string that is long, or in which something is escaped."""
    if text.isascii():
        if len(text) >= _VERY_LONG and not any(map(text.__contains__, _ESCAPES)):
            return text
        if len(text) <= _PART:
            return text.translate(_ESCAPE_TABLE)  # many times faster than the regular expression, if all is ASCII
    elif len(text) <= _PART:
        return _ESCAPED.sub(_escape, text) if escaped(text) else text
    # Other threads run in between: one translation, or one search, lets nobody.
    return "".join([_escape_string(text[start : start + _PART], escaped) for start in range(0, len(text), _PART)])


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES[match[0]]


def _integer_text(value: int, bignums: bool) -> str:
    if not bignums and not FIXNUM_MIN <= value <= FIXNUM_MAX:
        raise _Refusal("integer that is not a fixnum (-2**62 to 2**62 - 1), and CHICKEN 4 has no larger ones")
    try:
        text = str(value)
    except ValueError:  # beyond what this process converts
        text = ""
    if not 0 < len(text) <= MAX_DIGITS + (value < 0):
        raise _Refusal(f"integer of more than {MAX_DIGITS:,} digits")
    return text


def _text_or_elements(item: Any, dialect: Dialect) -> tuple[str | None, str, Sequence[Any]]:
    """What is not a plain `str`, `int`, `Symbol` or `list`: its text; or how it opens, and its elements."""
    if item is None:
        return "()", "", ()
    if item is True:
        return "#t", "", ()
    if item is False:
        return "#f", "", ()
    kind = type(item)
    if kind is float:
        return flonum_text(item, dialect.version, dialect.exact), "", ()
    if kind is Keyword:
        return _keyword_text(encode(item.name), dialect), "", ()
    if kind is bytes:
        return f"#${{{item.hex()}}}", "", ()
    if kind is tuple:
        return None, "#(", item
    if kind is Char:
        return _char_text(ord(item.value)), "", ()
    if isinstance(item, array):
        return _vector_text(item, dialect), "", ()
    if isinstance(item, Dotted):
        return None, "(", _dotted_elements(item)
    if item is _DOT:
        return ".", "", ()
    if is_fraction(item):
        if dialect.version == 4:
            raise _Refusal("exact fraction, and CHICKEN 4 has none")
        if item.denominator == 1:
            return _integer_text(item.numerator, True), "", ()
        return f"{_integer_text(item.numerator, True)}/{_integer_text(item.denominator, True)}", "", ()
    if isinstance(item, EofType):
        return "#!eof", "", ()
    # Subclasses are what their base is; their own `str()` and `repr()` are not asked.
    if isinstance(item, Symbol):
        return _symbol_text(encode(item), dialect), "", ()
    if isinstance(item, str):
        text = str.__str__(item)
        encode(text)
        return f'"{_ESCAPED.sub(_escape, text)}"', "", ()
    if isinstance(item, int):
        return _integer_text(int.__int__(item), dialect.version == 5), "", ()
    if isinstance(item, float):
        return flonum_text(float.__float__(item), dialect.version, dialect.exact), "", ()
    if isinstance(item, Quoted):
        return None, "(", (_QUOTE, item.x)
    if isinstance(item, Delimiters):
        return None, "#(" if isinstance(item, Brackets) else "(", item.I
    if isinstance(item, tuple):
        return None, "#(", item
    if isinstance(item, list):
        return None, "(", item
    if isinstance(item, Keyword):
        return _keyword_text(encode(item.name), dialect), "", ()
    if isinstance(item, Char):
        return _char_text(ord(item.value)), "", ()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return f"#${{{bytes(item).hex()}}}", "", ()
    raise _Refusal(f"value of type {kind.__name__}, which has no external representation")


def _dotted_elements(value: Dotted) -> list[Any]:
    """Items, dot and tail; without a dot if the tail is a list itself, as CHICKEN knows no difference."""
    elements = list(value.items)
    tail = value.tail
    seen = {id(value)}
    while isinstance(tail, Dotted):
        if id(tail) in seen:
            raise _Refusal("a cycle: this value is its own tail")
        seen.add(id(tail))
        elements += tail.items
        tail = tail.tail
    if tail is None:
        return elements
    if isinstance(tail, Quoted):
        return [*elements, _QUOTE, tail.x]
    if isinstance(tail, list):
        return elements + tail
    if isinstance(tail, Parens):
        return [*elements, *tail.I]
    return [*elements, _DOT, tail]


def _vector_text(vector: array[Any], dialect: Dialect) -> str:
    tag = tag_of(vector.typecode)
    if tag is None:
        raise _Refusal(f"array of type code {vector.typecode!r}, which has no external representation")
    if tag not in TAGS[dialect.version]:
        raise _Refusal(f"{tag}vector, and CHICKEN {dialect.version} has none")
    if tag == "u8":
        parts = (vector[start : start + _PART] for start in range(0, len(vector), _PART))
        text = " ".join([" ".join(map(_U8_TEXT.__getitem__, part)) for part in parts])
    elif tag[0] == "f":
        text = " ".join([flonum_text(element, dialect.version, dialect.exact) for element in vector])
    else:
        parts = (vector[start : start + _PART] for start in range(0, len(vector), _PART))
        text = " ".join([" ".join(map(str, part)) for part in parts])
    return f"#{tag}({text})"


def _char_text(code: int) -> str:
    if code in CHAR_NAMES:
        return "#\\" + CHAR_NAMES[code]
    if code < 0x20 or code > 0xFF:
        return f"#\\x{code:x}"
    # From 128 to 255 it is one raw byte, which the text escapes as `surrogateescape` does.
    return "#\\" + chr(code if code < 0x80 else 0xDC00 + code)


def _keyword_text(name: bytes, dialect: Dialect) -> str:
    plain = _is_plain(name, dialect.version)
    if not dialect.exact and name[:1] == b"#":
        plain = False  # CHICKEN 4 prints `#%a:`, and reads that as a symbol
    text = decode(name) if plain else _between_bars(name)
    if dialect.keyword_style == "hash":
        return "#:" + text
    if not name and not (dialect.exact and dialect.version == 4):
        return "#:||"  # CHICKEN 4 prints `||:`, and reads that as the symbol `:`
    return text + ":"


def _symbol_text(name: bytes, dialect: Dialect) -> str:
    if dialect.version == 4 and name[:1] < b" " and name:
        if dialect.exact:
            return _namespaced_text(name, dialect)
        return _between_bars(name)
    plain = _is_plain(name, dialect.version)
    if plain and not dialect.exact and name[0] in _NUMBER_STARTS_OR_HASH:
        # The other CHICKEN takes some more for numbers, and refuses `#%a`.
        plain = name[:1] != b"#" and not is_number(name, 5)
    return decode(name) if plain else _between_bars(name)


def _namespaced_text(name: bytes, dialect: Dialect) -> str:
    """How CHICKEN 4 prints a symbol that begins with a control character, which it takes for the length of a prefix.

    A NUL makes a keyword of it. If it is no longer than its prefix, it comes raw.
    """
    length = name[0]
    if length == 0:
        return _keyword_text(name[1:], dialect)
    if length < len(name):
        return decode(b"##" + name[1 : length + 1] + b"#" + name[length + 1 :])
    return decode(name)


def _is_plain(name: bytes, version: int) -> bool:
    """Whether the printer of that CHICKEN puts no bars round a symbol of this name."""
    first = name[:1]
    if not first or _SPECIAL.search(name):
        return False
    if len(name) == 1:
        return first not in b"#.0123456789"
    if name[-1:] == b":":
        return False
    if name[0] in _NUMBER_STARTS:
        return not is_number(name, version)
    if first == b":":
        return version == 4
    if first == b"#":
        if version == 4:
            return name[1:2] == b"%"
        return _QUALIFIED.match(name) is not None or name in _HASH_SYMBOLS
    return True


def _between_bars(name: bytes) -> str:
    return "|" + _BARRED.sub(_escape_barred, name).decode("ascii") + "|"


def _escape_barred(match: re.Match[bytes]) -> bytes:
    byte = match[0]
    return b"\\" + byte if byte in b"|\\" else b"\\x%02x" % byte[0]


def _path(stack: list[tuple[Any, Iterator[Any]]]) -> str:
    """Where the last element taken from the last iterator stands, as a Python expression from the root."""
    path = "message"
    for container, elements in stack[1:]:
        path += _step(container, elements)
    return path


def _step(container: Any, elements: Iterator[Any]) -> str:
    remaining = operator.length_hint(elements)
    if isinstance(container, Quoted):
        return ".x"
    if isinstance(container, Delimiters):
        return f".I[{len(container.I) - remaining - 1}]"
    if not isinstance(container, Dotted):
        return f"[{len(container) - remaining - 1}]"
    path = ""
    index = len(_dotted_elements(container)) - remaining - 1
    tail: Any = container
    while isinstance(tail, Dotted):
        if index < len(tail.items):
            return f"{path}.items[{index}]"
        index -= len(tail.items)
        tail = tail.tail
        path += ".tail"
    if isinstance(tail, Quoted):
        return path + ".x"
    if isinstance(tail, Parens):
        return f"{path}.I[{index}]"
    return f"{path}[{index}]" if isinstance(tail, list) else path


def _native_text(item: Any, code: int) -> bytes | None:
    """A rare atom's bytes, for the compiled writer; `None` for what is not an atom, or cannot be written."""
    try:
        text = _text_or_elements(item, _dialect_of(code))[0]
        return None if text is None else encode(text)
    except (_Refusal, UnicodeEncodeError):
        return None


@functools.cache
def _dialect_of(code: int) -> Dialect:
    """The dialect that has this code, or one that is written in the same way."""
    for base in DIALECTS.values():
        for exact in (False, True):
            for style in _STYLES:
                dialect = dataclasses.replace(base, exact=exact, keyword_style=style)
                if dialect.code == code:
                    return dialect
    raise ValueError(f"no dialect has the code {code}")


_STYLES: Final[tuple[Literal["suffix", "hash"], ...]] = ("suffix", "hash")
WRITE: Final = make_writer(_native_text)
