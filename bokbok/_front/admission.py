"""Which request may start its handler now, which waits, and which is refused: bookkeeping for both front ends.

What this module knows: how many requests of one connection run and wait. `slots` has the numbers of the whole server. A
front end with threads holds its own lock around each call.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..errors import RemoteError
from .slots import Share, Slots

__all__ = ["NO_HANDLER", "STOPPING", "Admission", "Job", "error_text"]

NO_HANDLER = "this end of the connection takes no requests: it has no request handler"
STOPPING = "the server is stopping and takes no new requests"

Job = tuple[int, Any]  # a request's ID and message


class Admission:
    """Admits a connection's requests to their handlers: `queue` each one that comes, `start` those that may, `finish`
    each.

    A connection with an open handler starts `held`: "the open handler has returned before the first request handler
    starts". Beyond `running` handlers requests wait; beyond `waiting` ones they are refused. Once the connection
    drains, no request is admitted.

    Args:
        running: handlers that run at once.
        waiting: requests that wait at once.
        held: whether there is an open handler.
        share: the connection's part of its server's slots; without it, only the limits here count.

    Attributes:
        running: handlers that run.
        parked: handlers that wait for answers to requests of their own. They do not count as running: what they wait
            for may have to run here.
        held: whether the open handler still has to return.
        congested: whether the other end does not read its answers. No handler starts meanwhile. So those that have
            finished give their slots back at once, and nothing but their answers piles up.
        draining: whether requests are not admitted any more.
        queue_of_jobs: the requests that wait, of each its ID and then its message: always the same object. (A tuple for
            each would be one more object for the garbage collector, and tens of thousands may wait.)
        share: the argument.
    """

    __slots__ = (
        "_max_running",
        "_max_waiting",
        "congested",
        "draining",
        "held",
        "parked",
        "queue_of_jobs",
        "running",
        "share",
    )

    def __init__(self, running: int, waiting: int, *, held: bool, share: Share | None = None) -> None:
        self._max_running = running
        self._max_waiting = waiting
        self.queue_of_jobs: deque[Any] = deque()
        self.running = 0
        self.parked = 0
        self.held = held
        self.congested = False
        self.draining = False
        self.share = share if share is not None else Slots(running, running).share(lambda: None)

    @property
    def idle(self) -> bool:
        """Whether no handler (including the open handler) runs or waits to run."""
        return not (self.running or self.parked or self.held or self.queue_of_jobs)

    @property
    def ready(self) -> bool:
        """Whether to call `start`: for a request, for a place in the line, or to give back an unused slot."""
        return bool(self.share.kept) or (self._may_start and not self.share.waiting)

    @property
    def _may_start(self) -> bool:
        return bool(self.queue_of_jobs) and self.running < self._max_running and not (self.held or self.congested)

    def queue(self, id: int, message: Any) -> str | None:
        """A request came. `None`: it is admitted; a text: answer it with this error."""
        if self.draining:
            return STOPPING
        # A request that could start now does not count as waiting, even if nothing has started it yet.
        stays = self.held or self.congested or self.share.waiting
        running = self.running if stays else max(self.running, self._max_running)
        waiting = len(self.queue_of_jobs) // 2 - (running - self.running)
        if waiting < self._max_waiting:
            self.queue_of_jobs += (id, message)
            return None
        return f"too many requests: {running} handlers are running and {max(0, waiting)} requests waiting"

    def reserve(self) -> bool:
        """As `ready`; also keeps a slot for the caller of `start`, so that no thread is started for a request that has
        no slot."""
        return bool(self.share.kept) or (self._may_start and self.share.reserve())

    def start(self) -> Job | None:
        """The next request whose handler may start now; it counts as running from here on.

        Also `None` if the server has no slot for it now. The share's `wake` is called when it has one.
        """
        if not self.queue_of_jobs or not self._may_start:
            if self.share.kept:
                self.share.leave()
        elif self.share.take():
            self.running += 1
            return self.queue_of_jobs.popleft(), self.queue_of_jobs.popleft()
        return None

    def queue_all(self, jobs: list[Any]) -> bool:
        """`queue` several at once, if all of them are admitted; otherwise nothing changes.

        Args:
            jobs: as they stand in `queue_of_jobs`.
        """
        if self.draining:
            return False
        stays = self.held or self.congested or self.share.waiting
        running = self.running if stays else max(self.running, self._max_running)
        if (len(self.queue_of_jobs) + len(jobs)) // 2 - (running - self.running) > self._max_waiting:
            return False
        self.queue_of_jobs += jobs
        return True

    def start_some(self) -> int:
        """`start` as many as may start now. Returns how many.

        Take them from the front of `queue_of_jobs`, which is empty once the connection has ended, and call `end_some`.
        """
        if not self.queue_of_jobs or self.held or self.congested or self.running >= self._max_running:
            if self.share.kept:
                self.share.leave()
            return 0
        number = self.share.take_some(min(len(self.queue_of_jobs) // 2, self._max_running - self.running))
        self.running += number
        return number

    def end_some(self, ended: int, *, unused: int) -> None:
        """Of those that were started, so many have finished already, and so many did not begin and wait again."""
        if ended or unused:
            self.running -= ended + unused
            self.share.give_some(ended, unused)

    def start_alone(self) -> bool:
        """`queue` and `start` in one step, for a request that comes while nothing else runs or waits; else false."""
        if self.running or self.queue_of_jobs or self.held or self.congested or self.draining or not self.share.take():
            return False
        self.running = 1
        return True

    def finish(self) -> None:
        """A handler has finished."""
        self.running -= 1
        self.share.give()

    def park(self) -> bool:
        """A handler is about to wait for an answer. False: too many wait already, so it may not."""
        if not self.share.park():
            return False
        self.running -= 1
        self.parked += 1
        return True

    def unpark(self) -> None:
        """A handler that was parked goes on."""
        self.parked -= 1
        self.running += 1
        self.share.unpark()

    def drain(self) -> list[int]:
        """Admit no more requests. Returns the IDs of those that were waiting, to be answered with `STOPPING`."""
        self.draining = True
        self.share.leave()
        return self.forget()

    def close(self) -> list[int]:
        """The connection is over: forget the requests that wait. Returns their IDs."""
        ids = self.forget()
        self.share.close()
        return ids

    def forget(self) -> list[int]:
        """Forget the requests that wait, and do nothing else. Returns their IDs."""
        ids = list(self.queue_of_jobs)[::2]
        self.queue_of_jobs.clear()
        return ids


def error_text(error: BaseException) -> str:
    """The text of a handler's error for the other end (API reference: `remote-error-message`).

    A remote error that a handler does not catch keeps its text, so that it is not wrapped once more on each hop.
    """
    if isinstance(error, RemoteError):
        return error.message
    try:
        text = str(error)
    except Exception:  # an exception of the handler's own whose `__str__` fails
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
