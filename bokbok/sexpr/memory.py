"""What a value costs in memory, estimated while it is read.

The estimate depends on the datum alone, never on the pieces in which it came, so that a datum is refused or read as a
whole. It is close to what CPython allocates, and not below (`tests/sexpr/test_memory.py` measures both).
"""

from __future__ import annotations

import sys
from typing import Any, Final

from bokbok.sexpr.types import Char, Dotted, Keyword, Symbol, is_fraction

__all__ = [
    "ATOM", "DEFAULT_MAX_MEMORY", "DOTTED", "ITEM", "KEYWORD", "LIST_COST", "STRING", "WORST", "cost", "cost_of_plain",
]  # fmt: skip

DEFAULT_MAX_MEMORY: Final = 256 * 1024 * 1024
"""How many bytes of memory a datum may take: four times the most bytes of a stream that it may take. The wire sets a
limit of its own."""

ATOM: Final = 32
"""A fixnum or a flonum: 24 to 32 bytes. Characters, booleans and known symbols cost nothing, and are charged all the
same: to tell them apart would cost more time than it is worth."""
ITEM: Final = 8 + ATOM
"""A place in a list or vector, with a small atom in it."""
LIST_COST: Final = 120
"""A list beyond its items: 48 bytes (56 and unused places, less what `ITEM` has over for a list that is an item
itself), and 72 for what it costs in time: the garbage collector looks at all lists there are in one go, and what nests
is freed in one go. The 420,000 lists of a message of 64 MiB take it half as long as the 760,000 did that 48 bytes each
let pass, and which kept everybody waiting for 180 ms (on a busy machine)."""
DOTTED: Final = 64
"""A `Dotted` beyond its list."""
STRING: Final = 32
"""A string of ASCII beyond its characters and its `ITEM`: 49 bytes, rounded up."""
KEYWORD: Final = 64
"""A keyword or a new symbol beyond its name."""
WORST: Final = 256
"""No byte of input costs more, measured over every syntax. The worst is `#e1e4299`, which has 4,300 digits; `'`, a list
of two, costs 128."""


def cost(value: Any) -> int:
    """What an atom costs beyond its `ITEM`, in bytes."""
    kind = type(value)
    if kind is str:
        return STRING + (len(value) if value.isascii() else sys.getsizeof(value))
    if kind is int or kind is bytes:
        return sys.getsizeof(value)
    if kind is Symbol:
        return KEYWORD + sys.getsizeof(value)
    if kind is Keyword:
        return KEYWORD + sys.getsizeof(value.name)
    if value is None or kind is bool or kind is float or kind is Char:
        return ATOM
    if kind is Dotted:
        return DOTTED
    if is_fraction(value):
        return KEYWORD + sys.getsizeof(value.numerator) + sys.getsizeof(value.denominator)
    return sys.getsizeof(value)  # an array, with its elements


def cost_of_plain(items: list[Any], size: int) -> int:
    """What a list of plain atoms costs at most, that was read from so many bytes (`read_plain_list`).

    One character that is not of ASCII makes each of a string's take four bytes.
    """
    return LIST_COST + (ITEM + STRING) * len(items) + 4 * size
