"""The order of a run: peers are prepared, rounds are played, what must be is played again, and everything ends.

How one cell is played is for `cells`. What its failure means, if it was not alone, is for `late`, `culprits` and
`pinning`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..cases import Case
from ..machine import Machine
from ..matrix import Group
from ..model import BROKE, RUNNER, Outcome, Result
from ..peers.base import Peer, Unavailable
from ..slots import Slots
from .cells import Cells
from .crowd import Crowd
from .culprits import Culprits
from .late import LateCells
from .observer import Observer, Observers
from .pinning import Pinning
from .puppets import Puppets
from .results import Results
from .settings import Settings
from .shared import Shared
from .tasks import together

__all__ = ["Runner"]

CULPRITS = 12
"""How many cells that passed just before a puppet broke are remembered: they may have broken it."""


class Runner:
    """Plays groups of cells.

    Args:
        peers: the peers, by name.
        settings: how to play.
        observer: is told what happens.
        machine: says whether the machine is short of processor time.

    Attributes:
        observers: whom it tells what happens.
        absent: why a peer is not available, by name.
        about: what a puppet said about itself, by peer.
        grounded: whether the preflight failed, so that nothing else was played.
    """

    def __init__(
        self,
        peers: Mapping[str, Peer],
        settings: Settings,
        observer: Observer | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.peers = dict(peers)
        self.settings = settings
        self.observers = observers = Observers(*filter(None, [observer]))
        self.absent: dict[str, str] = {}
        self.grounded = False
        self._machine = machine = machine or Machine()
        self._results = results = Results(settings, observers)
        self._slots = slots = Slots(settings.jobs, machine)
        self._puppets = puppets = Puppets(self.peers, settings.spoken, observers)
        self._cells = cells = Cells(settings, self.absent, puppets, results, observers, machine)
        self._late = LateCells(cells, puppets, results, slots, machine)
        self._pinning = Pinning(settings, cells, puppets, results, slots)
        self._culprits = Culprits(cells, puppets, results, slots, self._late, self._pinning)
        self.about = puppets.about

    @property
    def results(self) -> list[Result]:
        """The results so far."""
        return self._results.all

    async def run(self, groups: list[Group], preflight: Sequence[Group] = ()) -> list[Result]:
        """Play everything. Returns the results; if this is cancelled, `results` has those so far.

        Args:
            groups: what to play.
            preflight: what to play first, once. If it fails, the groups are not played and `grounded` is set, unless
                the settings say `keep_going`.

        Returns:
            One result for each cell and round, in the order of the groups.
        """
        order = {
            group.cell(case): index
            for index, (group, case) in enumerate(
                (group, case) for group in (*preflight, *groups) for case in group.cases
            )
        }
        self.observers.planned(len(order) * (1 if self.settings.until_failure else self.settings.repeat))
        watch = asyncio.ensure_future(self._machine.watch())
        results = self._results
        try:
            await self._prepare({name for group in (*preflight, *groups) for name in (group.client, group.server)})
            if preflight:
                await self._played_round(preflight)
                failed = any(result.outcome is Outcome.FAILED for result in self.results)
                self.grounded = failed and not self.settings.keep_going
                results.stopping |= self.grounded
            while not results.stopping:
                await self._played_round(groups)
                if self.settings.until_failure:
                    results.stopping |= any(result.outcome is Outcome.FAILED for result in self.results)
                    results.stopping |= not any(result.outcome is Outcome.PASSED for result in self.results)
                else:
                    results.stopping |= results.round >= self.settings.repeat
                results.round += 1
        finally:
            watch.cancel()
            await asyncio.shield(self._end_everything())
            self.results.sort(key=lambda result: (result.round, order[result.cell]))
        return self.results

    def describe(self, name: str) -> dict[str, Any]:
        """What a peer says about itself, as `Peer.describe`."""
        return self.peers[name].describe()

    async def _prepare(self, names: Iterable[str]) -> None:
        async def one(name: str) -> None:
            self.peers[name].note = self.observers.note
            try:
                await self.peers[name].prepare()
            except Unavailable as error:
                self.absent[name] = str(error)
            except Exception as error:  # whatever the error is, it only concerns this peer
                self.absent[name] = f"it cannot be prepared: {type(error).__name__}: {error}"
            if name in self.absent:
                self.observers.note(f"{name} is absent: {self.absent[name]}")

        await asyncio.gather(*(one(name) for name in sorted(set(names) - {RUNNER})))

    async def _end_everything(self) -> None:
        await self._puppets.end()

    # -- one round

    async def _played_round(self, groups: Sequence[Group]) -> None:
        try:
            failed = await self._late.beside(functools.partial(self._round_of, groups))
            await self._late.play_again(failed)
            await self._culprits.gather_again()
            await self._pinning.pin_down()
        finally:
            self._finish_round()

    async def _round_of(self, groups: Sequence[Group]) -> None:
        # More than one group at a time, since a group ends with a few cells that only wait.
        gate = asyncio.Semaphore(max(1, self.settings.jobs // 2))

        async def one(group: Group) -> None:
            async with gate:
                if not self._results.stopping:
                    await self._group(group)
                    await self._pinning.play_one_alone(group)

        await together(one(group) for group in groups)

    def _finish_round(self) -> None:
        """Cells that were not played again count as they are, unless another failure has ended the run."""
        if self._late.waiting and self._results.stopping and self.settings.ends_at_a_failure:
            self._late.drop()
            self._culprits.drop()
            self._pinning.drop()
        self._culprits.finish()
        self._pinning.finish()
        self._late.finish()

    # -- one group

    def _puppets_for(self, group: Group) -> Shared:
        return Shared()

    async def _done_with(self, group: Group, shared: Shared) -> None:
        await self._puppets.retire(*shared.puppets.values())

    async def _group(self, group: Group) -> None:
        shared = self._puppets_for(group)
        suspects: list[tuple[Case, Result]] = []
        before: dict[Case, Result] = {}
        kinds: set[str] = set()

        async def one(case: Case) -> None:
            async with self._slots.taken(case.timeout):
                if self._results.stopping:
                    return
                if not case.fresh:
                    shared.order.append(case)
                result = await self._cells.play(group, case, shared, alone=bool(case.fresh))
                if result.outcome is Outcome.FAILED and not case.fresh:
                    self._pinning.failed(result, case, shared)
                if how := result.evidence.pop("suspect", ""):
                    suspects.append((case, result))
                    kinds.add(how)
                    before.update(shared.passed[-CULPRITS:])
                else:
                    self._late.settle(group, case, result)
                    if result.outcome is Outcome.PASSED and not case.fresh:
                        shared.passed.append((case, result))

        async def clear(suspect: tuple[Case, Result], own: Shared) -> None:
            case, first = suspect
            async with self._slots.taken():
                if self._results.stopping:
                    self._results.add(first)
                    return
                again = await self._cells.cleared(group, case, own)
            again.attempts = 2
            again.again = again.again or BROKE
            again.seconds += first.seconds
            self._late.settle(group, case, again)

        try:
            await together(one(case) for case in group.cases)
            await self._cells.in_turn(list(suspects), clear)
            if suspects and not self._results.stopping:
                given = [case for _, first in suspects for case in self._pinning.before(first)]
                order = tuple(dict.fromkeys((*given, *(case for case, _ in suspects))))
                await self._culprits.blame(Crowd(group, suspects, before, order, kinds))
        finally:
            await self._done_with(group, shared)
