"""SRFI-4 vectors and blobs: homogeneous numbers as `array.array`, bytes as `bytes`.

It knows which type code of `array.array` stands for which vector on this machine, what CHICKEN stores when a number
does not fit, and the digits of a blob.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Generator
from typing import Any, Final

from bokbok._later import pattern
from bokbok.sexpr import problems
from bokbok.sexpr.numbers import FIXNUM_MAX, FIXNUM_MIN
from bokbok.sexpr.pieces import at_once
from bokbok.sexpr.problems import DatumError
from bokbok.sexpr.types import is_fraction

__all__ = [
    "BITS", "TAGS", "TYPE_CODES", "make_vector", "parse_blob", "parse_blob_in_pieces", "parse_simple",
    "parse_simple_in_pieces", "tag_of",
]  # fmt: skip

BITS: Final = {"u8": 8, "s8": 8, "u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64}
"""The bits of an element, for the vectors of integers."""

TAGS: Final = {
    4: frozenset({"u8", "s8", "u16", "s16", "u32", "s32", "f32", "f64"}),
    5: frozenset({"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"}),
}
"""The vectors that each CHICKEN has."""


def _type_codes() -> dict[str, str]:
    """The type code for each tag: the sizes of C's integers differ between platforms, so they are asked for."""
    codes = {"f32": "f", "f64": "d"}
    for code in "bBhHiIlLqQ":
        sign = "u" if code.isupper() else "s"
        codes.setdefault(f"{sign}{8 * array(code).itemsize}", code)
    return codes


TYPE_CODES: Final = _type_codes()
"""The type code of `array.array` that the reader uses for each tag."""

_TAG_OF_CODE: Final = {"f": "f32", "d": "f64"} | {
    code: f"{'u' if code.isupper() else 's'}{8 * array(code).itemsize}" for code in "bBhHiIlLqQ"
}

_WHITE: Final = pattern(rb"[ \t\n\v\f\r]")
_PIECE: Final = 1 << 14
"""Bytes of a vector's text that are parsed at once, in about a millisecond, and by a list of 256 KiB at most."""
_NUMBERS: Final = pattern(rb"[-+.e0-9 \t\n\v\f\r]*")
_BLOB_BAD: Final = pattern(rb"[^0-9a-fA-F \t\n\v\f\r]")


def tag_of(typecode: str) -> str | None:
    """The tag of the vector that an array with this type code is, or `None` for arrays of characters."""
    return _TAG_OF_CODE.get(typecode)


def make_vector(tag: str, items: list[Any], version: int) -> array[Any]:
    """Makes the SRFI-4 vector that CHICKEN makes of a list.

    CHICKEN checks little, and keeps the low bits of what is too large: CHICKEN 4 of any fixnum (a
    negative one is refused only where no sign belongs), CHICKEN 5 of a signed element with one bit too many, and of a
    negative element of `#u32` and `#u64`. CHICKEN 4 takes whole flonums in `#u32` and `#s32`; those out of range, where
    the outcome is undefined in C, are refused here.

    Raises:
        DatumError: if CHICKEN refuses an element.
    """
    code = TYPE_CODES[tag]
    if tag[0] == "f":
        return _make_float_vector(code, items, version)
    if not all(type(item) is int for item in items):
        items = [_whole(tag, item, version) for item in items]
    try:
        return array(code, items)
    except OverflowError:
        return array(code, [_wrap(tag, item, version) for item in items])


def parse_simple(tag: str, text: bytes) -> array[Any] | None:
    """The same for the text of decimal numbers with white space between them; `None` if it is not that simple.

    Numbers so written are JSON as well, and the JSON parser is the quickest there is in the standard library: 20 times
    as quick as token by token. What it refuses (`+1`, `01`, `.5`), it leaves to the general way. It makes a list first,
    of 4 to 20 times the text's bytes, so a long text is taken in pieces.
    """
    if len(text) <= _PIECE:
        return _parse_piece(tag, text)
    return at_once(parse_simple_in_pieces(tag, text))


