"""Which connections are admitted: by source and user, by hellos under way, and by penalties of sources.

What this module knows: numbers, names of sources, and points in time that its callers tell it. `shared` has the clock
and the lock.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..address import Address
from ..wire import Limits

__all__ = ["Gate", "Source", "source_of"]

IPV6_SOURCE = 64
"""Bits of an IPv6 address that name a source. The owner of the network may choose the rest."""
MOST_PENALTIES = 65_536
"""Sources whose refusals are remembered at a time (OpenSSH: `PerSourcePenalties max-sources`). The oldest are forgotten
first: a full table must not keep new sources out."""

_K = TypeVar("_K")

# The limits per source that hold where none are set, for sources that are neither loopback nor Unix.
CONNECTIONS_PER_ADDRESS = 1024
"""A quarter of a server's connections: it takes four sources to fill it, and a network behind one address has room."""
HELLOS_PER_ADDRESS = 64
"""An eighth of the number at which early drop begins. A program that opens all its connections at once has fewer hellos
under way, since it sends each hello at once. One source alone does not start early drop."""
OTHERS = 9
"""One connection in so many is not for a user who has all the others: whose key is known must not keep others out."""
LEAST_HELLOS = 8
"""However little room there is, so many hellos are under way before some are refused for it."""
PENALTY = 5.0
"""Seconds, as in OpenSSH's `PerSourcePenalties authfail:5s`: three refusals within 15 seconds are enough."""


@dataclass(frozen=True)
class Source:
    """Where a connection comes from.

    Attributes:
        name: an IPv4 address, an IPv6 network of 64 bits, or `unix`.
        near: whether it is this machine. Limits per source hold for it only if they were set.
    """

    name: str
    near: bool


def source_of(address: Address) -> Source:
    """The source that the address of a peer counts for."""
    return _UNIX if address[0] == "unix" else _source(address[1] or "")


_UNIX = Source("unix", True)


@functools.lru_cache(maxsize=1024)  # one object for all connections of a source
def _source(host: str) -> Source:
    import ipaddress  # only here: a client does not count sources

    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # not numeric: the peer has gone already, and this is the address that the server listens at
        return Source(host, False)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif not found.is_loopback:
            return Source(str(ipaddress.ip_network((found, IPV6_SOURCE), strict=False)), False)
    return Source(str(found), found.is_loopback)


@dataclass
class _Penalty:
    until: float
    in_force: bool = False


