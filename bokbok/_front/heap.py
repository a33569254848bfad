"""Memory that was freed and that the C library keeps, until it is asked to give it back to the system.

What this module knows: glibc's `malloc_trim`. Where it is missing (musl, macOS), nothing is done. Threads share a few
heaps, each of which gives back by itself only what is free at its end. Behind a crowd that was sent away, half of a
server's memory was free in between.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

__all__ = ["MUCH", "Heap", "give_back"]

MUCH = 64 * 1024 * 1024
"""Bytes: when so much less is held than was, the system is given back what it can have."""

_SECONDS = 5.0
"""From the moment when memory is freed to when the system gets it: so this happens at most so often."""

_trim: Callable[[int], object] | None = None


def give_back() -> None:
    """Give back what is free. This takes some ten milliseconds for a gigabyte, in which other Python threads run."""
    global _trim
    if _trim is None:
        import ctypes  # only here: most programs never need it

        _trim = _nothing
        with contextlib.suppress(OSError, AttributeError):
            _trim = ctypes.CDLL(None).malloc_trim
    _trim(0)


def _nothing(pad: int) -> None:
    """There is no such function here."""


class Heap:
    """Has memory given back some time after much was freed.

    Args:
        later: `later(seconds, function)` calls a function after so many seconds.
    """

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._soon = False

    def fell(self) -> None:
        """See `Budget.fell`. Not at once: a moment later more may be free."""
        if not self._soon:
            self._soon = True
            with contextlib.suppress(RuntimeError, OSError):  # there is nothing left to start a thread with
                self._later(_SECONDS, self._now)

    def _now(self) -> None:
        self._soon = False
        with contextlib.suppress(RuntimeError):
            # Its own thread: who has called this must not wait.
            threading.Thread(target=give_back, name="bokbok-heap", daemon=True).start()
