"""A server's connections: whether there is room for another, and when the server has stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Generic, TypeVar

from .. import wire
from .._sockets import Listener
from ..address import Address, format_address
from ..errors import ConnectionClosed
from .settings import Settings
from .shared import Shared
from .statistics import Statistics

__all__ = ["ACCEPT_PAUSE", "PublicServer", "Roster", "after_you"]

ACCEPT_PAUSE = 0.1
"""Seconds without accepting after it has failed, for instance for want of descriptors, which may be closed
meanwhile."""
_AHEAD_PAUSE, _MOST_AHEAD_PAUSE = 0.001, 0.02
"""Seconds without accepting for each connection that a process has more than another one on the same socket. The
process that wakes up first gets the next connection, and that is often the same one."""


def after_you(ahead: int) -> float:
    """Seconds for which a process does not accept, so that others on the same socket do.

    Args:
        ahead: how many connections more it has than the process with the fewest.
    """
    return min(_AHEAD_PAUSE * ahead, _MOST_AHEAD_PAUSE)


_C = TypeVar("_C")


class Roster(Generic[_C]):
    """The connections of one server.

    Attributes:
        most: how many connections there may be.
        connections: those that are not over, even if only a handler still runs.
        stopping: whether the server was asked to stop.
        retiring: whether it was asked to stop once there are no connections.
        listening: whether clients may still connect.
        coming: connections that were accepted and are not in `connections` yet; the server's own set.
        given_up: whether handlers still ran when their time after a stop was over.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.given_up = False
        self.connections: set[_C] = set()
        self.stopping = False
        self.retiring = False
        self.coming: Collection[Any] = ()
        self.listening = True

    @property
    def full(self) -> bool:
        """Whether there is no room for another connection."""
        return len(self.connections) >= self.most

    @property
    def stopped(self) -> bool:
        """Whether the server was stopped or has retired, and everything has ended."""
        return self.closing and not (self.listening or self.coming or self.connections)

    @property
    def closing(self) -> bool:
        """Whether connections are no longer accepted."""
        return self.stopping or self.retiring

    def stop(self) -> bool:
        """The server is asked to stop. False: it had been asked before."""
        first = not self.stopping
        self.stopping = True
        return first

    def add(self, connection: _C) -> None:
        """A connection was accepted."""
        self.connections.add(connection)

    def remove(self, connection: _C) -> None:
        """This connection is over, and so are its handlers."""
        self.connections.discard(connection)

    def forked(self) -> None:
        """In a forked child, whose copy of the server is over."""
        self.connections.clear()
        self.coming = ()
        self.stopping, self.listening = True, False


class PublicServer:
    """The public attributes of a server that are the same for both front ends."""

    _listener: Listener
    _roster: Roster[Any]
    _settings: Settings
    _shared: Shared

    @property
    def address(self) -> Address:
        """The address that the server is bound to: as asked for, with the port that was chosen."""
        return self._listener.address

    def statistics(self) -> Statistics:
        """What the server does now, and has done: a snapshot."""
        connections = list(self._roster.connections)
        heaviest = max((connection._account.held for connection in connections), default=0)
        return self._shared.statistics(len(connections), heaviest)

    def change_limits(self, limits: wire.Limits) -> None:
        """Apply other limits: those of the whole server hold at once, those of a connection hold for new connections.

        Open connections stay, and running handlers go on, even if the new limits would not allow so many.
        """
        self._settings = dataclasses.replace(self._settings, limits=limits)
        self._roster.most = limits.connections
        self._shared.limit(limits)

    def withdraw(self, users: Collection[str], reason: str) -> int:
        """End the connections of some users, including connections whose hello only claims to be one of them.

        Call it when a key was changed or a user was removed, once `user_to_key` says so. Running requests are not
        answered any more; close handlers run.

        Args:
            users: their names.
            reason: why, for `close_reason` and the log.

        Returns:
            How many connections there were.
        """
        ended = 0
        for connection in list(self._roster.connections):
            visit = connection._life.visit
            if (connection.user in users or (visit is not None and visit.claimed in users)) and not connection.closed:
                connection._withdraw(ConnectionClosed(reason))
                ended += 1
        return ended

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What keeps the server from stopping: a text for each connection that is left."""
        found = []
        for connection in list(self._roster.connections):
            handlers = connection._admission.running + connection._admission.parked
            found.append(f"{connection!r}: {handlers} handler{'s' * (handlers != 1)}")
        return tuple(sorted(found))

    def __repr__(self) -> str:
        kind = type(self)
        state = "stopped" if self._roster.stopping else "retiring" if self._roster.retiring else "running"
        return f"<{kind.__module__.rpartition('.')[0]}.{kind.__name__} {format_address(self.address)}, {state}>"
