"""Which connection comes next when several have much to do at once: parties in turn, and deficit round robin.

What this module knows: lines, whose each connection is (its *party*: a user, or a source), and the time that each party
has used. The work itself is a function that is given to `join`. Parties take turns, not connections, or a crowd of one
user's connections would make everybody else wait for all of them.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from .. import wire

__all__ = ["FIRST", "LEAST", "MORE", "NOTHING", "QUANTUM", "Line", "Turns", "left", "long"]

QUANTUM = 0.001
"""Seconds of a turn: short compared with a network's delays, and long compared with the cost of changing turns."""
FIRST = 0.0005
"""Seconds that bytes which have just come get at once, before they line up. That is enough for a hundred small
messages. It is half a turn, since all connections that have sent something at the same moment get it, one after the
other."""

LEAST = QUANTUM / 8
"""Seconds that a turn counts at the least: to give it costs something, too."""

_PAUSE = 10 * QUANTUM
"""Seconds of a turn from which on it may have been the collector that took them."""

NOTHING: Final = 0
MORE: Final = 1
"""What is left to do, in numbers; other ones are long messages (`long`)."""

Step = Callable[[bool], int]
"""Does what fits a turn. It is told whether it may begin a long message, and returns what is left."""

_T = TypeVar("_T")


def long(size: int, begun: bool) -> int:
    """What is left where a long message is the next one, of so many bytes, of which something was read or not.

    The number is its class, in which it is at most four times as long as any other, and a bit.
    """
    return size.bit_length() // 2 << 1 | begun


def left(connection: wire.Connection) -> int:
    """What is left to read."""
    if not connection.more:
        return NOTHING
    size = connection.long
    return long(size, connection.begun) if size else MORE


class _Party(Generic[_T]):
    """Whom a party has in line.

    Attributes:
        short: those who have no long message next, the first one first.
        long: those who have one, by its class; the next class first. Of each the first one's has begun, perhaps.
        long_next: whose turn it is among the party's.
    """

    __slots__ = ("long", "long_next", "short")

    def __init__(self) -> None:
        self.short: deque[_T] = deque()
        self.long: dict[int, deque[_T]] = {}
        self.long_next = False

    def __len__(self) -> int:
        return len(self.short) + sum(map(len, self.long.values()))

    def append(self, item: _T, rest: int) -> None:
        if rest <= MORE:
            self.short.append(item)
        elif rest & 1:
            self.long.setdefault(rest >> 1, deque()).appendleft(item)
        else:
            self.long.setdefault(rest >> 1, deque()).append(item)

    def pop(self) -> tuple[_T, bool]:
        """Who is next, and whether it may begin to read a long message."""
        if not self.long:
            return self.short.popleft(), True
        if self.short and not self.long_next:
            self.long_next = True
            return self.short.popleft(), False
        self.long_next = False
        next_class = next(iter(self.long))
        items = self.long.pop(next_class)
        item = items.popleft()
        if items:
            self.long[next_class] = items
        return item, True


class Line(Generic[_T]):
    """A line for turns by used time, as deficit round robin has them (Shreedhar and Varghese, 1995).

    A party keeps its place until its connections have used a quantum together, and each of them that comes anew waits
    behind the party's others. A party may use more than its quantum, since a piece of work cannot be interrupted; then
    it waits until the others have caught up. A step here takes the same time, however many stand in line.

    A party's long messages are read one after the other, beside its short ones, with which they take turns. What has
    been read of a message takes far more memory than its bytes, and Python's collector looks at all of it in one piece:
    for half a second, where 250 connections of one user were in the middle of 1 MB each. Those that are far shorter do
    not wait for the longest: classes of sizes take turns, and of each of them about one has begun.

    Attributes:
        parties: those that stand in line, and whom each of them has there. Always the same object, so that its owner
            can ask whether it is empty without a call.
    """

    def __init__(self) -> None:
        self.parties: dict[Hashable, _Party[_T]] = {}
        self._credits: dict[Hashable, float] = {}  # seconds, of those that were first already
        self._collections = 0
        self._first: Hashable = None  # the party that has got its quantum, since it is first

    def __bool__(self) -> bool:
        return bool(self.parties)

    def __len__(self) -> int:
        """How many stand in line."""
        return sum(map(len, self.parties.values()))

    def may_begin(self, party: Hashable) -> bool:
        """Whether one who has not stood in the line may begin to read a long message."""
        waiting = self.parties.get(party)
        return waiting is None or not waiting.long

    def append(self, party: Hashable, item: _T, rest: int = MORE) -> None:
        """Line up.

        Args:
            party: whose it is.
            item: who.
            rest: what is left to do.
        """
        waiting = self.parties.get(party)
        if waiting is None:
            waiting = self.parties[party] = _Party()
        waiting.append(item, rest)

    def pop(self) -> tuple[Hashable, _T, bool]:
        """Take out whose turn it is. Somebody must be in line.

        Returns:
            Its party; who; whether it may begin to read a long message.
        """
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
        waiting = parties[party]
        item, begin = waiting.pop()
        if not (waiting.short or waiting.long):
            del parties[party]
            self._first = None
        return party, item, begin

    def used(self, party: Hashable, seconds: float, least: float = LEAST) -> None:
        """A turn is over that was taken by `pop`. `least`: seconds that it counts in any case."""
        if seconds > _PAUSE and self._collected():
            seconds = QUANTUM
        if party in self.parties:
            self._credits[party] = self._credits.get(party, 0.0) - max(seconds, least)
        else:
            self._credits.pop(party, None)

    def _collected(self) -> bool:
        """Whether Python's collector has looked at everything since this was asked last. It does that in whatever turn
        it happens to be, for a tenth of a second and more, and that party would have to wait for as long."""
        before, self._collections = self._collections, gc.get_stats()[-1]["collections"]
        return self._collections != before


class Turns:
    """Turns for work that is done by whoever calls `take`.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: Line[Step] = Line()
        self.may_begin = self._line.may_begin

    def __bool__(self) -> bool:
        return bool(self._line)

    def join(self, party: Hashable, step: Step, rest: int = MORE) -> None:
        """Line up. `step` is called in each turn, until it returns `NOTHING` or raises an error; `rest` is what it has
        left now."""
        self._line.append(party, step, rest)

    def take(self) -> None:
        """Give one turn, if anybody is in line."""
        line = self._line
        if not line:
            return
        party, step, begin = line.pop()
        began = self._clock()
        try:
            if rest := step(begin):
                line.append(party, step, rest)
        finally:
            line.used(party, self._clock() - began)
