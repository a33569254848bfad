"""Plays the matrix: starts puppets, plays cases at the same time, and never blames one peer for another's fault.

What this module knows: scheduling, time limits, what a broken puppet means for its cells, and how to end everything.

Two puppets are started for a group (an ordered pair, one transport, one security mode). The group's cases share them,
and run at once with their own servers, connections and relays. When a puppet breaks while several cases use it, each of
them is played again alone, with new puppets: the culprit breaks its puppet again, the others do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from bokbok.sexpr import DIALECTS
from bokbok.wire import DEFAULT_LIMITS

from .behind import Tried, pin_down
from .cases import PREFLIGHT, Case
from .dump import beginning, explain, render
from .machine import STEP, Machine
from .matrix import Group
from .model import BEHIND, BROKE, RUNNER, Behind, Cell, Crash, Failure, Outcome, Result, by_clock
from .peers.base import Peer, PuppetFault, Unavailable
from .peers.puppet import Puppet
from .play import Play, Silent, Unsupported
from .proof import prove
from .slots import Slots
from .spoken import Spoken

__all__ = ["Observer", "Runner", "Settings", "Shared"]

LOG_SHOWN = 8_000
"""Characters of the log that are shown when a puppet does not start."""
STRIKES = 8
"""Puppets of one peer that may break in a row, without a passed cell in between, before the peer is given up. One that
hangs counts as several."""
START_STRIKES = 2
"""Failed starts in a row before a peer is given up."""
SILENCES = 24
"""Cells in which a peer's puppets may leave a command unanswered that depends on nobody else, without a passed cell in
between, before the peer is given up."""
PINNING = 0.7
"""The share of the time for cells that fail behind others in which these others are looked for. In the rest those that
failed with them are played alone."""
BELIEVED = 2
"""When so many cells of a pair in a row have run out of time again, played alone, the time limits of its other cells
are believed. See `_Proven`."""
AGAIN = 8
"""How many cells are played again at the same time, each with puppets of its own."""
IDLE = 1.0
"""Seconds without anything to play that show whether the machine is busy with something else."""
OUT_OF_TIME = "a time limit ran out while the machine was short of processor time"
PEERS_CLOCK = DEFAULT_LIMITS.hello_timeout
"""Seconds of a cell after which a peer's own time limit may have run out, whatever the peer says then: the shortest of
the time limits in docs/protocol.md."""
CULPRITS = 12
"""How many cells that passed just before a puppet broke are remembered: they may have broken it."""
MUCH = 256 * 1024
"""A cell with more bytes is read in a thread, while others are played."""
MAX_REASON = 1_000
CANNOT = {
    "pause": "it cannot be made to stand still",
    "kill": "it cannot be killed",
    "disconnect": "its network cannot be taken away (that of a container can)",
    "measure": "its memory and its open files cannot be counted (those of a process can)",
}
"""The text of a cell that needs a fault which cannot be made there."""


_Late: TypeAlias = tuple[Group, Case, Result]
"""A cell that ran out of time on a busy machine, with its first result."""


@dataclass(frozen=True)
class Settings:
    """How to play.

    Attributes:
        timeout: seconds for one case, in addition to what the case itself asks for.
        jobs: cells played at once.
        repeat: how often every cell is played.
        until_failure: stop at the first failed cell, and repeat until there is one.
        fail_fast: stop at the first failed cell.
        keep_going: play the rest even if the preflight fails.
        strict: also play cases of kinds that a peer does not claim.
        pin_seconds: how long a round looks for the cells behind which others fail that pass alone; 0: it does not.
        seed: the seed of everything random in the cases.
        spoken: the format of all peers.
        evidence: `failures` or `all`.
    """

    timeout: float = 30.0
    jobs: int = 16
    repeat: int = 1
    until_failure: bool = False
    fail_fast: bool = False
    keep_going: bool = False
    strict: bool = False
    pin_seconds: float = 20.0
    seed: int = 0
    spoken: Spoken = field(default_factory=Spoken)
    evidence: str = "all"


class Observer:
    """Its methods are called when something happens. The terminal's table is one. This one does nothing."""

    def planned(self, cells: int) -> None:
        """The run begins, with so many cells."""

    def playing(self, cell: Cell) -> None:
        """A cell begins."""

    def finished(self, result: Result) -> None:
        """A cell has its outcome."""

    def corrected(self, result: Result) -> None:
        """A result that was reported has changed."""

    def note(self, text: str) -> None:
        """Something that a person may want to know: a peer is being built, a peer was given up."""


@dataclass
class Shared:
    """The puppets of a group, by role, and the cells that use them.

    Attributes:
        suspects: whether the cells are suspects, one at a time. Many of them may break a puppet, one after the other,
            and others are still to come.
        passed: the cases that passed with them, in the order in which they ended.
        order: the cases that they were given, in the order in which these began.
        former: the same of those before them, which broke.
    """

    puppets: dict[str, Puppet] = field(default_factory=dict)
    users: Counter[int] = field(default_factory=Counter)
    crowded: set[int] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    passed: list[tuple[Case, Result]] = field(default_factory=list)
    suspects: bool = False
    order: list[Case] = field(default_factory=list)
    former: list[Case] = field(default_factory=list)

    def before(self, case: Case) -> tuple[Case, ...]:
        """What the puppets of this case were given by now beside it."""
        order = self.order if case in self.order else self.former
        return tuple(each for each in order if each is not case)


