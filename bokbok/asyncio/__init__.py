"""bokbok on asyncio: the same names as in `bokbok.sync`, in the same shape.

    from bokbok.asyncio import open_connection, passphrase_to_key

    async with open_connection("localhost:8000", "myuser", passphrase_to_key("mypassphrase")) as connection:
        print(await connection.request(["ping", "12345"]))

What this package knows: event loops, transports and tasks. Bytes are in `bokbok.wire`, threads in `bokbok.sync`.
"""

from ..keys import Key
from ..wire import Guards, Limits, passphrase_to_key
from .connection import Connection, ConnectionHandler, KeyLookup, RequestHandler
from .opening import open_connection
from .server import Server, start_server

__all__ = [
    "Connection",
    "ConnectionHandler",
    "Guards",
    "Key",
    "KeyLookup",
    "Limits",
    "RequestHandler",
    "Server",
    "open_connection",
    "passphrase_to_key",
    "start_server",
]
