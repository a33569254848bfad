"""The clock: when a search stops.

What this module knows: how much time a search may take.
"""

from __future__ import annotations

import math
import time

__all__ = ["PATIENCE", "Clock", "OutOfTime"]

PATIENCE = 50.0
"""Seconds after which a search stops and reports how far it got. Formats of the table take one or two."""

_WAIT = 1.2
"""How many times as long it may take in wall-clock time, since other programs may use the processor."""
_SELDOM = 0.02


class OutOfTime(Exception):
    """The search has had its time."""


class Clock:
    """Counts down.

    Args:
        seconds: processor time.
        alone: whether this is the process's only search; else its processor time says nothing, and `seconds` are those
            of the wall clock.
    """

    def __init__(self, seconds: float = PATIENCE, *, alone: bool = True) -> None:
        self.seconds = seconds
        self._begin = time.monotonic()
        self._until = self._begin + (_WAIT * seconds if alone else seconds)
        self._used = time.process_time() + seconds if alone else math.inf
        self._next = 0.0

    @property
    def left(self) -> float:
        """Seconds of wall-clock time that are left at most."""
        return max(0.0, self._until - time.monotonic())

    @property
    def passed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._begin

    def check(self) -> None:
        """Check that time is left.

        Raises:
            OutOfTime: it has run out.
        """
        now = time.monotonic()
        if now < self._next:
            return
        if now > self._until or time.process_time() > self._used:
            raise OutOfTime
        self._next = now + _SELDOM  # asking for the processor time costs more than most steps of a search
