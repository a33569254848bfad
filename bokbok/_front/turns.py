"""Which connection comes next when several have much to do at once: deficit round robin.

What this module knows: the line, and the time that each has used. The work itself is a function that is given to
`join`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["FIRST", "QUANTUM", "Turns"]

QUANTUM = 0.001
"""Seconds of a turn: short compared with a network's delays, and long compared with the cost of changing turns."""
FIRST = 0.0005
"""Seconds that bytes which have just come get at once, before they line up. That is enough for a hundred small
messages. It is half a turn, since all connections that have sent something at the same moment get it, one after the
other."""

Step = Callable[[], bool]
"""Does what fits a turn. True: there is more to do."""


class _Place:
    __slots__ = ("credit", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.credit = 0.0


class Turns:
    """The line (Shreedhar and Varghese, 1995). A connection may use more than its turn, since a piece of work cannot be
    interrupted; then it waits until the others have caught up.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: deque[_Place] = deque()

    def __bool__(self) -> bool:
        return bool(self._line)

    def join(self, step: Step) -> None:
        """Line up. `step` is called in each turn, until it returns false or raises an error."""
        self._line.append(_Place(step))

    def take(self) -> None:
        """Give one turn, if anybody is in line."""
        line = self._line
        if not line:
            return
        while True:
            place = line[0]
            place.credit = min(place.credit + QUANTUM, QUANTUM)
            if place.credit > 0:
                break
            line.rotate(-1)
        line.popleft()
        began = self._clock()
        if place.step():
            place.credit -= self._clock() - began
            line.append(place)
