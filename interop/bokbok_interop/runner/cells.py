"""How one cell is played: its puppets are asked for, its case is run within its time, its outcome is put in words, and
what its puppets wrote is compared with the profile under test.

When a cell is played, and whether its outcome counts, is for `run`, `late`, `culprits` and `pinning`.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from bokbok.sexpr import DIALECTS
from bokbok.wire import DEFAULT_LIMITS

from ..cases import Case
from ..machine import Machine
from ..matrix import Group
from ..model import OUT_OF_TIME, RUNNER, Cell, Crash, Failure, Outcome, Result, by_clock
from ..peers.base import PuppetFault, Unavailable
from ..peers.puppet import Puppet
from ..play import Play, Silent, Unsupported
from ..proof import prove
from .evidence import brief, whole
from .observer import Observer
from .puppets import GivenUp, Known, Puppets
from .results import Results
from .settings import Settings
from .shared import Shared
from .tasks import together
from .unsupported import unsupported

__all__ = ["AGAIN", "Cells"]

_T = TypeVar("_T")

AGAIN = 8
"""How many cells are played again at the same time, each with puppets of its own."""
PEERS_CLOCK = DEFAULT_LIMITS.hello_timeout
"""Seconds of a cell after which a peer's own time limit may have run out, whatever the peer says then: the shortest of
the time limits in docs/protocol.md."""
MUCH = 256 * 1024
"""A cell with more bytes is read in a thread, while others are played."""


def _crash(fault: Exception | None) -> Crash | None:
    """The crash, if a puppet's fault is one."""
    if isinstance(fault, PuppetFault) and fault.kind == "crashed":
        return Crash(fault.peer, fault.problem)
    return None


