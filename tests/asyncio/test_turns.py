"""Connections take turns on the event loop: none waits until another has read, or handled, everything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bokbok._front.lifecycle import Lifecycle
from bokbok.asyncio import connection, handling, turns
from bokbok.errors import ConnectionClosed
from tests.support.leaks import eventually_async, soon
from tests.support.peers import KEY, framed

LONG = b"(" + b"(a) " * 50_000 + b")"
"""Takes some fifty pieces, and comes in one read."""


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is over as soon as something was done in it, so that their number does not depend on the machine."""
    monkeypatch.setattr(connection, "FIRST", 0)
    monkeypatch.setattr(connection, "QUANTUM", 0)
    monkeypatch.setattr(handling, "QUANTUM", 0)
    monkeypatch.setattr(turns, "ROUND", 0)
    monkeypatch.setattr(turns, "TURNS", 0)


def comes(connection: Any, *bodies: bytes) -> None:
    """Messages come, all at once. A peer sends from a thread of its own: on a busy machine all may have been read
    before that thread has told that it has sent."""
    connection._received(b"".join(map(framed, bodies)))


async def served(server: Any, raw: Any) -> tuple[Any, Any]:
    """A raw peer's connection at the server, and the peer."""
    peer = await raw(server)
    await eventually_async(lambda: server._roster.connections, "it is connected")
    (connection,) = server._roster.connections
    return connection, peer


async def test_neighbours_are_served_while_a_long_message_is_read(serve: Any, connect: Any, raw: Any) -> None:
    handled: list[Any] = []

    async def handler(connection: Any, message: Any) -> str:
        handled.append(message if isinstance(message, str) else "long")
        return "done"

    server = await serve(handler)
    connection, peer = await served(server, raw)
    neighbour = await connect(server)
    comes(connection, b"(request 0 %b)" % LONG)
    for _ in range(3):
        await soon(neighbour.request("short"))
    assert handled == ["short"] * 3
    assert await soon(peer.receive()) == b'(response 0 "done")'
    assert handled == [*["short"] * 3, "long"]


async def test_a_users_long_messages_are_read_one_after_the_other_and_its_short_ones_beside_them(
    serve: Any, raw: Any, connect: Any
) -> None:
    order: list[Any] = []

    async def handler(connection: Any, message: Any) -> None:
        order.append(message if isinstance(message, str) else "long")

    server = await serve(handler)
    peers = [await raw(server) for _ in range(5)]
    await eventually_async(lambda: len(server._roster.connections) == 5, "they are connected")
    crowd = list(server._roster.connections)
    neighbour = await connect(server)
    for each in server._roster.connections:
        each._life.party = "one user"
    for each in crowd:
        comes(each, b"(request 0 %b)" % LONG)
    asking = asyncio.ensure_future(neighbour.request("short"))
    while not asking.done():
        assert sum(each._wire.begun for each in crowd) <= 1
        await asyncio.sleep(0)
    assert order == ["short"]
    while any(each._wire.more for each in crowd):
        assert sum(each._wire.begun for each in crowd) <= 1
        await asyncio.sleep(0)
    for peer in peers:
        assert (await soon(peer.receive())).startswith(b"(response 0 ")
    assert order.count("long") == 5


async def test_a_connection_is_closed_while_a_long_message_is_read(met: Any) -> None:
    connection, _ = await met()
    comes(connection, b"(request 0 %b)" % LONG)
    while not connection._wire.more:
        await asyncio.sleep(0)
    await soon(connection.close())
    assert not connection._wire.more
    assert connection._wire.held == 0


async def test_a_server_stops_while_a_long_message_is_read(serve: Any, raw: Any) -> None:
    server = await serve()
    connection, peer = await served(server, raw)
    comes(connection, b"(request 0 %b)" % LONG)
    while not connection._wire.more:
        await asyncio.sleep(0)
    await soon(server.stop())
    await peer.close()
    assert await soon(server.wait())


