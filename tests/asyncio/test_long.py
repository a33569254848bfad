"""What takes long to be written is written beside the event loop: others are served meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed, RemoteError
from tests.support.leaks import eventually_async, soon
from tests.support.peers import SOON

LONG = 100_000


class Held(list[Any]):
    """A list of one whose writing waits until it may go on. On the event loop it would wait in vain."""

    def __init__(self) -> None:
        super().__init__([1])
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.begun.set()
        assert self.may_go_on.wait(SOON)
        return super().__iter__()


def long(held: Any) -> list[Any]:
    return [*range(LONG), held]


EXPECTED = [*range(LONG), [1]]


def plain(held: Held) -> Any:
    return lambda connection, message: long(held) if message == "long" else message


def at_once(held: Held) -> Any:
    async def handler(connection: Any, message: Any) -> Any:
        return long(held) if message == "long" else message

    return handler


def later(held: Held) -> Any:
    async def handler(connection: Any, message: Any) -> Any:
        await asyncio.sleep(0)
        return long(held) if message == "long" else message

    return handler


@pytest.mark.parametrize("kind", [plain, at_once, later])
async def test_others_are_answered_while_a_long_answer_is_written(serve: Any, connect: Any, kind: Any) -> None:
    held = Held()
    server = await serve(kind(held))
    asks, other = await connect(server), await connect(server)
    asking = asyncio.ensure_future(asks.request("long"))
    await eventually_async(held.begun.is_set, "it is being written")
    for connection in (other, asks):
        assert [await connection.request(number) for number in range(20)] == [*range(20)]
    assert not asking.done()
    held.may_go_on.set()
    assert await soon(asking) == EXPECTED


async def test_others_are_answered_while_a_long_answer_is_written_for_who_reads_slowly(
    serve: Any, connect: Any, raw: Any
) -> None:
    held = Held()
    there: list[Any] = []
    asked = asyncio.Event()

    async def handler(connection: Any, message: Any) -> Any:
        if message != "long":
            return message
        there.append(connection)
        await asked.wait()
        return long(held)

    server = await serve(handler)
    peer, other = await raw(server), await connect(server)
    await peer.send_message(b'(request 0 "long")', *(b'(request %d "%b")' % (id, b"x" * 300_000) for id in range(1, 8)))
    await eventually_async(lambda: there and there[0]._sending.full, "answers wait for the peer")
    asked.set()
    await eventually_async(held.begun.is_set, "it is being written")
    assert [await other.request(number) for number in range(20)] == [*range(20)]
    held.may_go_on.set()
    answers = [await peer.receive() for _ in range(8)]
    assert max(answers, key=len).startswith(b"(response 0 (0 1 2 ")


@pytest.mark.parametrize("bad", [object(), "\ud800"], ids=["object", "surrogate"])
async def test_a_long_answer_that_cannot_travel_is_an_error(serve: Any, connect: Any, bad: Any) -> None:
    connection = await connect(await serve(lambda connection, message: long(bad)))
    with pytest.raises(RemoteError, match="the answer cannot travel"):
        await connection.request("x")


async def test_a_connection_may_end_while_a_long_answer_is_written(serve: Any, connect: Any) -> None:
    held = Held()
    server = await serve(plain(held))
    asks = await connect(server)
    asking = asyncio.ensure_future(asks.request("long"))
    await eventually_async(held.begun.is_set, "it is being written")
    await soon(asks.close())
    with pytest.raises(ConnectionClosed):
        await asking
    held.may_go_on.set()
    other = await connect(server)
    assert await other.request(1) == 1
    await eventually_async(lambda: server.statistics().running == 0, "nothing runs any more")
    assert server.statistics().held == 0


async def test_a_program_goes_on_while_its_long_request_is_written(serve: Any, connect: Any) -> None:
    held = Held()
    server = await serve(lambda connection, message: len(message) if type(message) is list else message)
    asks, other = await connect(server), await connect(server)
    asking = asyncio.ensure_future(asks.request(long(held)))
    await eventually_async(held.begun.is_set, "it is being written")
    for connection in (other, asks):
        assert [await connection.request(number) for number in range(20)] == [*range(20)]
    held.may_go_on.set()
    assert await soon(asking) == LONG + 1


async def test_a_long_request_has_its_time_too(serve: Any, connect: Any) -> None:
    forever = asyncio.Event()

    async def handler(connection: Any, message: Any) -> Any:
        await forever.wait()

    connection = await connect(await serve(handler))
    with pytest.raises(TimeoutError):
        await connection.request([*range(LONG)], timeout=0.05)
    forever.set()
