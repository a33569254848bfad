"""Cells that ran out of time on a busy machine: each is played again, alone, before it counts.

What this module knows: when that is done, how many of them at the same time, and which of them need not be played since
others like them have failed again.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from ..cases import Case
from ..machine import STEP, Machine
from ..matrix import Group
from ..model import OUT_OF_TIME, Cell, Outcome, Result
from ..slots import Slots
from .cells import AGAIN, Cells
from .puppets import Puppets
from .results import Results
from .tasks import end, together

__all__ = ["LateCell", "LateCells", "Proven"]

BELIEVED = 2
"""When so many cells of a pair in a row have run out of time again, played alone, the time limits of its other cells
are believed. See `Proven`."""
IDLE = 1.0
"""Seconds without anything to play that show whether the machine is busy with something else."""

LateCell: TypeAlias = tuple[Group, Case, Result]
"""A cell that ran out of time on a busy machine, with its first result."""


class Proven:
    """Which cells ran out of time again when they were played alone, so that others need not be played again."""

    def __init__(self) -> None:
        self._in_a_row: Counter[tuple[str, str]] = Counter()
        self._same: set[tuple[str, str, str, str]] = set()

    def explains(self, late: Result) -> bool:
        """Whether so many cells of its pair in a row failed again, or the same case in another mode did, for the same
        reason."""
        return self._in_a_row[self._pair(late)] >= BELIEVED or self._case(late) in self._same

    def add(self, first: Result, again: Result) -> None:
        """A late cell was played again."""
        failed = again.outcome is Outcome.FAILED
        self._in_a_row[self._pair(first)] = self._in_a_row[self._pair(first)] + 1 if failed else 0
        if failed and again.reason == first.reason:
            self._same.add(self._case(first))

    @staticmethod
    def _pair(result: Result) -> tuple[str, str]:
        return result.cell.client, result.cell.server

    def _case(self, result: Result) -> tuple[str, str, str, str]:
        return *self._pair(result), result.cell.case, result.reason


def _in_turns(late: Iterable[LateCell]) -> list[LateCell]:
    """Late cells so that the pairs take turns, each with its quickest cases first: as soon as two of a pair have failed
    again, the others need not be played, least of all those that wait long."""
    of_pair: dict[tuple[str, str], list[LateCell]] = {}
    for each in sorted(late, key=lambda each: each[1].timeout):
        of_pair.setdefault((each[0].client, each[0].server), []).append(each)
    turns = itertools.zip_longest(*of_pair.values())
    return [each for turn in turns for each in turn if each is not None]


class LateCells:
    """The cells of a round that ran out of time on a busy machine.

    Args:
        cells: plays cells.
        puppets: says which peers were given up.
        results: takes those that count.
        slots: says whether other cells only wait.
        machine: says whether the machine is short of processor time.

    Attributes:
        waiting: those whose outcome does not count yet.
    """

    def __init__(self, cells: Cells, puppets: Puppets, results: Results, slots: Slots, machine: Machine) -> None:
        self._cells = cells
        self._puppets = puppets
        self._results = results
        self._slots = slots
        self._machine = machine
        self.waiting: list[LateCell] = []

    def settle(self, group: Group, case: Case, result: Result) -> None:
        """Report a cell's outcome. But if it ran out of time on a busy machine, it is played again later."""
        if result.outcome is Outcome.FAILED and result.again.startswith(OUT_OF_TIME):
            self.waiting.append((group, case, result))
        else:
            self._results.add(result)

    async def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Proven:
        """Do the work of a round, and play late cells again beside its last cells. Returns what has failed again."""
        failed, over = Proven(), asyncio.Event()

        async def whole() -> None:
            await work()
            over.set()

        await together([whole(), self._replay_beside_the_last(failed, over)])
        return failed

    async def _replay_beside_the_last(self, failed: Proven, over: asyncio.Event) -> None:
        """Play late cells again while the last cells of a round only wait, and then as long as such a replay lasts.

        The machine is idle meanwhile: with a broken peer, each of them may take a whole time limit. Each late cell is
        tried once. A failure does not count if the machine was short of processor time.

        Args:
            failed: what has failed again.
            over: the round's other cells have ended.
        """
        tried: set[Cell] = set()
        playing: set[asyncio.Task[Any]] = set()
        ended = asyncio.ensure_future(over.wait())
        try:
            while playing or not ended.done():
                for late in _in_turns(self.waiting):
                    cell = late[2].cell
                    given_up = self._puppets.given_up(cell.client, cell.server)
                    left_out = cell in tried or given_up or self._results.stopping
                    if len(playing) < AGAIN and not left_out and self._slots.idle():
                        tried.add(cell)
                        playing.add(asyncio.ensure_future(self._replay(late, failed, beside_others=True)))
                waiting = playing if ended.done() else {*playing, ended}
                done, _ = await asyncio.wait(waiting, timeout=STEP, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                playing -= done
        finally:
            await end({*playing, ended})

    async def play_again(self, failed: Proven | None = None) -> None:
        """Play each of them again while nothing else is played, before it counts. `failed`: what has failed again.

        Each has puppets of its own. As long as the machine is idle, several are played at the same time: with a broken
        peer each of them may only wait for its time limit. As soon as the machine is not, one is played at a time.
        """
        if not self.waiting or self._results.stopping:
            return
        self._results.note(f"{len(self.waiting)} cells are played again, each alone: {OUT_OF_TIME}")
        # Breaks and silences since then may not have been a peer's fault either.
        self._puppets.forgive_clocks()
        failed = failed or Proven()
        self.waiting = _in_turns(self.waiting)
        began = time.monotonic()
        await asyncio.sleep(IDLE)
        if not self._machine.shortage(began):
            await self._replay_beside_others(failed)
        while self.waiting and not self._results.stopping:
            await self._replay(self.waiting[0], failed)

    async def _replay_beside_others(self, failed: Proven) -> None:
        """Play some of the late cells again, until one runs out of time although it has few beside it."""
        left = list(self.waiting)
        short = False

        async def some() -> None:
            nonlocal short
            while left and not short and not self._results.stopping:
                short |= not await self._replay(left.pop(0), failed, beside_others=True)

        await together(some() for _ in range(AGAIN))

    async def _replay(self, late: LateCell, failed: Proven, *, beside_others: bool = False) -> bool:
        """Play a late cell again, unless it is believed, and report what counts.

        Args:
            late: the cell.
            failed: what has failed again.
            beside_others: others are played as well, so a failure does not count if the machine was short of processor
                time.

        Returns:
            Whether it counts.
        """
        group, case, first = late
        if not failed.explains(first):
            again = await self._cells.alone(group, case)
            if beside_others and again.outcome is Outcome.FAILED and again.again:
                first.attempts += 1
                first.seconds += again.seconds
                return False
            failed.add(first, again)
            again.attempts, again.again = first.attempts + 1, first.again
            again.seconds += first.seconds
            first = again
        else:
            first.again = ""
        self.waiting.remove(late)
        self._results.add(first)
        return True

    def finish(self) -> None:
        """Those that were not played again count as they are."""
        for _, _, result in self.waiting:
            result.again = ""
            self._results.add(result)
        self.waiting.clear()

    def drop(self) -> None:
        """Those that were not played again do not count: another failure has ended the run."""
        self._results.note(f"{len(self.waiting)} cells do not count, and were not played again: {OUT_OF_TIME}")
        self.waiting.clear()
