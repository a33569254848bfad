r"""Strings and symbols: bytes in CHICKEN, `str` here, and the escapes that stand for bytes in their text.

It knows the one way between bytes and `str`, and what every `\…` in a string or between bars means. Where a string ends
is for `scan` to find.

A CHICKEN string is a sequence of bytes, in 4.13.0 and in 5.3.0. Here it is a `str`: the bytes decoded as UTF-8, any
byte that is not valid UTF-8 as the lone surrogate U+DC80 to U+DCFF (`surrogateescape`, as Python has it for file
names). So bytes → `str` → bytes is the identity, always. The other way round has one trap, as it has for file
names: a `str` whose escaped bytes happen to form UTF-8, `"\udcc3\udca9"`, denotes the same CHICKEN string as `"é"`, and
comes back as that.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from typing import Final

from bokbok._later import pattern
from bokbok.sexpr import problems
from bokbok.sexpr.numbers import escape_code
from bokbok.sexpr.problems import DatumError

__all__ = ["CHAR_NAMES", "NAMED_CHARS", "decode", "decode_in_pieces", "encode", "unescape", "unescape_in_pieces"]

CHAR_NAMES: Final = {
    0: "null", 7: "alarm", 8: "backspace", 9: "tab", 10: "newline", 11: "vtab", 12: "page", 13: "return",
    27: "escape", 32: "space", 127: "delete",
}  # fmt: skip
"""The names under which `write` prints characters, by code point."""

NAMED_CHARS: Final = {name.encode(): code for code, name in CHAR_NAMES.items()} | {
    b"nul": 0, b"linefeed": 10, b"esc": 27,
}  # fmt: skip
"""The names by which `read` knows characters, with their code points."""

_SIMPLE: Final = {
    ord("a"): b"\a", ord("b"): b"\b", ord("t"): b"\t", ord("n"): b"\n", ord("v"): b"\v", ord("f"): b"\f",
    ord("r"): b"\r",
}  # fmt: skip
_ESCAPE: Final = pattern(rb"\\(?:([^xuU0-7 \t\r\n])|x([0-9a-fA-F]{2})|[ \t]*(?:\r\n?|\n)[ \t]*|[ \t]+|)", re.DOTALL)


# The escapes that `write` prints, and those of one character that stands for itself: nearly all there are.
_COMMON_ESCAPE: Final = pattern(rb"\\(?:x..|.)", re.DOTALL)
_COMMON: Final = (
    {b"\\" + bytes((byte,)): bytes((byte,)) for byte in range(256) if byte not in b"xuU01234567 \t\r\n"}
    | {b"\\" + bytes((byte,)): value for byte, value in _SIMPLE.items()}
    | {b"\\x%02x" % byte: bytes((byte,)) for byte in range(256)}
)
# `sub` keeps what stands between two escapes as an object until the end, 64 bytes for each. From so many escapes on, a
# string is cut between them, so that they cost 16 MiB at most; in one go 16 MiB of `xx\\n` took 256 MiB for a while.
_MANY: Final = 1 << 18
_UNITS: Final = pattern(rb"(?:[^\\]{1,64}|\\(?:x..|.)){1,65536}", re.DOTALL)
_FEW: Final = 512
"""Escapes that are replaced between two moments at which a reader of a long string stops: about a millisecond."""
_FEW_UNITS: Final = pattern(rb"(?:[^\\]{1,64}|\\(?:x..|.)){1,%d}" % (4 * _FEW), re.DOTALL)
_DECODED: Final = 1 << 16
"""Bytes that are decoded between two such moments."""
_DECODER: Final = codecs.getincrementaldecoder("utf-8")


def decode(data: bytes) -> str:
    """The `str` for CHICKEN's bytes. Never fails."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """CHICKEN's bytes for a `str`.

    Raises:
        UnicodeEncodeError: if it holds a lone surrogate that does not stand for a byte: U+D800 to U+DFFF, except for
            U+DC80 to U+DCFF.
    """
    return text.encode("utf-8", "surrogateescape")


def unescape(raw: bytes, version: int) -> bytes:
    r"""Replaces the escapes of a string, or of a part of a symbol between bars, by the bytes that they stand for.

    Args:
        raw: the bytes between the quotes.
        version: 4 or 5.

    Raises:
        DatumError: on an escape that CHICKEN refuses: too few digits, characters that are not digits, an unpaired
            surrogate. Its offset counts from the start of `raw`.
    """
    try:
        if raw.count(b"\\") <= _MANY:
            return _COMMON_ESCAPE.sub(_common, raw)
        return b"".join(_COMMON_ESCAPE.sub(_common, piece) for piece in _UNITS.findall(raw))
    except KeyError:
        pass  # one of the others is there
    text = bytearray()
    position = 0
    while position < len(raw):
        position = _unescape_some(raw, position, text, version)
    return bytes(text)


def unescape_in_pieces(raw: bytes, version: int) -> Generator[None, None, bytes]:
    """`unescape` as a generator, which stops every millisecond or so and goes on when it is asked to."""
    text = bytearray()
    position = 0
    common = True
    while position < len(raw):
        yield
        units = _FEW_UNITS.match(raw, position) if common else None
        if units is not None:
            try:
                text += _COMMON_ESCAPE.sub(_common, units[0])
                position = units.end()
                continue
            except KeyError:
                common = False
        position = _unescape_some(raw, position, text, version)
    return bytes(text)


def decode_in_pieces(data: bytes) -> Generator[None, None, str]:
    """`decode` as a generator, which stops every millisecond or so and goes on when it is asked to."""
    if data.isascii():
        return data.decode("ascii")
    decoder = _DECODER("surrogateescape")
    pieces = []
    for start in range(0, len(data), _DECODED):
        yield
        pieces.append(decoder.decode(data[start : start + _DECODED], start + _DECODED >= len(data)))
    return "".join(pieces)


def _unescape_some(raw: bytes, position: int, text: bytearray, version: int) -> int:
    """Appends what the next escapes, and the bytes before each of them, stand for; where the rest begins."""
    for _ in range(_FEW):
        backslash = raw.find(b"\\", position)
        if backslash < 0:
            text += raw[position:]
            return len(raw)
        text += raw[position:backslash]
        match = _ESCAPE.match(raw, backslash)
        assert match is not None  # the last alternative is empty
        position = match.end()
        if match[1]:
            byte = match[1]
            text += _SIMPLE.get(byte[0], byte)
        elif match[2]:
            text += bytes.fromhex(match[2].decode("ascii"))
        elif position == backslash + 1:
            piece, position = _unescape_code(raw, backslash, version)
            text += piece
    return position


def _common(match: re.Match[bytes]) -> bytes:
    return _COMMON[match[0]]


def _unescape_code(raw: bytes, backslash: int, version: int) -> tuple[bytes, int]:
    """One escape by number: `\\x` with two digits, `\\u` with four, `\\U` with eight, or three octal digits."""
    kind = raw[backslash + 1 : backslash + 2]
    if kind == b"x":
        code, position = _code(raw, backslash, 2, 2, 16, version)
        return bytes((code & 0xFF,)), position
    if kind == b"u":
        code, position = _code(raw, backslash, 2, 4, 16, version)
        if 0xD800 <= code <= 0xDFFF:
            if raw[position : position + 2] != b"\\u":
                raise DatumError(problems.UNPAIRED_SURROGATE, backslash)
            low, position = _code(raw, position, 2, 4, 16, version)
            if code > 0xDBFF or not 0xDC00 <= low <= 0xDFFF:
                raise DatumError(problems.BAD_SURROGATE_PAIR, backslash)
            code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF)
        return _utf8(code), position
    if kind == b"U":
        code, position = _code(raw, backslash, 2, 8, 16, version)
        if 0xD800 <= code <= 0xDFFF:
            raise DatumError(problems.ESCAPED_SURROGATE, backslash)
        return _utf8(code), position
    code, position = _code(raw, backslash, 2, 2, 8, version)
    return bytes((((kind[0] - 48) * 64 + code) & 0xFF,)), position


def _code(raw: bytes, backslash: int, skip: int, count: int, radix: int, version: int) -> tuple[int, int]:
    position = backslash + skip
    digits = raw[position : position + count]
    name = "octal" if radix == 8 else "hexadecimal"
    if len(digits) < count or b'"' in digits:
        raise DatumError(problems.FEW_ESCAPE_DIGITS, backslash, count=count, radix=name)
    code = escape_code(digits, version, radix)
    if code is None:
        raise DatumError(problems.BAD_ESCAPE_DIGITS, backslash, count=count, radix=name)
    return code, position + count


def _utf8(code: int) -> bytes:
    """UTF-8 as CHICKEN makes it: of 21 bits, so beyond U+10FFFF as well."""
    code &= 0x1FFFFF
    if code < 0x110000:
        return chr(code).encode("utf-8", "surrogatepass")
    return bytes((0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F))
