"""Work that stops now and then: how much is done between two stops, how to do all of it at once, what takes long."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Final, TypeVar

__all__ = ["BRIEF", "LONG", "PIECE", "UNLIMITED", "Steps", "TakesLong", "at_once"]

PIECE: Final = 4096
"""Bytes between two moments at which a reader in pieces stops: a fraction of a millisecond for most data, and some
milliseconds for the slowest. Going on costs about a microsecond."""
LONG: Final = 64 * 1024
"""Bytes from which a single token is read in pieces as well: the slowest takes some milliseconds more."""
BRIEF: Final = 512 * 1024
"""What is written in one piece where others wait, in bytes of memory by the estimate of `memory`: some 10,000 atoms,
which take a few milliseconds; 30 where each is a flonum or a symbol between bars, in pure Python."""
UNLIMITED: Final = sys.maxsize
"""In its place, where nobody waits."""


class TakesLong(Exception):
    """Raised by what was to be brief and is not: to be done once more, where nobody waits for it."""


_T = TypeVar("_T")

Steps = Generator[int | None, None, _T]
"""Work that stops now and then. Where it makes something of memory, it tells at a stop how many bytes that has taken so
far."""


def at_once(steps: Steps[_T]) -> _T:
    """Run what stops now and then to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value  # of any type, for `StopIteration`
            return result
