"""Opening a stream to an address, in the one way that works for Unix sockets too.

What this module knows: that `connect` on a non-blocking Unix socket fails with EAGAIN while the listener's backlog is
full, and that asyncio takes this for a connection in progress, which it is not. What it refuses to know: what is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

__all__ = ["open_stream"]

_RETRY = 0.01


async def open_stream(address: Sequence[Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `("tcp", host, port)` or `("unix", path)`.

    Raises:
        OSError: nothing listens there.
    """
    if address[0] != "unix":
        return await asyncio.open_connection(address[1], address[2])
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(address[1])
                break
            except BlockingIOError:  # the backlog is full: there is nothing to wait for but time
                await asyncio.sleep(_RETRY)
        return await asyncio.open_unix_connection(sock=sock)
    except BaseException:
        sock.close()
        raise
