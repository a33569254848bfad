"""bokbok on threads and blocking sockets, in the shape of the egg's own API.

    from bokbok.sync import open_connection, passphrase_to_key

    with open_connection("localhost:8000", "myuser", passphrase_to_key("mypassphrase")) as connection:
        print(connection.request(["ping", "12345"]))

What this package knows: sockets and threads. Bytes are in `bokbok.wire`, tasks in `bokbok.asyncio`, which has the same
names in the same shape.
"""

from typing import TYPE_CHECKING

from .._later import lazily
from ..keys import Key
from ..wire import Guards, Limits, passphrase_to_key
from .connection import Connection, ConnectionHandler, RequestHandler
from .opening import open_connection

if TYPE_CHECKING:
    from .server import Server, start_server

__all__ = [
    "Connection",
    "ConnectionHandler",
    "Guards",
    "Key",
    "Limits",
    "RequestHandler",
    "Server",
    "open_connection",
    "passphrase_to_key",
    "start_server",
]

_WHERE = {"server": ["Server", "start_server"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE)
