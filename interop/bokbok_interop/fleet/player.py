"""Plays shares on a worker, with a runner that lives on between shares and keeps the puppets of a few groups.

What this module knows: what concerns a worker as a whole. Its peers are prepared once. A cell that ran out of time on a
busy machine is played again while nothing else is played here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from bokbok.wire.profile import load_strategies, read_profile

from ..cases import all_cases
from ..matrix import Group
from ..peers.base import Peer
from ..runner import Observer, Runner, Shared
from ..spoken import Spoken
from .share import Announcement, Plan, Played, Share, suite_digest

__all__ = ["Player", "Turns", "spoken_of"]

HELD = 4
"""Groups whose puppets are kept on one worker, those for the next share among them."""
IDLE = 30.0
"""Seconds without a share after which these puppets are ended: the run that sent the shares may have been killed."""


def spoken_of(plan: Plan) -> Spoken:
    """The format of a plan. It runs the plan's files of strategies, which the user named by an option.

    Raises:
        ProfileError: it cannot be read here.
    """
    with tempfile.TemporaryDirectory(prefix="bokbok-") as folder:
        paths = []
        for number, (name, text) in enumerate(plan.strategies):
            path = Path(folder, f"{number}-{Path(name).name}")
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            paths.append(path)
        load_strategies(paths)
    return Spoken(read_profile(plan.profile), plan.strategies)


class Turns:
    """A lock that many hold together, or one alone."""

    def __init__(self) -> None:
        self._running = 0
        self._alone = False
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Hold it together with others."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._running += 1
        try:
            yield
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it alone: wait until the others have finished."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            try:
                await self._changed.wait_for(lambda: not self._running)
            except BaseException:
                self._alone = False
                self._changed.notify_all()
                raise
        try:
            yield
        finally:
            async with self._changed:
                self._alone = False
                self._changed.notify_all()


class _Noting(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Player(Runner):
    """A runner for shares.

    Args:
        plan: the plan of the run.
        choose: makes the peers, by name, from the names of known peers and from those of the command line.
    """

    def __init__(self, plan: Plan, choose: Callable[[tuple[str, ...], tuple[str, ...]], Mapping[str, Peer]]) -> None:
        # The run that sends the shares says when to stop, and what a process was given before is not known here.
        settings = dataclasses.replace(
            plan.settings, spoken=spoken_of(plan), repeat=1, until_failure=False, fail_fast=False, pin_seconds=0
        )
        self._noting = _Noting()
        super().__init__(choose(plan.known, plan.given), settings, self._noting)
        self._cases = {case.id: case for case in all_cases()}
        self._turns = Turns()
        self._held: OrderedDict[_Key, Shared] = OrderedDict()
        self._using: Counter[_Key] = Counter()
        self._watching: asyncio.Future[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._letting_go: asyncio.Future[None] | None = None

    async def begin(self) -> Announcement:
        """Prepare every peer, and say which can be played here."""
        self._watching = asyncio.ensure_future(self._machine.watch())
        await self._prepare(self.peers)
        here = [name for name in self.peers if name not in self.absent]
        return Announcement(
            suite=suite_digest(),
            peers={name: self.peers[name].fingerprint() for name in here},
            about={name: self.peers[name].describe() for name in here},
            absent=dict(self.absent),
        )

    async def play(self, share: Share) -> Played:
        """Play the cells of a share. Cells that must be played again are, before this returns."""
        self._results.round = share.round  # rounds do not overlap
        cases = [self._cases[case] for case in share.cases]
        group = Group(share.client, share.server, share.transport, share.security, cases)
        cells = set(share.cells())
        async with self._turns.beside():
            await self._group(group)
        if any(result.cell in cells for _, _, result in self._late.waiting):
            async with self._turns.alone():
                try:
                    await self._late.play_again()
                finally:
                    self._finish_round()
        by_cell = {result.cell: result for result in self.results}
        mine = [by_cell[cell] for cell in share.cells() if cell in by_cell]
        self._results.forget(cells)
        notes, self._noting.notes = self._noting.notes, []
        return Played(share, mine, dict(self.about), notes)

    async def end(self) -> None:
        """End every puppet, and release what the peers use."""
        self._results.stopping = True
        if self._watching is not None:
            self._watching.cancel()
        if self._idle is not None:
            self._idle.cancel()
        await self._end_everything()

    def _puppets_for(self, group: Group) -> Shared:
        # Shares of one group that are played at the same time use the same puppets, as its cells do in a local run.
        key = _key(group)
        shared = self._held.setdefault(key, Shared())
        self._held.move_to_end(key)
        self._using[key] += 1
        return shared

    async def _done_with(self, group: Group, shared: Shared) -> None:
        # A pass in this share is reported with it, and cannot be taken back.
        shared.passed = [(case, result) for case, result in shared.passed if case not in group.cases]
        self._using[_key(group)] -= 1
        idle = [key for key in self._held if not self._using[key]]
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._let_go)
        await self._drop(idle[: max(0, len(self._held) - HELD)])

    async def _drop(self, keys: Sequence[_Key]) -> None:
        dropped = [self._held.pop(key) for key in keys]
        await self._puppets.retire(*(puppet for shared in dropped for puppet in shared.puppets.values()))

    def _let_go(self) -> None:
        self._letting_go = asyncio.ensure_future(self._drop([key for key in self._held if not self._using[key]]))


_Key = tuple[str, str, str, str]


def _key(group: Group) -> _Key:
    return group.client, group.server, group.transport, group.security
