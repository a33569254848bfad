"""How a client opens a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, cast

from .. import wire
from .._front import texts
from .._front.settings import Settings
from .._sockets import DEFAULT_CONNECT_TIMEOUT, seconds
from ..address import Address, AddressLike, parse_address
from ..keys import Key
from .connecting import connect
from .connection import Connection, ConnectionHandler, RequestHandler
from .receiving import StreamProtocol

__all__ = ["open_connection", "reach"]


class _Opening:
    """What `open_connection` returns: to be awaited, or entered with `async with`."""

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return cast("Generator[Any, None, Connection]", self._open().__await__())

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        assert self._connection is not None
        await self._connection.close()


def open_connection(
    address: AddressLike,
    user: str | None = None,
    key: Key | None = None,
    on_request: RequestHandler | None = None,
    on_close: ConnectionHandler | None = None,
    *,
    connect_timeout: float | None = DEFAULT_CONNECT_TIMEOUT,
    profile: wire.ProfileLike = None,
    limits: wire.Limits = wire.DEFAULT_LIMITS,
    guards: wire.Guards = wire.DEFAULT_GUARDS,
) -> _Opening:
    """Open a connection (API reference: `open-connection!`): `await` it, or enter it with `async with`.

    A secure connection's key is not confirmed here: the server answers nothing to a hello, so a wrong key shows when
    the first request fails with `ConnectionClosed`, which says so.

    Args:
        address: `"host:port"`, `"path/to/socket"`, `("tcp", host, port)` or `("unix", path)`.
        user: the username, at most 255 bytes in UTF-8; `None` (and no key) for an insecure connection.
        key: the user's key, from `passphrase_to_key`.
        on_request: `on_request(connection, message) -> answer`, for each request from the server: a coroutine
            function, or a plain one. What it raises is sent back as the request's error. Without it, requests are
            answered with an error.
        on_close: `on_close(connection)`, when the connection ends, unless this end closed it.
        connect_timeout: seconds to connect; `None` for as long as the system takes.
        profile: the wire format, or its name; the default is `inferred-1`.
        limits: what the other end may ask of this one at most.
        guards: what is refused although it is well formed.

    Raises:
        ConnectFailed: refused, unknown host, no such socket, …
        ConnectTimeout: (a `ConnectFailed` and a `TimeoutError`) it took too long.
        AddressError: `address` is in none of the forms.
        ValueError: `user` without `key` or the other way round, or a username that is too long.
        TypeError: an argument is of another type than it should be; the text says which.
    """

    async def open_() -> Connection:
        place, limit = parse_address(address), seconds(connect_timeout, "connect_timeout")
        settings = Settings(
            on_request=on_request, on_close=on_close, profile=wire.get_profile(profile), limits=limits, guards=guards
        )
        connection = Connection(settings.client_protocol(user, key), settings)
        await reach(connection, place, limit)
        return connection

    return _Opening(open_)


async def reach(connection: Connection, place: Address, limit: float | None) -> None:
    """Connect a client's connection, which has no transport yet.

    Args:
        connection: made for this.
        place: where the server listens.
        limit: seconds that it may take; `None` for as long as the system takes.

    Raises:
        ConnectFailed: no connection came about.
        ConnectTimeout: it took too long.
    """
    try:
        sock = await asyncio.wait_for(connect(place), limit)
    except (asyncio.TimeoutError, TimeoutError):
        raise texts.no_connection(place, limit) from None
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(lambda: StreamProtocol(connection, place), sock=sock)
    except BaseException:
        connection._life.ask_to_close()  # no caller has it, so its close handler does not run
        sock.close()
        raise
