"""Whose turn it is to split, open and parse: workers take it one after the other, for a slice of time each.

What this module knows: a number, and a line. Python runs one thread at a time, so many that parse at once do not get
more done; they only keep those waiting who have little to do. Here one parses at once, for a millisecond
(`_front.turns.QUANTUM`), and a connection with more to read lines up again: parties take turns, as `_front.turns` has
it. Waiting in the line needs no thread.

Tried twice, and worse: one thread that takes all turns. Beside a crowd a request took 100 ms instead of 28, since that
thread gives up the interpreter with each system call, and has to wait for it with all the others, for 3 ms a turn.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final, Protocol

from .._fork import on_fork
from .._front.turns import LEAST, MORE, QUANTUM, Line

__all__ = ["HELLO", "STAY_SECONDS", "Entrant", "Places", "Turns", "lingering", "reading"]

_READERS: Final = 1
"""Turns at once. A turn waits for nothing but the interpreter; with two, both would wait for it, and for each other."""
HELLO: Final = QUANTUM / 16
"""Seconds that a part of a hello counts. It is read when the turn is over: looking up its user may take long. (With
a quarter of a turn, new connections waited for a second behind a thousand other hellos, while others read.)"""
_LINGERERS: Final = 32
"""Workers that stay with a connection for a moment because more may come, or because the peer may take more."""
STAY_SECONDS: Final = 0.02
"""How long one of them waits before it leaves that to the poller: longer than a conversation's usual pauses."""


class Entrant(Protocol):
    """Who may stand in the line."""

    def _turn_came(self, begin: bool) -> bool:
        """It is your turn: have a thread read, and call `Turns.leave`. False: there is no thread for it.

        Args:
            begin: whether a long message may be begun.
        """


class Turns:
    """Turns of which only so many are taken at once; the others stand in a line.

    Args:
        most: how many.

    Attributes:
        in_line: those who stand in the line; empty if nobody does.
    """

    def __init__(self, most: int) -> None:
        # A list, whose `pop` and `append` are one step each for any thread, since this is done for each message. With a
        # lock around a number, it is the same, and takes four times as long.
        self._free = [None] * most
        self._line: Line[Entrant] = Line()
        self.in_line = self._line.parties
        self._lock = threading.Lock()
        self._added = 0

    @property
    def waiting(self) -> bool:
        """Whether anybody stands in the line."""
        return bool(self.in_line)

    def try_to_enter(self) -> bool:
        """Take a turn. False: it is others' turn; `enter`."""
        if self.in_line:
            return False
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def enter(self, party: Hashable, entrant: Entrant, rest: int = MORE) -> None:
        """Stand in the line: `_turn_came` is called once, perhaps at once. `rest`: see `Line.append`."""
        with self._lock:
            self._line.append(party, entrant, rest)
        self._go_on()

    def leave(self, party: Hashable = None, seconds: float = QUANTUM, least: float = LEAST) -> None:
        """The turn is over: it is the next one's.

        Args:
            party: whose turn came in the line; `None` for one that was taken without.
            seconds: of processor time that it took.
            least: seconds that it counts in any case.
        """
        if party is not None:
            with self._lock:
                self._line.used(party, seconds, least)
        if self._added and self._took_away():
            return
        # One that lines up does that first, then looks for a turn; so one of the two sees the other.
        self._free.append(None)
        if self.in_line:
            self._go_on()

    def add_one(self) -> None:
        """One turn more at once, until somebody leaves."""
        with self._lock:
            if not self.in_line:
                return
            self._added += 1
        self._free.append(None)
        self._go_on()

    def _took_away(self) -> bool:
        with self._lock:
            if not self._added:
                return False
            self._added -= 1
            return True

    def _go_on(self) -> None:
        """Give turns that are free to those who stand in the line."""
        while True:
            with self._lock:
                if not (self._free and self.in_line):
                    return
                try:
                    self._free.pop()
                except IndexError:  # somebody who has not lined up was faster
                    return
                _, entrant, begin = self._line.pop()
            if not entrant._turn_came(begin):
                self._free.append(None)


class Places:
    """A limited number of places. One that gets none goes on without.

    Args:
        most: how many.

    Attributes:
        free: the places that are free, as in `Turns`: take one with `pop`, which raises `IndexError` if there is none,
            and give it back with `append(None)`.
    """

    def __init__(self, most: int) -> None:
        self.free = [None] * most

    def take(self) -> bool:
        """Take a place. False: there is none."""
        try:
            self.free.pop()
        except IndexError:
            return False
        return True

    def give(self) -> None:
        """Give it back."""
        self.free.append(None)


reading = Turns(_READERS)
lingering = Places(_LINGERERS)


def _forked() -> None:
    """In a forked child no thread reads, and the thread that held the locks does not exist."""
    reading.__init__(_READERS)  # type: ignore[misc]  # the same objects: other modules have their names
    lingering.__init__(_LINGERERS)  # type: ignore[misc]


on_fork(_forked)
