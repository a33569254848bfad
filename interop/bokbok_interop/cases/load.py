"""Load: many connections, many requests; nothing is lost, nothing is mixed up.

What this module knows: numbers that a machine with two cores can handle in seconds, and larger ones for `--long`. A
time limit here only tells slow from stuck.
"""

from __future__ import annotations

import asyncio
import resource

from bokbok.wire import DEFAULT_LIMITS

from ..play import Play, RemoteFailed, Unsupported, show
from ..raw import BadServer, Raw, attack
from .base import case, cases
from .lifecycle import stays_silent


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


@case("request.parallel", "about.threads", timeout=30, once=True)
async def many_requests(t: Play) -> None:
    """A thousand requests are in flight over one connection: none is lost, none is mixed up."""
    await _many_requests(t, 1, 1_000)


@case("start.open-handler", "start.request-handler", timeout=30, subject="server")
async def many_connections(t: Play) -> None:
    """Fifty connections at once with ten requests each: all are answered."""
    await _many_requests(t, 50, 10)


@case("about.symmetry", "request.parallel", timeout=30, once=True)
async def both_ways(t: Play) -> None:
    """Three hundred requests go each way at once, with errors among them."""
    mine, theirs = await t.pair()

    async def one(conn: object, index: int) -> bool:
        if index % 10 == 0:
            await t.fails(conn.request(["fail", f"e{index}"]), RemoteFailed, why="a request that fails")  # type: ignore[attr-defined]
            return True
        return bool(await conn.request(["echo", index]) == index)  # type: ignore[attr-defined]

    answers = await asyncio.gather(*(one(conn, index) for index in range(300) for conn in (mine, theirs)))
    t.check(all(answers), "answers were mixed up")


@case("about.threads", "request.parallel", timeout=80, once=True)
async def sleepers(t: Play) -> None:
    """Two hundred handlers run at once, on the server, and on the client."""
    for conn in await t.pair():
        await t.at_once(conn, 200, (1_000, 4_000))


@case("request.message", "request.parallel", timeout=60, once=True)
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
    """A hundred handlers run at once, and each calls back a hundred times."""
    mine, _ = await t.pair()
    answers = await asyncio.gather(*(mine.request(["callback", 100, i]) for i in range(100)))
    t.equal(answers, [[[j, i] for j in range(100)] for i in range(100)], "a hundred times a hundred callbacks")


@case("open.connection", "close-connection", timeout=160, long=True)
async def long_silence(t: Play) -> None:
    """A connection that is silent for two minutes stays open, and a request waits for as long."""
    # Longer than the 30, 60 and 120 seconds after which programs often end a silent connection.
    await stays_silent(t, 125)


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


BOXES = (1 << 16) + 500
"""Boxes of one side: more than a counter of two bytes can count."""


async def _counts_on(t: Play, raw: Raw) -> None:
    """Check that a side's nonces are one sequence over so many boxes."""
    heard = 0
    before: bytes | None = None
    while heard < BOXES:
        batch = min(500, BOXES - heard)
        await raw.send(b"".join(raw.packet(b'(request %d ("ping" "x"))' % n) for n in range(heard, heard + batch)))
        for _ in range(batch):
            packet = await raw.hear_packet(60)
            nonce = (packet or b"")[:24]
            wanted = (
                nonce if before is None else before[:16] + (int.from_bytes(before[16:], "big") + 1).to_bytes(8, "big")
            )
            t.check(
                packet is not None and nonce == wanted,
                f"the nonces of the {raw.other} are not one sequence",
                expected=f"{wanted.hex()} for box {heard + 1:,}",
                actual=nonce.hex() or raw.ended_how,
            )
            before, heard = nonce, heard + 1


_counting = cases(security="secure", transport="unix", timeout=280, long=True, only=("nonces", "packets", "messages"))


@_counting("profile.nonce", opponent="client")
async def long_nonces(t: Play) -> None:
    """A server's nonces go on counting beyond 65,536 boxes."""
    await _counts_on(t, await attack(t, await t.server.listen()))


@_counting("profile.nonce", opponent="server")
async def long_nonces_of_a_client(t: Play) -> None:
    """A client's nonces go on counting beyond 65,536 boxes."""
    _, raw = await (await BadServer(t).start()).connected()
    await _counts_on(t, raw)


@case("profile.limit-connections", opponent="client", security="insecure", transport="unix", timeout=280, long=True)
async def long_all_connections(t: Play) -> None:
    """A server serves as many connections at once as it must."""
    most = DEFAULT_LIMITS.connections
    files = most + 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != hard < files:
        raise Unsupported(f"{files:,} open files are needed, and this system allows {hard:,}")
    if resource.RLIM_INFINITY != soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    # Another puppet, which is started with that many.
    served = await (await t.another("server")).listen(backlog=128)
    for number in range(most):
        with t.trying(where=f"with {number:,} connections beside it"):
            raw = await attack(t, served)
            t.equal(await raw.request(["echo", number], 60), number, "the answer over a new connection")
