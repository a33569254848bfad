"""Cells that fail only behind others in the same process: alone they pass, so what these others left behind counts.

What this module knows: which cells may be such, and what a result says when it is known behind which others it fails.
Which tries to make, and what they show, is in `bokbok_interop.behind`.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..behind import Tried, pin_down
from ..cases import PREFLIGHT, Case
from ..matrix import Group
from ..model import BEHIND, Behind, Cell, Outcome, Result
from ..peers.puppet import Puppet
from ..slots import Slots
from .cells import Cells
from .crowd import Crowd
from .puppets import Puppets
from .results import Results, one_line
from .settings import Settings
from .shared import Shared
from .tasks import together

__all__ = ["Pinning"]

PINNING = 0.7
"""The share of the time for cells that fail behind others in which these others are looked for. In the rest those that
failed with them are played alone."""


@dataclass
class _Behind:
    """Cells of a group that failed in a process that others used, one of which passes alone.

    Attributes:
        group: their group.
        failed: each case, with its result.
        passes: the one that passes alone, with its result then.
        before: what the process had been given before that one failed.
    """

    group: Group
    failed: list[tuple[Case, Result]]
    passes: tuple[Case, Result]
    before: tuple[Case, ...]


class Pinning:
    """Finds out behind which cells others fail, in the time that the settings give it.

    Args:
        settings: how long it may take.
        cells: plays cells.
        puppets: says which peers were given up.
        results: those that may change.
        slots: one is taken for each cell that is played beside others.
    """

    def __init__(self, settings: Settings, cells: Cells, puppets: Puppets, results: Results, slots: Slots) -> None:
        self._seconds = settings.pin_seconds
        self._cells = cells
        self._puppets = puppets
        self._results = results
        self._slots = slots
        self._unexplained: list[Crowd] = []
        self._behind: list[_Behind] = []
        self._before: dict[Cell, tuple[Case, ...]] = {}
        self._found: dict[str, Behind] = {}
        self._own_faults: dict[tuple[str, str], set[str]] = {}

    # -- what may be such a failure

    def failed(self, result: Result, case: Case, shared: Shared) -> None:
        """A cell has failed with puppets that others used."""
        if self._seconds > 0:
            self._before[result.cell] = shared.before(case)

    def before(self, result: Result) -> tuple[Case, ...]:
        """What the puppets of a failed cell had been given before; nothing if nothing is pinned down."""
        return self._before.get(result.cell, ())

    def like_another(self, crowd: Crowd) -> bool:
        """Whether the puppet of a crowd broke in the same way as one that is to be explained; then that one is, too."""
        if like := any(crowd.same(other) for other in self._unexplained):
            self._unexplained.append(crowd)
        return like

    def explain(self, crowd: Crowd) -> None:
        """No case of this crowd breaks its puppet alone. The crowd is blamed, unless it can be pinned down."""
        # To see that a puppet hangs takes so long that there is no time to halve anything.
        if self._seconds > 0 and "hung" not in crowd.kinds:
            self._unexplained.append(crowd)
        else:
            crowd.blame(self._results)

    async def play_one_alone(self, group: Group) -> None:
        """If cells of this group failed, find out whether they do so alone: play one of them, with new puppets.

        The last ones that began are asked, the quickest of them. It is believed for the others, and for the other modes
        in which the same case failed.
        """
        results = {result.cell: result for result in self._results.this_round()}
        failed = [
            (case, result)
            for case in group.cases
            if (result := results.get(group.cell(case))) is not None
            and result.outcome is Outcome.FAILED
            and result.attempts == 1
            and self.before(result)
            and case.chapter != PREFLIGHT
        ]  # none if nothing is pinned down: then `_before` is empty
        own = self._own_faults.setdefault((group.client, group.server), set())
        given_up = self._puppets.given_up(group.client, group.server)
        if not failed or given_up or self._results.stopping or own & {case.id for case, _ in failed}:
            return
        failed.sort(key=lambda each: len(self.before(each[1])))
        case, first = min(failed[len(failed) // 2 :], key=lambda each: each[1].seconds)
        async with self._slots.taken():
            again = await self._cells.alone(group, case)
        if again.outcome is Outcome.FAILED:
            own.add(case.id)
        elif again.outcome is Outcome.PASSED:
            self._behind.append(_Behind(group, failed, (case, again), self.before(first)))

    # -- the search

    async def pin_down(self) -> None:
        """Find out behind which cells others fail that pass alone, while nothing else is played, for a limited time."""
        if not (self._unexplained or self._behind) or self._results.stopping:
            return
        count = sum(len(each.failed) for each in self._behind) + sum(len(each.suspects) for each in self._unexplained)
        self._results.note(
            f"{count} cells failed behind others, and may pass alone: the same order is played again and halved, for "
            f"{self._seconds:g} seconds at the most"
        )
        began = time.monotonic()
        until = began + self._seconds
        crowds, self._unexplained = self._unexplained, []
        while crowds:
            await self._pin_down_crowd([crowds[0], *(each for each in crowds[1:] if each.same(crowds[0]))], until)
            crowds = [each for each in crowds[1:] if not each.same(crowds[0])]
        # The shortest order first: what it shows is tried first for the others.
        self._behind.sort(key=lambda each: len(each.before))
        found = [(each, await self._pin_down_failure(each, began + PINNING * self._seconds)) for each in self._behind]
        for each, behind in found:
            await self._clear_behind(each, behind, until)

    async def _pin_down_crowd(self, crowds: Sequence[Crowd], until: float) -> None:
        """Find out what broke puppets that no cell breaks alone. One suspect fails for it, the others are as alone."""
        crowd = max(crowds, key=lambda each: len(each.order))
        play = functools.partial(self._try, crowd.group, None)
        suspects = sum(len(each.suspects) for each in crowds)
        repeat, known = crowd.suspects[0][0], tuple(self._found.values())
        behind = await pin_down(crowd.order, self._took(crowd.group), play, until, suspects, repeat, known)
        if not behind.cases:
            for each in crowds:
                each.blame(self._results)
            return
        for first, result in itertools.islice(crowd.counted(self._results), 1):
            self._fails_behind(result, first, behind)

    async def _pin_down_failure(self, found: _Behind, until: float) -> Behind:
        """Find out behind which cells a cell fails."""
        case, _ = found.passes
        play = functools.partial(self._try, found.group, case)
        known = tuple(self._found.values())
        behind = await pin_down(found.before, self._took(found.group), play, until, len(found.failed), case, known)
        first = dict(found.failed)[case]
        self._fails_behind(first, first, behind)
        return behind

    async def _clear_behind(self, found: _Behind, behind: Behind, until: float) -> None:
        """Play the cells alone that failed with the one that fails behind others. Those that pass have passed, if it is
        known behind which others that one fails."""
        group, (case, _) = found.group, found.passes
        left = [(other, first) for other, first in found.failed if other is not case]

        async def clear(failed: tuple[Case, Result], own: Shared) -> None:
            other, first = failed
            again = await self._cells.cleared(group, other, own)
            if again.outcome is Outcome.PASSED and behind.cases:
                again.attempts, again.again = first.attempts + 1, BEHIND
                again.seconds += first.seconds
                self._results.replace(first, again)
            elif again.outcome is Outcome.PASSED:
                self._fails_behind(first, first, behind)

        await self._cells.in_turn(left, clear, lambda: time.monotonic() < until and not self._results.stopping)
        for _, first in left:
            first.behind = replace(behind, complete=False, failed=1)
            first.reason = one_line(f"{first.reason} (perhaps as {case.id}: there was no time to play it alone)")
            self._results.correct(first)

    def _fails_behind(self, result: Result, first: Result, behind: Behind) -> None:
        """A result becomes a failure again, as it was at first, with what is known now."""
        result.outcome, result.behind = Outcome.FAILED, behind
        if behind.by_number or len(behind.cases) == 1:
            self._found["number" if behind.by_number else behind.cases[0]] = behind
        result.expected, result.actual, result.sentence = first.expected, first.actual, first.sentence
        result.evidence, result.crash = first.evidence, first.crash
        result.reason = one_line(f"{first.reason} ({behind})")
        self._results.correct(result)

    def _took(self, group: Group) -> Callable[[Case], float]:
        seconds = {result.cell: result.seconds for result in self._results.all}
        return lambda case: seconds.get(group.cell(case), 0.0)

    async def _try(self, group: Group, case: Case | None, before: Sequence[Case], width: int, enough: int) -> Tried:
        """Play cells in new processes, and then the one that is looked at, unless these are about a break. See
        `behind.Try`."""
        seen: set[Puppet] = set()
        places = asyncio.Semaphore(width)

        def broke() -> bool:
            seen.update(shared.puppets.values())
            return any(puppet.fault is not None and not puppet.expected_end for puppet in seen)

        def connections() -> int:
            return max((puppet.connections for puppet in seen), default=0)

        async def one(each: Case) -> None:
            async with places:
                if not (broke() or self._results.stopping or 0 < enough <= connections()):
                    await self._cells.play(group, each, shared, alone=False, again=True)

        async with self._puppets.own(suspects=True) as shared:
            await together(one(each) for each in before)
            made = connections()
            failed = broke()
            if case is not None and not failed and not self._results.stopping:
                result = await self._cells.play(group, case, shared, alone=False, again=True)
                failed = broke() or result.outcome is Outcome.FAILED
            return Tried(failed, made)

    # -- the end of a round

    def finish(self) -> None:
        """Crowds that were not explained are blamed."""
        for crowd in self._unexplained:
            crowd.blame(self._results)
        for kept in (self._unexplained, self._behind, self._before):
            kept.clear()

    def drop(self) -> None:
        """Crowds that were not explained do not count: another failure has ended the run."""
        self._unexplained.clear()
