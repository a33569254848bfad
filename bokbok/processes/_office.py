"""What a supervisor knows of the connections of all its workers, and what it decides: which connections it admits, and
which hellos are new.

This module applies the rules of `gate` to connections that workers name by numbers of their own. A worker may die at
any moment; then nothing of it counts any more. There are no sockets, processes or clocks in here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from .._front.gate import Gate, Source
from .._front.notices import Notices
from ..wire import HelloMemory, Limits

__all__ = ["Office"]


@dataclass
class _Visit:
    source: Source
    greeting: bool
    user: str | None = None


@dataclass
class _Desk:
    """The connections of one worker."""

    visits: dict[int, _Visit] = field(default_factory=dict)
    accepts: bool = True


@dataclass(frozen=True)
class _Waiting:
    worker: Hashable
    visit: int
    source: Source
    hello: bool
    answer: Callable[[Any], None]


class Office:
    """Counts the connections of all workers, by the rules of one `Gate`.

    Args:
        limits: the limits of the whole server.
        draw: see `Gate`.

    Attributes:
        gate: the rules, and the numbers.
        notices: counts the times that the server was full.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        self.gate = Gate(limits, draw)
        self.notices = Notices()
        self._hellos = HelloMemory()
        self._desks: dict[Hashable, _Desk] = {}
        self._waiting: deque[_Waiting] = deque()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return sum(len(desk.visits) for desk in self._desks.values())

    def joined(self, worker: Hashable) -> None:
        """A worker was started."""
        self._desks[worker] = _Desk()

    def retires(self, worker: Hashable) -> None:
        """A worker does not accept any more, so other workers are no longer compared with it."""
        self._desks[worker].accepts = False

    def gone(self, worker: Hashable, now: float) -> None:
        """A worker has ended, for whatever reason: nothing of it counts any more."""
        desk = self._desks.pop(worker, None)
        self._waiting = deque(one for one in self._waiting if one.worker != worker)
        if desk is not None:
            for visit in desk.visits.values():
                self._left(visit)
            self._call_in(now)

    def limit(self, limits: Limits, now: float) -> None:
        """Apply other limits from now on. Connections that were admitted stay."""
        self.gate.limits = limits
        self._call_in(now)

    def arrive(
        self, worker: Hashable, visit: int, source: Source, hello: bool, now: float, answer: Callable[[Any], None]
    ) -> bool:
        """A client has connected to a worker.

        Args:
            worker: which one.
            visit: the worker's number for the connection.
            source: where the connection comes from.
            hello: whether a hello has to come.
            now: seconds, on a clock that only goes forward.
            answer: called at once, or as soon as there is room for another connection. Its argument is the number of
                connections that this worker has more than the one with the fewest; or, if the connection is refused,
                the limit's name and the reason.

        Returns:
            False if the connection has to wait for room.
        """
        self._waiting.append(_Waiting(worker, visit, source, hello, answer))
        self._call_in(now)
        return not any(one.worker == worker and one.visit == visit for one in self._waiting)

    def _call_in(self, now: float) -> None:
        while self._waiting and self.connections < self.gate.limits.connections:
            one = self._waiting.popleft()
            refusal = self.gate.arrive(one.source, now, hello=one.hello)
            if refusal is not None:
                one.answer(list(refusal))
                continue
            desk = self._desks[one.worker]
            desk.visits[one.visit] = _Visit(one.source, one.hello)
            fewest = min((len(each.visits) for each in self._desks.values() if each.accepts), default=0)
            one.answer(max(0, len(desk.visits) - fewest))

    def enter(self, worker: Hashable, visit: int, user: str, digest: bytes | None) -> Any:
        """The hello of a connection has opened.

        Args:
            worker: whose connection it is.
            visit: the worker's number for the connection.
            user: the username that the hello has proved.
            digest: the hello's digest, if replays are refused.

        Returns:
            `None`: the connection may stay; `"replay"`; or the limit's name and why the connection is refused.
        """
        here = self._desks[worker].visits.get(visit)
        if here is None:
            return None  # it has ended meanwhile
        if digest is not None and not self._hellos.remember(digest):
            return "replay"
        refusal = self.gate.enter(user) if here.user is None else None
        if refusal is not None:
            return list(refusal)
        here.user = user
        return None

    def greeted(self, worker: Hashable, visit: int) -> None:
        """A hello has opened, or has failed."""
        here = self._desks[worker].visits.get(visit)
        if here is not None and here.greeting:
            here.greeting = False
            self.gate.greeted(here.source)

    def penalise(self, worker: Hashable, visit: int, now: float) -> None:
        """A connection was refused by its own fault."""
        here = self._desks[worker].visits.get(visit)
        if here is not None:
            self.gate.penalise(here.source, now)

    def leave(self, worker: Hashable, visit: int, now: float) -> None:
        """A connection is over, or it does not wait for room any more."""
        here = self._desks[worker].visits.pop(visit, None)
        if here is not None:
            self._left(here)
        else:
            self._waiting = deque(one for one in self._waiting if (one.worker, one.visit) != (worker, visit))
        self._call_in(now)

    def _left(self, visit: _Visit) -> None:
        if visit.greeting:
            self.gate.greeted(visit.source)
        self.gate.leave(visit.source, visit.user)