def parse_simple_in_pieces(tag: str, text: bytes) -> Generator[None, None, array[Any] | None]:
    """`parse_simple` as a generator, for any text: what has other characters in it is not that simple either."""
    vector: array[Any] = array(TYPE_CODES[tag])
    position = 0
    while True:
        cut = _WHITE.search(text, position + _PIECE)
        end, after = cut.span() if cut else (len(text), len(text))
        piece = _parse_piece(tag, text[position:end]) if _NUMBERS.fullmatch(text, position, end) else None
        if piece is None:
            return None
        vector += piece
        if cut is None:
            return vector
        position = after
        yield


def _parse_piece(tag: str, text: bytes) -> array[Any] | None:
    for simplest in (True, False):
        try:
            commas = text.replace(b" ", b",") if simplest else b",".join(text.split())
            import json  # only here: most programs read no long vectors

            numbers = json.loads(b"[%b]" % commas)
            return array("B", bytes(numbers)) if tag == "u8" else array(TYPE_CODES[tag], numbers)
        except (OverflowError, TypeError, ValueError):
            continue
    return None


def parse_blob(text: bytes) -> bytes:
    """The bytes of a blob from its hexadecimal digits.

    CHICKEN pads a digit that stands alone, before white space or at the end, with a zero on the left.

    Raises:
        DatumError: if a byte is neither a hexadecimal digit nor white space.
    """
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:  # (UnicodeDecodeError is one)
        pass
    if match := _BLOB_BAD.search(text):
        raise DatumError(problems.BLOB_DIGIT, match.start())
    parts = text.split()
    if any(len(part) % 2 for part in parts):
        parts = [part if len(part) % 2 == 0 else part[:-1] + b"0" + part[-1:] for part in parts]
    return bytes.fromhex(b"".join(parts).decode("ascii"))


def parse_blob_in_pieces(text: bytes) -> Generator[None, None, bytes]:
    """`parse_blob` as a generator, which stops now and then, and goes on when it is asked to."""
    blob = bytearray()
    position = 0
    while position < len(text):
        piece = text[position : position + _PIECE]
        if position + _PIECE < len(text):
            # Cut behind white space, or, where there is none, between two bytes.
            space = max(piece.rfind(bytes((white,))) for white in b" \t\n\v\f\r")
            piece = piece[: space + 1] if space >= 0 else piece
        try:
            blob += parse_blob(piece)
        except DatumError as error:
            raise DatumError(error.problem, error.offset + position, **error.fields) from None
        position += len(piece)
        yield
    return bytes(blob)


def _make_float_vector(code: str, items: list[Any], version: int) -> array[Any]:
    vector: array[Any] = array(code)
    for item in items:
        # A fraction has long become a flonum in CHICKEN 4; CHICKEN 5 refuses it here.
        if type(item) not in (int, float) and not (version == 4 and is_fraction(item)):
            raise DatumError(problems.NOT_A_FLONUM_ELEMENT)
        try:
            vector.append(float(item))
        except OverflowError:
            vector.append(math.inf if item > 0 else -math.inf)
    return vector


def _whole(tag: str, item: Any, version: int) -> int:
    if type(item) is int:
        return item
    bits = BITS[tag]
    if version == 4 and bits == 32 and type(item) is float and item.is_integer():
        low = -(1 << 31) if tag[0] == "s" else 0
        if low <= item < low + (1 << 32):
            return int(item)
        raise DatumError(problems.FLONUM_OUT_OF_RANGE, tag=tag, bits=bits)
    raise DatumError(problems.NOT_AN_INTEGER_ELEMENT, tag=tag, bits=bits)


def _wrap(tag: str, item: int, version: int) -> int:
    """The element that CHICKEN stores for an integer that may be out of range."""
    bits = BITS[tag]
    signed = tag[0] == "s"
    if version == 4:
        stored = FIXNUM_MIN <= item <= FIXNUM_MAX and (signed or item >= 0)
    else:
        length = (item if item >= 0 else ~item).bit_length()
        stored = length <= bits and (item >= 0 or signed or (bits >= 32 and item >= FIXNUM_MIN))
    if not stored:
        raise DatumError(problems.INTEGER_OUT_OF_RANGE, tag=tag, bits=bits)
    item &= (1 << bits) - 1
    return item - (1 << bits) if signed and item >> (bits - 1) else item
