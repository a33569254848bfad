"""Requests of tasks that are cancelled, and handlers of every kind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from bokbok.asyncio import Limits, open_connection, start_server
from bokbok.errors import (
    ConnectionClosed,
    RemoteError,
)
from tests.support.leaks import soon


class Gates(dict[Any, asyncio.Event]):
    """A handler that answers a message once its gate is open."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Any] = asyncio.Queue()

    def __missing__(self, message: Any) -> asyncio.Event:
        return self.setdefault(message, asyncio.Event())

    async def __call__(self, connection: Any, message: Any) -> Any:
        self.arrived.put_nowait(message)
        assert await soon(self[message].wait())
        return message


async def test_a_cancelled_request_stops_waiting_and_its_answer_is_dropped(
    serve: Any, connect: Any, spawn: Any
) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    asking = spawn(connection.request, "cancelled")
    assert await soon(gates.arrived.get()) == "cancelled"
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gates["cancelled"].set()
    gates["another"].set()
    assert await connection.request("another") == "another"


async def test_a_request_that_is_cancelled_before_it_was_sent_is_sent_and_nobody_waits(
    serve: Any, connect: Any, spawn: Any
) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    others = [spawn(connection.request, i) for i in range(3)]  # so that there is something to be sent together with
    asking = spawn(connection.request, "cancelled")
    await asyncio.sleep(0)
    asking.cancel()
    assert {await soon(gates.arrived.get()) for _ in range(4)} == {0, 1, 2, "cancelled"}
    for i in range(3):
        gates[i].set()
        assert await soon(others[i]) == i
    gates["cancelled"].set()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_request_may_be_limited_by_who_waits_for_it(serve: Any, connect: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(connection.request("late"), 0.01)
    gates["late"].set()
    gates["another"].set()
    assert await connection.request("another") == "another"


async def test_a_request_that_is_cancelled_at_the_moment_of_its_end_leaves_no_complaint(met: Any, spawn: Any) -> None:
    connection, peer = await met()

    async def ask_and_cancel() -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.request("first")
        second.cancel()  # it has its answer already, but has not had its turn yet

    first = spawn(ask_and_cancel)
    await peer.receive()
    second = spawn(connection.request, "second")
    await peer.receive()
    await peer.close()
    await soon(first)
    with pytest.raises(asyncio.CancelledError):
        await soon(second)
    # The fixture of all tests looks for complaints.


async def test_a_handler_may_be_a_plain_function(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(lambda connection, message: message))
    assert [await connection.request(i) for i in range(10)] == list(range(10))


async def test_a_handler_may_be_an_object_with_a_coroutine_method(serve: Any, connect: Any) -> None:
    class Handler:
        async def __call__(self, connection: Any, message: Any) -> Any:
            await asyncio.sleep(0)
            return message

    assert await (await connect(await serve(Handler()))).request("x") == "x"


async def test_a_plain_handler_may_return_a_coroutine_for_some_requests(serve: Any, connect: Any) -> None:
    async def later(message: Any) -> Any:
        await asyncio.sleep(0)
        return message

    connection = await connect(await serve(lambda connection, message: later(message) if message % 2 else message))
    assert [await connection.request(i) for i in range(6)] == list(range(6))


@pytest.mark.parametrize(
    "error", [ValueError("on purpose"), asyncio.CancelledError("on purpose")], ids=["error", "cancelled"]
)
async def test_a_coroutine_that_fails_is_an_error_of_its_request(serve: Any, connect: Any, error: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise error
        return message

    connection = await connect(await serve(on_request))
    with pytest.raises(RemoteError, match="on purpose"):
        await connection.request("fail")
    assert await connection.request("x") == "x"


async def test_a_thousand_plain_handlers_in_a_row_do_not_nest(serve: Any, raw: Any) -> None:
    peer = await raw(await serve(lambda connection, message: message, limits=Limits(running=1)))
    await peer.send_message(*[b"(request %d x)" % i for i in range(3000)])
    assert [await peer.receive() for _ in range(3000)] == [b"(response %d x)" % i for i in range(3000)]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_handler_that_exits_ends_the_event_loop(tmp_path: Any, kind: str) -> None:
    def plain(connection: Any, message: Any) -> Any:
        raise SystemExit(3)

    async def coroutine(connection: Any, message: Any) -> Any:
        raise SystemExit(3)

    async def main() -> None:
        on_request = plain if kind == "plain" else coroutine
        async with (
            start_server(str(tmp_path / "s"), on_request) as server,
            open_connection(server.address) as connection,
        ):
            await connection.request("x")

    with pytest.raises(SystemExit) as raised:
        asyncio.run(main())
    assert raised.value.code == 3


async def test_a_handler_that_is_cancelled_before_it_has_begun_is_answered_with_an_error(
    serve: Any, connect: Any
) -> None:
    server = await serve(_echo_in_coroutine)
    connection = await connect(server)

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        if coroutine.__qualname__ == "Handling._handle":
            task.cancel()
        return task

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        with pytest.raises(RemoteError, match="CancelledError"):
            await connection.request("x")
    finally:
        loop.set_task_factory(None)
    assert await connection.request("x") == "x"
    await server.stop()
    await asyncio.wait_for(server.wait(), 10)


@pytest.mark.parametrize("error", [type("Odd", (BaseException,), {}), asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("when", ["plain", "at once", "later"])
async def test_whatever_a_handler_raises_is_its_requests_error(
    serve: Any, connect: Any, error: type[BaseException], when: str
) -> None:
    def plain(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise error("on purpose")
        return message

    async def coroutine(connection: Any, message: Any) -> Any:
        if when == "later":
            await asyncio.sleep(0)
        return plain(connection, message)

    server = await serve(plain if when == "plain" else coroutine)
    connection = await connect(server)
    with pytest.raises(RemoteError, match=f"{error.__name__}: on purpose"):
        await connection.request("fail")
    assert await connection.request("x") == "x"
    await server.stop()
    await asyncio.wait_for(server.wait(), 10)


async def _echo_in_coroutine(connection: Any, message: Any) -> Any:
    return message
