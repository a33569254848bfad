"""Whose turn it is to split, open and parse: workers take it one after the other, for a slice of time each.

What this module knows: a number, and a line. Python runs one thread at a time, so many that parse at once do not get
more done; they only keep those waiting who have little to do. Here a few parse at once, for a millisecond each
(`_front.turns.QUANTUM`), and whoever has more to read lines up again behind all others. Whoever waits in the line
needs no thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, Protocol

from .._fork import on_fork

__all__ = ["Entrant", "Places", "Turns", "lingering", "reading"]

_READERS: Final = 2
"""Turns at once: while one waits for the system, another one reads."""
_LINGERERS: Final = 32
"""Workers that stay with a connection for a moment because more may come, or because the peer may take more."""


class Entrant(Protocol):
    """Who may stand in the line."""

    def _turn_came(self) -> bool:
        """It is your turn: have a thread read, and call `Turns.leave`. False: there is no thread for it."""


class Turns:
    """Turns of which only so many are taken at once; the others stand in a line.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._line: deque[Entrant] = deque()
        self._lock = threading.Lock()

    def try_to_enter(self) -> bool:
        """Take a turn. False: it is others' turn; `enter`."""
        with self._lock:
            if self._free and not self._line:
                self._free -= 1
                return True
            return False

    def enter(self, entrant: Entrant) -> bool:
        """Take a turn. False: it is others' turn, and the entrant stands in the line now."""
        with self._lock:
            if self._free and not self._line:
                self._free -= 1
                return True
            self._line.append(entrant)
            return False

    def leave(self) -> None:
        """The turn is over: it is the next one's."""
        while True:
            with self._lock:
                if not self._line:
                    self._free += 1
                    return
                entrant = self._line.popleft()
            if entrant._turn_came():
                return


class Places:
    """Places of which only so many are taken at once; whoever gets none does without.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a place. False: there is none."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            return False

    def give(self) -> None:
        """Give it back."""
        with self._lock:
            self._free += 1


reading = Turns(_READERS)
lingering = Places(_LINGERERS)


def _forked() -> None:
    """In a forked child nobody reads, and whoever held the locks is not there."""
    reading.__init__(_READERS)  # type: ignore[misc]  # the same objects: other modules have their names
    lingering.__init__(_LINGERERS)  # type: ignore[misc]


on_fork(_forked)
