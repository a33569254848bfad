"""Work that stops now and then: how much is done between two stops, and how to do all of it at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeVar

__all__ = ["LONG", "PIECE", "at_once"]

PIECE: Final = 4096
"""Bytes between two moments at which a reader in pieces stops: a fraction of a millisecond for most data, and some
milliseconds for the slowest. Going on costs about a microsecond."""
LONG: Final = 64 * 1024
"""Bytes from which a single token is read in pieces as well: the slowest takes some milliseconds more."""

_T = TypeVar("_T")


def at_once(steps: Generator[None, None, _T]) -> _T:
    """Run what stops now and then to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value  # of any type, for `StopIteration`
            return result
