"""What all hostile cases share: good connections to the attacked peer, which are served before, during and after."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from ...model import Failure
from ...play import PASSPHRASE, PATIENCE, USER, Conn, NetworkFailed, Play, Served, Side, readable, same, show
from ...raw import BadServer, Raw, attack, good_server
from ..base import cases

at_server = cases("guards.survives", opponent="client")
"""A case in which the runner is a bad client, at the peer's server."""
at_client = cases("guards.survives", opponent="server")
"""A case in which the runner is a bad server, at the peer's client."""


@contextlib.asynccontextmanager
async def attacked_server(t: Play, users: Any = None) -> AsyncIterator[Served]:
    """Attack a server. A neighbour that was there before, and a new one afterwards, are served as usual."""
    table = users or {USER: PASSPHRASE}
    served = await t.server.listen(users=table if t.secure else None)
    neighbour = await attack(t, served)
    await is_served(neighbour, "before")
    yield served
    await is_served(neighbour, "the neighbour, after the attack")
    late = await attack(t, served)
    await is_served(late, "a new neighbour, after the attack")


async def is_served(neighbour: Raw, what: str) -> None:
    """Check that a connection of ours is served like any good one."""
    try:
        value = await neighbour.request(["echo", what])
    except Failure as failure:
        raise Failure(
            f"a good neighbour is not served ({what}): {failure.problem}",
            expected=f'(response N "{what}")',
            actual=failure.actual or "nothing",
        ) from None
    if not same(value, what):
        raise Failure("a good neighbour got a wrong answer", expected=what, actual=show(value))


async def count_runs(t: Play, served: Served, name: str) -> int:
    """How often a handler counted under this name."""
    probe = await attack(t, served)
    value = await probe.request(["count", name])
    if not isinstance(value, int):
        raise Failure("a counter that is not a number", actual=show(value))
    return value - 1


@contextlib.asynccontextmanager
async def attacked_client(t: Play) -> AsyncIterator[BadServer]:
    """Attack a client by bad servers. Its connection to a good server, and a new one afterwards, work as usual."""
    good = await good_server(t)
    before = await t.client.connect(good.address)
    await before.echo("before")
    yield await BadServer(t).start()
    await before.echo("the good server, after the attack")
    after = await t.client.connect(good.address)
    await after.echo("the good server, connected to after the attack")


async def opened_by(t: Play, served: Served, bad: Raw) -> Conn:
    """The server's end of the last connection."""
    await is_served(bad, "so that the open handler has run")
    await t.server.settle()
    return served.connections[-1]


class Victim(abc.ABC):
    """The attacked peer, at whichever end of the connection it is."""

    def __init__(self, t: Play) -> None:
        self.t = t
        self.side: Side = t.sides[0]

    @abc.abstractmethod
    async def meet(self) -> tuple[Conn, Raw]:
        """A new connection after a good beginning: the victim's end, and the runner's."""

    async def waits(self) -> tuple[Conn, Raw, asyncio.Future[Any], int]:
        """As `meet`, with a request of the victim that waits for its answer: the two ends, the request, and its ID."""
        conn, bad = await self.meet()
        asked = self.t.spawn(conn.request(["echo", "waiting"]))
        return conn, bad, asked, await self.asks(bad)

    async def asks(self, bad: Raw) -> int:
        """The ID of the request that the victim sends now."""
        kind, number, _ = await bad.hear()
        self.t.check(kind == "request", f"the {self.side.role}'s request", actual=kind)
        return number

    async def count_runs(self, name: str) -> int:
        """How often the victim's handler counted under this name."""
        _, probe = await self.meet()
        value = await probe.request(["count", name])
        if not isinstance(value, int):
            raise Failure("a counter that is not a number", actual=show(value))
        return value - 1

    async def ends(self, conn: Conn, bad: Raw, asked: asyncio.Future[Any] | None, what: str) -> list[bytes]:
        """Check that the connection is over on both sides: requests that waited fail, the close handler runs once.

        Returns:
            What the victim still sent.
        """
        if asked is not None:
            failing = self.t.within(PATIENCE, asked, f"the failure of the {self.side.role}'s request ({what})")
            await self.t.fails(failing, NetworkFailed, why=f"a request that waits: {what}")
        rest = await bad.must_end(f"{what} did not end the connection")
        await conn.closed()
        await self.side.settle()
        self.t.check(
            conn.closings == 1, f"how often the close handler ran: {what}", expected="1", actual=str(conn.closings)
        )
        return rest


class _Server(Victim):
    def __init__(self, t: Play, served: Served) -> None:
        super().__init__(t)
        self.served = served

    async def meet(self) -> tuple[Conn, Raw]:
        bad = await attack(self.t, self.served)
        return await opened_by(self.t, self.served, bad), bad


class _Client(Victim):
    def __init__(self, t: Play, server: BadServer) -> None:
        super().__init__(t)
        self.server = server

    async def meet(self) -> tuple[Conn, Raw]:
        conn, bad = await self.server.connected()
        await is_served(bad, "good so far")
        return conn, bad


def at_the_server(t: Play, served: Served) -> Victim:
    """The victim at this server, without neighbours, for a case that stops the server."""
    return _Server(t, served)


@contextlib.asynccontextmanager
async def attacked(t: Play) -> AsyncIterator[Victim]:
    """The side that is attacked in this cell, the server or the client, with its neighbours."""
    if t.sides[0].role == "server":
        async with attacked_server(t) as served:
            yield _Server(t, served)
    else:
        async with attacked_client(t) as server:
            yield _Client(t, server)


Attack = tuple[str, Callable[[Raw, int], Awaitable[Any]]]
"""A description, and a function: over which connection it acts, and which request of the victim waits."""


async def each_ends(t: Play, attacks: Sequence[Attack], what: str) -> None:
    """Check that each attack ends its own connection and nothing else, at whichever end the victim is."""
    async with attacked(t) as victim:
        for shown, act in attacks:
            conn, bad, asked, number = await victim.waits()
            await act(bad, number)
            await victim.ends(conn, bad, asked, f"{what}: {shown}")


async def ends_at_once(t: Play, served: Served, data: bytes, why: str) -> None:
    """Check that a connection which begins like this ends at once, before the time of its hello is over.

    The order decides: it must end before a silent connection that came a moment earlier.
    """
    silent = await attack(t, served, hello=False)
    bad = await attack(t, served, hello=False)
    await bad.send(data)
    ends = [t.spawn(raw.must_end(why)) for raw in (bad, silent)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    t.check(ends[0].done(), why, expected="its end at once", actual="a silent connection that came earlier ended first")
    await ends[0]
    await silent.close()


def says(*bodies: bytes) -> list[Attack]:
    """Attacks with one message each; `%N` in it stands for the ID of the victim's request that waits."""

    def attack(body: bytes) -> Attack:
        return readable(body[:80]), lambda bad, number: bad.say(body.replace(b"%N", str(number).encode()))

    return [attack(body) for body in bodies]


def answers_beyond(step: int) -> Attack:
    """An attack: an answer whose ID is so much more than that of the victim's request that waits."""
    return f"(response N+{step} 1)", lambda bad, number: bad.say(f"(response {number + step} 1)")


def sends(data: bytes, *, end: bool = False) -> Attack:
    """An attack: these bytes as they are, and then perhaps a shutdown of the direction."""

    async def act(bad: Raw, number: int) -> None:
        await bad.send(data)
        if end:
            bad.end()

    return readable(data[:20]) + (" and the end" if end else ""), act