class Gate:
    """Admits connections, one after the other, and counts them until they are over.

    Args:
        limits: those of connections, hellos and penalties. Whether there is room for another connection at all, its
            caller knows.
        draw: returns a random number from 0 up to 1. Only tests give their own.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        self.limits = limits
        self._draw = draw
        self.hellos = 0
        self._here = 0
        self._by_source: Counter[Source] = Counter()
        self._hellos_by_source: Counter[Source] = Counter()
        self._by_user: Counter[str] = Counter()
        self._penalties: dict[Source, _Penalty] = {}  # those with the latest refusal come last

    @property
    def penalised(self) -> int:
        """For how many sources refusals are remembered."""
        return len(self._penalties)

    def arrive(self, source: Source, now: float, *, hello: bool) -> tuple[str, str] | None:
        """A peer connects. `None`: it is admitted, and counted until `leave`; else the limit's name, and the reason.

        Args:
            source: where it comes from.
            now: seconds, on any clock that only goes forward.
            hello: whether a hello has to come: then that counts until `greeted`.
        """
        refusal = self._penalty(source, now) or self._too_many(source)
        if refusal is None and hello:
            refusal = self._too_many_hellos(source)
        if refusal is not None:
            return refusal
        self.count(source, hello=hello)
        return None

    def count(self, source: Source, *, hello: bool) -> None:
        """A connection was admitted, here or by a supervisor. It counts until `leave`, and its hello until
        `greeted`."""
        self._here += 1
        self._by_source[source] += 1
        if hello:
            self.hellos += 1
            self._hellos_by_source[source] += 1

    def _for(self, source: Source, limit: float | None, otherwise: float) -> float | None:
        """A limit per source, for this source; `None` if it does not hold here."""
        if limit is None:
            return None if source.near else otherwise
        return limit

    def _too_many(self, source: Source) -> tuple[str, str] | None:
        most = self._for(source, self.limits.connections_per_address, CONNECTIONS_PER_ADDRESS)
        if most is None or self._by_source[source] < most:
            return None
        return "connections_per_address", f"{most} connections of this source are there already"

    def _too_many_hellos(self, source: Source) -> tuple[str, str] | None:
        limits = self.limits
        most = self._for(source, limits.hellos_per_address, HELLOS_PER_ADDRESS)
        if most is not None and self._hellos_by_source[source] >= most:
            return "hellos_per_address", f"{most} hellos of this source are under way already"
        # Fewer than the limits say where those who have said who they are leave little room: if hellos took all of it,
        # new connections would wait in the backlog until these are too late.
        room = limits.connections - (self._here - self.hellos)
        some = min(limits.hellos, max(room // 8, LEAST_HELLOS))
        full = min(limits.hellos_full, max(room // 2, 2 * LEAST_HELLOS))
        over = self.hellos - some
        if over < 0:
            return None
        # As OpenSSH's MaxStartups START:RATE:FULL: only some are refused, so that a flood does not keep everybody out.
        between = max(1, full - some)
        share = limits.hellos_drop + (100 - limits.hellos_drop) * over / between
        if self.hellos < full and self._draw() * 100 >= share:
            return None
        return "hellos", f"{self.hellos} hellos are under way already, so {min(100, round(share))} % are refused"

    def _penalty(self, source: Source, now: float) -> tuple[str, str] | None:
        penalty = self._penalties.get(source)
        if penalty is None:
            return None
        if now >= penalty.until:
            del self._penalties[source]
            return None
        if not penalty.in_force:
            return None
        return "penalty", f"this source was refused too often; another {penalty.until - now:.0f} s"

    def greeted(self, source: Source) -> None:
        """A hello that was under way has opened or failed."""
        self.hellos -= 1
        _less(self._hellos_by_source, source)

    def enter(self, user: str) -> tuple[str, str] | None:
        """A peer has proved to be this user. `None`: it is counted until `leave`; else the limit's name, and the
        reason."""
        most = self.limits.connections_per_user
        if most is None:
            most = self.limits.connections - self.limits.connections // OTHERS
        if self._by_user[user] >= most:
            return "connections_per_user", f"{most} connections of this user are there already"
        self._by_user[user] += 1
        return None

    def leave(self, source: Source, user: str | None) -> None:
        """A connection is over; `user` is the one that it was counted for."""
        self._here -= 1
        _less(self._by_source, source)
        if user is not None:
            _less(self._by_user, user)

    def penalise(self, source: Source, now: float) -> None:
        """A connection of this source was refused by its own fault.

        Penalties add up. From `penalty_from` seconds on, the penalty is in force until it is over.
        """
        seconds = self._for(source, self.limits.penalty, PENALTY)
        if not seconds:
            return
        penalty = self._penalties.pop(source, None)
        if penalty is None or now >= penalty.until:
            penalty = _Penalty(now)
        # The seconds that are left, not the difference of two times: that may be less than what was added.
        left = min(penalty.until - now + seconds, self.limits.penalty_most)
        penalty.until = now + left
        penalty.in_force |= left >= self.limits.penalty_from
        while len(self._penalties) >= MOST_PENALTIES:
            del self._penalties[next(iter(self._penalties))]
        self._penalties[source] = penalty


def _less(counts: Counter[_K], key: _K) -> None:
    """Count one less. A count of 0 is removed, so that it takes no memory."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
