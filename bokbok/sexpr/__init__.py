"""CHICKEN's external representation: what `write` prints and `read` takes, as Python values.

It knows the syntax of CHICKEN 4.13.0 and 5.3.0, and which Python value each datum is.

| Scheme | Python |
|---|---|
| `#t` `#f`, fixnum, flonum | `bool`, `int`, `float` |
| string | `str`: its bytes as UTF-8, other bytes by `surrogateescape` |
| symbol, keyword, character | `Symbol` (sexpdata's), `Keyword`, `Char` |
| proper list, vector, dotted list | `list`, `tuple`, `Dotted` |
| blob, SRFI-4 vectors | `bytes`, `array.array` of the matching type code |
| exact fractions | `fractions.Fraction` |
| `#!eof`; `#<unspecified>` (read only) | `EOF`; `None`, which is written as `()` |

The high level is `loads`, `dumps`, `load`, `dump` and `Reader`. The low level, for framings and messages that are read
piece by piece, is `parse`, `Parser`, `read_plain_list`, `skip_atmosphere` (and `skip_atmosphere_in_pieces`),
`read_list_head`, `dumps_between`, and the estimates of memory `cost` and `cost_of_plain`.
`docs/sexpr.md` has the details, and every deviation from CHICKEN with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bokbok._later import lazily
from bokbok.errors import IncompleteError, ReadError, SexprError, WriteError
from bokbok.sexpr.dialect import CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5, DIALECTS, Dialect
from bokbok.sexpr.memory import DEFAULT_MAX_MEMORY, cost, cost_of_plain
from bokbok.sexpr.numbers import FIXNUM_MAX, FIXNUM_MIN, MAX_DIGITS
from bokbok.sexpr.plain import read_plain_list
from bokbok.sexpr.reader import (
    DEFAULT_MAX_DEPTH,
    DEFAULT_MAX_SIZE,
    PIECE,
    Parser,
    Reader,
    load,
    loads,
    parse,
    read_list_head,
    skip_atmosphere,
    skip_atmosphere_in_pieces,
)
from bokbok.sexpr.types import EOF, Char, Dotted, EofType, Keyword, Symbol, type_name
from bokbok.sexpr.writer import dump, dumps, dumps_between

if TYPE_CHECKING:
    from bokbok.sexpr.sexpdata_bridge import from_sexpdata, to_sexpdata

__all__ = [
    "CHICKEN_4",
    "CHICKEN_4_EXACT",
    "CHICKEN_5",
    "DEFAULT_MAX_DEPTH",
    "DEFAULT_MAX_MEMORY",
    "DEFAULT_MAX_SIZE",
    "DIALECTS",
    "EOF",
    "FIXNUM_MAX",
    "FIXNUM_MIN",
    "MAX_DIGITS",
    "PIECE",
    "Char",
    "Dialect",
    "Dotted",
    "EofType",
    "IncompleteError",
    "Keyword",
    "Parser",
    "ReadError",
    "Reader",
    "SexprError",
    "Symbol",
    "WriteError",
    "cost",
    "cost_of_plain",
    "dump",
    "dumps",
    "dumps_between",
    "from_sexpdata",
    "load",
    "loads",
    "parse",
    "read_list_head",
    "read_plain_list",
    "skip_atmosphere",
    "skip_atmosphere_in_pieces",
    "to_sexpdata",
    "type_name",
]

_WHERE = {"sexpdata_bridge": ["from_sexpdata", "to_sexpdata"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE)
