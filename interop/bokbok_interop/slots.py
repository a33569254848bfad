"""How many cells are played at once.

A cell has one slot of so many. One that only waits, for a clock or for a peer that does not answer, lends its slot to
another cell: a peer that lets hundreds of cells run into a time limit must not make the run as much longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator

from .machine import Machine

__all__ = ["LENDS", "LOANS", "Slots"]

LENDS = 1.0
"""Seconds after which a cell lends its slot, if the machine was not short of processor time meanwhile: then it was
waiting, and there is room for others."""
LOANS = 1
"""How many cells may have lent their slots, for each slot but the first. With one slot there is one cell at a time."""


class Slots:
    """Slots for cells.

    Args:
        count: how many cells are played at once, except for those that only wait.
        machine: says whether the machine is short of processor time.
    """

    def __init__(self, count: int, machine: Machine) -> None:
        self._free = count
        self._loans = LOANS * (count - 1)
        self._machine = machine
        self._line: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def taken(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """Have a slot in the `async with` block.

        Args:
            seconds: how long the cell may wait for its clocks. Those that may wait longest are first, whatever group
                they are from: others run at the same time, and the run does not end with somebody's clock.
        """
        await self._take(seconds)
        slot = _Slot(self)
        try:
            yield
        finally:
            slot.give_back()

    async def _take(self, seconds: float) -> None:
        if self._free:  # then nobody waits
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (-seconds, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it was ended just when it got its slot
            raise

    def _waits(self) -> bool:
        """Whether somebody waits for a slot. Those that were ended while they waited are forgotten."""
        while self._line and self._line[0][2].done():
            heapq.heappop(self._line)
        return bool(self._line)

    def _give(self) -> None:
        if self._waits():
            heapq.heappop(self._line)[2].set_result(None)
        else:
            self._free += 1

    def idle(self) -> bool:
        """Whether no cell waits for a slot, and the machine was not short of processor time for a while."""
        return bool(self._free) and not self._machine.shortage(time.monotonic() - LENDS)

    def lend(self) -> bool:
        """Free the slot of a cell that has had it for `LENDS` seconds, if it may be lent."""
        if not self._loans or self._machine.shortage(time.monotonic() - LENDS):
            return False
        self._loans -= 1
        self._give()
        return True

    def end(self, *, lent: bool) -> None:
        """A cell has ended that had a slot, or has lent it."""
        if lent:
            self._loans += 1
        else:
            self._give()


class _Slot:
    """The slot of one cell, which is lent as soon as that is possible."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lent = False
        self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LENDS, self._look)

    def _look(self) -> None:
        self._lent = self._slots.lend()
        if not self._lent:
            self._look_later()

    def give_back(self) -> None:
        """The cell has ended."""
        self._timer.cancel()
        self._slots.end(lent=self._lent)
