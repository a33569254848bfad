"""Too much at once: requests without end, connections without words, readers that do not read."""

from __future__ import annotations

import asyncio

from bokbok.wire import DEFAULT_LIMITS

from ...model import Failure
from ...play import NetworkFailed, Play, show
from ...raw import Raw, attack, good_server
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    is_served,
)

FLOOD = DEFAULT_LIMITS.running + DEFAULT_LIMITS.waiting + 1_000
"""Requests: as many as may run and wait, and some that are turned away."""


@at_server("guards.survives", "profile.limits", timeout=20)
async def never_reads(t: Play) -> None:
    """A client that asks for megabytes and reads none of them holds up nobody but itself."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        body = b'("echo" "' + b"x" * 100_000 + b'")'

        async def pour() -> None:
            for number in range(120):
                await bad.say(b"(request %d %b)" % (number, body))

        async with t.beside(pour()):
            for index in range(4):
                other = await attack(t, served)
                await is_served(other, f"beside a client that does not read, {index}")
                await asyncio.sleep(0.1)
            bad.reset()


async def _flood(t: Play, bad: Raw, count: int) -> None:
    """So many requests at once, of handlers that each wait for us: every one is answered once, if not at once."""
    first = bad.ids
    bad.ids += count
    body = b"".join(bad.packet(b'(request %d ("callback" 1 %d))' % (i, i)) for i in range(first, first + count))
    pour = t.spawn(bad.send(body))
    asked: list[int] = []
    answered: dict[int, str] = {}

    async def take(seconds: float) -> None:
        kind, number, datum = await bad.hear(seconds)
        if kind == "request":
            asked.append(number)
            return
        t.check(number not in answered, f"request {number} was answered twice")
        t.check(
            kind == "error" or datum == ["held up"],
            f"request {number} got another's answer",
            actual=show(datum, 100),
        )
        answered[number] = kind

    # First those that are turned away, and the questions of those that run; the others wait, and that is quiet.
    while len(asked) + len(answered) < count:
        try:
            await take(1.0)
        except Failure:
            if bad.ended_how:
                raise
            break
    while len(answered) < count:
        for number in asked:
            await bad.say(b'(response %d "held up")' % number)
        asked.clear()
        await take(30)
    await pour
    wanted = set(range(first, first + count))
    t.check(set(answered) == wanted, "some requests were not answered", actual=f"{len(answered)} of {count}")


async def _floods(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad, asked, mine = await victim.waits()
        await _flood(t, bad, FLOOD)
        await bad.say(b"(response %d 5)" % mine)
        t.equal(await asked, 5, "the answer to the victim's own request, after the flood")
        await is_served(bad, "the same connection, after the flood")


@at_server("profile.limits", transport="unix", fresh=("server",), timeout=60)
async def flood_of_requests(t: Play) -> None:
    """More requests at once than may run and wait, whose handlers all wait: each is answered once, one way or other."""
    await _floods(t)


@at_server("guards.survives", "start.open-handler", transport="unix")
async def many_silent_connections(t: Play) -> None:
    """A hundred connections that say nothing leave room for those that do."""
    async with attacked_server(t) as served:
        silent = [await attack(t, served, hello=False) for _ in range(100)]
        for index in range(3):
            other = await attack(t, served)
            await is_served(other, f"beside a hundred silent connections, {index}")
        for bad in silent:
            bad.reset()


@at_client("guards.survives", "request.parallel", timeout=20)
async def server_never_reads(t: Play) -> None:
    """A server that reads nothing blocks the requests to it, and no other connection of the client."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        requests = [t.spawn(conn.request(["echo", "x" * 400_000])) for _ in range(12)]
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that does not read")
        bad.reset()
        for request in requests:
            await t.fails(
                t.within(15, request, "the failing"), NetworkFailed, why="a request to a server that broke off"
            )


@at_client("profile.limits", transport="unix", fresh=("client",), timeout=60)
async def server_floods(t: Play) -> None:
    """As many requests of a server at once: the client answers each once, and its own request too is served."""
    await _floods(t)
