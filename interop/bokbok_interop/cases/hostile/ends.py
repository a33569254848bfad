"""Connections that end in every way but the good one, and what they leave behind."""

from __future__ import annotations

import asyncio

from ...model import Late
from ...play import PATIENCE, USER, NetworkFailed, Play, Served, same, show
from ...raw import attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    is_served,
    opened_by,
)


@at_server("guards.bounded", faults=("measure",), fresh=("server",), transport="unix")
async def leaves_nothing_open(t: Play) -> None:
    """Connections that are over, refused, broken or closed in order leave no descriptor open."""

    async def once(served: Served) -> None:
        if t.secure:
            refused = await attack(t, served, hello=False)
            await refused.send(refused.hello(USER, "wrong"))
            await refused.must_end("a wrong key was not refused")
            await refused.close()
        wrong = await attack(t, served)
        await wrong.say(b"nonsense")
        await wrong.must_end("nonsense did not end the connection")
        await wrong.close()
        good = await attack(t, served)
        await is_served(good, "and closes")
        await good.close()
        gone = await attack(t, served)
        await is_served(gone, "and breaks off")
        gone.reset()

    async with attacked_server(t) as served:
        running = t.server.puppet.running
        await once(served)
        await t.server.settle()
        before = running.usage().files
        for _ in range(25):
            await once(served)
        await t.until(
            lambda: running.usage().files <= before + 10,
            "descriptors of connections that are over are still open",
            lambda: f"{running.usage().files} open descriptors, {before} before 25 rounds",
        )


MUCH = 4 * 1024 * 1024
"""Bytes: far more than the buffers of any socket hold."""


