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

_LEAST = QUANTUM / 8
"""Seconds that a turn counts at the least: to give it costs something, too."""

Step = Callable[[], bool]
"""Does what fits a turn. True: there is more to do."""

_T = TypeVar("_T")


class Line(Generic[_T]):
    """A line for turns by used time, as deficit round robin has them (Shreedhar and Varghese, 1995).

    A party keeps its place until its connections have used a quantum together, and each of them that comes anew waits
    behind the party's others. A party may use more than its quantum, since a piece of work cannot be interrupted; then
    it waits until the others have caught up. A step here takes the same time, however many stand in line.

    Attributes:
        parties: those that stand in line, and whom each of them has there, the next one first. Always the same object,
            so that its owner can ask whether it is empty without a call.
    """

    def __init__(self) -> None:
        self.parties: dict[Hashable, deque[_T]] = {}
        self._credits: dict[Hashable, float] = {}  # seconds, of those that were first already
        self._first: Hashable = None  # the party that has got its quantum, since it is first

    def __bool__(self) -> bool:
        return bool(self.parties)

    def append(self, party: Hashable, item: _T) -> None:
        """Line up."""
        self.parties.setdefault(party, deque()).append(item)

    def pop(self) -> tuple[Hashable, _T]:
        """Take out whose turn it is, with its party. Somebody must be in line."""
        parties, credits = self.parties, self._credits
        while True:
            party = next(iter(parties))
            if party is not self._first:
                self._first = party
                credits[party] = min(credits.get(party, 0.0), 0.0) + QUANTUM
            if credits[party] > 0:
                break
            parties[party] = parties.pop(party)
            self._first = None
        items = parties[party]
        item = items.popleft()
        if not items:
            del parties[party]
            self._first = None
        return party, item

    def used(self, party: Hashable, seconds: float) -> None:
        """A turn is over that was taken by `pop`."""
        if party in self.parties:
            self._credits[party] = self._credits.get(party, 0.0) - max(seconds, _LEAST)
        else:
            self._credits.pop(party, None)


class Turns:
    """Turns for work that is done by whoever calls `take`.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: Line[Step] = Line()

    def __bool__(self) -> bool:
        return bool(self._line)

    def join(self, party: Hashable, step: Step) -> None:
        """Line up. `step` is called in each turn, until it returns false or raises an error."""
        self._line.append(party, step)

    def take(self) -> None:
        """Give one turn, if anybody is in line."""
        line = self._line
        if not line:
            return
        party, step = line.pop()
        began = self._clock()
        try:
            if step():
                line.append(party, step)
        finally:
            line.used(party, self._clock() - began)
