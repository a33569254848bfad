"""Who reads a connection, and how that changes hands: one state a sentence.

What this module knows: the states of one connection's reading role and the moves between them. It has no sockets,
threads or locks: `connection` does what a move asks for, and holds its lock around each.

The plain design has one thread per connection that reads for all others. An idle connection costs a thread then, and
each message two switches of threads, which cost more than all the rest of a small request. So reading is a role:

* `PARKED`: nobody reads; the poller waits for bytes, and calls a worker when they come.
* `CALLED`: a worker was called to read, and has not come yet.
* `WORKER`: a worker reads, and runs the handlers of what it has read.
* `CALLER`: a thread that waits for an answer of its own reads.
* `LENT`: the worker that reads runs a handler; it reads on afterwards, unless somebody has taken the role meanwhile.
* `LEFT`: whoever has read has gone, and it is likely that a thread asks, and reads, at once.
* `OVER`: nobody reads any more.

In `LENT` and `LEFT` (`is_stray`) neither a thread nor the poller would notice bytes: nothing is paid for a change of
hands that, as a rule, does not come. So the poller looks every few milliseconds at connections that may be in them, and
parks the role where nothing has moved. Go's scheduler does the same for threads in system calls (`sysmon`).
"""

from __future__ import annotations

from typing import Final

__all__ = ["CALLED", "CALLER", "LEFT", "LENT", "OVER", "PARKED", "WORKER", "Pace", "Role"]

PARKED: Final = "parked"
CALLED: Final = "called"
WORKER: Final = "worker"
CALLER: Final = "caller"
LENT: Final = "lent"
LEFT: Final = "left"
OVER: Final = "over"
_UNUSED: Final = (LEFT, PARKED, LENT)  # the likeliest first


class Role:
    """The role of who reads one connection.

    Each move says whether it could be made; where it could not, nothing has changed.

    Attributes:
        state: one of this module's states.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: str = LEFT

    @property
    def is_stray(self) -> bool:
        """Whether nobody would notice bytes, unless it is looked after."""
        return self.state == LENT or self.state == LEFT

    @property
    def in_use(self) -> bool:
        """Whether a thread may be using the socket to read."""
        return self.state == WORKER or self.state == CALLER

    def park(self) -> bool:
        """Leave it to the poller: whoever reads has nothing to read, or somebody finds the role astray."""
        if self.in_use or self.is_stray:
            self.state = PARKED
            return True
        return False

    def call(self) -> bool:
        """Call a worker: by the poller where bytes have come, and by whoever has the role, or finds it astray."""
        if self.state == OVER or self.state == CALLED:
            return False
        self.state = CALLED
        return True

    def bytes_came(self) -> bool:
        """The poller: call a worker, if the role is still parked."""
        return self.state == PARKED and self.call()

    def come(self) -> bool:
        """A worker that was called: read."""
        if self.state == CALLED:
            self.state = WORKER
            return True
        return False

    def lend(self) -> bool:
        """The worker that reads: run a handler."""
        if self.state == WORKER:
            self.state = LENT
            return True
        return False

    def resume(self) -> bool:
        """The worker that has run a handler: read on."""
        if self.state == LENT:
            self.state = WORKER
            return True
        return False

    def ask(self) -> bool:
        """A thread that asks: read for the answer, where nobody else does or is about to."""
        if self.state in _UNUSED:
            self.state = CALLER
            return True
        return False

    def leave(self) -> bool:
        """Whoever reads: go, since a thread is likely to ask at once."""
        if self.state == CALLER or self.state == WORKER:  # `in_use`, without the call: this is done for each message
            self.state = LEFT
            return True
        return False

    def end(self) -> bool:
        """Nobody is to read any more. False: somebody does, who has to call this again once that is done."""
        if self.in_use:
            return False
        self.state = OVER
        return True

    def stop(self) -> None:
        """Whoever reads, and no one else: nobody is to read any more."""
        self.state = OVER


_QUICK_SECONDS = 0.0005
"""A handler that takes longer is not quick: others should have started meanwhile."""
_QUICK_AGAIN = 100
"""Quick handlers after which the next ones are taken to be quick, too; one that is not costs as many. On a busy machine
a quick handler is sometimes interrupted in the middle: if that is rarer, it changes nothing."""
_MOST_QUICK = 300
"""Quick handlers that count at most."""


class Pace:
    """Whether the next handler is likely to return at once, so that its worker need not call another before.

    Attributes:
        is_quick: whether it is.
    """

    __slots__ = ("_credit", "is_quick")

    def __init__(self) -> None:
        self._credit = _MOST_QUICK
        self.is_quick = True

    def took(self, seconds: float) -> None:
        """A handler has returned, after so long."""
        if seconds >= _QUICK_SECONDS:
            self._set(max(0, self._credit - _QUICK_AGAIN))
        elif self._credit < _MOST_QUICK:
            self._set(self._credit + 1)

    def stands_still(self) -> None:
        """A handler did not return in all the time from one look of the poller to the next."""
        self._set(0)

    def _set(self, credit: int) -> None:
        self._credit = credit
        self.is_quick = credit >= _QUICK_AGAIN