class Cells:
    """Plays cells.

    Args:
        settings: how to play.
        absent: why a peer is not available, by name.
        puppets: starts and ends puppets.
        results: says which round it is.
        observer: is told when a cell begins.
        machine: says whether the machine is short of processor time.
    """

    def __init__(
        self,
        settings: Settings,
        absent: Mapping[str, str],
        puppets: Puppets,
        results: Results,
        observer: Observer,
        machine: Machine,
    ) -> None:
        self._settings = settings
        self._absent = absent
        self._puppets = puppets
        self._results = results
        self._observer = observer
        self._machine = machine

    async def play(self, group: Group, case: Case, shared: Shared, *, alone: bool, again: bool = False) -> Result:
        """Play a cell.

        Args:
            group: its group.
            case: its case.
            shared: the puppets that it uses, with those that used them before and use them now.
            alone: whether it has puppets of its own: in the roles that its case names, or in both if it names none.
            again: whether it was played before.

        Returns:
            Its result. `evidence["suspect"]` is how a puppet broke, if it was serving other cells, too.
        """
        cell = group.cell(case)
        self._observer.playing(cell)
        names = {"client": group.client, "server": group.server}
        start = time.monotonic()
        if (missing := self.absent(cell)) is not None:
            return missing
        own: list[Puppet] = []
        puppets: dict[str, Puppet] = {}
        try:
            known = {role: self._puppets.known.get(name) for role, name in names.items()}
            if why := unsupported(case, group, known, self._settings):
                return Result(cell, Outcome.UNSUPPORTED, why)  # this is known without starting anything
            try:
                for role, name in names.items():
                    if name == RUNNER:
                        continue
                    if gone := self._puppets.given_up(name):
                        return self._result_of(gone, cell, start)
                    if alone and (not case.fresh or role in case.fresh):
                        puppet = await self._puppets.start(name, role, group.transport, alone=True)
                        own.append(puppet)
                    else:
                        puppet = await self._puppets.shared(shared, role, name, group.transport)
                    puppets[role] = puppet
            except Unavailable as error:
                return Result(cell, Outcome.ABSENT, str(error))
            except PuppetFault as fault:
                result = self._result_of(fault, cell, start)
                if fault.log:
                    result.evidence[f"{role}_log"] = fault.log
                return result
            started = {role: Known(puppet) for role, puppet in puppets.items()}
            if why := unsupported(case, group, started, self._settings):
                return Result(cell, Outcome.UNSUPPORTED, why)

            async def another(role: str) -> Puppet:
                puppet = await self._puppets.start(names[role], role, group.transport, alone=True)
                own.append(puppet)
                return puppet

            return await self._play(cell, case, puppets, shared, another, again=again)
        finally:
            await self._puppets.retire(*own)

    async def cleared(self, group: Group, case: Case, own: Shared) -> Result:
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
            again = await self.play(group, case, own, alone=bool(case.fresh), again=True)
            again.evidence.pop("suspect", False)
            if again.outcome is not Outcome.FAILED or before.isdisjoint(own.puppets.values()):
                return again
            broken = {puppet for puppet in own.puppets.values() if puppet.fault is not None}
            if broken and broken.isdisjoint(before):
                return again
            if not broken:
                break
        return await self.alone(group, case)

    async def alone(self, group: Group, case: Case) -> Result:
        """Play a cell again, with puppets that no other one uses."""
        async with self._puppets.own() as shared:
            again = await self.play(group, case, shared, alone=True, again=True)
        again.evidence.pop("suspect", False)
        return again

    async def in_turn(
        self,
        left: list[_T],
        one: Callable[[_T, Shared], Awaitable[None]],
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        """Do something for each suspect, for `AGAIN` of them at the same time.

        Args:
            left: the suspects. Each is taken out when its turn comes.
            one: what to do, given a suspect and puppets that serve one suspect at a time.
            more: whether to go on with the next one.
        """

        async def some() -> None:
            async with self._puppets.own(suspects=True) as own:
                while left and more():
                    await one(left.pop(0), own)

        await together(some() for _ in range(min(AGAIN, len(left))))

    def absent(self, cell: Cell) -> Result | None:
        """Its result, if one of its peers is not available."""
        for name in (cell.client, cell.server):
            if name in self._absent:
                return Result(cell, Outcome.ABSENT, f"{name} is not available here: {self._absent[name]}")
        return None

    def _result_of(self, error: Exception, cell: Cell, start: float) -> Result:
        """The result of a cell that could not be played at all."""
        took = time.monotonic() - start
        return Result(cell, Outcome.FAILED, str(error), took, again=self._busy(error, start))

    def _busy(self, error: BaseException, since: float) -> str:
        """Why a cell with this failure must be played again before it counts; empty if it counts."""
        clock = by_clock(error) or time.monotonic() - since >= PEERS_CLOCK
        why = self._machine.shortage(since) if clock else ""
        return f"{OUT_OF_TIME} ({why})" if why else ""

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
            profile=self._settings.spoken.profile,
            client=puppets.get("client"),
            server=puppets.get("server"),
            direct=case.direct,
            limit=self._settings.timeout + case.timeout,
            seed=random.Random(f"{self._settings.seed} {cell} {self._results.round}").getrandbits(64),
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
                    self._puppets.worked(puppets[role])
            result.seconds = time.monotonic() - start
            suspect = self._broken(puppets, shared, result)
            await self._prove(play, puppets, result)
            await play.cleanup()
            if again and result.outcome is Outcome.PASSED:
                # This case may break a puppet after its last answer. The answer to one more command comes after
                # everything that the puppet still had to say.
                await asyncio.gather(*(puppet.pulse() for puppet in puppets.values()))
                self._broken(puppets, shared, result)
            if result.outcome is Outcome.FAILED:
                # It may have megabytes: others are played in the meantime.
                result.evidence |= await asyncio.to_thread(whole, play, puppets, logs)
            elif self._settings.evidence == "all":
                result.evidence |= brief(play, puppets, logs)
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
            in_time = play.timed(case.run(play), play.limit, grace=play.patience)
            await self._puppets.unless_given_up(in_time, puppets.values())
            if play.problems:
                raise play.problems[0]
        except Unsupported as why:
            result.outcome, result.reason = Outcome.UNSUPPORTED, str(why)
        except Failure as failure:
            result.outcome, result.reason = Outcome.FAILED, failure.problem
            result.expected, result.actual, result.sentence = failure.expected, failure.actual, failure.sentence
            result.again = self._busy(failure, start)
            if isinstance(failure, Silent):
                self._puppets.silent(failure.peer)
        except asyncio.TimeoutError as error:
            result.outcome, result.again = Outcome.FAILED, self._busy(error, start)
            awaited, result.sentence = play.waited_for()
            result.reason = f"timed out after {play.limit:g} seconds, waiting for {awaited}"
        except (PuppetFault, GivenUp) as fault:
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
                    self._puppets.excuse(puppet)
                self._puppets.strike(puppet)
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
