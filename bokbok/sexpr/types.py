"""The Python values for Scheme datums for which Python does not have a type.

It knows what a symbol, a keyword, a character, a dotted list and the end-of-file object *are* as values: equality,
hashing, `repr`. The reader and the writer know how they are spelt in bytes.

All of them are immutable. A symbol is sexpdata's own `Symbol`, so that what users of that library have already
built can be sent as it is.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from sexpdata import Symbol

__all__ = ["EOF", "Char", "Dotted", "EofType", "Keyword", "Symbol", "adopt", "is_fraction", "type_name"]


class _Immutable:
    """Base of the value classes: attributes are set once, by `__init__` through `object.__setattr__`."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")


class Keyword(_Immutable):
    """A Scheme keyword: CHICKEN 4 writes `Keyword("foo")` as `foo:`, CHICKEN 5.3 as `#:foo`.

    Args:
        name: the keyword's name, without any colon that its spelling adds. Bytes that are not valid UTF-8 stand
            in it as `surrogateescape` has them. The empty name is allowed.

    Raises:
        TypeError: if `name` is not a `str`.
    """

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a Keyword is a str, not {type(name).__name__}")
        object.__setattr__(self, "name", str(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyword) and self.name == other.name

    def __hash__(self) -> int:
        return hash((Keyword, self.name))

    def __repr__(self) -> str:
        return f"Keyword({self.name!r})"

    def __reduce__(self) -> tuple[type[Keyword], tuple[str]]:
        return type(self), (self.name,)


class Char(_Immutable):
    r"""A Scheme character: `Char("x")` is `#\x`.

    CHICKEN's characters are numbers of 21 bits; those up to U+10FFFF have a Python character, lone surrogates
    (`#\xd800`, which CHICKEN reads and writes) included.

    Args:
        value: a `str` of exactly one code point.

    Raises:
        TypeError: if `value` is not a `str`.
        ValueError: if it is not exactly one code point.
    """

    __slots__ = ("value",)
    value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"the value of a Char is a str of one code point, not {type(value).__name__}")
        if len(value) != 1:
            raise ValueError(f"the value of a Char is one code point, not {len(value)}")
        object.__setattr__(self, "value", str(value))

    @property
    def code_point(self) -> int:
        """The character's number, 0 to 0x10FFFF."""
        return ord(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Char) and self.value == other.value

    def __hash__(self) -> int:
        return hash((Char, self.value))

    def __repr__(self) -> str:
        return f"Char({self.value!r})"

    def __reduce__(self) -> tuple[type[Char], tuple[str]]:
        return type(self), (self.value,)


class Dotted(_Immutable):
    """A list that does not end in `()`: `Dotted([a, b], c)` is `(a b . c)`, so `Dotted([a], b)` is a pair.

    Equal to another `Dotted` with equal items and tail; hashable if all of those are.

    Args:
        items: what stands before the dot, at least one value; kept as a new `list`, which must not be changed.
        tail: what stands behind it. The reader never makes a tail that is a list or a `Dotted`: `(a . (b))` reads as
            the list `(a b)`. The writer takes such tails and writes the list that they make.

    Raises:
        ValueError: if there are no items.
    """

    __slots__ = ("items", "tail")
    items: list[Any]
    tail: Any

    def __init__(self, items: Iterable[Any], tail: Any) -> None:
        items = list(items)
        if not items:
            raise ValueError("a Dotted has at least one item before its tail")
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "tail", tail)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dotted) and self.items == other.items and self.tail == other.tail

    def __hash__(self) -> int:
        return hash((Dotted, tuple(self.items), self.tail))

    def __repr__(self) -> str:
        return f"Dotted({self.items!r}, {self.tail!r})"

    def __reduce__(self) -> tuple[type[Dotted], tuple[list[Any], Any]]:
        return type(self), (self.items, self.tail)


# The slots themselves: what sets an attribute of an immutable value without a look-up by name.
_set_items: Final = Dotted.__dict__["items"].__set__
_set_tail: Final = Dotted.__dict__["tail"].__set__


def adopt(items: list[Any], tail: Any) -> Dotted:
    """A `Dotted` that keeps this very list of items, where its maker hands it over: no copy, which a long one costs."""
    value = object.__new__(Dotted)
    _set_items(value, items)
    _set_tail(value, tail)
    return value


class EofType(_Immutable):
    """The type of `EOF`, Scheme's end-of-file object `#!eof`. There is only one."""

    __slots__ = ()
    _only: EofType | None = None

    def __new__(cls) -> EofType:  # noqa: D102
        if EofType._only is None:
            EofType._only = super().__new__(cls)
        return EofType._only

    def __repr__(self) -> str:
        return "EOF"

    def __reduce__(self) -> str:
        return "EOF"


EOF: Final = EofType()
"""The end-of-file object, `#!eof`, as a datum. It has nothing to do with the end of any input here."""

_NAMES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "flonum"),
    (Symbol, "symbol"),  # before "string": sexpdata's symbols are instances of `str`
    (str, "string"),
    (bytes, "blob"),
    (list, "list"),
    (tuple, "vector"),
    (Keyword, "keyword"),
    (Char, "char"),
    (Dotted, "dotted"),
    (EofType, "eof"),
    (array, "srfi-4 vector"),
)


def is_fraction(value: Any) -> bool:
    """Whether it is a `fractions.Fraction`. To find that nothing is one, that module need not be imported: it takes a
    thirtieth of a whole `bokbok call`, with those that it imports."""
    fractions = sys.modules.get("fractions")
    return fractions is not None and isinstance(value, fractions.Fraction)


def type_name(value: Any) -> str:
    """What a value is in Scheme's terms, in a word: `integer`, `vector`, `dotted`, …; `None` is `unspecified`.

    Args:
        value: any value that the reader returns; of any other, the name of its Python type.
    """
    if value is None:
        return "unspecified"
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return "ratnum" if is_fraction(value) else type(value).__name__