@dataclass
class _Crowd:
    """Cells that used a puppet when it broke.

    Attributes:
        group: their group.
        suspects: each case, with its result at that time.
        before: the cases that had just passed.
        order: all that the puppet was given, in the order in which they began.
        kinds: how it broke, as `PuppetFault.kind`.
    """

    group: Group
    suspects: list[tuple[Case, Result]]
    before: dict[Case, Result]
    order: tuple[Case, ...]
    kinds: set[str]

    def same(self, other: _Crowd) -> bool:
        """Whether the other one's puppet broke in the same way."""
        crashes, others = ({first.crash for _, first in crowd.suspects} - {None} for crowd in (self, other))
        return bool(crashes & others)


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


class _Proven:
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


def _in_turns(late: Iterable[_Late]) -> list[_Late]:
    """Late cells so that the pairs take turns, each with its quickest cases first: as soon as two of a pair have failed
    again, the others need not be played, least of all those that wait long."""
    of_pair: dict[tuple[str, str], list[_Late]] = {}
    for each in sorted(late, key=lambda each: each[1].timeout):
        of_pair.setdefault((each[0].client, each[0].server), []).append(each)
    turns = itertools.zip_longest(*of_pair.values())
    return [each for turn in turns for each in turn if each is not None]


class _Known:
    """What is known about a peer once one of its puppets has started."""

    def __init__(self, puppet: Puppet) -> None:
        self.name = puppet.peer
        self.features = puppet.features
        self.faults = puppet.running.faults


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at the same time. If one part fails, or this is cancelled, the others are ended before this
    returns."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _crash(fault: Exception | None) -> Crash | None:
    """The crash, if a puppet's fault is one."""
    if isinstance(fault, PuppetFault) and fault.kind == "crashed":
        return Crash(fault.peer, fault.problem)
    return None


class _GivenUp(Exception):
    """A peer was given up: it is not played any more."""

    def __init__(self, peer: str, fault: PuppetFault) -> None:
        super().__init__(f"{peer} was given up: {fault.problem}")
        self.__cause__ = fault


