"""Addresses: the forms of the API reference.

What this module knows: how an address is spelt. Sockets and name resolution are in `_sockets`.

Where its facts come from: the four forms, `"HOSTNAME:PORT"`, `(tcp HOSTNAME PORT)`, `"PATH/TO/SOCKET"` and
`(unix "PATH/TO/SOCKET")`, and `#f` for "all available addresses" are *stated* (API reference). Which string is
which form (digits after the last colon and no slash: TCP), `[::1]:80` and `:80` are choices of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Literal

from .errors import AddressError

__all__ = ["Address", "AddressLike", "TcpAddress", "UnixAddress", "format_address", "parse_address"]

TcpAddress = tuple[Literal["tcp"], str | None, int]
UnixAddress = tuple[Literal["unix"], str]
Address = TcpAddress | UnixAddress
"""The canonical form: `("tcp", host, port)`, host `None` for all addresses, or `("unix", path)`."""
AddressLike = str | os.PathLike[str] | Address | Sequence[Any]
"""Everything that `parse_address` takes."""

_HOST_PORT = re.compile(r"(?P<host>[^/]*):(?P<port>[0-9]+)\Z", re.ASCII | re.DOTALL)


def parse_address(address: AddressLike) -> Address:
    """Bring an address into its canonical form. Its strings are plain ones, also where symbols were given.

    Args:
        address: `"host:port"`, `"[ipv6]:port"` or `":port"` (all addresses, or this machine when connecting);
            any other string is the path of a Unix socket, as is any path object; or a sequence
            `("tcp", host, port)`, host `None` for all addresses, or `("unix", path)`, whose first item may
            also be a symbol, as it is in an address that was read from Scheme.

    Raises:
        AddressError: it is none of these; the message says what is wrong with it.
    """
    if isinstance(address, str):
        address = str(address)
        match = _HOST_PORT.match(address)
        if match is None:
            return _unix(address, address)
        host = match["host"]
        if host.startswith("[") and host.endswith("]"):
            return ("tcp", _host(host[1:-1], address), _port_digits(match["port"], address))
        if ":" in host:
            raise AddressError(f"address {address!r}: expected an IPv6 address in brackets: '[::1]:{match['port']}'")
        return ("tcp", _host(host, address) if host else None, _port_digits(match["port"], address))
    if isinstance(address, os.PathLike):
        return _unix(os.fspath(address), address)
    if isinstance(address, Sequence) and not isinstance(address, (bytes, bytearray)):
        items: list[Any] = list(address)
        kind = _kind(items[0]) if items else None
        if kind == "tcp" and len(items) == 3:
            host, port = items[1], items[2]
            if host is None or host is False:  # `#f`, as read from Scheme
                return ("tcp", None, _port(port, address))
            return ("tcp", _host(host, address), _port(port, address))
        if kind == "unix" and len(items) == 2:
            return _unix(items[1], address)
    raise AddressError(f"address {address!r}: expected 'HOST:PORT', 'PATH', ('tcp', HOST, PORT) or ('unix', PATH)")


def format_address(address: AddressLike) -> str:
    """The one-line form of an address, which `parse_address` reads back as the same.

    Raises:
        AddressError: as `parse_address`.
    """
    canonical = parse_address(address)
    if canonical[0] == "unix":
        path = canonical[1]
        return f"./{path}" if _HOST_PORT.match(path) else path
    _, host, port = canonical
    if host is None:
        return f":{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _kind(first: Any) -> Any:
    """What the first item of an address says: a string, or a symbol of sexpdata's, which has its name in `value()`."""
    value = getattr(first, "value", None)
    return value() if callable(value) else first


def _host(host: Any, address: AddressLike) -> str:
    if not isinstance(host, str) or not host:
        raise AddressError(f"address {address!r}: expected a string as the host: a name or a numeric address")
    if any(c.isspace() or c in "/[]\0" for c in host):
        raise AddressError(f"address {address!r}: {host!r} is not a host name or a numeric address")
    return str(host)


def _port_digits(digits: str, address: AddressLike) -> int:
    digits = digits.lstrip("0") or "0"
    # Python refuses to make a number of thousands of digits, with an error of its own.
    return _port(int(digits[:6]), address)


def _port(port: Any, address: AddressLike) -> int:
    if isinstance(port, bool) or not isinstance(port, int):
        raise AddressError(f"address {address!r}: expected an integer as the port")
    if not 0 <= port <= 65535:
        raise AddressError(f"address {address!r}: expected a port from 0 to 65535")
    return port


def _unix(path: Any, address: AddressLike) -> UnixAddress:
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str) or not path:
        raise AddressError(f"address {address!r}: expected a path that is not empty, as a string")
    if "\0" in path:
        raise AddressError(f"address {address!r}: a path cannot hold a NUL character")
    return ("unix", str(path))