async def test_a_request_times_out_while_its_long_answer_is_read(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = spawn(connection.request, "x", timeout=3600)
    assert await peer.receive() == b'(request 0 "x")'
    comes(connection, b"(response 0 %b)" % LONG)
    while not connection._wire.more:
        await asyncio.sleep(0)
    connection._expire(0, 3600)  # what the event loop calls when it is time
    with pytest.raises(TimeoutError):
        await soon(asking)
    assert connection._wire.more


async def test_what_came_before_the_connection_was_lost_is_read(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = spawn(connection.request, "x")
    assert await peer.receive() == b'(request 0 "x")'
    comes(connection, b"(response 0 %b)" % LONG)
    while not connection._wire.more:
        await asyncio.sleep(0)
    connection._transport._fatal_error(ConnectionResetError("on purpose"))
    assert len(await soon(asking)) == 50_000
    await soon(connection._transport_closed)
    assert connection.closed


async def test_plain_handlers_let_others_have_their_turn(serve: Any, connect: Any, raw: Any) -> None:
    handled: list[str] = []

    def handler(connection: Any, message: str) -> str:
        handled.append(message)
        return "done"

    server = await serve(handler)
    connection, peer = await served(server, raw)
    neighbour = await connect(server)
    comes(connection, *(b'(request %d "many")' % number for number in range(500)))
    await soon(neighbour.request("one"))
    assert handled.count("many") < 500
    for _ in range(500):
        await soon(peer.receive())
    assert handled.count("many") == 500


async def test_what_is_read_in_turns_comes_in_its_order(serve: Any, raw: Any) -> None:
    order: list[Any] = []

    async def handler(connection: Any, message: Any) -> str:
        order.append(message if isinstance(message, int) else "long")
        return "done"

    server = await serve(handler)
    peer = await raw(server)
    await peer.send_message(b"(request 0 0)", b"(request 1 %b)" % LONG, *(b"(request %d %d)" % (n, n) for n in (2, 3)))
    for _ in range(4):
        await soon(peer.receive())
    assert order == [0, "long", 2, 3]


async def test_where_many_connections_have_something_at_once_users_take_turns(serve: Any, connect: Any) -> None:
    """Not all of one user's connections first, only because the loop tells of them first."""
    handled: list[Any] = []

    async def handler(connection: Any, message: Any) -> None:
        handled.append(message)

    server = await serve(handler, user_to_key=lambda user: KEY)
    crowd = [await connect(server, user="crowd", key=KEY) for _ in range(20)]
    good = await connect(server, user="good", key=KEY)
    # Written in one round of the loop, so that the next one tells the server of all of them.
    await soon(asyncio.gather(*(each.request("crowd") for each in crowd), good.request("good")))
    # One that was looked at at once, and a turn, which is at most eight of the shortest.
    assert handled.index("good") <= 10
    assert len(handled) == 21


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes lines up."""
    monkeypatch.setattr(turns.LoopTurns, "at_once", lambda self: False)


@pytest.mark.usefixtures("crowded")
async def test_what_comes_while_it_waits_for_its_turn_is_read_in_order_up_to_its_end(serve: Any, raw: Any) -> None:
    handled: list[Any] = []

    async def handler(connection: Any, message: Any) -> Any:
        handled.append(message)
        return message

    peer = await raw(await serve(handler))
    for number in range(5):
        await peer.send_message(b"(request %d %d)" % (number, number))
        if number % 2:
            await asyncio.sleep(0)
    await peer.finish()
    assert [await soon(peer.receive()) for _ in range(5)] == [b"(response %d %d)" % (n, n) for n in range(5)]
    assert handled == [0, 1, 2, 3, 4]
    await soon(peer.read_to_end())


@pytest.mark.usefixtures("crowded")
async def test_what_waits_for_its_turn_counts_as_held_and_is_forgotten_with_the_connection(
    serve: Any, raw: Any
) -> None:
    server = await serve()
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    await soon(peer.receive())
    (connection,) = server._roster.connections
    connection._received(b"x" * 100_000)
    assert server.statistics().held >= 100_000
    connection._end(ConnectionClosed("for a test"))
    assert connection._unread == b""
    assert server.statistics().held == 0


def releasing(problem: Exception | None = None) -> tuple[asyncio.Event, Any]:
    """Handlers that wait until the event is set, and then return the message or raise the problem."""
    go = asyncio.Event()

    async def on_request(connection: Any, message: Any) -> Any:
        await go.wait()
        if problem is not None:
            raise problem
        return message

    return go, on_request


@pytest.mark.parametrize("problem", [None, ValueError("on purpose")], ids=["return", "raise"])
async def test_handlers_that_end_at_one_moment_answer_in_turns(
    serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch, problem: Any
) -> None:
    go, on_request = releasing(problem)
    server = await serve(on_request)
    crowd, neighbour = await raw(server), await raw(server)
    await eventually_async(lambda: len(server._roster.connections) == 2, "they are connected")
    order: list[str] = []
    await crowd.send_message(*(b"(request %d x)" % id for id in range(60)))
    await eventually_async(lambda: server.statistics().running == 60, "the crowd's handlers run")
    await neighbour.send_message(b"(request 0 x)")
    await eventually_async(lambda: server.statistics().running == 61, "the neighbour's handler runs")
    crowds = {each._life: each._admission.running == 60 for each in server._roster.connections}
    for method in ("answer", "fail"):
        do = getattr(Lifecycle, method)

        def answered(life: Any, *args: Any, do: Any = do) -> Any:
            order.append("crowd" if crowds[life] else "neighbour")
            return do(life, *args)

        monkeypatch.setattr(Lifecycle, method, answered)
    go.set()
    await soon(neighbour.receive())
    for _ in range(60):
        await soon(crowd.receive())
    # It was the last one to end. A party keeps its turn for eight short pieces of work at most.
    assert order.index("neighbour") <= 10
    assert len(order) == 61


async def test_a_handler_that_is_cancelled_while_its_answer_waits_for_a_turn_answers_once(serve: Any, raw: Any) -> None:
    go, on_request = releasing()
    server = await serve(on_request)
    connection, peer = await served(server, raw)
    await peer.send_message(*(b"(request %d x)" % id for id in range(60)))
    await eventually_async(lambda: server.statistics().running == 60, "all run")
    in_line = turns.turns_of(asyncio.get_running_loop())._turns._line
    go.set()
    while not len(in_line):
        await asyncio.sleep(0)
    tasks = list(connection._handling.tasks)
    for task in tasks:
        task.cancel()
    answers = [await soon(peer.receive()) for _ in range(60)]
    assert sorted(int(answer.split()[1]) for answer in answers) == list(range(60))
    assert any(answer.startswith(b"(error") for answer in answers)
    assert server.statistics().running == 0
