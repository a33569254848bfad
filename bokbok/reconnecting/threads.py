"""The connection that is opened again, with threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import tenacity

from .. import sync
from ..errors import ConnectionClosed, NetworkError, RemoteError
from ..keys import Key
from ._backoff import Addresses, Backoff
from ._kept import Kept, left, log

__all__ = ["Connection", "open_connection"]

Handler = Callable[[sync.Connection], object]


class Connection(Kept[sync.Connection]):
    """A client's connection that is opened again whenever it has ended, until `close`.

    It connects at once, in a thread of its own, even without requests, since the server may send some.

    Args:
        addresses: one address, or several that are tried in turn, each as `bokbok.open_connection` takes it.
        user, key, on_request: as of `bokbok.open_connection`.
        on_open: `on_open(connection)`, called with each new `bokbok.Connection`. Until it returns, only the handler's
            own requests are sent. If it raises, that connection is closed and the next one is tried.
        on_close: `on_close(connection)`, called when a connection has ended, unless `close` ended it.
        backoff: how long to wait in between.
        options: of `bokbok.open_connection`: `connect_timeout` (for each address), `profile`, `limits`, `guards`.

    Raises:
        AddressError, ValueError: an argument is wrong; nothing was connected.
    """

    def __init__(
        self,
        addresses: Addresses,
        user: str | None = None,
        key: Key | None = None,
        on_request: sync.RequestHandler | None = None,
        on_open: Handler | None = None,
        on_close: Handler | None = None,
        *,
        backoff: Backoff | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            addresses, backoff, {"user": user, "key": key, "on_request": self._hearing(on_request), **options}
        )
        self._on_open, self._on_close = on_open, on_close
        self._changed = threading.Condition()
        self._ended = threading.Event()  # of the current connection
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="bokbok-reconnecting", daemon=True)
        self._keeper.start()

    # What its user does.

    def request(self, message: Any, *, timeout: float | None = None, repeat: bool = False) -> Any:
        """Ask the other end, once there is a connection.

        Args:
            message: any datum that has an external representation.
            timeout: seconds in all, including the wait for a connection; `None` for no time-out.
            repeat: whether to ask again on the next connection, if the connection ends before the answer. The request
                may then be handled twice.

        Returns:
            The answer.

        Raises:
            ConnectionClosed: the connection ended before the answer, and `repeat` is false: the request may have been
                handled or not. Or `close` was called.
            ConnectFailed: it gave up, after `Backoff.rounds`.
            RequestTimeout, RemoteError, WriteError: see `bokbok.Connection.request`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            connection = self.wait_open(left(deadline))
            try:
                answer = connection.request(message, timeout=left(deadline))
            except ConnectionClosed:
                self._lost(connection)
                if not repeat or self._closing.is_set():
                    raise
            except RemoteError:
                self._heard = True
                raise
            else:
                self._heard = True
                return answer

    def wait_open(self, timeout: float | None = None) -> sync.Connection:
        """Wait until there is a connection.

        Returns:
            That connection. The next one is another object.

        Raises:
            RequestTimeout: there is none after so many seconds.
            ConnectionClosed: `close` was called.
            ConnectFailed: it gave up.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._current or self._error or self._closing.is_set(), timeout):
                raise self._late(timeout)
            return self._found(self._closing.is_set())

    def close(self) -> None:
        """Close the connection for good. Requests that wait fail; the close handler does not run."""
        with self._changed:
            self._closing.set()
            connection, self._current = self._current, None
            self._changed.notify_all()
        self._ended.set()
        if connection is not None:
            connection.close()
        if threading.current_thread() is not self._keeper:
            self._keeper.join()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What its thread does.

    def _keep(self) -> None:
        retrying = tenacity.Retrying(
            **self._backoff.retrying(), sleep=tenacity.sleep_using_event(self._closing), before_sleep=self._tell
        )
        try:
            while not self._closing.is_set():
                retrying(self._session)
                self._closing.wait(self._backoff.pause())
        except BaseException as error:  # whatever the error is, those who wait must learn of it
            if not self._closing.is_set():
                log.warning("given up: %s", error)
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _session(self) -> None:
        """One connection, from its beginning to its end; raises if it failed."""
        connection = self._connected()
        if connection is None:
            return
        try:
            if self._on_open is not None:
                self._on_open(connection)
        except Exception as error:
            connection.close()
            raise self._not_opened(error) from error
        with self._changed:
            if self._closing.is_set():
                connection.close()
                return
            self._current = connection
            self._changed.notify_all()
        self._ended.wait()
        with self._changed:
            self._current = None
            if self._closing.is_set():
                return
        connection.close()
        if self._on_close is not None:
            try:
                self._on_close(connection)
            except Exception:
                log.exception("the close handler failed")
        self._check_heard(connection)

    def _connected(self) -> sync.Connection | None:
        """A connection to the first address that accepts one; `None` once `close` was called."""
        failure: NetworkError | None = None
        for address in self._addresses:
            if self._closing.is_set():
                return None
            ended = self._ended = threading.Event()
            self._heard = False
            try:
                return sync.open_connection(address, on_close=lambda connection: ended.set(), **self._options)  # noqa: B023
            except NetworkError as error:
                failure = error
        assert failure is not None
        raise failure

    def _hearing(self, on_request: sync.RequestHandler | None) -> sync.RequestHandler | None:
        if on_request is None:
            return None

        def hear(connection: sync.Connection, message: Any) -> Any:
            self._heard = True
            return on_request(connection, message)

        return hear

    def _lost(self, connection: sync.Connection) -> None:
        """A request has found that this connection is over: the next request must not use it."""
        with self._changed:
            if self._current is connection:
                self._current = None
                self._ended.set()


def open_connection(*args: Any, timeout: float | None = None, **options: Any) -> Connection:
    """A `Connection` that is open. The arguments are those of `Connection`, and the seconds to wait until it is open.

    Raises:
        RequestTimeout: it was not open after so many seconds, and does not try any longer.
        ConnectFailed: it gave up, after `Backoff.rounds`.
    """
    connection = Connection(*args, **options)
    try:
        connection.wait_open(timeout)
    except BaseException:
        connection.close()
        raise
    return connection