class Runner:
    """Plays groups of cells.

    Args:
        peers: the peers, by name.
        settings: how to play.
        observer: is told what happens.
        machine: says whether the machine is short of processor time.

    Attributes:
        absent: why a peer is not available, by name.
        about: what a puppet said about itself, by peer.
        results: the results so far.
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
        self._machine = machine or Machine()
        self._late: list[_Late] = []
        self._crowds: list[_Crowd] = []
        self._unexplained: list[_Crowd] = []
        self._behind: list[_Behind] = []
        self._before: dict[Cell, tuple[Case, ...]] = {}
        self._found: dict[str, Behind] = {}
        self._own_faults: dict[tuple[str, str], set[str]] = {}
        self._pinning = False
        self.settings = settings
        self.observer = observer or Observer()
        self.absent: dict[str, str] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.results: list[Result] = []
        self.stopping = False
        self.grounded = False
        self._strikes: Counter[str] = Counter()
        self._start_strikes: Counter[str] = Counter()
        self._silences: Counter[str] = Counter()
        self._given_up: dict[str, PuppetFault] = {}
        self._gone = asyncio.Event()
        self._struck: set[Puppet] = set()
        self._known: dict[str, _Known] = {}
        self._running: set[Puppet] = set()
        self._slots = Slots(settings.jobs, self._machine)
        self._starts = asyncio.Semaphore(4)
        self._round = 1

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
        self.observer.planned(len(order) * (1 if self.settings.until_failure else self.settings.repeat))
        watch = asyncio.ensure_future(self._machine.watch())
        self._pinning = self.settings.pin_seconds > 0
        try:
            await self._prepare({name for group in (*preflight, *groups) for name in (group.client, group.server)})
            if preflight:
                await self._played_round(preflight)
                failed = any(result.outcome is Outcome.FAILED for result in self.results)
                self.grounded = failed and not self.settings.keep_going
                self.stopping |= self.grounded
            while not self.stopping:
                await self._played_round(groups)
                if self.settings.until_failure:
                    self.stopping |= any(result.outcome is Outcome.FAILED for result in self.results)
                    self.stopping |= not any(result.outcome is Outcome.PASSED for result in self.results)
                else:
                    self.stopping |= self._round >= self.settings.repeat
                self._round += 1
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
            self.peers[name].note = self.observer.note
            try:
                await self.peers[name].prepare()
            except Unavailable as error:
                self.absent[name] = str(error)
            except Exception as error:  # whatever the error is, it only concerns this peer
                self.absent[name] = f"it cannot be prepared: {type(error).__name__}: {error}"
            if name in self.absent:
                self.observer.note(f"{name} is absent: {self.absent[name]}")

        await asyncio.gather(*(one(name) for name in sorted(set(names) - {RUNNER})))

    async def _played_round(self, groups: Sequence[Group]) -> None:
        try:
            failed = await self._round_and_late(groups)
            await self._play_late_again(failed)
            await self._gather_again()
            await self._pin_down()
        finally:
            self._finish_late()

    async def _round_and_late(self, groups: Sequence[Group]) -> _Proven:
        """Play a round, and late cells again beside its last cells. Returns what has failed again."""
        failed, over = _Proven(), asyncio.Event()

        async def whole() -> None:
            await self._round_of(groups)
            over.set()

        await _together([whole(), self._replay_beside_the_last(failed, over)])
        return failed

    async def _round_of(self, groups: Sequence[Group]) -> None:
        # More than one group at a time, since a group ends with a few cells that only wait.
        gate = asyncio.Semaphore(max(1, self.settings.jobs // 2))

        async def one(group: Group) -> None:
            async with gate:
                if not self.stopping:
                    await self._group(group)
                    await self._play_one_alone(group)

        await _together(one(group) for group in groups)

    # -- cells that ran out of time on a busy machine

    async def _replay_beside_the_last(self, failed: _Proven, over: asyncio.Event) -> None:
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
                for late in _in_turns(self._late):
                    cell = late[2].cell
                    given_up = self._given_up.keys() & {cell.client, cell.server}
                    if len(playing) < AGAIN and not (cell in tried or given_up or self.stopping) and self._slots.idle():
                        tried.add(cell)
                        playing.add(asyncio.ensure_future(self._replay(late, failed, beside_others=True)))
                waiting = playing if ended.done() else {*playing, ended}
                done, _ = await asyncio.wait(waiting, timeout=STEP, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                playing -= done
        finally:
            await _end({*playing, ended})

    async def _play_late_again(self, failed: _Proven | None = None) -> None:
        """Play each of them again while nothing else is played, before it counts. `failed`: what has failed again.

        Each has puppets of its own. As long as the machine is idle, several are played at the same time: with a broken
        peer each of them may only wait for its time limit. As soon as the machine is not, one is played at a time.
        """
        if not self._late or self.stopping:
            return
        self.observer.note(f"{len(self._late)} cells are played again, each alone: {OUT_OF_TIME}")
        # Breaks and silences since then may not have been a peer's fault either.
        for name in [name for name, fault in self._given_up.items() if by_clock(fault)]:
            del self._given_up[name]
            self._strikes[name] = self._start_strikes[name] = self._silences[name] = 0
        failed = failed or _Proven()
        self._late = _in_turns(self._late)
        began = time.monotonic()
        await asyncio.sleep(IDLE)
        if not self._machine.shortage(began):
            await self._replay_beside_others(failed)
        while self._late and not self.stopping:
            await self._replay(self._late[0], failed)

    async def _replay_beside_others(self, failed: _Proven) -> None:
        """Play some of the late cells again, until one runs out of time although it has few beside it."""
        left = list(self._late)
        short = False

        async def some() -> None:
            nonlocal short
            while left and not short and not self.stopping:
                short |= not await self._replay(left.pop(0), failed, beside_others=True)

        await _together(some() for _ in range(AGAIN))

    async def _replay(self, late: _Late, failed: _Proven, *, beside_others: bool = False) -> bool:
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
            again = await self._alone(group, case)
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
        self._late.remove(late)
        self._finish(first)
        return True

    async def _gather_again(self) -> None:
        """Play each crowd again whose puppet did not answer in time, while nothing else is played, before it counts.

        Each of its cells has passed alone. A puppet that hangs because so many cells use it will hang again.
        """
        while self._crowds and not self.stopping:
            crowd = self._crowds.pop()
            self.observer.note(f"{len(crowd.suspects)} cells are played again, all at once: {OUT_OF_TIME}")
            shared = Shared()

            async def one(case: Case, group: Group = crowd.group, shared: Shared = shared) -> Result:
                async with self._slots.taken():
                    return await self._cell(group, case, shared, alone=False, again=True)

            try:
                again = await asyncio.gather(*map(one, [*crowd.before, *(case for case, _ in crowd.suspects)]))
            finally:
                await self._retire(*shared.puppets.values())
            if any(result.evidence.pop("suspect", False) for result in again):
                await self._find_culprit(crowd)
                continue
            for first, result in self._counted(crowd):
                result.again, result.attempts = first.again, result.attempts + 1
                self.observer.corrected(result)

    def _finish_late(self) -> None:
        """Cells that were not played again count as they are, unless another failure has ended the run."""
        if self._late and self.stopping and (self.settings.fail_fast or self.settings.until_failure):
            self.observer.note(f"{len(self._late)} cells do not count, and were not played again: {OUT_OF_TIME}")
            self._late.clear()
            self._crowds.clear()
            self._unexplained.clear()
        for crowd in (*self._crowds, *self._unexplained):
            self._blame_crowd(crowd)
        for kept in (self._crowds, self._unexplained, self._behind, self._before):
            kept.clear()
        for _, _, result in self._late:
            result.again = ""
            self._finish(result)
        self._late.clear()

    def _settle(self, group: Group, case: Case, result: Result) -> None:
        """Report a cell's outcome. But if it ran out of time on a busy machine, it is played again later."""
        if result.outcome is Outcome.FAILED and result.again.startswith(OUT_OF_TIME):
            self._late.append((group, case, result))
        else:
            self._finish(result)

    def _busy(self, error: BaseException, since: float) -> str:
        """Why a cell with this failure must be played again before it counts; empty if it counts."""
        clock = by_clock(error) or time.monotonic() - since >= PEERS_CLOCK
        why = self._machine.shortage(since) if clock else ""
        return f"{OUT_OF_TIME} ({why})" if why else ""

    # -- one group

    def _puppets_for(self, group: Group) -> Shared:
        return Shared()

    async def _done_with(self, group: Group, shared: Shared) -> None:
        await self._retire(*shared.puppets.values())

    async def _group(self, group: Group) -> None:
        shared = self._puppets_for(group)
        suspects: list[tuple[Case, Result]] = []
        before: dict[Case, Result] = {}
        kinds: set[str] = set()

        async def one(case: Case) -> None:
            async with self._slots.taken(case.timeout):
                if self.stopping:
                    return
                if not case.fresh:
                    shared.order.append(case)
                result = await self._cell(group, case, shared, alone=bool(case.fresh))
                if result.outcome is Outcome.FAILED and not case.fresh and self._pinning:
                    self._before[result.cell] = shared.before(case)
                if how := result.evidence.pop("suspect", ""):
                    suspects.append((case, result))
                    kinds.add(how)
                    before.update(shared.passed[-CULPRITS:])
                else:
                    self._settle(group, case, result)
                    if result.outcome is Outcome.PASSED and not case.fresh:
                        shared.passed.append((case, result))

        left: list[tuple[Case, Result]] = []

        async def once_more() -> None:
            own = Shared(suspects=True)
            try:
                while left:
                    case, first = left.pop(0)
                    async with self._slots.taken():
                        if self.stopping:
                            self._finish(first)
                            continue
                        again = await self._cleared(group, case, own)
                    again.attempts = 2
                    again.again = again.again or BROKE
                    again.seconds += first.seconds
                    self._settle(group, case, again)
            finally:
                await self._retire(*own.puppets.values())

        try:
            await _together(one(case) for case in group.cases)
            left += suspects
            await _together(once_more() for _ in range(min(AGAIN, len(left))))
            if suspects and not self.stopping:
                given = [case for _, first in suspects for case in self._before.get(first.cell, ())]
                order = tuple(dict.fromkeys((*given, *(case for case, _ in suspects))))
                await self._blame(_Crowd(group, suspects, before, order, kinds))
        finally:
            await self._done_with(group, shared)

    async def _blame(self, crowd: _Crowd) -> None:
        """If no suspect has broken the puppet again alone, find out which case did.

        If the puppet was only slow, while the machine was slow, this waits until the crowd has been played again.
        """
        late = {result.cell: result for _, _, result in self._late}
        replayed = [result for _, result in self._counted(crowd)]
        replayed += [late[first.cell] for _, first in crowd.suspects if first.cell in late]
        if any(result.outcome is Outcome.FAILED for result in replayed):
            return
        if all(first.again for _, first in crowd.suspects):
            self._crowds.append(crowd)
        else:
            await self._find_culprit(crowd)

    async def _find_culprit(self, crowd: _Crowd) -> None:
        """Find out which case broke a puppet, although none of those that used it then does so alone.

        A case may have passed before its effect broke the puppet, so those that had just passed are played again. If
        none of them breaks it either, the crowd does: then all suspects have failed, unless it can be pinned down.
        """
        if any(crowd.same(other) for other in self._unexplained):
            self._unexplained.append(crowd)
            return
        for case, result in reversed(list(crowd.before.items())):
            async with self._slots.taken():
                again = await self._alone(crowd.group, case)
            if again.outcome is Outcome.FAILED:
                result.outcome, result.attempts, result.again = Outcome.FAILED, 2, BROKE
                result.reason, result.expected, result.actual = again.reason, again.expected, again.actual
                result.sentence, result.evidence, result.crash = again.sentence, again.evidence, again.crash
                self.observer.corrected(result)
                return
        # To see that a puppet hangs takes so long that there is no time to halve anything.
        if self._pinning and "hung" not in crowd.kinds:
            self._unexplained.append(crowd)
        else:
            self._blame_crowd(crowd)

    # -- cells that fail only behind others

    async def _play_one_alone(self, group: Group) -> None:
        """If cells of this group failed, find out whether they do so alone: play one of them, with new puppets.

        The last ones that began are asked, the quickest of them. It is believed for the others, and for the other modes
        in which the same case failed.
        """
        results = {result.cell: result for result in self.results if result.round == self._round}
        failed = [
            (case, result)
            for case in group.cases
            if (result := results.get(group.cell(case))) is not None
            and result.outcome is Outcome.FAILED
            and result.attempts == 1
            and self._before.get(result.cell)
            and case.chapter != PREFLIGHT
        ]  # none if nothing is pinned down: then `_before` is empty
        own = self._own_faults.setdefault((group.client, group.server), set())
        given_up = self._given_up.keys() & {group.client, group.server}
        if not failed or given_up or self.stopping or own & {case.id for case, _ in failed}:
            return
        failed.sort(key=lambda each: len(self._before[each[1].cell]))
        case, first = min(failed[len(failed) // 2 :], key=lambda each: each[1].seconds)
        async with self._slots.taken():
            again = await self._alone(group, case)
        if again.outcome is Outcome.FAILED:
            own.add(case.id)
        elif again.outcome is Outcome.PASSED:
            self._behind.append(_Behind(group, failed, (case, again), self._before[first.cell]))

    async def _pin_down(self) -> None:
        """Find out behind which cells others fail that pass alone, while nothing else is played, for a limited time."""
        if not (self._unexplained or self._behind) or self.stopping:
            return
        count = sum(len(each.failed) for each in self._behind) + sum(len(each.suspects) for each in self._unexplained)
        seconds = self.settings.pin_seconds
        self.observer.note(
            f"{count} cells failed behind others, and may pass alone: the same order is played again and halved, for "
            f"{seconds:g} seconds at the most"
        )
        began = time.monotonic()
        until = began + seconds
        crowds, self._unexplained = self._unexplained, []
        while crowds:
            await self._pin_down_crowd([crowds[0], *(each for each in crowds[1:] if each.same(crowds[0]))], until)
            crowds = [each for each in crowds[1:] if not each.same(crowds[0])]
        # The shortest order first: what it shows is tried first for the others.
        self._behind.sort(key=lambda each: len(each.before))
        found = [(each, await self._pin_down_failure(each, began + PINNING * seconds)) for each in self._behind]
        for each, behind in found:
            await self._clear_behind(each, behind, until)

    async def _pin_down_crowd(self, crowds: Sequence[_Crowd], until: float) -> None:
        """Find out what broke puppets that no cell breaks alone. One suspect fails for it, the others are as alone."""
        crowd = max(crowds, key=lambda each: len(each.order))
        play = functools.partial(self._try, crowd.group, None)
        suspects = sum(len(each.suspects) for each in crowds)
        repeat, known = crowd.suspects[0][0], tuple(self._found.values())
        behind = await pin_down(crowd.order, self._took(crowd.group), play, until, suspects, repeat, known)
        if not behind.cases:
            for each in crowds:
                self._blame_crowd(each)
            return
        for first, result in itertools.islice(self._counted(crowd), 1):
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

        async def clear() -> None:
            own = Shared(suspects=True)
            try:
                while left and time.monotonic() < until and not self.stopping:
                    other, first = left.pop(0)
                    again = await self._cleared(group, other, own)
                    if again.outcome is Outcome.PASSED and behind.cases:
                        again.round, again.attempts, again.again = first.round, first.attempts + 1, BEHIND
                        again.seconds += first.seconds
                        self.results = [again if result is first else result for result in self.results]
                        self.observer.corrected(again)
                    elif again.outcome is Outcome.PASSED:
                        self._fails_behind(first, first, behind)
            finally:
                await self._retire(*own.puppets.values())

        await _together(clear() for _ in range(min(AGAIN, len(left))))
        for _, first in left:
            first.behind = replace(behind, complete=False, failed=1)
            first.reason = f"{first.reason} (perhaps as {case.id}: there was no time to play it alone)"[:MAX_REASON]
            self.observer.corrected(first)

    def _fails_behind(self, result: Result, first: Result, behind: Behind) -> None:
        """A result becomes a failure again, as it was at first, with what is known now."""
        result.outcome, result.behind = Outcome.FAILED, behind
        if behind.by_number or len(behind.cases) == 1:
            self._found["number" if behind.by_number else behind.cases[0]] = behind
        result.expected, result.actual, result.sentence = first.expected, first.actual, first.sentence
        result.evidence, result.crash = first.evidence, first.crash
        result.reason = " ".join(f"{first.reason} ({behind})".split())[:MAX_REASON]
        self.observer.corrected(result)

    def _took(self, group: Group) -> Callable[[Case], float]:
        seconds = {result.cell: result.seconds for result in self.results}
        return lambda case: seconds.get(group.cell(case), 0.0)

    async def _try(self, group: Group, case: Case | None, before: Sequence[Case], width: int, enough: int) -> Tried:
        """Play cells in new processes, and then the one that is looked at, unless these are about a break. See
        `behind.Try`."""
        shared = Shared(suspects=True)
        seen: set[Puppet] = set()
        places = asyncio.Semaphore(width)

        def broke() -> bool:
            seen.update(shared.puppets.values())
            return any(puppet.fault is not None and not puppet.expected_end for puppet in seen)

        def connections() -> int:
            return max((puppet.connections for puppet in seen), default=0)

        async def one(each: Case) -> None:
            async with places:
                if not (broke() or self.stopping or 0 < enough <= connections()):
                    await self._cell(group, each, shared, alone=False, again=True)

        try:
            await _together(one(each) for each in before)
            made = connections()
            failed = broke()
            if case is not None and not failed and not self.stopping:
                result = await self._cell(group, case, shared, alone=False, again=True)
                failed = broke() or result.outcome is Outcome.FAILED
            return Tried(failed, made)
        finally:
            await self._retire(*shared.puppets.values())

    def _counted(self, crowd: _Crowd) -> Iterator[tuple[Result, Result]]:
        """The suspects' first results, each with the result that counts so far."""
        firsts = {first.cell: first for _, first in crowd.suspects}
        for result in self.results:
            if result.round == self._round and result.cell in firsts:
                yield firsts[result.cell], result

    def _blame_crowd(self, crowd: _Crowd) -> None:
        """Each of these cells passed alone, but together they break a puppet: all of them get their first result."""
        for first, result in self._counted(crowd):
            result.outcome = Outcome.FAILED
            result.reason = f"{first.reason} (while {len(crowd.suspects)} cases ran at once; alone, none does it)"
            result.evidence, result.crash = first.evidence, first.crash
            self.observer.corrected(result)

    def _finish(self, result: Result) -> None:
        result.round = self._round
        result.reason = " ".join(result.reason.split())[:MAX_REASON]
        self.results.append(result)
        if result.outcome is Outcome.FAILED and (self.settings.fail_fast or self.settings.until_failure):
            self.stopping = True
        self.observer.finished(result)

    # -- one cell

    async def _cell(self, group: Group, case: Case, shared: Shared, *, alone: bool, again: bool = False) -> Result:
        cell = group.cell(case)
        self.observer.playing(cell)
        names = {"client": group.client, "server": group.server}
        start = time.monotonic()
        if (missing := self._absent(cell)) is not None:
            return missing
        own: list[Puppet] = []
        puppets: dict[str, Puppet] = {}
        try:
            if why := self._unsupported(case, group, {role: self._known.get(name) for role, name in names.items()}):
                return Result(cell, Outcome.UNSUPPORTED, why)  # this is known without starting anything
            try:
                for role, name in names.items():
                    if name == RUNNER:
                        continue
                    if name in self._given_up:
                        return self._result_of(_GivenUp(name, self._given_up[name]), cell, start)
                    if alone and (not case.fresh or role in case.fresh):
                        puppet = await self._start(name, role, group.transport, alone=True)
                        own.append(puppet)
                    else:
                        puppet = await self._shared_puppet(shared, role, name, group.transport)
                    puppets[role] = puppet
            except Unavailable as error:
                return Result(cell, Outcome.ABSENT, str(error))
            except PuppetFault as fault:
                result = self._result_of(fault, cell, start)
                if fault.log:
                    result.evidence[f"{role}_log"] = fault.log
                return result
            if why := self._unsupported(case, group, {role: _Known(puppet) for role, puppet in puppets.items()}):
                return Result(cell, Outcome.UNSUPPORTED, why)

            async def another(role: str) -> Puppet:
                puppet = await self._start(names[role], role, group.transport, alone=True)
                own.append(puppet)
                return puppet

            return await self._play(cell, case, puppets, shared, another, again=again)
        finally:
            await self._retire(*own)

    async def _cleared(self, group: Group, case: Case, own: Shared) -> Result:
        """Play a suspect again, while no other case uses its puppets.

        To start new ones takes longer than most cases. So those that have served other suspects before are good enough
        for a case that passes. A failure counts if a puppet broke that was new, or if all were.

        Args:
            group: the group of the suspect.
            case: its case.
            own: the puppets that served others before. Those that break are replaced.
        """
        for _ in range(2):
            before = set(own.puppets.values())
            again = await self._cell(group, case, own, alone=bool(case.fresh), again=True)
            again.evidence.pop("suspect", False)
            if again.outcome is not Outcome.FAILED or before.isdisjoint(own.puppets.values()):
                return again
            broken = {puppet for puppet in own.puppets.values() if puppet.fault is not None}
            if broken and broken.isdisjoint(before):
                return again
            if not broken:
                break
        return await self._alone(group, case)

    async def _alone(self, group: Group, case: Case) -> Result:
        """Play a cell again, with puppets that no other one uses."""
        shared = Shared()
        try:
            again = await self._cell(group, case, shared, alone=True, again=True)
        finally:
            await self._retire(*shared.puppets.values())
        again.evidence.pop("suspect", False)
        return again

    def _absent(self, cell: Cell) -> Result | None:
        for name in (cell.client, cell.server):
            if name in self.absent:
                return Result(cell, Outcome.ABSENT, f"{name} is not available here: {self.absent[name]}")
        return None

    def _result_of(self, error: Exception, cell: Cell, start: float) -> Result:
        """The result of a cell that could not be played at all."""
        took = time.monotonic() - start
        return Result(cell, Outcome.FAILED, str(error), took, again=self._busy(error, start))

    def _unsupported(self, case: Case, group: Group, peers: Mapping[str, _Known | None]) -> str:
        """Why these peers cannot play this case, by role, as far as they are known; empty if they can."""
        if why := case.foreign_to(self.settings.spoken.profile):
            return why
        for role, peer in peers.items():
            if peer is None:
                continue
            for feature in (group.transport, group.security, *case.needs):
                if feature not in peer.features:
                    return f"{peer.name} lacks the feature {feature}"
            about = case.subject in (role, "either")
            if about and not self.settings.strict and case.kind.value not in peer.features:
                return f"{peer.name} does not claim the {case.kind.value} cases"
            if why := self.settings.spoken.refused_by(peer.features):
                return f"{peer.name} {why}"
            for fault in case.faults:
                if (role in case.fresh or not case.fresh) and fault not in peer.faults:
                    return f"{peer.name} runs where {CANNOT[fault]}"
        return ""

    async def _play(
        self,
        cell: Cell,
        case: Case,
        puppets: Mapping[str, Puppet],
        shared: Shared,
        another: Callable[[str], Awaitable[Puppet]],
        *,
        again: bool,
    ) -> Result:
        play = Play(
            transport=cell.transport,
            security=cell.security,
            profile=self.settings.spoken.profile,
            client=puppets.get("client"),
            server=puppets.get("server"),
            direct=case.direct,
            limit=self.settings.timeout + case.timeout,
            seed=random.Random(f"{self.settings.seed} {cell} {self._round}").getrandbits(64),
        )
        play.start = another
        for puppet in puppets.values():
            shared.users[id(puppet)] += 1
            if shared.users[id(puppet)] > 1:
                shared.crowded.add(id(puppet))
        logs = {role: puppet.running.log.size for role, puppet in puppets.items()}
        start = time.monotonic()
        try:
            result = await self._judged(cell, case, play, puppets, start)
            if result.outcome is Outcome.FAILED:
                await self._health(puppets, result)
            if result.outcome is Outcome.PASSED:
                # A puppet that wrote nothing in this cell has not shown that it works.
                for role in {role for _, role, direction, _ in play.trace.lines if direction == "<"} & set(puppets):
                    self._strikes[puppets[role].peer] = self._silences[puppets[role].peer] = 0
            result.seconds = time.monotonic() - start
            suspect = self._broken(puppets, shared, result)
            await self._prove(play, puppets, result)
            await play.cleanup()
            if again and result.outcome is Outcome.PASSED:
                # This case may break a puppet after its last answer. The answer to one more command comes after
                # everything that the puppet still had to say.
                await asyncio.gather(*(puppet.pulse() for puppet in puppets.values()))
                self._broken(puppets, shared, result)
            if result.outcome is Outcome.FAILED or self.settings.evidence == "all":
                whole = result.outcome is Outcome.FAILED
                gather = functools.partial(self._evidence, play, case, puppets, logs, whole=whole)
                # The evidence of a failed case may have megabytes: others are played in the meantime.
                result.evidence |= await asyncio.to_thread(gather) if whole else gather()
            if suspect:
                result.evidence["suspect"] = suspect
            if result.outcome is Outcome.FAILED:
                faults = [puppet.fault for puppet in puppets.values() if not puppet.expected_end]
                result.crash = result.crash or next(filter(None, map(_crash, faults)), None)
            return result
        finally:
            for puppet in puppets.values():
                shared.users[id(puppet)] -= 1

    async def _judged(self, cell: Cell, case: Case, play: Play, puppets: Mapping[str, Puppet], start: float) -> Result:
        """Run the case. Returns its result, in the words of the report."""
        result = Result(cell, Outcome.PASSED)
        try:
            await self._unless_given_up(play.timed(case.run(play), play.limit, grace=play.patience), puppets)
            if play.problems:
                raise play.problems[0]
        except Unsupported as why:
            result.outcome, result.reason = Outcome.UNSUPPORTED, str(why)
        except Failure as failure:
            result.outcome, result.reason = Outcome.FAILED, failure.problem
            result.expected, result.actual, result.sentence = failure.expected, failure.actual, failure.sentence
            result.again = self._busy(failure, start)
            if isinstance(failure, Silent):
                self._silent(failure.peer)
        except asyncio.TimeoutError as error:
            result.outcome, result.again = Outcome.FAILED, self._busy(error, start)
            awaited, result.sentence = play.waited_for()
            result.reason = f"timed out after {play.limit:g} seconds, waiting for {awaited}"
        except (PuppetFault, _GivenUp) as fault:
            result.outcome, result.reason = Outcome.FAILED, str(fault)
            result.again, result.crash = self._busy(fault, start), _crash(fault)
        except Unavailable as error:
            result.outcome, result.reason = Outcome.ABSENT, str(error)
        except Exception as error:
            result.outcome = Outcome.FAILED
            result.reason = f"the case itself broke, please report it: {type(error).__name__}: {error}"
            result.evidence["traceback"] = traceback.format_exc()
        return result

    async def _prove(self, play: Play, puppets: Mapping[str, Puppet], result: Result) -> None:
        """Check that the puppets spoke the profile under test. If they did not, the cell has failed, whatever its
        result."""
        if result.outcome not in (Outcome.PASSED, Outcome.FAILED):
            return
        dialects = {role: DIALECTS.get(puppet.features.dialect or "") for role, puppet in puppets.items()}
        read = functools.partial(prove, play.recorded(), play.profile, play.offered, dialects)
        size = sum(capture.size for capture, _ in play.recorded())
        proof = await asyncio.to_thread(read) if size > MUCH else read()
        result.shown = frozenset(proof.shown)
        if proof.problem:
            # A failed case keeps its own words, but the bytes know best which sentence was broken.
            result.sentence = result.sentence or proof.sentence
            if result.outcome is Outcome.PASSED:
                result.outcome, result.reason = Outcome.FAILED, "spoke another profile than it claims"
            result.actual = "; ".join(filter(None, (result.actual, proof.problem)))

    def _broken(self, puppets: Mapping[str, Puppet], shared: Shared, result: Result) -> str:
        """A broken puppet fails the case. Returns how it broke, if it was serving other cases, too."""
        suspect = ""
        for puppet in puppets.values():
            if puppet.fault is not None and not puppet.expected_end:
                if shared.suspects and puppet.fault.kind != "hung":
                    self._struck.add(puppet)
                self._strike(puppet)
                if id(puppet) in shared.crowded:
                    suspect = puppet.fault.kind
                if result.outcome is Outcome.PASSED:
                    result.outcome, result.reason = Outcome.FAILED, str(puppet.fault)
                    result.again = self._busy(puppet.fault, time.monotonic() - result.seconds)
        return suspect

    async def _health(self, puppets: Mapping[str, Puppet], result: Result) -> None:
        """After a failure: check that the puppet still answers. If it does not, no other cell waits for it."""
        for puppet in puppets.values():
            if puppet.expected_end:
                continue
            if puppet.fault is None:
                await puppet.pulse()
            if puppet.fault is not None and puppet.fault.problem not in result.reason:
                result.reason += f" ({puppet.fault})"

    def _evidence(
        self, play: Play, case: Case, puppets: Mapping[str, Puppet], logs: Mapping[str, int], *, whole: bool
    ) -> dict[str, Any]:
        datums = [
            [round(t, 4), role, direction, line.decode("utf-8", "backslashreplace")]
            for t, role, direction, line in play.trace.lines
        ]
        secrets = play.secrets if play.secure else {}
        if not whole:
            short: dict[str, Any] = {
                "brief": True,
                "datums": [[t, role, d, str(line)[:160]] for t, role, d, line in datums[:12]],
                "more": max(0, len(datums) - 12),
                "packets": beginning(play.capture, play.profile, secrets, packets=6, cap=64),
            }
            for role, puppet in puppets.items():
                if log := puppet.running.log.text(logs[role])[-400:]:
                    short[f"{role}_log"] = log
            return short
        packets = explain(play.capture, play.profile, secrets)
        evidence: dict[str, Any] = {
            "datums": datums,
            "packets": packets,
            "dump": render(packets),
            "capture": "".join(line + "\n" for line in play.capture.lines()) if play.capture.size <= 256 * 1024 else "",
        }
        for role, puppet in puppets.items():
            evidence[f"{role}_log"] = puppet.running.log.text(logs[role])
        return evidence

    # -- puppets

    async def _start(self, name: str, role: str, transport: str, *, alone: bool = False) -> Puppet:
        async with self._starts:
            if name in self._given_up:
                raise self._given_up[name]
            try:
                running = await self.peers[name].start(role=role, transport=transport, alone=alone)
            except (Unavailable, PuppetFault):
                raise
            except Exception as error:
                problem = f"its puppet cannot be started: {type(error).__name__}: {error}"
                raise PuppetFault(name, "start", problem) from error
            puppet = Puppet(running)
            self._running.add(puppet)
            try:
                await puppet.start()
                await self.settings.spoken.tell(puppet)
            except PuppetFault as fault:
                await self._retire(puppet)
                self._start_strikes[name] += 1
                cause, fault = fault, PuppetFault(name, "start", f"its puppet does not start: {fault.problem}")
                fault.__cause__ = cause
                fault.log = running.log.text()[-LOG_SHOWN:]
                if self._start_strikes[name] >= START_STRIKES:
                    self._give_up(name, fault)
                raise fault from cause
            except BaseException:
                await self._retire(puppet)
                raise
        self._start_strikes[name] = 0
        self._known.setdefault(name, _Known(puppet))
        if name not in self.about:
            self.about[name] = {
                "name": puppet.name,
                "version": puppet.version,
                "features": puppet.features.words(),
                "warnings": puppet.features.warnings,
            }
            for warning in puppet.features.warnings:
                self.observer.note(f"warning: {name}: {warning}")
        return puppet

    async def _shared_puppet(self, shared: Shared, role: str, name: str, transport: str) -> Puppet:
        async with shared.lock:
            puppet = shared.puppets.get(role)
            if puppet is not None and puppet.fault is None:
                return puppet
            if puppet is not None:
                await self._retire(puppet)
                shared.former, shared.order = shared.order, []
            puppet = shared.puppets[role] = await self._start(name, role, transport)
            return puppet

    async def _unless_given_up(self, work: Awaitable[None], puppets: Mapping[str, Puppet]) -> None:
        """Do it, unless a peer is given up in the meantime.

        Raises:
            _GivenUp: one is.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                somebody = asyncio.ensure_future(self._gone.wait())
                try:
                    await asyncio.wait({task, somebody}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    somebody.cancel()
                for puppet in puppets.values():
                    if not task.done() and puppet.peer in self._given_up:
                        raise _GivenUp(puppet.peer, self._given_up[puppet.peer])
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _silent(self, name: str) -> None:
        """Count a cell in which a puppet did not answer a command that depends only on it. After too many, it is given
        up."""
        self._silences[name] += 1
        if self._silences[name] >= SILENCES:
            problem = f"in {SILENCES} of its cells a command was not answered, and none between them passed"
            self._give_up(name, PuppetFault(name, "hung", problem))

    def _strike(self, puppet: Puppet) -> None:
        """Count a puppet that broke, once."""
        if puppet in self._struck or puppet.fault is None or puppet.fault.kind == "start":
            return
        self._struck.add(puppet)
        # It takes long to find out that a puppet hangs: that is not done eight times.
        self._strikes[puppet.peer] += 1 if puppet.fault.kind != "hung" else STRIKES // 2
        if self._strikes[puppet.peer] >= STRIKES:
            problem = f"its puppets broke without a passed cell between; the last: {puppet.fault.problem}"
            self._give_up(puppet.peer, PuppetFault(puppet.peer, puppet.fault.kind, problem))

    def _give_up(self, name: str, fault: PuppetFault) -> None:
        if name not in self._given_up:
            self._given_up[name] = fault
            # Those who wait now are told; later ones need not be told.
            self._gone.set()
            self._gone = asyncio.Event()
            self.observer.note(f"{name} is given up: {fault.problem}")

    async def _retire(self, *puppets: Puppet) -> None:
        for puppet in puppets:
            if puppet not in self._running:
                continue
            self._running.discard(puppet)
            if puppet.fault is not None and not puppet.expected_end:
                self._strike(puppet)
                await puppet.kill()
            else:
                await puppet.close()

    async def _end_everything(self) -> None:
        async def end(name: str, peer: Peer) -> None:
            mine = [puppet for puppet in self._running if puppet.peer == name]
            await asyncio.gather(*(puppet.kill() for puppet in mine), return_exceptions=True)
            with contextlib.suppress(Exception):
                await peer.dispose()

        # All at the same time: if a container engine hangs, the other peers must still be disposed of.
        await asyncio.gather(*(end(name, peer) for name, peer in self.peers.items()))
        self._running.clear()
