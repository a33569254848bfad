"""Which puppets run: they are started, shared, ended, and counted when they break. A peer whose puppets break too often
is given up.

What a broken puppet means for the cells that used it is for `cells` and `culprits`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from typing import Any

from ..model import by_clock
from ..peers.base import Peer, PuppetFault, Unavailable
from ..peers.puppet import Puppet
from ..spoken import Spoken
from .observer import Observer
from .shared import Shared

__all__ = ["GivenUp", "Known", "Puppets"]

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


class Known:
    """What is known about a peer once one of its puppets has started."""

    def __init__(self, puppet: Puppet) -> None:
        self.name = puppet.peer
        self.features = puppet.features
        self.faults = puppet.running.faults


class GivenUp(Exception):
    """A peer was given up: it is not played any more."""

    def __init__(self, peer: str, fault: PuppetFault) -> None:
        super().__init__(f"{peer} was given up: {fault.problem}")
        self.__cause__ = fault


class Puppets:
    """The puppets of a run.

    Args:
        peers: the peers, by name.
        spoken: the format that each puppet is told.
        observer: is told when a peer is given up, and of a peer's warnings.

    Attributes:
        about: what a puppet said about itself, by peer.
        known: what is known, by peer.
        running: the puppets that were started and not ended.
    """

    def __init__(self, peers: Mapping[str, Peer], spoken: Spoken, observer: Observer) -> None:
        self._peers = peers
        self._spoken = spoken
        self._observer = observer
        self.about: dict[str, dict[str, Any]] = {}
        self.known: dict[str, Known] = {}
        self.running: set[Puppet] = set()
        self._strikes: Counter[str] = Counter()
        self._start_strikes: Counter[str] = Counter()
        self._silences: Counter[str] = Counter()
        self._struck: set[Puppet] = set()
        self._given_up: dict[str, PuppetFault] = {}
        self._gone = asyncio.Event()
        self._starts = asyncio.Semaphore(4)

    # -- their lives

    async def start(self, name: str, role: str, transport: str, *, alone: bool = False) -> Puppet:
        """Start one.

        Raises:
            Unavailable: the peer is not there.
            PuppetFault: it does not start, or its peer was given up.
        """
        async with self._starts:
            if name in self._given_up:
                raise self._given_up[name]
            try:
                running = await self._peers[name].start(role=role, transport=transport, alone=alone)
            except (Unavailable, PuppetFault):
                raise
            except Exception as error:
                problem = f"its puppet cannot be started: {type(error).__name__}: {error}"
                raise PuppetFault(name, "start", problem) from error
            puppet = Puppet(running)
            self.running.add(puppet)
            try:
                await puppet.start()
                await self._spoken.tell(puppet)
            except PuppetFault as fault:
                await self.retire(puppet)
                self._start_strikes[name] += 1
                cause, fault = fault, PuppetFault(name, "start", f"its puppet does not start: {fault.problem}")
                fault.__cause__ = cause
                fault.log = running.log.text()[-LOG_SHOWN:]
                if self._start_strikes[name] >= START_STRIKES:
                    self._give_up(name, fault)
                raise fault from cause
            except BaseException:
                await self.retire(puppet)
                raise
        self._start_strikes[name] = 0
        self.known.setdefault(name, Known(puppet))
        if name not in self.about:
            self.about[name] = {
                "name": puppet.name,
                "version": puppet.version,
                "features": puppet.features.words(),
                "warnings": puppet.features.warnings,
            }
            for warning in puppet.features.warnings:
                self._observer.note(f"warning: {name}: {warning}")
        return puppet

    async def shared(self, shared: Shared, role: str, name: str, transport: str) -> Puppet:
        """The puppet of this role that several cells use; a new one if there is none, or if that one broke.

        Raises:
            Unavailable, PuppetFault: as `start`.
        """
        async with shared.lock:
            puppet = shared.puppets.get(role)
            if puppet is not None and puppet.fault is None:
                return puppet
            if puppet is not None:
                await self.retire(puppet)
                shared.former, shared.order = shared.order, []
            puppet = shared.puppets[role] = await self.start(name, role, transport)
            return puppet

    @contextlib.asynccontextmanager
    async def own(self, *, suspects: bool = False) -> AsyncIterator[Shared]:
        """Have puppets that only the cells in the `async with` block use. They are ended after it.

        Args:
            suspects: as `Shared.suspects`.
        """
        shared = Shared(suspects=suspects)
        try:
            yield shared
        finally:
            await self.retire(*shared.puppets.values())

    async def retire(self, *puppets: Puppet) -> None:
        """End puppets, unless they have ended."""
        for puppet in puppets:
            if puppet not in self.running:
                continue
            self.running.discard(puppet)
            if puppet.fault is not None and not puppet.expected_end:
                self.strike(puppet)
                await puppet.kill()
            else:
                await puppet.close()

    async def end(self) -> None:
        """End all, and release what the peers use."""

        async def end(name: str, peer: Peer) -> None:
            mine = [puppet for puppet in self.running if puppet.peer == name]
            await asyncio.gather(*(puppet.kill() for puppet in mine), return_exceptions=True)
            with contextlib.suppress(Exception):
                await peer.dispose()

        # All at the same time: if a container engine hangs, the other peers must still be disposed of.
        await asyncio.gather(*(end(name, peer) for name, peer in self._peers.items()))
        self.running.clear()

    # -- when a peer is given up

    def given_up(self, *names: str) -> GivenUp | None:
        """Which of these peers was given up; `None` if none was."""
        return next((GivenUp(name, self._given_up[name]) for name in names if name in self._given_up), None)

    async def unless_given_up(self, work: Awaitable[None], puppets: Collection[Puppet]) -> None:
        """Do it, unless the peer of one of these puppets is given up in the meantime.

        Raises:
            GivenUp: one is.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                somebody = asyncio.ensure_future(self._gone.wait())
                try:
                    await asyncio.wait({task, somebody}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    somebody.cancel()
                if not task.done() and (gone := self.given_up(*(puppet.peer for puppet in puppets))):
                    raise gone
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def worked(self, puppet: Puppet) -> None:
        """A cell has passed in which it said something: what its peer's puppets did before counts no more."""
        self._strikes[puppet.peer] = self._silences[puppet.peer] = 0

    def silent(self, name: str) -> None:
        """Count a cell in which a puppet did not answer a command that depends only on it. After too many, it is given
        up."""
        self._silences[name] += 1
        if self._silences[name] >= SILENCES:
            problem = f"in {SILENCES} of its cells a command was not answered, and none between them passed"
            self._give_up(name, PuppetFault(name, "hung", problem))

    def strike(self, puppet: Puppet) -> None:
        """Count a puppet that broke, once."""
        if puppet in self._struck or puppet.fault is None or puppet.fault.kind == "start":
            return
        self._struck.add(puppet)
        # It takes long to find out that a puppet hangs: that is not done eight times.
        self._strikes[puppet.peer] += 1 if puppet.fault.kind != "hung" else STRIKES // 2
        if self._strikes[puppet.peer] >= STRIKES:
            problem = f"its puppets broke without a passed cell between; the last: {puppet.fault.problem}"
            self._give_up(puppet.peer, PuppetFault(puppet.peer, puppet.fault.kind, problem))

    def excuse(self, puppet: Puppet) -> None:
        """Do not count this one, whatever becomes of it."""
        self._struck.add(puppet)

    def forgive_clocks(self) -> None:
        """Those that were given up for what a clock told have another chance: the machine was busy, so it may not have
        been their fault."""
        for name in [name for name, fault in self._given_up.items() if by_clock(fault)]:
            del self._given_up[name]
            self._strikes[name] = self._start_strikes[name] = self._silences[name] = 0

    def _give_up(self, name: str, fault: PuppetFault) -> None:
        if name not in self._given_up:
            self._given_up[name] = fault
            # Those who wait now are told; later ones need not be told.
            self._gone.set()
            self._gone = asyncio.Event()
            self._observer.note(f"{name} is given up: {fault.problem}")
