"""Whose turn it is to finish a request: handlers that return at the same moment write their answers in turns.

What this module knows: threads that wait, whose each of them is (its *party*, as in `turns`), and a clock. Python runs
one thread at a time, and which one comes next nobody decides. Each step of a small request, in whatever thread, would
therefore wait for all threads that have something to do, and when a thousand handlers of one user wake up at once,
these are a thousand. Here all but a few of them wait without the interpreter, and parties come in turn.

An answer is written in one piece, which may take long. If nobody finishes for a while, one more may begin. So small
answers do not wait for a large one, and one that never ends holds up nobody for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

from .._fork import on_fork
from .poller import poller
from .turns import Turns

__all__ = ["Finishing", "Ticket", "finishing"]

_PLACES: Final = 1
"""Threads at once: as `turns._READERS`."""
_PATIENCE: Final = 0.005
"""Seconds until one more may begin: five turns."""
_LOOKS: Final = 20
"""Looks without anybody's turn after which one more may begin, even if each of them came late."""


class Finishing:
    """Places for threads. Who comes while all are taken waits for a turn of its party.

    Args:
        places: threads at once.
        call_at: `Poller.call_at`.

    Attributes:
        try_to_enter: takes a place, if one is free and nobody waits; what most do. Whether it did.
        leave_at_once: gives back a place that was taken so.
    """

    def __init__(
        self, places: int = _PLACES, call_at: Callable[[float, Callable[[], None]], Any] | None = None
    ) -> None:
        self._turns = Turns(places)
        self.try_to_enter = self._turns.try_to_enter
        self.leave_at_once = self._turns.leave
        self._call_at = call_at or poller.call_at
        self._lock = threading.Lock()
        self._watched = False
        self._came = 0  # how many have got their turn after they waited
        self._seen = 0  # … at the last look
        self._late = 0  # looks that came late, since somebody got a turn
        self._due = 0.0  # the next look's time

    def enter(self, party: Hashable) -> Ticket | None:
        """Take a place, perhaps after a wait. Returns what to give to `leave`."""
        if self.try_to_enter():
            return None
        ticket = Ticket(self, party)
        self._turns.enter(party, ticket)
        self._watch()
        ticket.wait()
        return ticket

    def leave(self, ticket: Ticket | None) -> None:
        """Give the place back."""
        if ticket is None:
            self.leave_at_once()
        else:
            self._turns.leave(ticket.party, time.thread_time() - ticket.began)

    def _watch(self) -> None:
        with self._lock:
            if self._watched or not self._turns.waiting:
                return
            self._watched, self._seen, self._late = True, self._came, 0
        self._look_again()

    def _look_again(self) -> None:
        self._due = time.monotonic() + _PATIENCE
        try:
            self._call_at(self._due, self._look)
        except (RuntimeError, OSError):  # no threads, no descriptors: they come when others leave
            self._watched = False

    def _look(self) -> None:
        """As the poller: let one more in, if nobody got a turn since the last look.

        Not if the poller comes late: it was kept from running, as those with places may have been, and one more would
        only make it worse. But on a machine that is always busy it always comes late, so not for ever.
        """
        if self._came != self._seen:
            self._seen, self._late = self._came, 0
        elif time.monotonic() - self._due < _PATIENCE / 2 or self._late >= _LOOKS:
            self._late = 0
            self._turns.add_one()
        else:
            self._late += 1
        with self._lock:
            if not self._turns.waiting:
                self._watched = False
                return
        self._look_again()


class Ticket:
    """A thread that waits for its turn.

    Attributes:
        party: whose it is.
        began: its processor time when its turn came, in seconds.
    """

    __slots__ = ("_closed", "_finishing", "began", "party")

    def __init__(self, finishing: Finishing, party: Hashable) -> None:
        self._finishing = finishing
        self.party = party
        self.began = 0.0
        self._closed = threading.Lock()
        self._closed.acquire()

    def _turn_came(self, begin: bool) -> bool:
        self._finishing._came += 1
        self._closed.release()
        return True

    def wait(self) -> None:
        """Until the turn has come."""
        self._closed.acquire()
        self.began = time.thread_time()


finishing = Finishing()


def _forked() -> None:
    """In a forked child nobody waits, and whoever had a place does not exist."""
    finishing.__init__()  # type: ignore[misc]  # the same object: other modules have its name


on_fork(_forked)
