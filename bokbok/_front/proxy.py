"""The PROXY protocol, version 2: the header by which a proxy says whose connection it forwards.

What this module knows: the bytes of the header, as described in HAProxy's `proxy-protocol.txt` (section 2.2), and which
addresses are trusted to send it. The header is not authenticated, so it is only read from trusted addresses. Its length
is bounded, and nothing after it is read here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._sockets import tcp_address
from ..address import Address
from ..errors import AddressError

if TYPE_CHECKING:
    import ipaddress

__all__ = ["MOST_MEETING", "Header", "Proxies", "ProxyError"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = struct.Struct(">12sBBH")
_MOST = 2048
"""Bytes after the fixed part. The longest addresses (Unix sockets) take 216; the rest is for what proxies add."""
MOST_MEETING = 256
"""Connections at a time whose header has not come yet. A proxy sends it together with the connection."""

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_UNIX_PATH = 108  # bytes of a path, padded with NULs


class ProxyError(Exception):
    """The bytes that came are not such a header."""


class Proxies:
    """The proxies that are trusted to say whose a connection is.

    Args:
        trusted: addresses and networks, such as `192.0.2.7`, `10.0.0.0/8`; and `unix`, for every connection over a Unix
            socket.

    Raises:
        AddressError: one of them is not an address or a network.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._unix = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for each in trusted:
            if each == "unix":
                self._unix = True
            else:
                import ipaddress  # only here: most servers do not need it, and clients never do

                try:
                    self._networks.append(ipaddress.ip_network(each))
                except ValueError as error:
                    raise AddressError(f"proxy {each!r}: {error}") from None

    def trusts(self, address: Address) -> bool:
        """Whether the header is expected of a connection from there."""
        if address[0] == "unix":
            return self._unix
        if not self._networks:
            return False
        import ipaddress

        try:
            found = ipaddress.ip_address((address[1] or "").partition("%")[0])
        except ValueError:
            return False
        return any(found.version == network.version and found in network for network in self._networks)


class Header:
    """A header that comes in pieces, which it takes until no bytes are missing."""

    def __init__(self) -> None:
        self._data = b""
        self._size = _HEAD.size

    @property
    def missing(self) -> int:
        """How many bytes may be read next; 0 once the header is whole."""
        return self._size - len(self._data)

    def take(self, piece: bytes) -> None:
        """Take what was read, no more bytes than are missing; none of them: nothing follows.

        Raises:
            ProxyError: the bytes are not such a header.
        """
        if not piece:
            raise ProxyError("it ended in the middle of the header")
        self._data += piece
        if len(self._data) != _HEAD.size:
            return
        signature, command, _, length = _HEAD.unpack(self._data)
        if signature != SIGNATURE:
            raise ProxyError("it does not begin as the PROXY protocol, version 2, does; the proxy may speak version 1")
        if command not in (_LOCAL, _PROXY):
            raise ProxyError(f"version and command {command:#04x}; expected 0x20 or 0x21")
        if length > _MOST:
            raise ProxyError(f"{length} bytes of addresses; the limit is {_MOST}")
        self._size += length

    def address(self) -> Address | None:
        """The client's address, once the header is whole; `None` if the proxy connects for itself (a health check).

        Raises:
            ProxyError: it is of another kind than those of the protocol.
        """
        _, command, family, length = _HEAD.unpack_from(self._data)
        rest = self._data[_HEAD.size :]
        if command == _LOCAL:
            return None
        import ipaddress

        if family == _TCP4 and length >= 12:
            return tcp_address(str(ipaddress.IPv4Address(rest[:4])), *struct.unpack_from(">H", rest, 8))
        if family == _TCP6 and length >= 36:
            return tcp_address(str(ipaddress.IPv6Address(rest[:16])), *struct.unpack_from(">H", rest, 32))
        if family == _UNIX and length >= 2 * _UNIX_PATH:
            return ("unix", os.fsdecode(rest[:_UNIX_PATH].rstrip(b"\0")))
        if family == 0:  # unspecified: the proxy does not know
            return None
        raise ProxyError(f"family {family:#04x} with {length} bytes of addresses")
