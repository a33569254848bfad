"""The compiled reader and writer, if the accelerator is installed, bound to the values of this package.

The compiled reader takes what nearly all input consists of. It answers `None` if it meets anything else: what does
not read, what is near a limit, rare syntax. The same bytes are then read once more by `machine`, which knows it all; so
errors are made in one place, and whatever is accepted here is accepted there. The writer does the same.

A single rare token or atom does not stop it: it hands that one to `lexer`, or `writer`, by a call.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final, Literal

from bokbok._native import NATIVE
from bokbok.errors import ReadError
from bokbok.sexpr.dialect import Dialect
from bokbok.sexpr.frames import VALUE
from bokbok.sexpr.lexer import PREFIXES, UNQUOTE_SPLICING
from bokbok.sexpr.long import LongTokens
from bokbok.sexpr.memory import cost
from bokbok.sexpr.pieces import LONG, Steps, TakesLong
from bokbok.sexpr.types import Char, Dotted, Keyword, Symbol, adopt

__all__ = ["READER", "Compiled", "Found", "make_writer"]

Found = tuple[Any, int, int]
"""A datum, the offset behind it, and what it takes in memory."""
Write = Callable[[str, Any, str, int, int], bytes | None]


def _lexer(version: int) -> LongTokens:
    lexer = LongTokens()
    lexer.version, lexer.base, lexer.fold, lexer.sought = version, 0, False, None
    return lexer


_LEXERS: Final = {version: _lexer(version) for version in (4, 5)}


def _token(data: bytes, position: int, version: int, dots: bool) -> tuple[Any, int, int] | None:
    """The atom at an offset, where it ends and what it costs in memory; `None` for what is not an atom, or is long."""
    lexer = _LEXERS[version]
    if len(data) - position > LONG and lexer.begin_long(data, position, dots) is not None:
        return None  # the reader in Python can stop within it
    try:
        code, end, value = lexer.lex(data, position, True, dots)
    except ReadError:
        return None
    return (value, end, cost(value)) if code == VALUE else None


def _make_reader() -> Any:
    if NATIVE is None:
        return None
    prefixes = [*(PREFIXES[character] for character in (b"'", b"`", b",")), UNQUOTE_SPLICING]
    return NATIVE.Reader(Symbol, Keyword, Char, adopt, prefixes, _token)


READER: Final = _make_reader()
"""The compiled reader, without limits; `None` where there is no accelerator."""


class Compiled:
    """The compiled reader with limits. Where there is none, or it does not take what is there, it finds nothing.

    Args:
        dialect: whose syntax.
        max_depth: how deep a datum may nest.
        max_memory: how many bytes of memory it may take.

    Attributes:
        available: whether there is an accelerator.
    """

    __slots__ = ("_limits", "available")

    def __init__(self, dialect: Dialect, max_depth: int, max_memory: int) -> None:
        self.available = READER is not None
        self._limits = (dialect.version, max_depth, max_memory)

    def read(self, data: bytes, offset: int, finished: bool = True) -> Found | None:
        """Reads a datum, if it is plain.

        Args:
            data: the bytes.
            offset: where to begin.
            finished: whether nothing comes behind the data.
        """
        if READER is None:
            return None
        found: Found | None = READER.read(data, offset, *self._limits, finished)
        return found

    def read_in_pieces(self, data: bytes, offset: int, size: int) -> Steps[Found | int]:
        """The same as a generator, which stops every `size` bytes and goes on when it is asked to.

        Returns:
            What was found; if nothing was, the bytes of memory that had been taken in vain.
        """
        pieces = READER.begin(data, offset, *self._limits, True) if READER is not None else None
        if pieces is None:
            return 0
        found: Found | Literal[False] | None
        while (found := READER.step(pieces, data, size)) is False:
            yield pieces.spent
        return found or int(pieces.spent)


def make_writer(text: Callable[[Any, int], bytes | None]) -> Write | None:
    """The compiled writer, where there is one: `(before, value, after, dialect.code, most)` to bytes, or `None`.

    Args:
        text: writes an atom that is rare, in the dialect of that code; `None` for what is not an atom.
    """
    if NATIVE is None:
        return None
    write: Write = NATIVE.Writer(Symbol, Keyword, Char, Dotted, array, text, TakesLong, _turn).write
    return write


def _turn() -> None:
    """Lets another thread run that has waited for the switch interval, as every call of a function does."""
