"""Opens a stream to an address, in a way that also works for Unix sockets, and says where a name lets one listen.

What this module knows: `connect` on a non-blocking Unix socket fails with EAGAIN while the listener's backlog is full,
and asyncio wrongly takes this for a connection in progress. And asyncio refuses to listen at a name if this machine
lacks one of its addresses.
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

__all__ = ["fill_backlog", "hosts_here", "open_stream"]

_RETRY = 0.01
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@contextlib.contextmanager
def _itself(path: str) -> Iterator[str]:
    """Another name for the socket at a path, if it is a socket and not a link, whatever happens to the path later."""
    if not hasattr(os, "O_PATH"):  # not Linux: then the runner does not have containers, either
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
        follow: whether a path may be a symbolic link. A puppet in a container must not lead the runner, which sees this
            machine's file system, to another socket than the puppet's own.

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
            except BlockingIOError:  # the backlog is full: all one can do is wait a moment
                await asyncio.sleep(_RETRY)
        return await asyncio.open_unix_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def fill_backlog(path: str, most: int) -> list[socket.socket]:
    """Connect to a Unix socket whose program does not accept, until the system does not take any more.

    Args:
        path: the socket's path, which must not be a symbolic link (see `open_stream`).
        most: the most connections to make.

    Returns:
        The connections that the system holds.

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


async def hosts_here(host: str | None) -> list[str] | str | None:
    """What to give to `asyncio.start_server` for a host name.

    Often "localhost" also means `::1` where IPv6 is off, for instance in containers: such an address is left out.

    Returns:
        The addresses of the name that this machine has; the name itself if it has none of them.
    """
    if host is None:
        return None
    found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [str(place[0]) for family, _, _, _, place in found if _is_here(family, place)] or host


def _is_here(family: int, place: tuple[Any, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind(place)
    except OSError as error:
        return error.errno not in _ABSENT
    return True