async def _no_reset(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        await bad.send(bad.packet(b"nonsense") + b"x" * MUCH)
        await victim.ends(conn, bad, asked, "nonsense with much behind it")
        if bad.ended_how != "eof":  # the victim lingers for a while by its own clock
            raise Late(
                f"a protocol error ended the {victim.side.role}'s connection in a reset",
                expected="an end of file",
                actual=f"{bad.ended_how}, where {MUCH} bytes stood behind the packet that was nonsense",
            )


@at_server("profile.no-reset")
async def protocol_error_is_no_reset(t: Play) -> None:
    """However much stands behind a packet that ends the connection, the end is an end of file."""
    await _no_reset(t)


@at_client("profile.no-reset")
async def servers_error_is_no_reset(t: Play) -> None:
    """However much a server sends behind a packet that ends the connection, the client ends it by an end of file."""
    await _no_reset(t)


async def _written_before(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        number = await bad.ask(["echo", "x" * MUCH])
        await bad.hear_beginning()
        await bad.say(b"nonsense")
        # Time itself is the subject: the other side meets the nonsense meanwhile, and has not yet lost its patience.
        await asyncio.sleep(0.5)
        kind, value = await bad.answer_to(number)
        t.check(
            kind == "response" and value == "x" * MUCH,
            f"an answer that the {victim.side.role} had begun to write before a protocol error was cut",
            expected=f"(response {number} ...) of {MUCH} bytes",
            actual=f"({kind} {number} {show(value, 60)})",
        )
        await victim.ends(conn, bad, None, "nonsense while an answer is being written")


@at_server("profile.written", only=("packets",))
async def answer_before_a_protocol_error(t: Play) -> None:
    """An answer that was being written when a protocol error came still arrives whole."""
    await _written_before(t)


@at_client("profile.written", only=("packets",))
async def answer_before_a_servers_protocol_error(t: Play) -> None:
    """An answer that a client was writing when the server's protocol error came still arrives whole."""
    await _written_before(t)


async def _half_closes(t: Play, piece: bytes = b"") -> None:
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        here = t.rendezvous(milliseconds=300)
        ids = [await bad.ask(here.request) for _ in range(3)]
        await here.arrived(len(ids))
        await bad.send(piece)
        bad.end()
        failing = t.within(PATIENCE, asked, "the failing of the request that waits")
        await t.fails(failing, NetworkFailed, why="a request of the victim at the end of file")
        await conn.closed()
        await here.release()
        got = sorted([(await bad.hear())[1:] for _ in ids])
        t.check(
            got == [(number, here.answer) for number in ids],
            f"answers of the {victim.side.role}'s handlers that ran at the end of file",
            expected="three responses",
            actual=str(got),
        )
        await bad.must_end("the connection stays open after the last answer")


@at_server("profile.half-close")
async def half_close(t: Play) -> None:
    """A client that ends its direction while handlers run still gets their answers, then the end."""
    await _half_closes(t)


PIECE = b"\x00\x00\x00\x40(request 9"
"""The beginning of a packet."""


@at_server("profile.end-in-a-packet", "profile.half-close", only=("framing",))
async def half_close_in_a_packet(t: Play) -> None:
    """A client that ends its direction within a packet still gets the answers of the handlers that run."""
    await _half_closes(t, PIECE)


@at_client("profile.end-in-a-packet", "profile.half-close", only=("framing",))
async def server_half_closes_in_a_packet(t: Play) -> None:
    """A server that ends its direction within a packet still gets the answers of the client's handlers that run."""
    await _half_closes(t, PIECE)


async def _unread_answers(t: Play) -> None:
    """Answers of eight megabytes are on their way when the direction ends, and are read late."""
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        ids = [await bad.ask(["echo", [number, "x" * MUCH]]) for number in range(2)]
        await bad.hear_beginning()
        bad.end()
        await conn.closed()
        # What is on its way cannot be seen to be lost before it is read.
        for number in ids:
            kind, answered, datum = await bad.hear()
            t.check(
                (kind, answered) == ("response", number) and same(datum, [ids.index(number), "x" * MUCH]),
                f"an answer of the {victim.side.role} that was on its way at the end of file came otherwise",
                expected=f"(response {number} ...) of {MUCH} bytes",
                actual=f"({kind} {answered} {show(datum, 60)})",
            )
        await bad.must_end("the connection stays open after the last answer")


@at_server("profile.half-close", "profile.limit-unsent", timeout=20, only=("packets",))
async def half_close_with_answers_unread(t: Play) -> None:
    """A client that ends its direction, and reads late, still gets answers of megabytes that were on their way."""
    await _unread_answers(t)


@at_client("profile.half-close", "profile.limit-unsent", timeout=20, only=("packets",))
async def server_half_closes_with_answers_unread(t: Play) -> None:
    """A server that ends its direction, and reads late, still gets the client's answers of megabytes."""
    await _unread_answers(t)


@at_server("guards.survives", "start.close-handler")
async def vanishes(t: Play) -> None:
    """Clients that break off, or fall silent in the middle of a packet, hold up nobody."""
    async with attacked_server(t) as served:
        silent = await attack(t, served)
        await is_served(silent, "good so far")
        await silent.send(silent.packet(b'(request 9 ("echo" 1))')[:9])
        for _ in range(5):
            bad = await attack(t, served)
            theirs = await opened_by(t, served, bad)
            here = t.rendezvous(milliseconds=15_000)
            await bad.ask(here.request)
            await here.arrived(1)
            bad.reset()
            await theirs.closed()
        other = await attack(t, served)
        await is_served(other, "beside those that vanished")


@at_client("profile.half-close", "open.close-handler")
async def server_half_closes(t: Play) -> None:
    """A server that ends its direction while the client's handlers run still gets their answers, then the end."""
    await _half_closes(t)


@at_client("open.close-handler", "request.errors", kind="hardening")
async def server_closes_at_once(t: Play) -> None:
    """A server that closes what it accepts leaves the client with an error and its close handler run, not waiting."""
    async with attacked_client(t) as server:
        for how in ("close", "reset"):
            try:
                conn, bad = await server.connected(hello=False)
            except NetworkFailed:
                continue
            if how == "close":
                await bad.close()
            else:
                bad.reset()
            await conn.closed()
            await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after the server closed")
