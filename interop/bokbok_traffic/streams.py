"""Opening a stream to an address, in the one way that works for Unix sockets too.

What this module knows: that `connect` on a non-blocking Unix socket fails with EAGAIN while the listener's backlog is
full, and that asyncio takes this for a connection in progress, which it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["fill_backlog", "open_stream"]

_RETRY = 0.01


@contextlib.contextmanager
def _itself(path: str) -> Iterator[str]:
    """Another name for the socket at a path, if it is one and no link to one, whatever becomes of the path."""
    if not hasattr(os, "O_PATH"):  # not Linux: there are no containers beside the runner, either
        yield path
        return
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if stat.S_ISLNK(os.fstat(file).st_mode):
            raise OSError(errno.ELOOP, "a symbolic link instead of a socket", path)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


async def open_stream(
    address: Sequence[Any], *, follow: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `("tcp", host, port)` or `("unix", path)`.

    Args:
        address: where.
        follow: whether a path may be a symbolic link. A puppet in a container must not lead the runner, which has this
            machine's file system before it, to another socket than its own.

    Raises:
        OSError: nothing listens there.
    """
    if address[0] != "unix":
        return await asyncio.open_connection(address[1], address[2])
    if not follow:
        with _itself(address[1]) as path:
            return await open_stream(("unix", path))
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


def fill_backlog(path: str, most: int) -> list[socket.socket]:
    """Connect to a Unix socket whose program accepts nothing, until the system takes no more.

    Args:
        path: of the socket; no symbolic link (see `open_stream`).
        most: at most so many connections.

    Returns:
        Those that the system holds.

    Raises:
        OSError: nothing listens there.
    """
    held: list[socket.socket] = []
    with _itself(path) as name:
        while len(held) < most:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            try:
                sock.connect(name)
            except BlockingIOError:  # full
                sock.close()
                break
            except BaseException:
                for one in (sock, *held):
                    one.close()
                raise
            held.append(sock)
    return held
