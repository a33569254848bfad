"""One connection does not hold up another: slow packets, handlers that wait, answers that are not read, a stop."""

from __future__ import annotations

import asyncio

from ...model import Failure, Late
from ...play import Play
from ...raw import Raw
from .floods import fill
from .neighbours import at_client, at_server, at_the_server, attacked, attacked_server, is_served

PAUSE = 0.02
"""Seconds between two bytes of a slow packet, which takes about a second and a half."""
SLOW = 10
"""Connections that send slowly at the same time."""
SLOWEST_PACKET = 10.0
"""The most seconds that a packet may take and still be served."""
PIECE = 2.2
"""Seconds between two of its five pieces."""
UNREAD = 8
"""Connections that do not read."""


async def _drip(t: Play, bad: Raw, halfway: asyncio.Event, go_on: asyncio.Event) -> None:
    """One request, byte by byte, with a pause in its middle, and its answer."""
    number = bad.next_id()
    packet = bad.packet(b'(request %d ("echo" "slow"))' % number)
    await bad.drip(packet[: len(packet) // 2], PAUSE)
    halfway.set()
    await go_on.wait()
    await bad.drip(packet[len(packet) // 2 :], PAUSE)
    t.equal(list(await bad.hear()), ["response", number, "slow"], "the answer to a request that came byte by byte")


async def _slow_packets(t: Play) -> None:
    async with attacked(t) as victim:
        slow = [(await victim.meet())[1] for _ in range(SLOW)]
        halfway, go_on = [asyncio.Event() for _ in slow], asyncio.Event()
        drips = [_drip(t, bad, half, go_on) for bad, half in zip(slow, halfway, strict=True)]
        async with t.beside(*drips) as dripping:
            for half in halfway:
                await t.within(20, half.wait(), "the sending of half a packet")
            for index in range(3):
                _, other = await victim.meet()
                await is_served(other, f"beside packets that come byte by byte, {index}")
            go_on.set()
            await t.within(60, asyncio.gather(*dripping), "the answers to requests that came byte by byte")


@at_server("guards.slow-packets", timeout=30, once=True)
async def slow_packets(t: Play) -> None:
    """A server answers requests that come byte by byte, and serves others in the meantime."""
    await _slow_packets(t)


@at_client("guards.slow-packets", timeout=30, once=True)
async def server_sends_slowly(t: Play) -> None:
    """A client answers a server's requests that come byte by byte, and those of other servers in the meantime."""
    await _slow_packets(t)


async def _packet_just_in_time(t: Play) -> None:
    async with attacked(t) as victim:

        async def late() -> None:
            _, bad = await victim.meet()
            number = bad.next_id()
            packet = bad.packet(b'(request %d ("echo" "late"))' % number)
            for piece in (packet[:2], packet[2:4], packet[4:9], packet[9:-1]):
                await bad.send(piece)
                await asyncio.sleep(PIECE)  # time itself is the subject
            await bad.send(packet[-1:])
            try:
                t.equal(list(await bad.hear()), ["response", number, "late"], "the answer to a packet that came late")
            except Failure as failure:
                problem = f"a packet that took {4 * PIECE:g} s was not taken"
                raise Late(problem, expected="an answer", actual=failure.actual or failure.problem) from failure

        await t.in_time(SLOWEST_PACKET - 0.5, late)


@at_server("guards.slow-packets", timeout=20, once=True)
async def packet_just_in_time(t: Play) -> None:
    """A server serves a packet that comes in pieces with pauses, as long as its time is not over."""
    await _packet_just_in_time(t)


@at_client("guards.slow-packets", timeout=20, once=True)
async def servers_packet_just_in_time(t: Play) -> None:
    """A client serves a server's packet that comes in pieces with pauses, as long as its time is not over."""
    await _packet_just_in_time(t)


async def _handlers_full(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad, held = await fill(t, victim)
        for index in range(3):
            _, other = await victim.meet()
            await is_served(other, f"beside a connection whose handlers all wait, {index}")
        await held.release()
        for _ in range(held.count):
            await bad.hear(30)


@at_server("guards.apart", transport="unix", fresh=("server",), timeout=30)
async def handlers_full_beside_others(t: Play) -> None:
    """While as many handlers as may run on one connection of a server wait, other connections are served."""
    await _handlers_full(t)


@at_client("guards.apart", transport="unix", fresh=("client",), timeout=30)
async def server_fills_handlers_beside_others(t: Play) -> None:
    """While as many handlers as may run on one connection of a client wait, its other connections are served."""
    await _handlers_full(t)


@at_server("guards.apart", "guards.survives", fresh=("server",), timeout=30)
async def unread_answers_beside_others(t: Play) -> None:
    """Eight clients that do not read their answers, a megabyte each, only hold up themselves."""
    async with attacked_server(t) as served:
        victim = at_the_server(t, served)
        unread = [(await victim.meet())[1] for _ in range(UNREAD)]
        text = "x" * 250_000

        async def ask(bad: Raw) -> None:
            for _ in range(4):
                await bad.ask(["echo", text])

        async with t.beside(*(ask(bad) for bad in unread)):
            for index in range(3):
                _, other = await victim.meet()
                await is_served(other, f"beside answers that are not read, {index}")
        for bad in unread:
            bad.reset()


@at_server("guards.gone", "profile.wait", fresh=("server",), timeout=30)
async def stop_with_an_unanswered_callback(t: Play) -> None:
    """A question that a client never answered does not keep the server from stopping once that client has gone."""
    served = await t.server.listen()
    victim = at_the_server(t, served)
    _, bad = await victim.meet()
    _, idle = await victim.meet()
    await bad.ask(["callback", 1, 1])
    await victim.asks(bad)
    await served.stop()
    await idle.must_end("a connection on which nothing runs is open after its server was stopped")
    bad.reset()
    await served.wait(timeout=20)
