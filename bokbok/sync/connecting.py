"""How a connected, blocking socket is made, within a time limit: for the look-up of the name and every attempt."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from .._front import texts
from .._front.race import Candidate, Race
from .._sockets import BACKLOG_RETRY, connect_candidates, connect_failed, is_numeric, seconds
from ..address import Address
from ..errors import ConnectFailed
from .threads import run_in_thread

__all__ = ["connect"]


def connect(place: Address, timeout: float | None) -> socket.socket:
    """Connect to a server.

    Args:
        place: where it listens.
        timeout: seconds that it may take; `None` for as long as the system takes.

    Raises:
        ConnectFailed: no connection came about.
        ConnectTimeout: in time.
    """
    limit = seconds(timeout, "connect_timeout")
    deadline = None if limit is None else time.monotonic() + limit
    try:
        candidates = _look_up(place, deadline)
        sock = (
            _connect_unix(place, candidates[0], deadline) if place[0] == "unix" else _race(place, candidates, deadline)
        )
    except _TooLate:
        raise texts.no_connection(place, timeout) from None
    sock.settimeout(None)
    return sock


class _TooLate(Exception):
    """The time is over."""


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise _TooLate
    return remaining


def _look_up(place: Address, deadline: float | None) -> list[Candidate]:
    """The addresses of a name. The system's look-up takes no time limit, so it has a thread of its own."""
    if deadline is None or place[0] == "unix" or is_numeric(place[1]):
        return connect_candidates(place)
    import queue  # only here: an address in numbers needs none

    found: queue.SimpleQueue[Callable[[], list[Candidate]]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            candidates = connect_candidates(place)
        except BaseException as error:
            found.put(_raising(error))
        else:
            found.put(lambda: candidates)

    try:
        run_in_thread(look_up)
    except RuntimeError:  # no more threads: then without a limit
        return connect_candidates(place)
    try:
        return found.get(timeout=_remaining(deadline))()
    except queue.Empty:
        raise _TooLate from None


def _raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def _connect_unix(place: Address, candidate: Candidate, deadline: float | None) -> socket.socket:
    family, target = candidate
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        while True:
            sock.settimeout(_remaining(deadline))
            try:
                sock.connect(target)
            except OSError as error:
                # A Unix socket whose backlog is full says EAGAIN, at once, where TCP would make us wait.
                if error.errno != errno.EAGAIN:
                    raise
                time.sleep(BACKLOG_RETRY)
            else:
                return sock
    except OSError as error:
        sock.close()
        raise connect_failed(place, error) from None
    except BaseException:
        sock.close()
        raise


def _race(place: Address, candidates: list[Candidate], deadline: float | None) -> socket.socket:
    """The first of several sockets that gets through; the others are closed."""
    race = Race(candidates)
    poll = select.poll()
    trying: dict[int, socket.socket] = {}
    failure: ConnectFailed | None = None

    def give_up(error: OSError) -> None:
        nonlocal failure
        failure = connect_failed(place, error)
        race.failed()

    try:
        while True:
            while (candidate := race.start(time.monotonic())) is not None:
                try:
                    sock = socket.socket(candidate[0], socket.SOCK_STREAM)
                except OSError as error:  # a family that the system does not have
                    give_up(error)
                    continue
                trying[sock.fileno()] = sock
                sock.setblocking(False)
                try:
                    sock.connect(candidate[1])
                except BlockingIOError:
                    poll.register(sock, select.POLLOUT)
                except OSError as error:
                    del trying[sock.fileno()]
                    sock.close()
                    give_up(error)
                else:
                    return trying.pop(sock.fileno())
            if not trying and race.wait(0) is None:
                assert failure is not None  # there was at least one candidate
                raise failure
            waits = [wait for wait in (race.wait(time.monotonic()), _remaining(deadline)) if wait is not None]
            for descriptor, _ in poll.poll(min(waits) * 1000 if waits else None):
                sock = trying.pop(descriptor)
                poll.unregister(sock)
                problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not problem:
                    return sock
                sock.close()
                give_up(OSError(problem, ""))
    finally:
        for sock in trying.values():
            sock.close()
