"""Lengths and pieces: packets over the limit, at the limit, tiny, cut off, byte by byte, many in one piece."""

from __future__ import annotations

import asyncio

from bokbok.wire import DEFAULT_LIMITS
from bokbok.wire.hello import MAX_USERNAME

from ...play import USER, NetworkFailed, Play, show
from ...raw import Raw, attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    count_runs,
    each_ends,
    ends_at_once,
    is_served,
    opened_by,
    sends,
)


@at_server("profile.framing", "profile.limit-packet", only=("framing",))
async def length_over_limit(t: Play) -> None:
    """A length over the limit ends the connection at once, without waiting for the bytes."""
    async with attacked_server(t) as served:
        for length in (DEFAULT_LIMITS.packet + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            await bad.send(length.to_bytes(4, "big") + b"(request")
            await bad.must_end(f"a packet of {length} bytes was awaited")


@at_server(
    "profile.framing",
    "profile.limit-packet",
    timeout=40,
    fresh=("server",),
    transport="unix",
    only=("framing", "packets", "nonces", "messages"),
)
async def packet_at_the_limit(t: Play) -> None:
    """A packet of exactly the documented limit is served."""
    await _packet_at_the_limit(t)


@at_client(
    "profile.framing",
    "profile.limit-packet",
    timeout=40,
    fresh=("client",),
    transport="unix",
    only=("framing", "packets", "nonces", "messages"),
)
async def servers_packet_at_the_limit(t: Play) -> None:
    """A server's packet of exactly the documented limit is served by the client."""
    await _packet_at_the_limit(t)


async def _packet_at_the_limit(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        number = bad.next_id()
        empty = len(bad.packet(b'(request %d ("type" ""))' % number)) - len(bad.frame(b""))
        await bad.say(b'(request %d ("type" "%b"))' % (number, b"x" * (DEFAULT_LIMITS.packet - empty)))
        kind, value = await bad.answer_to(number, 40)
        t.check(
            kind == "response",
            "a packet of exactly the limit was not served",
            actual=f"({kind} {number} {show(value, 200)})",
        )
        await is_served(bad, "the same connection, after a packet at the limit")


async def _largest_id(t: Play) -> None:
    async with attacked(t) as victim:
        for number in (2**31, 2**32, 2**53 + 1, 2**62 - 1):
            _, bad = await victim.meet()
            await bad.say(b'(request %d ("echo" 1))' % number)
            t.equal(list(await bad.answer_to(number)), ["response", 1], f"the answer to request {number}")


@at_server("profile.messages", "profile.ids", only=("messages",), once=True)
async def largest_id(t: Play) -> None:
    """The largest fixnum is an ID like any other."""
    await _largest_id(t)


@at_client("profile.messages", "profile.ids", only=("messages",), once=True)
async def servers_largest_id(t: Play) -> None:
    """For a client, too, the largest fixnum is an ID like any other."""
    await _largest_id(t)


@at_server("profile.framing", security="secure", only=("framing", "hello"))
async def length_over_limit_before_hello(t: Play) -> None:
    """Before a hello has opened, the limit is what a hello needs: a byte more than the longest name is too many."""
    async with attacked_server(t) as served:
        for first in (MAX_USERNAME + 1, 65_536, DEFAULT_LIMITS.packet):
            data = first.to_bytes(4, "big") + b"x" * 40
            await ends_at_once(t, served, data, f"a first packet of {first} bytes was awaited")
        for second in (73, DEFAULT_LIMITS.packet):
            data = len(USER).to_bytes(4, "big") + USER.encode() + second.to_bytes(4, "big")
            await ends_at_once(t, served, data, f"a session key of {second} bytes was awaited")


@at_server("profile.framing", "profile.boxes", only=("counted",))
async def tiny_packets(t: Play) -> None:
    """Packets of 0 and 1 bytes, and boxes of 39 and 40, end the connection and do not crash the peer."""
    async with attacked_server(t) as served:
        for body in (b"", b"(", b"x" * 39, b"x" * 40):
            bad = await attack(t, served)
            if not bad.carries(body):
                continue
            await is_served(bad, "good so far")
            await bad.send(bad.frame(body))
            await bad.must_end(f"a packet of {len(body)} bytes did not end the connection")
        bad = await attack(t, served)
        await bad.say(b"")  # on a secure connection: a good box of exactly 40 bytes, with an empty message in it
        await bad.must_end("an empty message did not end the connection")


@at_server("profile.framing", "profile.end-in-a-packet", "start.close-handler")
async def truncated_packet(t: Play) -> None:
    """A connection that ends inside a packet is over, its close handler runs, and nothing of the packet is served."""
    async with attacked_server(t) as served:
        name = t.new_name()
        for cut in (2, 4, 11):
            bad = await attack(t, served)
            theirs = await opened_by(t, served, bad)
            whole = bad.packet(b'(request 7 ("count" "%b"))' % name.encode())
            await bad.send(whole[:cut])
            bad.end()
            await bad.must_end("a truncated packet left the connection open")
            await theirs.closed()
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for a truncated request")


@at_server("guards.bounded", faults=("measure",), fresh=("server",), transport="unix", only=("framing",))
async def lengths_cost_nothing(t: Play) -> None:
    """A peer that announces long packets and sends nothing of them does not cost memory of their length."""
    async with attacked_server(t) as served:
        running = t.server.puppet.running
        before = running.usage().memory
        bads = [await attack(t, served) for _ in range(40)]
        for bad in bads:
            await is_served(bad, "good so far")
            await bad.send(DEFAULT_LIMITS.packet.to_bytes(4, "big") + b"x" * 100)
        await asyncio.gather(*(bad.stays_open("a packet of the largest length was not awaited", 0.2) for bad in bads))
        await is_served(await attack(t, served), "beside forty long packets")
        grown = running.usage().memory - before
        t.check(
            grown < 256 * 1024 * 1024,
            "forty lengths, and nothing behind them, took memory",
            expected="less than 256 MiB (40 packets would be 640)",
            actual=f"{grown >> 20} MiB",
        )
        for bad in bads:
            bad.reset()


@at_server("profile.framing")
async def packets_in_one_piece(t: Play) -> None:
    """A hello and a hundred requests in one piece are a hello and a hundred requests."""
    async with attacked_server(t) as served:
        bad = await attack(t, served, hello=False)
        data = bad.beginning()
        data += b"".join(bad.packet(b'(request %d ("echo" %d))' % (i, i)) for i in range(100))
        await bad.send(data)
        got = sorted([(await bad.hear())[1:] for _ in range(100)])
        t.check(got == [(i, i) for i in range(100)], "the answers to a hundred requests in one piece")


@at_server("profile.framing")
async def packet_in_pieces(t: Play) -> None:
    """A packet whose bytes come one by one, slowly, is served; others are served in the meantime."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        packet = bad.packet(b'(request 0 ("echo" 1))')
        await bad.drip(packet[: len(packet) // 2], 0.01)
        other = await attack(t, served)
        await is_served(other, "beside a slow packet")
        for byte in packet[len(packet) // 2 :]:
            await bad.send(bytes([byte]))
        t.equal(list(await bad.answer_to(0)), ["response", 1], "the answer to a packet that came in pieces")


CUTS = (1, 2, 3, 4, 5, 30)
"""Where packets are cut: within the length, behind it, and behind that."""


async def _pieces_side_by_side(t: Play) -> None:
    async with attacked(t) as victim:
        ends = [(await victim.meet())[1] for _ in CUTS]
        packets = []
        for bad, cut in zip(ends, CUTS, strict=True):
            number = bad.next_id()
            packets.append((number, bad.packet(b'(request %d ("echo" "cut at %d"))' % (number, cut))))
            await bad.send(packets[-1][1][:cut])
        for bad, cut, (number, packet) in zip(ends, CUTS, packets, strict=True):
            _, other = await victim.meet()
            await is_served(other, "x" * 70_000)  # so long that its length has other bytes
            await bad.send(packet[cut:])
            with t.trying(where=f"to a packet of which {cut} bytes came before packets of other connections"):
                t.equal(list(await bad.answer_to(number)), ["response", f"cut at {cut}"], "the answer")


@at_server("profile.framing", once=True)
async def pieces_side_by_side(t: Play) -> None:
    """A server keeps the pieces of packets apart that come over several connections."""
    await _pieces_side_by_side(t)


@at_client("profile.framing", once=True)
async def servers_pieces_side_by_side(t: Play) -> None:
    """A client keeps the pieces of packets apart that come from several servers."""
    await _pieces_side_by_side(t)


@at_client("profile.close", "request.errors")
async def server_truncates(t: Play) -> None:
    """If a server ends the connection inside or before a packet, or breaks it, no request goes on waiting."""

    async def half_an_answer(bad: Raw, number: int) -> None:
        await bad.send(bad.packet(b'(response %d "never whole")' % number)[:-3])
        bad.end()

    attacks = [sends(b"", end=True), sends(b"\x00\x00", end=True), ("half an answer and the end", half_an_answer)]
    await each_ends(t, attacks, "an end in the middle")
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        bad.reset()
        await t.fails(t.within(10, asked, "the failure"), NetworkFailed, why="a connection that the server broke")
        await conn.closed()


@at_client("profile.framing", "request.parallel")
async def server_answers_in_drips(t: Play) -> None:
    """An answer whose bytes come one by one counts, and does not hold up other connections."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        await bad.drip(bad.packet(b"(response %d (1 2 3))" % number), 0.005)
        t.equal(await asked, [1, 2, 3], "an answer that came in drips")
