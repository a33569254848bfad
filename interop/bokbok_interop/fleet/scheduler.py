"""A run whose cells are played by the workers of a Dask scheduler.

What this module knows: Dask. A share of cells is a task; it goes to a worker that has both of its peers, and is played
again elsewhere when that worker is lost, which Dask does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from distributed.diagnostics.plugin import WorkerPlugin
from distributed.worker import get_worker

from bokbok.wire.profile import dump_profile
from bokbok_workers.connection import Scheduler, quietly
from bokbok_workers.where import Where, WorkersError

from ..matrix import Group
from ..model import RUNNER, Outcome, Result
from ..peers.base import Peer
from ..runner import Runner, Settings
from ..spoken import Spoken
from .player import Player
from .share import Announcement, Plan, Played, Share, shares, suite_digest

__all__ = ["Fleet"]

_T = TypeVar("_T")

AHEAD = 2
"""Shares that are sent out for each thread of the workers: one is played, and the next one is already there."""
RECOUNT = 2.0
"""Seconds after which the threads of the workers are counted again: workers come and go."""
PATIENCE = 30.0
"""Seconds without any result after which shares that no worker can play any more have failed."""
LOST = "the worker that played it was lost"
_MANY = 1e9
"""How many tasks a worker can play with one peer: as many as there are."""


def _choose(known: tuple[str, ...], given: tuple[str, ...]) -> Mapping[str, Peer]:
    from ..peers.known import known_peers, peer_from_option

    there = known_peers()
    return {name: there[name] for name in known} | {(peer := peer_from_option(text)).name: peer for text in given}


def _resource(peer: str, fingerprint: str, suite: str) -> str:
    """The name by which a worker says that it has exactly this peer, and exactly this suite."""
    return "bokbok-" + hashlib.sha256(f"{suite} {fingerprint} {peer}".encode()).hexdigest()[:24]


class _Playing(WorkerPlugin):
    """Lives on a worker as long as the run: its peers, its puppets, and an event loop for them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.name = plan.run

    async def setup(self, worker: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="bokbok-player", daemon=True)
        self.thread.start()
        self.problem = ""
        self.announcement = Announcement(suite_digest())
        try:
            self.player = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._made(), self.loop))
            self.announcement = await asyncio.wrap_future(self._there(self.player.begin()))
        except Exception as error:  # Dask would take the worker down
            self.problem = f"{type(error).__name__}: {error}"
            return
        suite = self.announcement.suite
        await worker.set_resources(
            **{_resource(peer, mark, suite): _MANY for peer, mark in self.announcement.peers.items()}
        )

    async def _made(self) -> Player:
        return Player(self.plan, _choose)

    def _there(self, work: Coroutine[Any, Any, _T]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def play(self, share: Share) -> Played:
        """Play a share; called in one of the worker's threads."""
        played: Played = self._there(self.player.play(share)).result()
        return played

    async def teardown(self, worker: Any) -> None:
        if not self.problem:
            await asyncio.wrap_future(self._there(self.player.end()))
        self.loop.call_soon_threadsafe(self.loop.stop)


def _announcement(run: str, dask_worker: Any) -> tuple[Announcement, str]:
    plugin = dask_worker.plugins.get(run)
    return (plugin.announcement, plugin.problem) if plugin is not None else (Announcement(""), "")


def _play(run: str, share: Share) -> Played:
    worker = get_worker()
    worker.log_event(run, share.number)
    plugin: Any = worker.plugins[run]
    played: Played = plugin.play(share)
    return played


class Fleet(Runner):
    """A runner that gives its cells to workers.

    Args:
        peers: by name, as the command line chose them.
        settings: how to play; `jobs` is for each worker.
        where: the scheduler.
        given: those of the peers that the command line gave as `NAME=COMMAND`.
    """

    def __init__(self, peers: Mapping[str, Peer], settings: Settings, where: Where, given: Sequence[str] = ()) -> None:
        super().__init__(peers, settings)
        self._where = where
        self._given = {text.partition("=")[0]: text for text in given}
        self._run = f"bokbok-{secrets.token_hex(8)}"
        self._scheduler = Scheduler()
        self._marks: dict[str, str] = {}
        self._described: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count()
        self._begun: Counter[int] = Counter()
        self._together: list[frozenset[str]] = []

    def describe(self, name: str) -> dict[str, Any]:
        """See `Runner.describe`: as a worker describes it."""
        return self._described.get(name) or super().describe(name)

    # -- the beginning

    async def _prepare(self, names: Any) -> None:
        wanted = sorted(set(names) - {RUNNER})
        # Cells mostly wait. The worker bounds those that it plays.
        await self._scheduler.connect(self._where, threads=self.settings.jobs)
        plan = Plan(
            run=self._run,
            known=tuple(name for name in wanted if name not in self._given),
            given=tuple(self._given[name] for name in wanted if name in self._given),
            settings=dataclasses.replace(self.settings, spoken=Spoken()),
            profile=dump_profile(self.settings.spoken.profile),
            strategies=self.settings.spoken.strategies,
        )
        await self._scheduler.client.register_plugin(_Playing(plan))
        self._scheduler.client.subscribe_topic(self._run, self._told)
        found = await self._scheduler.client.run(_announcement, self._run)
        there = self._usable(found)
        for name in wanted:
            self._look_for(name, there)
        self._together = [frozenset(announced.peers) for announced in there.values()]
        threads = await self._scheduler.threads()
        self.observers.note(f"{len(there)} workers with {threads} threads play")

    def _usable(self, found: Mapping[str, tuple[Announcement, str]]) -> dict[str, Announcement]:
        for address, (announced, problem) in found.items():
            if problem:
                raise WorkersError(f"the worker {address} cannot play: {problem}")
            if announced.suite != suite_digest():
                raise WorkersError(
                    f"the worker {address} has another version of the suite ({announced.suite[:12]}, here "
                    f"{suite_digest()[:12]}): install the same one"
                )
        return {address: announced for address, (announced, _) in found.items()}

    def _look_for(self, name: str, there: Mapping[str, Announcement]) -> None:
        marks = {address: each.peers[name] for address, each in there.items() if name in each.peers}
        if len(set(marks.values())) > 1:
            told = ", ".join(f"{mark[:12]} on {address}" for address, mark in sorted(marks.items()))
            raise WorkersError(f"{name} is not the same on every worker: {told}")
        if not marks:
            reasons = sorted({each.absent[name] for each in there.values()})
            self.absent[name] = "; ".join(reasons)
            self.observers.note(f"{name} is absent: {self.absent[name]}")
            return
        self._marks[name] = next(iter(marks.values()))
        self._described[name] = next(each.about[name] for each in there.values() if name in each.about)

    # -- shares

    def _told(self, event: tuple[Any, int]) -> None:
        """A worker has begun a share."""
        self._begun[event[1]] += 1

    def _needs(self, share: Share) -> dict[str, int]:
        names = {share.client, share.server} - {RUNNER}
        return {_resource(name, self._marks[name], suite_digest()): 1 for name in names}

    async def _round_of(self, groups: Sequence[Group]) -> None:
        waiting = shares(groups, self._results.round, self._numbers)
        under_way: dict[asyncio.Future[Any], tuple[Share, Any]] = {}
        heard = time.monotonic()
        threads, counted = await self._scheduler.threads(), heard
        try:
            while True:
                if time.monotonic() - counted > RECOUNT:
                    threads, counted = await self._scheduler.threads(), time.monotonic()
                room = AHEAD * max(1, threads) - len(under_way)
                for _ in range(room):
                    share = None if self._results.stopping else next(waiting, None)
                    if share is None:
                        break
                    if self._is_absent(share):
                        continue
                    future = self._scheduler.client.submit(
                        _play, self._run, share, key=f"{self._run}-{share.number}",
                        resources=self._needs(share), pure=False,
                    )  # fmt: skip
                    under_way[asyncio.ensure_future(_result(future))] = (share, future)
                if not under_way:
                    return
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED, timeout=RECOUNT)
                for task in done:
                    share, _ = under_way.pop(task)
                    self._take(share, task)
                    heard = time.monotonic()
                if time.monotonic() - heard > PATIENCE:
                    heard = time.monotonic()
                    await self._give_up_what_nobody_plays(under_way)
        finally:
            for task, (_, future) in under_way.items():
                task.cancel()
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(future.cancel(), 1.0)
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _give_up_what_nobody_plays(self, under_way: dict[asyncio.Future[Any], tuple[Share, Any]]) -> None:
        """Fail the shares whose workers have all gone: they would wait for ever."""
        found = await self._scheduler.client.run(_announcement, self._run)
        there = [announced.peers for announced, _ in found.values()]
        for task, (share, future) in list(under_way.items()):
            names = {share.client, share.server} - {RUNNER}
            if any(all(peers.get(name) == self._marks[name] for name in names) for peers in there):
                continue
            del under_way[task]
            task.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(future.cancel(), 1.0)
            reason = f"no worker is left that has {' and '.join(sorted(names))}"
            for cell in share.cells():
                self._results.add(Result(cell, Outcome.FAILED, reason))

    def _is_absent(self, share: Share) -> bool:
        """Whether no worker can play it; if so, its cells get their outcome."""
        names = {share.client, share.server} - {RUNNER}
        missing = [result for cell in share.cells() if (result := self._cells.absent(cell)) is not None]
        if not missing and not any(names <= peers for peers in self._together):
            reason = f"no worker has both {' and '.join(sorted(names))}"
            missing = [Result(cell, Outcome.ABSENT, reason) for cell in share.cells()]
        for result in missing:
            self._results.add(result)
        return bool(missing)

    def _take(self, share: Share, task: asyncio.Future[Any]) -> None:
        tries = max(1, self._begun.pop(share.number, 1))
        if (error := task.exception()) is not None:
            reason = f"no worker could play it: {type(error).__name__}: {error}"
            for cell in share.cells():
                self._results.add(Result(cell, Outcome.FAILED, reason, attempts=tries))
            return
        played: Played = task.result()
        for name, about in played.about.items():
            self.about.setdefault(name, about)
        for note in played.notes:
            self.observers.note(note)
        for result in played.results:
            if tries > 1:
                result.attempts += tries - 1
                result.again = result.again or f"{LOST} ({tries - 1} times)"
            self._results.add(result)

    # -- the end

    async def _end_everything(self) -> None:
        if self._scheduler.client is not None:
            await quietly(self._scheduler.client.unregister_worker_plugin(self._run))
        await self._scheduler.close()


async def _result(future: Any) -> Any:
    return await future.result()
