"""What a transport calls, and where the bytes go that it reads."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, cast

from .._front.reads import LITTLE, READ
from .._sockets import peer_address, tune
from ..address import Address

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["StreamProtocol"]


class StreamProtocol(asyncio.BufferedProtocol):
    """What a transport calls; keeps those names out of the public class.

    Args:
        connection: what it belongs to.
        address: that of the other end; or, where it is not `known`, the one that was asked for.
        known: whether it is: a proxy may have told it.
    """

    __slots__ = ("_address", "_buffer", "_connection", "_known", "_little", "_whole")

    def __init__(self, connection: Connection, address: Address, *, known: bool = False) -> None:
        self._connection = connection
        self._address = address
        self._known = known
        # One for all: what is in it is copied before another connection of this event loop reads.
        self._whole, self._little = _buffers_of_this_thread()
        self._buffer = self._little

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        sock: socket.socket = transport.get_extra_info("socket")
        tune(sock)
        address = self._address if self._known else peer_address(sock, self._address)
        self._connection._made(cast(asyncio.Transport, transport), address)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        if self._buffer is self._whole and self._connection._life.holds_too_much:  # by now: others have read meanwhile
            self._buffer = self._little
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        data = self._buffer[:nbytes].tobytes()
        self._buffer = self._little if nbytes < LITTLE else self._whole
        try:
            self._connection._received(data)
        except Exception as error:
            self._connection._handling.fail(error)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. True keeps the other direction open: answers may still be sent."""
        self._connection._received_eof()
        return not self._connection._life.ended

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._connection._sending.pause()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._connection._sending.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._connection._lost(exc)


_buffers = threading.local()


def _buffers_of_this_thread() -> tuple[memoryview, memoryview]:
    """The buffer that reading goes to, and its beginning. A fresh one of this size costs a mapping and a page fault."""
    buffers: tuple[memoryview, memoryview] | None = getattr(_buffers, "both", None)
    if buffers is None:
        whole = memoryview(bytearray(READ))
        buffers = _buffers.both = whole, whole[:LITTLE]
    return buffers
