"""What every hostile case has in common: good neighbours beside the attacked peer, served before, beside and after."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ...model import Failure
from ...play import PASSPHRASE, USER, Conn, NetworkFailed, Play, Served, same, show
from ...raw import BadServer, Raw, attack, good_server
from ..base import cases

at_server = cases("guards.survives", opponent="client")
"""A case in which the runner is a bad client, at the peer's server."""
at_client = cases("guards.survives", opponent="server")
"""A case in which the runner is a bad server, at the peer's client."""
HELLO_SECONDS = 10.0  # what the design gives a hello; a few more are allowed before it counts as endless


@contextlib.asynccontextmanager
async def attacked_server(t: Play, users: Any = None) -> AsyncIterator[Served]:
    """A server under attack: a neighbour that was there before, and a new one after, are served as ever."""
    table = users or {USER: PASSPHRASE}
    served = await t.server.listen(users=table if t.secure else None)
    neighbour = await attack(t, served)
    await is_served(neighbour, "before")
    yield served
    await is_served(neighbour, "the neighbour, after the attack")
    late = await attack(t, served)
    await is_served(late, "a new neighbour, after the attack")


async def is_served(neighbour: Raw, what: str) -> None:
    """See that a connection of ours is served like any good one."""
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
        raise Failure("a counter that is no number", actual=show(value))
    return value - 1


@contextlib.asynccontextmanager
async def attacked_client(t: Play) -> AsyncIterator[BadServer]:
    """A client among bad servers: its connection to a good one, and a new one after, work as ever."""
    good = await good_server(t)
    before = await t.client.connect(good.address)
    await before.echo("before")
    yield await BadServer(t).start()
    await before.echo("the good server, after the attack")
    after = await t.client.connect(good.address)
    await after.echo("the good server, connected to after the attack")


async def bodies_close(t: Play, bodies: Sequence[bytes], what: str) -> None:
    """Each of these message bodies is a protocol error: the connection closes, what waits on it fails."""
    async with attacked_server(t) as served:
        for body in bodies:
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            await bad.say(body)
            await bad.must_end(f"{what} did not end the connection: {body[:80]!r}")


async def opened_by(t: Play, served: Served, bad: Raw) -> Conn:
    """The server's end of the last connection."""
    await is_served(bad, "so that the open handler has run")
    await t.server.settle()
    return served.connections[-1]


async def client_closes(t: Play, attacks: Sequence[Any], what: str) -> None:
    """Whatever the server does here ends the client's connection: its request fails, its close handler runs once."""
    async with attacked_client(t) as server:
        for index, act in enumerate(attacks):
            conn, bad = await server.connected()
            asked = t.spawn(conn.request(["echo", "waiting"]))
            kind, number, _ = await bad.hear()
            t.check(kind == "request", "the client's request", actual=kind)
            await act(bad, number)
            await t.fails(
                t.within(10, asked, f"the failing of the client's request ({what}, {index + 1}.)"),
                NetworkFailed,
                why=f"{what} ({index + 1}. of {len(attacks)})",
            )
            await conn.closed()
            await bad.must_end(f"the client keeps its connection open after {what}")
            await t.client.settle()
            t.check(
                conn.closings == 1, "how often the client's close handler ran", expected="1", actual=str(conn.closings)
            )


def says(*bodies: bytes) -> Any:
    """An attack: these messages, each in a packet of its own; `%N` stands for the ID of the request that waits."""

    async def act(bad: Raw, number: int) -> None:
        for body in bodies:
            await bad.say(body.replace(b"%N", str(number).encode()))

    return act


def sends(*pieces: bytes, end: bool = False) -> Any:
    """An attack: these bytes as they are, and perhaps the end of the direction."""

    async def act(bad: Raw, number: int) -> None:
        for piece in pieces:
            await bad.send(piece)
        if end:
            bad.end()

    return act
