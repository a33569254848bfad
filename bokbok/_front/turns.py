"""Which connection comes next when several have much to do at once: parties in turn, and deficit round robin.

What this module knows: lines, whose each connection is (its *party*: a user, or a source), and the time that each party
has used. The work itself is a function that is given to `join`. Parties take turns, not connections, or a crowd of one
user's connections would make everybody else wait for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["FIRST", "QUANTUM", "Line", "Turns"]

QUANTUM = 0.001
"""Seconds of a turn: short compared with a network's delays, and long compared with the cost of changing turns."""
FIRST = 0.0005
"""Seconds that bytes which have just come get at once, before they line up. That is enough for a hundred small
messages. It is half a turn, since all connections that have sent something at the same moment get it, one after the
other."""

Step = Callable[[], bool]
"""Does what fits a turn. True: there is more to do."""

_T = TypeVar("_T")


class Line(Generic[_T]):
    """A line: of all parties in turn, whoever of the party came first. Each step takes the same time, however many
    stand in it."""

    def __init__(self) -> None:
        self._parties: dict[Hashable, deque[_T]] = {}  # the next one first

    def __bool__(self) -> bool:
        return bool(self._parties)

    def __contains__(self, party: Hashable) -> bool:
        return party in self._parties

    def append(self, party: Hashable, item: _T) -> None:
        """Line up."""
        self._parties.setdefault(party, deque()).append(item)

    def first(self) -> Hashable:
        """The party whose turn it is. Somebody must be in line."""
        return next(iter(self._parties))

    def rotate(self) -> None:
        """The first party is the last one now."""
        party = self.first()
        self._parties[party] = self._parties.pop(party)

    def popleft(self) -> _T:
        """Take the next one out; its party's next one comes after those of all other parties."""
        party = self.first()
        items = self._parties.pop(party)
        item = items.popleft()
        if items:
            self._parties[party] = items
        return item


class Turns:
    """Turns by used time (Shreedhar and Varghese, 1995). A party may use more than its turn, since a piece of work
    cannot be interrupted; then it waits until the others have caught up.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: Line[Step] = Line()
        self._debts: dict[Hashable, float] = {}

    def __bool__(self) -> bool:
        return bool(self._line)

    def join(self, party: Hashable, step: Step) -> None:
        """Line up. `step` is called in each turn, until it returns false or raises an error."""
        self._line.append(party, step)

    def take(self) -> None:
        """Give one turn, if anybody is in line."""
        line, debts = self._line, self._debts
        if not line:
            return
        while True:
            party = line.first()
            debt = debts.pop(party, 0.0)
            if debt < QUANTUM:
                break
            debts[party] = debt - QUANTUM
            line.rotate()
        step = line.popleft()
        began = self._clock()
        if step():
            line.append(party, step)
        debt += self._clock() - began - QUANTUM
        if debt > 0 and party in line:
            debts[party] = debt
