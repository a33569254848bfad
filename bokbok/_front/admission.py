"""Which request may start its handler now, which waits, which is turned away: pure bookkeeping for both front ends.

What this module knows: numbers of running and waiting requests. A front end with threads holds its own lock around each
call.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..errors import RemoteError

__all__ = ["NO_HANDLER", "STOPPING", "Admission", "Job", "error_text"]

NO_HANDLER = "this end of the connection takes no requests: it has no request handler"
STOPPING = "the server is stopping and takes no new requests"

Job = tuple[int, Any]  # a request's ID and message


class Admission:
    """Admits a connection's requests to their handlers: `queue` each that comes, `start` what may start, `finish` it.

    A connection with an open handler starts `held`: "the open handler has returned before the first request handler
    starts". Beyond `running` handlers requests wait; beyond `waiting` ones they are turned away. Once it drains, none
    is admitted any more.
    """

    __slots__ = ("_max_running", "_max_waiting", "_queue", "draining", "held", "running")

    def __init__(self, running: int, waiting: int, *, held: bool) -> None:
        self._max_running = running
        self._max_waiting = waiting
        self._queue: deque[Job] = deque()
        self.running = 0
        self.held = held
        self.draining = False

    @property
    def idle(self) -> bool:
        """Whether no handler, the open handler among them, runs or is to run."""
        return not (self.running or self.held or self._queue)

    @property
    def ready(self) -> bool:
        """Whether `start` would return a request."""
        return bool(self._queue) and not self.held and self.running < self._max_running

    def queue(self, id: int, message: Any) -> str | None:
        """A request came. `None`: it is admitted; a text: answer it with this error."""
        if self.draining:
            return STOPPING
        # What could start now does not wait, though nobody may have had the time to start it.
        waiting = len(self._queue) - (0 if self.held else self._max_running - self.running)
        if waiting < self._max_waiting:
            self._queue.append((id, message))
            return None
        running = self.running if self.held else self._max_running  # or is about to
        return f"too many requests: {running} handlers are running and {max(0, waiting)} requests waiting"

    def start(self) -> Job | None:
        """The next request whose handler may start now; it counts as running from here on."""
        if self._queue and not self.held and self.running < self._max_running:
            self.running += 1
            return self._queue.popleft()
        return None

    def start_alone(self) -> bool:
        """`queue` and `start` in one, for a request that comes while nothing else runs or waits; false otherwise."""
        if self.running or self.held or self.draining or self._queue:
            return False
        self.running = 1
        return True

    def finish(self) -> None:
        """A handler has finished."""
        self.running -= 1

    def drain(self) -> list[int]:
        """Admit no more; the IDs of the requests that were waiting, to be answered with `STOPPING`."""
        self.draining = True
        return self.clear()

    def clear(self) -> list[int]:
        """Forget the requests that wait; their IDs."""
        ids = [id for id, _ in self._queue]
        self._queue.clear()
        return ids


def error_text(error: BaseException) -> str:
    """What a handler's error says to the other end (API reference: `remote-error-message`).

    A remote error that a handler lets through keeps its text, so that it is not wrapped once for each hop.
    """
    if isinstance(error, RemoteError):
        return error.message
    try:
        text = str(error)
    except Exception:  # an exception of the handler's own whose `__str__` fails
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
