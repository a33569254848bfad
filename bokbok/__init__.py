"""Talk to bokbok peers: secure, symmetrical s-expression RPC, as CHICKEN Scheme's bokbok egg has it.

The blocking API of `bokbok.sync` is here under its own names; `bokbok.asyncio` has the same names on an event loop.

    from bokbok import open_connection, passphrase_to_key

    with open_connection("localhost:8000", "myuser", passphrase_to_key("mypassphrase")) as connection:
        print(connection.request(["ping", "12345"]))  # ['pong', '12345']

Bytes that the egg's documentation does not state are inferred: docs/protocol.md says which.
"""

from .address import format_address, parse_address
from .errors import (
    AddressError,
    BokbokError,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    IncompleteError,
    KeyFileError,
    LocalProtocolError,
    NetworkError,
    Overloaded,
    ProfileError,
    ProtocolError,
    ReadError,
    RemoteError,
    RemoteProtocolError,
    RequestTimeout,
    SexprError,
    UnreadableAnswer,
    WriteError,
)
from .keys import Key, read_key_file, read_passphrase_file, write_key_file
from .sexpr import EOF, Char, Dotted, Keyword, Symbol
from .sync import Connection, Server, open_connection, start_server
from .wire import INFERRED_1, Guards, Limits, Profile, get_profile, passphrase_to_key

__version__ = "0.1.0"

__all__ = [
    "EOF",
    "INFERRED_1",
    "AddressError",
    "BokbokError",
    "Char",
    "ConnectFailed",
    "ConnectTimeout",
    "Connection",
    "ConnectionClosed",
    "Dotted",
    "Guards",
    "IncompleteError",
    "Key",
    "KeyFileError",
    "Keyword",
    "Limits",
    "LocalProtocolError",
    "NetworkError",
    "Overloaded",
    "Profile",
    "ProfileError",
    "ProtocolError",
    "ReadError",
    "RemoteError",
    "RemoteProtocolError",
    "RequestTimeout",
    "Server",
    "SexprError",
    "Symbol",
    "UnreadableAnswer",
    "WriteError",
    "__version__",
    "format_address",
    "get_profile",
    "open_connection",
    "parse_address",
    "passphrase_to_key",
    "read_key_file",
    "read_passphrase_file",
    "start_server",
    "write_key_file",
]
