"""Load: many connections, many requests; nothing is lost, nothing is mixed up.

What this module knows: numbers that a machine of two cores bears in seconds, and larger ones for `--long`. A time limit
here only tells slow from stuck.
"""

from __future__ import annotations

import asyncio

from ..play import Play, RemoteFailed, show
from .base import case


async def _many_requests(t: Play, connections: int, requests: int) -> None:
    served = await t.serve(backlog=100)
    conns = []
    for start in range(0, connections, 20):
        conns += await asyncio.gather(*(t.connect(served) for _ in range(start, min(start + 20, connections))))
    work = [conn.request(["echo", [index, number]]) for number in range(requests) for index, conn in enumerate(conns)]
    answers = await asyncio.gather(*work)
    wrong = [
        (index, number, answer)
        for (number, index), answer in zip(
            ((number, index) for number in range(requests) for index in range(connections)), answers, strict=True
        )
        if answer != [index, number]
    ]
    t.check(not wrong, f"{len(wrong)} of {len(answers)} answers are wrong", actual=show(list(wrong[:1])))


@case("request.parallel", "about.threads", timeout=30)
async def many_requests(t: Play) -> None:
    """A thousand requests in flight over one connection: none is lost, none is mixed up."""
    await _many_requests(t, 1, 1_000)


@case("start.open-handler", "start.request-handler", timeout=30, subject="server")
async def many_connections(t: Play) -> None:
    """Fifty connections at once with ten requests each: all answered."""
    await _many_requests(t, 50, 10)


@case("about.symmetry", "request.parallel", timeout=30)
async def both_ways(t: Play) -> None:
    """Three hundred requests each way at once, with errors among them."""
    mine, theirs = await t.pair()

    async def one(conn: object, index: int) -> bool:
        if index % 10 == 0:
            await t.fails(conn.request(["fail", f"e{index}"]), RemoteFailed, why="a request that fails")  # type: ignore[attr-defined]
            return True
        return bool(await conn.request(["echo", index]) == index)  # type: ignore[attr-defined]

    answers = await asyncio.gather(*(one(conn, index) for index in range(300) for conn in (mine, theirs)))
    t.check(all(answers), "answers were mixed up")


@case("about.threads", "request.parallel", timeout=80)
async def sleepers(t: Play) -> None:
    """Two hundred handlers run at once, on the server, and on the client."""
    for conn in await t.pair():
        await t.at_once(conn, 200, (1_000, 4_000))


@case("request.message", "request.parallel", timeout=60)
async def large_messages(t: Play) -> None:
    """Twenty messages of half a megabyte, four at a time."""
    mine, _ = await t.pair()
    gate = asyncio.Semaphore(4)

    async def one(index: int) -> bool:
        text = f"{index:04d}" * 131_072
        async with gate:
            return bool(await mine.request(["echo", text]) == text)

    t.check(all(await asyncio.gather(*(one(index) for index in range(20)))), "a large message came back changed")


@case("open.connection", "start.close-handler", timeout=30, subject="server")
async def connect_and_close(t: Play) -> None:
    """A hundred connections, one after another, leave nothing behind."""
    served = await t.serve()
    for index in range(100):
        conn = await t.connect(served)
        if index % 10 == 0:
            await conn.echo(index)
        await conn.close()
    opened = [await served.opened() for _ in range(100)]
    for conn in opened:
        await conn.closed()


@case("start.open-handler", "request.parallel", timeout=280, long=True, subject="server")
async def long_many_connections(t: Play) -> None:
    """Two hundred connections with a hundred requests each, all in flight at once."""
    await _many_requests(t, 200, 100)


@case("about.symmetry", "about.threads", timeout=280, long=True)
async def long_callbacks(t: Play) -> None:
    """A hundred handlers at once, each calling back a hundred times."""
    mine, _ = await t.pair()
    answers = await asyncio.gather(*(mine.request(["callback", 100, i]) for i in range(100)))
    t.equal(answers, [[[j, i] for j in range(100)] for i in range(100)], "a hundred times a hundred callbacks")


@case("request.message", "about.threads", timeout=400, long=True)
async def long_soak(t: Play) -> None:
    """Two minutes of small requests, twenty at a time, without a wrong answer."""
    mine, theirs = await t.pair()
    loop = asyncio.get_running_loop()
    until = loop.time() + 120

    async def one(seed: int) -> int:
        count = 0
        while loop.time() < until:
            conn = mine if (seed + count) % 2 else theirs
            t.equal(await conn.request(["echo", [seed, count]]), [seed, count], "an answer in a long run")
            count += 1
        return count

    counts = await asyncio.gather(*(one(seed) for seed in range(20)))
    t.check(min(counts) > 0, "one of twenty threads was never served")
