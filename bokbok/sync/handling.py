"""Threads that do something for a connection: how they are started and counted, and how they call its handlers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .._front import texts
from .._front.lifecycle import Lifecycle
from .._front.logs import Log
from ..errors import ConnectionClosed
from .sending import OVER
from .threads import run_in_order, run_in_thread

if TYPE_CHECKING:
    from .connection import Connection
    from .server import Server

__all__ = ["Handling", "Owner", "handler_of"]

_log = Log("bokbok.sync")


class Owner(Protocol):
    """What the handling asks of its connection."""

    def _call_worker(self) -> bool:
        """With the lock held: whether to start a worker for handlers that could run."""

    def _worker(self) -> None:
        """Run what handlers can run."""

    def _end(self, error: ConnectionClosed, *, flush: bool = False) -> None:
        """End the connection."""

    def _close_if_idle(self) -> None:
        """Close the connection if it was only there for what has ended now."""

    def _maybe_finished(self) -> None:
        """With the lock held: tell the server if nothing of the connection is left."""


class _HandlerOf(threading.local):
    server: Server | None = None
    handling: Handling | None = None


handler_of = _HandlerOf()
"""Whose handler this thread runs now: `.server`, and of a request handler `.handling`."""


class Handling:
    """What runs in threads for one connection.

    Args:
        connection: whose; what handlers are given.
        lock: the connection's.
        life: the connection's.
        server: the connection's, if it has one.

    Attributes:
        tasks: threads that do anything for the connection; a server waits for them.
    """

    __slots__ = ("_coming", "_connection", "_life", "_lock", "_owner", "_server", "_settings", "tasks")

    def __init__(
        self, connection: Connection, lock: threading.Lock, life: Lifecycle[Any], server: Server | None
    ) -> None:
        self._connection = connection
        self._owner: Owner = connection
        self._lock = lock
        self._life = life
        self._settings = life.settings
        self._server = server
        self._coming = False  # a thread was called for a slot that is kept, and waits for the lock
        self.tasks = 0

    # Threads.

    def start(self, function: Callable[..., None], *args: Any, **options: Any) -> bool:
        """Run something of the connection's in a thread. False: there is none, and the connection ends."""
        with self._lock:
            self.tasks += 1
        try:
            run_in_thread(self._task, function, args, options)
        except RuntimeError as error:  # no more threads
            self._owner._end(texts.cannot_start_thread(error))
            self._task_done()
            return False
        return True

    def start_in_order(self, function: Callable[..., None], *args: Any) -> None:
        """Run something short of the connection's in a thread that does so for all connections, one after the other."""
        with self._lock:
            self.tasks += 1
        run_in_order(self._task, function, args, {})

    def slot_kept(self) -> None:
        """The server has kept a slot for this connection. Another connection's lock may be held now: not this one's.

        Raises:
            RuntimeError: the system has no more threads.
        """
        if self._coming:
            return  # whoever comes has not looked yet, and finds this one
        self._coming = True
        try:
            run_in_thread(self._come_for_slot)
        except RuntimeError:
            self._coming = False
            raise

    def _come_for_slot(self) -> None:
        with self._lock:
            self.tasks += 1
            self._coming = False
        self._task(self._owner._worker, (), {})

    def _task(self, function: Callable[..., None], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        handler_of.server = self._server
        try:
            function(*args, **options)
        except BaseException as error:  # a fault of ours, or of a profile's; handlers' are caught where they belong
            self.fail(error)
        finally:
            handler_of.server = None
            self._task_done()

    def _task_done(self) -> None:
        with self._lock:
            self.tasks -= 1
            self._owner._maybe_finished()

    def fail(self, error: BaseException) -> None:
        """End the connection by a fault of ours. First of all: where memory is short, writing the log may fail."""
        self._owner._end(texts.internal_error(error))
        with contextlib.suppress(Exception):
            self._life.failed(_log, texts.INTERNAL_ERROR, self._connection, error=error)

    # Handlers.

    def park(self) -> None:
        """A request handler is about to wait for an answer: what that waits for may have to run here.

        Raises:
            Overloaded: too many do already.
        """
        with self._lock:
            if not self._life.admission.park():
                raise texts.too_many_parked(self._settings.limits.parked)
            call = self._owner._call_worker()
        if call:
            self.start(self._owner._worker)

    def unpark(self) -> None:
        """It has been answered, or waits no longer."""
        with self._lock:
            self._life.admission.unpark()

    def run_on_open(self) -> None:
        """As a thread: call the open handler."""
        assert self._settings.on_open is not None
        try:
            self._settings.on_open(self._connection)
        except BaseException as error:
            self._life.failed(_log, texts.OPEN_HANDLER_FAILED, self._connection, error=error)
            # It may have been there to refuse the connection: one that it did not accept is not served.
            self._owner._end(texts.open_handler_failed(error), flush=True)
        with self._lock:
            run_on_close = self._life.open_handler_returned()
            call = self._owner._call_worker()
        if call:
            self.start(self._owner._worker)
        if run_on_close:
            self.run_on_close()
        self._owner._close_if_idle()

    def run_on_close(self) -> None:
        """As a thread: call the close handler."""
        assert self._settings.on_close is not None
        try:
            self._settings.on_close(self._connection)
        except BaseException as error:
            self._life.failed(_log, texts.CLOSE_HANDLER_FAILED, self._connection, error=error)

    def forget(self) -> None:
        """With the lock held: the connection is over, and nothing of it runs."""
        if self._owner is not OVER:
            self._owner = OVER
            del self._connection

    def forked(self, lock: threading.Lock) -> None:
        """In a forked child, where the connection has a new lock."""
        self._lock = lock
