"""Answers that were not asked for, that come twice, in any order, or never."""

from __future__ import annotations

from ...play import NetworkFailed, Play, RemoteFailed
from ...raw import good_server
from .neighbours import (
    answers_beyond,
    at_client,
    at_server,
    attacked,
    attacked_client,
    each_ends,
    says,
)

UNASKED = says(b"(response 77 1)", b'(error 78 "x")', b"(response 4611686018427387903 ())")
CUT_SHORT = [answers_beyond(1 << bits) for bits in (8, 15, 16, 24, 31, 32, 53, 61)]
"""Answers whose IDs are that of a request that waits, once they are cut to so many bits."""
UNASKED_UNREADABLE = says(b"(response 77 #<x>)", b"(response 78 (a)", b"(error 79 #<x>)")


@at_server("profile.protocol-error", only=("messages",), once=True)
async def unasked_answer(t: Play) -> None:
    """An answer to a question that was never asked ends the connection, however like another's its ID is."""
    await each_ends(t, [*UNASKED, *CUT_SHORT], "an unasked answer")


async def _answers_twice(t: Play) -> None:
    async with attacked(t) as victim:
        for again in (b'(response %d "again")', b'(error %d "again")'):
            conn, bad, asked, number = await victim.waits()
            await bad.say(f'(response {number} "first")')
            t.equal(await asked, "first", "the answer that came first")
            await bad.say(again % number)
            await victim.ends(conn, bad, None, "a second answer")


@at_server("profile.unreadable-unasked", "profile.protocol-error", only=("messages", "counted"), once=True)
async def unasked_unreadable_answer(t: Play) -> None:
    """An answer that cannot be read, to a question that was never asked, ends the connection."""
    await each_ends(t, UNASKED_UNREADABLE, "an unasked answer")


@at_server("profile.protocol-error", once=True)
async def second_answer(t: Play) -> None:
    """A second answer to the same question ends the connection; the first one counts."""
    await _answers_twice(t)


async def _answers_in_reverse(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        asked = [t.spawn(conn.request(["echo", i])) for i in range(6)]
        heard = [await bad.hear() for _ in asked]
        for _, number, datum in reversed(heard):
            if datum[1] % 2:
                await bad.say(f'(error {number} "no {datum[1]}")')
            else:
                await bad.say(f"(response {number} {datum[1]})")
        for index, request in enumerate(asked):
            if index % 2:
                error = await t.fails(request, RemoteFailed, why="an answered error")
                t.check(f"no {index}" in error.message, "an error reached another request", actual=error.message)
            else:
                t.equal(await request, index, "an answer out of order")


@at_server("profile.messages", once=True)
async def answers_in_any_order(t: Play) -> None:
    """Answers that come in reverse order, with errors among them, reach the requests that they name."""
    await _answers_in_reverse(t)


@at_client("profile.protocol-error", only=("messages",), once=True)
async def server_answers_unasked(t: Play) -> None:
    """An answer to a question that the client never asked ends its connection, however like another's its ID is."""
    await each_ends(t, [*UNASKED, *CUT_SHORT], "an unasked answer")


@at_client("profile.unreadable-unasked", "profile.protocol-error", only=("messages", "counted"), once=True)
async def server_answers_unasked_unreadably(t: Play) -> None:
    """An answer that cannot be read, to a question that the client never asked, ends its connection."""
    await each_ends(t, UNASKED_UNREADABLE, "an unasked answer")


@at_client("profile.protocol-error", once=True)
async def server_answers_twice(t: Play) -> None:
    """A second answer to the same question ends the client's connection; the first one counts."""
    await _answers_twice(t)


@at_client("profile.protocol-error")
async def server_replays_answer(t: Play) -> None:
    """A recorded answer that is replayed does not answer the next question."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        packet = await bad.say(f'(response {number} "old")')
        t.equal(await asked, "old", "the first answer")
        asked = t.spawn(conn.request(["echo", 2]))
        await bad.hear()
        await bad.send(packet)
        await t.fails(
            t.within(10, asked, "the failure"), NetworkFailed, why="a question that an old answer was played to"
        )
        await conn.closed()


@at_client("profile.messages")
async def server_answers_in_any_order(t: Play) -> None:
    """Answers of a server that come in reverse order, with errors among them, reach the requests that they name."""
    await _answers_in_reverse(t)


@at_client("request.errors", "close-connection", "profile.close", kind="profile")
async def server_never_answers(t: Play) -> None:
    """A request that is never answered waits, does not hold up other connections, and fails when the client closes."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that never answers")
        t.check(not asked.done(), "a request that nobody answered was answered", actual="an answer")
        await conn.close()
        await t.fails(
            t.within(10, asked, "the failure"), NetworkFailed, why="a request that waits when its side closes"
        )
