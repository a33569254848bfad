"""The connection that is opened again, on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import tenacity

from .. import asyncio as front
from ..errors import ConnectionClosed, NetworkError, RemoteError
from ..keys import Key
from ._backoff import Addresses, Backoff
from ._kept import Kept, left, log

__all__ = ["Connection", "open_connection"]

Handler = Callable[[front.Connection], Awaitable[object]]
RequestHandler = Callable[[front.Connection, Any], Awaitable[Any]]


class Connection(Kept[front.Connection]):
    """A client's connection that is opened again whenever it has ended, until `close`.

    It connects in a task of its own. That begins with `async with`, or the first `request` or `wait_open`, and goes on
    even without requests, since the server may send some.

    Args:
        addresses: one address, or several that are tried in turn, each as `bokbok.asyncio.open_connection` takes it.
        user, key, on_request: as of `bokbok.asyncio.open_connection`.
        on_open: `await on_open(connection)`, called with each new `bokbok.asyncio.Connection`. Until it returns, only
            the handler's own requests are sent. If it raises, that connection is closed and the next one is tried.
        on_close: `await on_close(connection)`, called when a connection has ended, unless `close` ended it.
        backoff: how long to wait in between.
        options: of `bokbok.asyncio.open_connection`.

    Raises:
        AddressError, ValueError: an argument is wrong; nothing was connected.
    """

    def __init__(
        self,
        addresses: Addresses,
        user: str | None = None,
        key: Key | None = None,
        on_request: RequestHandler | None = None,
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
        self._changed = asyncio.Condition()
        self._ended = asyncio.Event()
        self._closing = False
        self._keeper: asyncio.Task[None] | None = None

    async def request(self, message: Any, *, timeout: float | None = None, repeat: bool = False) -> Any:
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
            RequestTimeout, RemoteError, WriteError: see `bokbok.asyncio.Connection.request`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            connection = await self.wait_open(left(deadline))
            try:
                answer = await connection.request(message, timeout=left(deadline))
            except ConnectionClosed:
                if self._current is connection:
                    self._current = None
                    self._ended.set()
                if not repeat or self._closing:
                    raise
            except RemoteError:
                self._heard = True
                raise
            else:
                self._heard = True
                return answer

    async def wait_open(self, timeout: float | None = None) -> front.Connection:
        """Wait until there is a connection.

        Returns:
            That connection. The next one is another object.

        Raises:
            RequestTimeout: there is none after so many seconds.
            ConnectionClosed: `close` was called.
            ConnectFailed: it gave up.
        """
        self._start()
        try:
            await asyncio.wait_for(self._open(), timeout)
        except asyncio.TimeoutError:
            raise self._late(timeout) from None
        return self._found(self._closing)

    async def close(self) -> None:
        """Close the connection for good. Requests that wait fail; the close handler does not run."""
        self._closing = True
        connection, self._current = self._current, None
        await self._notify()
        keeper = self._keeper
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Connection:
        self._start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _start(self) -> None:
        if self._keeper is None and not self._closing:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _open(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._current or self._error or self._closing)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _keep(self) -> None:
        # Before Python 3.12 `wait_for` may swallow a cancellation if what it waited for has just finished, so `close`
        # must not depend on it.
        settings = self._backoff.retrying()
        given_up = settings["stop"]
        settings["stop"] = lambda state: self._closing or given_up(state)
        retrying = tenacity.AsyncRetrying(**settings, sleep=asyncio.sleep, before_sleep=self._tell)
        try:
            while not self._closing:
                await retrying(self._session)
                await asyncio.sleep(self._backoff.pause())
        except Exception as error:  # whatever the error is, those who wait must learn of it
            if self._closing:
                return
            log.warning("given up: %s", error)
            self._error = error
            await self._notify()

    async def _session(self) -> None:
        """One connection, from its beginning to its end; raises if it failed."""
        connection = await self._connected()
        try:
            if self._closing:
                return
            try:
                if self._on_open is not None:
                    await self._on_open(connection)
            except Exception as error:
                raise self._not_opened(error) from error
            self._current = connection
            await self._notify()
            await self._ended.wait()
            self._current = None
        finally:
            await connection.close()
        if self._on_close is not None:
            try:
                await self._on_close(connection)
            except Exception:
                log.exception("the close handler failed")
        self._check_heard(connection)

    async def _connected(self) -> front.Connection:
        """A connection to the first address that accepts one."""
        failure: NetworkError | None = None
        for address in self._addresses:
            ended = self._ended = asyncio.Event()
            self._heard = False

            async def over(connection: front.Connection, ended: asyncio.Event = ended) -> None:
                ended.set()

            try:
                return await front.open_connection(address, on_close=over, **self._options)
            except NetworkError as error:
                failure = error
                if self._closing:
                    break
        assert failure is not None
        raise failure

    def _hearing(self, on_request: RequestHandler | None) -> RequestHandler | None:
        if on_request is None:
            return None

        async def hear(connection: front.Connection, message: Any) -> Any:
            self._heard = True
            return await on_request(connection, message)

        return hear


async def open_connection(*args: Any, timeout: float | None = None, **options: Any) -> Connection:
    """A `Connection` that is open. The arguments are those of `Connection`, and the seconds to wait until it is open.

    Raises:
        RequestTimeout: it was not open after so many seconds, and does not try any longer.
        ConnectFailed: it gave up, after `Backoff.rounds`.
    """
    connection = Connection(*args, **options)
    try:
        await connection.wait_open(timeout)
    except BaseException:
        await connection.close()
        raise
    return connection
