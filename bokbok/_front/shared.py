"""What all connections of one server share: who may come in, slots for handlers, counts, and lines in the log.

What this module knows: a clock, a lock and a logger, which it puts round the plain objects of `gate`, `slots` and
`notices`. Its methods may be called from any thread, but not while a connection's lock is held: they write to the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from .._native import description
from ..address import Address
from ..errors import ConnectionClosed, RemoteProtocolError
from ..wire import Limits
from . import texts
from .budget import Budget
from .gate import Gate, Source, source_of
from .notices import Notices, bounded, shown
from .slots import Slots
from .statistics import Statistics

__all__ = ["Shared", "Visit"]


class Visit:
    """One connection, as its server counts it. Each step is taken once; taking it again does nothing.

    Attributes:
        source: where it comes from.
        user: who it is, once it is counted for that user.
        claimed: who it says it is, from its hello on.
    """

    __slots__ = ("_greeting", "_here", "_shared", "claimed", "source", "user")

    def __init__(self, shared: Shared, source: Source, greeting: bool) -> None:
        self._shared = shared
        self._greeting = greeting
        self._here = True
        self.source = source
        self.user: str | None = None
        self.claimed: str | None = None

    @property
    def budget(self) -> Budget:
        """The memory of the server."""
        return self._shared.budget

    def opened(self, user: str | None, connection: object) -> str | None:
        """The connection is open. `None`: it may stay; else why not, which was told."""
        shared = self._shared
        refusal = None
        with shared._lock:
            self._greeted()
            if user is not None:
                refusal = shared.gate.enter(user)
                if refusal is None:
                    self.user = user
        if refusal is None:
            return None
        kind, reason = refusal
        shared.tell(kind, self.source, "%r: refused: %s", connection, reason)
        return reason

    def refused(self, kind: str, error: ConnectionClosed, connection: object) -> None:
        """The connection ends by its other end's fault."""
        shared = self._shared
        if kind == "left":
            # A health check does that all day.
            shared.tell(kind, self.source, "%r: %s", connection, error.reason, level=logging.DEBUG)
            return
        if isinstance(error, RemoteProtocolError) or kind == "hello_timeout":
            with shared._lock:
                shared.gate.penalise(self.source, shared._clock())
        if self.claimed is not None and self.user is None:
            shared.tell(
                kind, self.source, "%r: %s; it says that it is %s", connection, error.reason, shown(self.claimed)
            )
        else:
            shared.tell(kind, self.source, "%r: %s", connection, error.reason)

    def unreadable(self, problem: str, connection: object) -> None:
        """A request has come that does not read, and was answered with an error."""
        self._shared.tell("unreadable", self.source, texts.UNREADABLE_REQUEST, connection, problem)

    def greeted(self) -> None:
        """Its hello is over, one way or the other."""
        with self._shared._lock:
            self._greeted()

    def _greeted(self) -> None:
        if self._greeting:
            self._greeting = False
            self._shared.gate.greeted(self.source)

    def over(self) -> None:
        """Nothing of it is left."""
        with self._shared._lock:
            if self._here:
                self._here = False
                self._greeted()
                self._shared.gate.leave(self.source, self.user)


class Shared:
    """What all connections of one server share; a client's connection has one of its own.

    Args:
        limits: those of the server.
        log: where it is told what is refused.
        clock: seconds, on a clock that only goes forward.
        draw: as `Gate` takes it; `None` for that of `random`.
    """

    def __init__(
        self,
        limits: Limits,
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        if draw is None:
            from random import random  # only here: a client draws nothing

            draw = random
        self.slots = Slots(limits.server_running, limits.parked)
        self.budget = Budget(limits.server_memory)
        self.gate = Gate(limits, draw)
        self.notices = Notices()
        self.accepted = 0
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()

    def arrive(self, address: Address, server: object, *, hello: bool) -> Visit | None:
        """Somebody has connected. `None`: close the connection at once; why was told."""
        source = source_of(address)
        with self._lock:
            refusal = self.gate.arrive(source, self._clock(), hello=hello)
            if refusal is None:
                self.accepted += 1
                return Visit(self, source, hello)
        kind, reason = refusal
        self.tell(kind, source, "%r: a connection from %s is refused: %s", server, source.name, reason)
        return None

    def full(self, server: object, connections: int) -> None:
        """There is no room for another connection."""
        self.tell(
            "connections", None, "%r: %d connections are there; further ones wait in the backlog", server, connections
        )

    def tell(self, kind: str, source: Source | None, text: str, *args: Any, level: int = logging.WARNING) -> None:
        """Count something that was refused, and write it to the log if it is not one of many."""
        with self._lock:
            untold = self.notices.note(kind, source.name if source is not None else "", self._clock())
        if untold is not None:
            more = f" ({untold} more of this kind were not told)" if untold else ""
            self._log.log(level, "%s", bounded(text % args) + more)
        elif self._log.isEnabledFor(logging.DEBUG):  # whoever asks for all of it gets all of it
            self._log.debug("%s", bounded(text % args))

    def limit(self, limits: Limits) -> None:
        """Other limits from now on. Whoever is in already stays."""
        with self._lock:
            self.gate.limits = limits
            self.budget.most = limits.server_memory
        self.slots.limit(limits.server_running, limits.parked)

    def statistics(self, connections: int, heaviest: int) -> Statistics:
        """What is going on.

        Args:
            connections: how many there are.
            heaviest: bytes that are held for the one which holds most.
        """
        slots = self.slots
        with self._lock:
            return Statistics(
                connections=connections,
                hellos=self.gate.hellos,
                penalised=self.gate.penalised,
                running=slots.running,
                parked=slots.parked,
                waiting=slots.waiting,
                held=self.budget.held,
                heaviest=heaviest,
                accepted=self.accepted,
                handled=slots.started,
                refused=MappingProxyType(dict(self.notices.counts)),
                codec=description(),
            )

    def forked(self) -> None:
        """In a forked child: whoever held the lock is not there."""
        self._lock = threading.Lock()
        self.slots.forked()
        self.budget.forked()
