"""How a client opens a connection."""

from __future__ import annotations

from .. import wire
from .._front.settings import Settings
from .._sockets import DEFAULT_CONNECT_TIMEOUT, peer_address, tune
from ..address import AddressLike, parse_address
from ..keys import Key
from .connecting import connect
from .connection import Connection, ConnectionHandler, RequestHandler

__all__ = ["open_connection"]


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
) -> Connection:
    """Open a connection (API reference: `open-connection!`).

    A secure connection's key is not confirmed here: the server answers nothing to a hello, so a wrong key shows when
    the first request fails with `ConnectionClosed`, which says so.

    Args:
        address: `"host:port"`, `"path/to/socket"`, `("tcp", host, port)` or `("unix", path)`.
        user: the username, at most 255 bytes in UTF-8; `None` (and no key) for an insecure connection.
        key: the user's key, from `passphrase_to_key`.
        on_request: `on_request(connection, message) -> answer`, called in a thread for each request from the server;
            what it raises is sent back as the request's error. Without it, requests are answered with an error.
        on_close: `on_close(connection)`, called in a thread when the connection ends, unless this end closed it.
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
    place = parse_address(address)
    settings = Settings(
        on_request=on_request, on_close=on_close, profile=wire.get_profile(profile), limits=limits, guards=guards
    )
    protocol = settings.client_protocol(user, key)
    sock = connect(place, connect_timeout)
    tune(sock)
    connection = Connection(sock, protocol, peer_address(sock, place), settings)
    connection._opened()  # whatever becomes of it from here on is its end
    connection._sending.send_now()  # the hello
    connection._begin()
    return connection
