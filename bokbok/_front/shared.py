"""What all connections of one server share: admission, slots for handlers, counts, and lines in the log.

What this module knows: a clock, a lock and a logger, for the plain objects of `gate`, `slots` and `notices`. Any thread
may call its methods, but not while it holds a connection's lock: they write to the log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .._native import description
from ..address import Address, format_address
from ..errors import ConnectionClosed, RemoteProtocolError
from ..wire import HelloOpened, Limits
from . import texts
from .budget import Budget
from .failures import Failures
from .gate import Gate, Source, source_of
from .logs import DEBUG, ERROR, WARNING, Log
from .notices import MOST_TOLD, Notices, shown, write
from .slots import Slots
from .statistics import Statistics

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .link import Link

__all__ = ["Arrival", "Shared", "Visit"]


class Visit:
    """One connection, as its server counts it. Each step counts once; a second call does nothing.

    Attributes:
        source: where it comes from.
        user: the user that it is counted for, once it is.
        claimed: the username in its hello, whether proved or not.
    """

    __slots__ = ("_greeting", "_here", "_number", "_refusal", "_shared", "claimed", "source", "user")

    def __init__(self, shared: Shared, source: Source, greeting: bool, number: int = 0) -> None:
        self._shared = shared
        self._greeting = greeting
        self._here = True
        self._number = number  # the supervisor's number for it
        self._refusal: tuple[str, str] | None = None  # what the supervisor has said of the user
        self.source = source
        self.user: str | None = None
        self.claimed: str | None = None

    @property
    def budget(self) -> Budget:
        """The memory of the server."""
        return self._shared.budget

    def proved(self, hello: HelloOpened) -> Future[Any] | None:
        """Its hello has opened. In one of several processes, ask the supervisor; the answer is for `known`."""
        shared = self._shared
        if shared.link is None:
            return None
        return shared.link.ask("enter", self._number, hello.user, hello.digest.hex() if shared.remembers else None)

    def known(self, answer: Any) -> bool:
        """What the supervisor has answered. False: another process has seen this hello."""
        if answer == "replay":
            return False
        self._refusal = tuple(answer) if answer else None
        return True

    def opened(self, user: str | None, connection: object) -> str | None:
        """The connection is open. `None`: it may stay; else the reason why not, which was logged."""
        shared = self._shared
        refusal = None
        with shared._lock:
            self._greeted()
            if shared.link is not None:
                refusal = self._refusal
            elif user is not None:
                refusal = shared.gate.enter(user)
                if refusal is None:
                    self.user = user
        if refusal is None:
            return None
        kind, reason = refusal
        shared.tell(kind, self.source, "%r: refused: %s", connection, reason)
        return reason

    def refused(self, kind: str, error: ConnectionClosed, connection: object) -> None:
        """The connection ends by the fault of its other end."""
        shared = self._shared
        if kind == "left":
            # Health checks do this all day.
            shared.tell(kind, self.source, "%r: %s", connection, error.reason, level=DEBUG)
            return
        if isinstance(error, RemoteProtocolError) or kind == "hello_timeout":
            if shared.link is not None:
                shared.link.tell("penalise", self._number)
            else:
                with shared._lock:
                    shared.gate.penalise(self.source, shared._clock())
        if self.claimed is not None and self.user is None:
            shared.tell(
                kind, self.source, "%r: %s; it says that it is %s", connection, error.reason, shown(self.claimed)
            )
        else:
            shared.tell(kind, self.source, "%r: %s", connection, error.reason)

    def unreadable(self, problem: str, connection: object) -> None:
        """A request has come that cannot be read, and was answered with an error."""
        self._shared.tell("unreadable", self.source, texts.UNREADABLE_REQUEST, connection, problem)

    @property
    def failures(self) -> Failures:
        """Those of all connections of the server."""
        return self._shared.failures

    def greeted(self) -> None:
        """Its hello has opened or failed."""
        with self._shared._lock:
            self._greeted()

    def _greeted(self) -> None:
        if self._greeting:
            self._greeting = False
            self._shared.gate.greeted(self.source)
            if self._shared.link is not None:
                self._shared.link.tell("greeted", self._number)

    def over(self) -> None:
        """It is over, and so are its handlers."""
        with self._shared._lock:
            if self._here:
                self._here = False
                self._greeted()
                self._shared.gate.leave(self.source, self.user)
                if self._shared.link is not None:
                    self._shared.link.tell("leave", self._number)


class Arrival:
    """A connection that the supervisor was asked about. `answer` is a future; give it to `Shared.arrived`."""

    __slots__ = ("answer", "hello", "number", "source")

    def __init__(self, link: Link, source: Source, hello: bool) -> None:
        self.number = link.next_number()
        self.source = source
        self.hello = hello
        self.answer: Future[Any] = link.ask("arrive", self.number, source.name, source.near, hello)


class Shared:
    """What all connections of one server share; a client's connection has one of its own.

    Args:
        limits: the limits of the server.
        log: where refusals are logged.
        link: to a supervisor, if the server has several processes. Then the supervisor decides which connections are
            admitted, and the gate here only counts.
        clock: seconds, on a clock that only goes forward.
        draw: as `Gate` takes it; `None` for `random.random`.

    Attributes:
        remembers: whether the supervisor remembers hellos, too.
        ahead: how many connections more this process has than the process with the fewest.
    """

    def __init__(
        self,
        limits: Limits,
        log: Log,
        link: Link | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        if draw is None:
            from random import random  # only here: a client does not need it

            draw = random
        self.slots = Slots(limits.server_running, limits.parked)
        self.budget = Budget(limits.server_memory)
        self.gate = Gate(limits, draw)
        self.notices = Notices()
        self.failures = Failures(clock)
        self.accepted = 0
        self.link = link
        self.remembers = True
        self.ahead = 0
        self._limits = limits
        self._parts = 1
        self._arrivals: set[Arrival] | None = set()  # without an answer yet; `None` once nobody may connect any more
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()

    def arrive(self, address: Address, server: object, *, hello: bool) -> Visit | None:
        """Somebody has connected. `None`: close the connection at once; the reason was logged."""
        source = source_of(address)
        with self._lock:
            refusal = self.gate.arrive(source, self._clock(), hello=hello)
            if refusal is None:
                self.accepted += 1
                return Visit(self, source, hello)
        self._turned_away(refusal, source, server)
        return None

    def _turned_away(self, refusal: tuple[str, str], source: Source, server: object) -> None:
        kind, reason = refusal
        self.tell(kind, source, "%r: a connection from %s is refused: %s", server, source.name, reason)

    def ask(self, address: Address, *, hello: bool) -> Arrival | None:
        """With a supervisor: somebody has connected; ask the supervisor. `None`: nobody may connect any more."""
        assert self.link is not None
        with self._lock:
            if self._arrivals is None:
                return None
            arrival = Arrival(self.link, source_of(address), hello)
            self._arrivals.add(arrival)
        return arrival

    def arrived(self, arrival: Arrival, server: object) -> Visit | None:
        """The supervisor has answered, or never will. `None`: close the connection at once; the reason was logged."""
        assert self.link is not None
        answer: Any = None
        if not arrival.answer.cancelled() and arrival.answer.exception() is None:
            answer = arrival.answer.result()
        else:
            self.link.tell("leave", arrival.number)
        with self._lock:
            if self._arrivals is not None:
                self._arrivals.discard(arrival)
            if isinstance(answer, int):
                self.ahead = answer
                self.accepted += 1
                self.gate.count(arrival.source, hello=arrival.hello)
                return Visit(self, arrival.source, arrival.hello, arrival.number)
        if answer is not None:
            self._turned_away(answer, arrival.source, server)
        return None

    def no_more(self) -> None:
        """The server stops: nobody waits for the supervisor's answer any longer."""
        with self._lock:
            arrivals, self._arrivals = self._arrivals, None
        for arrival in arrivals or ():
            arrival.answer.cancel()

    def full(self, server: object, connections: int) -> None:
        """There is no room for another connection."""
        self.tell(
            "connections", None, "%r: %d connections are there; further ones wait in the backlog", server, connections
        )

    def cannot_accept(self, server: object, error: OSError) -> None:
        """The system gave no connection: descriptors or memory are short, or it is an error of a network, which Linux
        hands to who accepts."""
        self.tell("accept", None, texts.CANNOT_ACCEPT, server, error.strerror or error, level=ERROR)

    def bad_proxy(self, server: object, proxy: Address, problem: object) -> None:
        """A connection is refused, since its proxy has not said whose it is."""
        self.tell("proxy", source_of(proxy), texts.BAD_PROXY, server, format_address(proxy), problem)

    def tell(self, kind: str, source: Source | None, text: str, *args: Any, level: int = WARNING) -> None:
        """Count a refusal, and write it to the log unless there are too many of its kind."""
        with self._lock:
            untold = self.notices.note(kind, source.name if source is not None else "", self._clock())
        write(self._log, level, untold, text, args)

    def limit(self, limits: Limits) -> None:
        """Apply other limits from now on. Connections that were admitted stay."""
        with self._lock:
            self._limits = self.gate.limits = limits
            parts = self._parts
            self.budget.most = limits.server_memory // parts
            self.notices.most = MOST_TOLD // parts
        self.slots.limit(max(1, limits.server_running // parts), max(1, limits.parked // parts))

    def part(self, parts: int) -> None:
        """This process is one of so many, so its slots and memory are a part of the whole."""
        self._parts = parts
        self.limit(self._limits)

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
                running=slots.running + slots.resumed,
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
        """In a forked child: the thread that held the lock does not exist."""
        self._lock = threading.Lock()
        self.failures.forked()
        self.slots.forked()
        self.budget.forked()
