"""Answers that nobody asked for, that come twice, in any order, or never."""

from __future__ import annotations

from ...play import NetworkFailed, Play, RemoteFailed
from ...raw import attack, good_server
from .neighbours import (
    at_client,
    at_server,
    attacked_client,
    attacked_server,
    bodies_close,
    client_closes,
    opened_by,
    says,
)


@at_server("profile.protocol-error")
async def unasked_answer(t: Play) -> None:
    """An answer to a question that was never asked ends the connection."""
    await bodies_close(
        t, [b"(response 0 1)", b'(error 0 "x")', b"(response 4611686018427387903 ())"], "an unasked answer"
    )


@at_server("profile.protocol-error")
async def second_answer(t: Play) -> None:
    """A second answer to the same question ends the connection; the first one counts."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        theirs = await opened_by(t, served, bad)
        asked = t.spawn(theirs.request(["echo", 1]))
        kind, number, _ = await bad.hear()
        t.check(kind == "request", "the server's request", actual=kind)
        await bad.say(f'(response {number} "first")')
        t.equal(await asked, "first", "the answer that came first")
        await bad.say(f'(response {number} "second")')
        await bad.must_end("a second answer did not end the connection")
        await theirs.closed()


@at_server("profile.messages")
async def answers_in_any_order(t: Play) -> None:
    """Answers that come in reverse, errors among them, reach the requests that they name."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        theirs = await opened_by(t, served, bad)
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(6)]
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


@at_client("profile.protocol-error")
async def server_answers_unasked(t: Play) -> None:
    """An answer to a question that the client never asked ends its connection."""
    await client_closes(t, [says(b"(response 77 1)"), says(b'(error 78 "x")')], "an answer to a question never asked")


@at_client("profile.protocol-error")
async def server_answers_twice(t: Play) -> None:
    """A second answer to the same question ends the client's connection; the first one counted."""
    async with attacked_client(t) as server:
        for again in (b'(response %d "again")', b'(error %d "again")'):
            conn, bad = await server.connected()
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(f'(response {number} "first")')
            t.equal(await asked, "first", "the first answer")
            await bad.say(again % number)
            await conn.closed()
            await bad.must_end("the client keeps its connection open after a second answer")


@at_client("profile.protocol-error")
async def server_replays_answer(t: Play) -> None:
    """A recorded answer played again does not answer the next question."""
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
            t.within(10, asked, "the failing"), NetworkFailed, why="a question that an old answer was played to"
        )
        await conn.closed()


@at_client("profile.messages")
async def server_answers_in_any_order(t: Play) -> None:
    """Answers of a server that come in reverse, errors among them, reach the requests that they name."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        asked = [t.spawn(conn.request(["echo", i])) for i in range(6)]
        heard = [await bad.hear() for _ in asked]
        for _, number, datum in reversed(heard):
            kind = b'error %d "no %d"' if datum[1] % 2 else b"response %d %d"
            await bad.say(b"(" + kind % (number, datum[1]) + b")")
        for index, request in enumerate(asked):
            if index % 2:
                error = await t.fails(request, RemoteFailed, why="an answered error")
                t.check(f"no {index}" in error.message, "an error reached another request", actual=error.message)
            else:
                t.equal(await request, index, "an answer out of order")


@at_client("request.errors", "close-connection", "profile.close", kind="profile")
async def server_never_answers(t: Play) -> None:
    """A request that is never answered waits, holds up no other connection, and fails when the client closes."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that never answers")
        t.check(not asked.done(), "a request that nobody answered was answered", actual=repr(asked))
        await conn.close()
        await t.fails(
            t.within(10, asked, "the failing"), NetworkFailed, why="a request that waits when its side closes"
        )
