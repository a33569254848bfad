"""Symmetry: once connected, either side may call the other.

What this module knows: the sentences about calls in both directions.
"""

from __future__ import annotations

import asyncio

from ..play import Play, RemoteFailed
from .base import case


@case("about.symmetry", "open.request-handler")
async def server_calls_client(t: Play) -> None:
    """The server requests, the client's handler answers."""
    _, theirs = await t.pair()
    t.equal(await theirs.request(["ping", "12345"]), ["pong", "12345"], "the client's answer")
    t.equal(await theirs.request(["echo", [1, "two"]]), [1, "two"], "the client's answer")


@case("about.symmetry", "open.request-handler")
async def server_speaks_first(t: Play) -> None:
    """The server may be the first to ask, before the client has sent anything."""
    served = await t.serve()
    await t.connect(served)
    theirs = await served.opened()
    t.equal(await theirs.request(["ping", "first"]), ["pong", "first"], "the very first request, from the server")


@case("about.symmetry", "open.request-handler-arguments", "readme.symmetry")
async def callback(t: Play) -> None:
    """While the client waits for an answer, the server's handler calls it back, over the same connection."""
    mine, _ = await t.pair()
    t.equal(await mine.request(["callback", 3, "x"]), [[0, "x"], [1, "x"], [2, "x"]], "the answers of three callbacks")


@case("about.symmetry", "open.request-handler-arguments")
async def callback_from_server(t: Play) -> None:
    """The same the other way round: the client's handler calls the server back."""
    _, theirs = await t.pair()
    t.equal(
        await theirs.request(["callback", 3, "x"]), [[0, "x"], [1, "x"], [2, "x"]], "the answers of three callbacks"
    )


@case("about.symmetry", "about.threads", once=True)
async def nested(t: Play) -> None:
    """Calls can nest, five and twenty deep."""
    mine, theirs = await t.pair()
    for depth in (1, 2, 5, 20):
        t.equal(await mine.request(["relay", depth, "x"]), "x", f"a call nested {depth} deep, begun by the client")
        t.equal(await theirs.request(["relay", depth, "y"]), "y", f"a call nested {depth} deep, begun by the server")


@case("about.symmetry", "about.threads", once=True)
async def nested_in_parallel(t: Play) -> None:
    """Nested calls of both sides at once do not wait for one another."""
    mine, theirs = await t.pair()
    work = [mine.request(["relay", 5, ["c", i]]) for i in range(10)]
    work += [theirs.request(["relay", 5, ["s", i]]) for i in range(10)]
    answers = await t.within(20, asyncio.gather(*work), "twenty nested calls at once")
    t.equal(answers, [["c", i] for i in range(10)] + [["s", i] for i in range(10)], "twenty nested calls at once")


@case("about.symmetry", "about.threads", once=True)
async def many_callbacks(t: Play) -> None:
    """Handlers that call back run at the same time: ten of them, with ten callbacks each."""
    mine, _ = await t.pair()
    answers = await asyncio.gather(*(mine.request(["callback", 10, i]) for i in range(10)))
    t.equal(answers, [[[j, i] for j in range(10)] for i in range(10)], "ten times ten callbacks")


@case("about.symmetry", "request.parallel", once=True)
async def ids_do_not_clash(t: Play) -> None:
    """The first, second and third requests of both sides wait at the same time, and get their own answers."""
    ends = await t.pair()
    for index in range(6):
        places = [t.rendezvous(conn, 60) for conn in ends]
        waiting = [await place.hold(conn) for place, conn in zip(places, ends, strict=True)]
        for which in (index % 2, 1 - index % 2):  # the two sides take turns in being answered first
            await places[which].release()
            t.equal(await waiting[which], places[which].answer, "one of two requests that wait at the same time")


@case("readme.symmetry", "open.request-handler-errors", "request.errors")
async def errors_both_ways(t: Play) -> None:
    """An error in the client's handler travels to the server, as one in the server's does to the client."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        error = await t.fails(conn.request(["fail", "it broke"]), RemoteFailed, why="a handler that failed")
        t.check(
            "it broke" in error.message, "the message lacks what went wrong", expected="it broke", actual=error.message
        )


@case("readme.symmetry", "close-connection", "open.close-handler")
async def server_closes(t: Play) -> None:
    """The server may close too: the client's close handler runs, the server's does not."""
    mine, theirs = await t.pair()
    await mine.echo("before")
    await theirs.close()
    await mine.closed()
    await t.server.settle()
    t.check(theirs.closings == 0, "the server's close handler ran for its own close-connection!")


@case("about.symmetry", "start.request-handler", subject="server", once=True)
async def independent_connections(t: Play) -> None:
    """A server calls each of its clients over that client's own connection, all at once."""
    served = await t.serve()
    pairs = [await t.pair(served) for _ in range(3)]
    answers = await asyncio.gather(*(theirs.request(["callback", 2, i]) for i, (_, theirs) in enumerate(pairs)))
    t.equal(answers, [[[0, i], [1, i]] for i in range(3)], "callbacks over three connections")


@case("about.threads", "open.request-handler", timeout=20, once=True)
async def client_serves_while_asking(t: Play) -> None:
    """A client whose own request still waits answers the server's requests in the meantime."""
    mine, theirs = await t.pair()

    async def others() -> None:
        for index in range(5):
            t.equal(await theirs.request(["echo", index]), index, "the client's answer while it waits itself")

    await t.beside_a_handler(mine, others, "a client that waits for an answer serves nobody meanwhile")
