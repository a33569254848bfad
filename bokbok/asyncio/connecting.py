"""How a connected, non-blocking socket is made: the look-up of the name, and attempts side by side."""

from __future__ import annotations

import asyncio
import errno
import socket

from .._front.race import Candidate, Race
from .._sockets import BACKLOG_RETRY, connect_candidates, connect_failed, is_numeric
from ..address import Address
from ..errors import ConnectFailed

__all__ = ["connect"]


async def connect(place: Address) -> socket.socket:
    """Connect to a server. The caller limits the time.

    Raises:
        ConnectFailed: no connection came about.
    """
    if place[0] == "unix" or is_numeric(place[1]):
        candidates = connect_candidates(place)
    else:  # in a thread: resolving a name blocks
        candidates = await asyncio.get_running_loop().run_in_executor(None, connect_candidates, place)
    race = Race(candidates)
    if len(candidates) == 1:
        try:
            return await _attempt(candidates[0])
        except OSError as error:
            raise connect_failed(place, error) from None
    return await _first(place, race)


async def _first(place: Address, race: Race) -> socket.socket:
    """The first of several sockets that gets through; the others are closed."""
    loop = asyncio.get_running_loop()
    trying: set[asyncio.Task[socket.socket]] = set()
    failure: ConnectFailed | None = None
    winner: socket.socket | None = None
    try:
        while True:
            if (candidate := race.start(loop.time())) is not None:
                trying.add(loop.create_task(_attempt(candidate)))
            elif not trying:
                assert failure is not None  # there was at least one candidate
                raise failure
            done, _ = await asyncio.wait(trying, timeout=race.wait(loop.time()), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    winner = task.result()
                    return winner
                trying.discard(task)
                if not isinstance(error, OSError):
                    raise error
                failure = connect_failed(place, error)
                race.failed()
    finally:
        for task in trying:
            task.cancel()
        for ended in await asyncio.gather(*trying, return_exceptions=True):
            if isinstance(ended, socket.socket) and ended is not winner:
                ended.close()


async def _attempt(candidate: Candidate) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, target = candidate
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                if family == socket.AF_UNIX:
                    sock.connect(target)  # at once, or not at all
                else:
                    await loop.sock_connect(sock, target)
            except OSError as error:
                # A Unix socket whose backlog is full says EAGAIN, at once, where TCP would make us wait.
                if error.errno != errno.EAGAIN or family != socket.AF_UNIX:
                    raise
                await asyncio.sleep(BACKLOG_RETRY)
            else:
                return sock
    except BaseException:
        sock.close()
        raise
