"""Hypothesis strategies for all values that can travel: every type, nested, with values that often break things."""

from __future__ import annotations

import functools
import math
from array import array
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    EOF,
    FIXNUM_MAX,
    FIXNUM_MIN,
    Char,
    Dialect,
    Dotted,
    Keyword,
    Symbol,
)
from bokbok_interop.vectors import SIZES, typecode

# Bytes with a meaning for a reader, so that random names and strings often contain them.
TELLING_BYTES = b"abzAZ019+-.eE/#@inf:%|\\ \t\n\r\x00\x01\x0b\x1f\x7f\xc3\xa9\xff!$()[]{}'`,;\"dsl"


# Names that look like something else.
TELLING_NAMES = [
    ".", "..", "...", "+", "-", ":", "::", ":a", "a:", "#", "##", "#a", "#!eof", "#!rest", "#%a", "##a#b",
    "+inf.0", "-nan.0", "+i", "-i", "1@2", "1+i", "1/2", "1/0", "1e5", "1e400", "+.#", "é", "日本語", "|", "\\",
    "a|b", "quote", "nil", "t", "", " ", "a b", "\x00", "\x01", "\x00a", "\x03abc", "\t", "\n", "",
]  # fmt: skip


def decode(data: bytes) -> str:
    """As the package's documentation says: UTF-8, other bytes escaped."""
    return data.decode("utf-8", "surrogateescape")


def chicken_bytes(max_size: int = 20) -> st.SearchStrategy[bytes]:
    """Any bytes, often special ones."""
    telling = st.lists(st.sampled_from(TELLING_BYTES), max_size=max_size).map(bytes)
    return telling | st.binary(max_size=max_size)


def strings(max_size: int = 20) -> st.SearchStrategy[str]:
    """Any CHICKEN string: text, and bytes that are not valid UTF-8."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)
    return text | chicken_bytes(max_size).map(decode)


def names() -> st.SearchStrategy[str]:
    """Names of symbols and keywords: plain ones, ones that look like something else, any bytes."""
    plain = st.from_regex(r"[a-z!?*<>=/][a-z0-9!?*<>=/+-]{0,12}", fullmatch=True)
    numeric = st.text("0123456789+-.eE/#i@infadsl", min_size=1, max_size=8)
    telling = st.sampled_from(TELLING_NAMES)
    return plain | numeric | telling | strings(8)


def floats(dialect: Dialect = CHICKEN_4) -> st.SearchStrategy[float]:
    """Any flonum; for a dialect of 15 digits, none that rounds to an infinity."""
    if dialect == CHICKEN_4:
        return st.floats(allow_nan=True)
    return st.floats(allow_nan=True).filter(lambda x: math.isinf(x) or not abs(x) > 1.79769313486231e308)


def number_vectors(dialect: Dialect = CHICKEN_4) -> st.SearchStrategy[Any]:
    """SRFI-4 vectors of every type that the dialect has."""

    def integers(tag: str) -> st.SearchStrategy[Any]:
        bits = 8 * SIZES[tag]
        low = 0 if tag[0] == "u" else -(1 << (bits - 1))
        numbers = st.integers(low, low + (1 << bits) - 1)
        return st.lists(numbers, max_size=6).map(lambda items: array(typecode(tag), items))

    tags = ["u8", "s8", "u16", "s16", "u32", "s32"] + (["u64", "s64"] if dialect.version == 5 else [])
    singles = st.floats(width=32, allow_nan=True)
    return st.one_of(
        *[integers(tag) for tag in tags],
        st.lists(singles, max_size=6).map(lambda items: array("f", items)),
        st.lists(floats(dialect), max_size=6).map(lambda items: array("d", items)),
    )


def atoms(dialect: Dialect = CHICKEN_4) -> st.SearchStrategy[Any]:
    """Every value that does not contain others, as far as the dialect reads back what it writes."""
    fixnums = st.integers(FIXNUM_MIN, FIXNUM_MAX) | st.integers(-300, 300)
    numbers: st.SearchStrategy[Any] = fixnums
    if dialect.version == 5:
        big = st.integers(-(10**400), 10**400)
        fractions = st.builds(Fraction, big, st.integers(1, 10**30)).filter(lambda value: value.denominator != 1)
        numbers = fixnums | big | fractions
    symbols, keywords = names(), names()
    if dialect == CHICKEN_4_EXACT:
        # What 4.13.0 prints for leading control characters, `1e400` and the empty keyword cannot be read back.
        symbols = keywords = st.from_regex(rb"[a-zA-Z!?*\xc3][^\x00]{0,8}", fullmatch=True).map(decode)
    return st.one_of(
        st.booleans(),
        numbers,
        floats(dialect),
        strings(),
        symbols.map(Symbol),
        keywords.map(Keyword),
        st.integers(0, 0x10FFFF).map(chr).map(Char) | st.integers(0, 0x17F).map(chr).map(Char),
        st.binary(max_size=12),
        number_vectors(dialect),
        st.just(EOF),
    )


@st.composite
def datums(draw: st.DrawFn, dialect: Dialect = CHICKEN_4, *, max_leaves: int = 20) -> Any:
    """Any value that the dialect writes and reads back.

    Args:
        draw: given by Hypothesis.
        dialect: whose values. Under `CHICKEN_4` all of them come back exactly; under the others flonums keep 15 digits.
        max_leaves: roughly how many atoms one value may contain.

    The values are as the reader returns them: no `None` (written as `()`), no `Dotted` whose tail is a list. Compare
    them with `tests.support.tagged.same`, which takes a NaN for equal to itself, and tells 1 from 1.0 and True.
    """
    return draw(_nested(dialect, max_leaves))


@functools.lru_cache
def _nested(dialect: Dialect, max_leaves: int) -> st.SearchStrategy[Any]:
    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(inner, max_size=5)
        vectors = lists.map(tuple)
        # A tail is not a list, and not a dotted one: those would make one longer list.
        dotted = st.builds(Dotted, st.lists(inner, min_size=1, max_size=4), atoms(dialect) | vectors)
        return lists | vectors | dotted

    return st.recursive(atoms(dialect), containers, max_leaves=max_leaves)


def nearly_same(left: Any, right: Any) -> bool:
    """As `tests.support.tagged.same`, but flonums agree to 15 significant digits."""
    from tests.support.tagged import same

    pairs = [(left, right)]
    while pairs:
        left, right = pairs.pop()
        if isinstance(left, float) and isinstance(right, float):
            if math.isnan(left) and math.isnan(right):
                continue
            if f"{left:.15g}" != f"{right:.15g}" or math.copysign(1, left) != math.copysign(1, right):
                return False
        elif type(left) is type(right) and isinstance(left, (list, tuple)):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(left, Dotted) and isinstance(right, Dotted):
            pairs += [(left.items, right.items), (left.tail, right.tail)]
        elif isinstance(left, array) and isinstance(right, array) and left.typecode in "fd":
            if (left.typecode, len(left)) != (right.typecode, len(right)):
                return False
            pairs += zip(left, right, strict=True)
        elif not same(left, right):
            return False
    return True
