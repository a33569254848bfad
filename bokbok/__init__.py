"""Talk to bokbok peers: secure, symmetrical s-expression RPC, as CHICKEN Scheme's bokbok egg has it.

The blocking API of `bokbok.sync` is here under its own names; `bokbok.asyncio` has the same names on an event loop.

    from bokbok import open_connection, passphrase_to_key

    with open_connection("localhost:8000", "myuser", passphrase_to_key("mypassphrase")) as connection:
        print(connection.request(["ping", "12345"]))  # ['pong', '12345']

Bytes that the egg's documentation does not state are inferred: docs/protocol.md says which.
"""

from __future__ import annotations

TYPE_CHECKING = False  # for type checkers it is true; `typing` itself would be a third of what is imported here
if TYPE_CHECKING:
    from typing import Any

    from ._front.statistics import Statistics
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
    "Statistics",
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

# Each name is imported when it is first asked for: a program that uses asyncio does not pay for threads, and one that
# makes a key does not pay for the protocol.
_WHERE = {
    "_front.statistics": ("Statistics",),
    "address": ("format_address", "parse_address"),
    "errors": (
        "AddressError", "BokbokError", "ConnectFailed", "ConnectTimeout", "ConnectionClosed", "IncompleteError",
        "KeyFileError", "LocalProtocolError", "NetworkError", "Overloaded", "ProfileError", "ProtocolError",
        "ReadError", "RemoteError", "RemoteProtocolError", "RequestTimeout", "SexprError", "UnreadableAnswer",
        "WriteError",
    ),
    "keys": ("Key", "read_key_file", "read_passphrase_file", "write_key_file"),
    "sexpr": ("EOF", "Char", "Dotted", "Keyword", "Symbol"),
    "sync": ("Connection", "Server", "open_connection", "start_server"),
    "wire": ("INFERRED_1", "Guards", "Limits", "Profile", "get_profile", "passphrase_to_key"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        import importlib

        return importlib.import_module(f".{name}", __name__)
    from ._later import found

    return found(__name__, name, _WHERE)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
