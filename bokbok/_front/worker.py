"""Where a server listens: at an address, on sockets that listen already, or as one of a supervisor's workers.

What this module knows: what `start_server` takes for an address. It is small, since every server imports it. The
messages between a worker and its supervisor are in `link`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._sockets import Listener, listen
from ..address import AddressLike, parse_address
from ..wire import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Where", "Worker", "listener_of", "supervised"]


class Worker:
    """What a supervisor has given this process. Pass it to `start_server` as the address.

    Attributes:
        number: which of the processes this is, from 1. A process that replaces another one has the same number.
        limits: the limits of the whole server. `start_server` takes them from here.
        arguments: what `start_processes` was given for its workers.
    """

    def __init__(self, listener: Listener, link: Link, number: int, limits: Limits, arguments: dict[str, Any]) -> None:
        self.number = number
        self.limits = limits
        self.arguments = arguments
        self._listener = listener
        self._link = link

    def __repr__(self) -> str:
        return f"<bokbok.processes.Worker {self.number}>"  # without its arguments, which may contain secrets


Where = AddressLike | Listener | Worker
"""What `start_server` takes for an address."""


def supervised(where: Where, limits: Limits) -> tuple[Link | None, Limits]:
    """A server's supervisor, if it has one, and its limits.

    Raises:
        ValueError: limits were given to a worker's server, which has its supervisor's.
    """
    if not isinstance(where, Worker):
        return None, limits
    if limits is not DEFAULT_LIMITS:
        raise ValueError("limits: those of a worker's server are given to start_processes, since all share them")
    return where._link, where.limits


def listener_of(where: Where, backlog: int, mode: int | None, owner: tuple[int, int] | None) -> Listener:
    """Listen, unless the sockets listen already. The arguments are those of `listen`.

    Raises:
        ConnectFailed, AddressError: as `listen` and `parse_address`.
    """
    if isinstance(where, Worker):
        return where._listener
    return where if isinstance(where, Listener) else listen(parse_address(where), backlog, mode=mode, owner=owner)
