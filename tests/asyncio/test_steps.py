"""First steps by hand: a handler that waits is an ordinary task, and one that does not wait leaves no trace."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest

from bokbok.asyncio.steps import BY_HAND
from bokbok.errors import RemoteError

pytestmark = pytest.mark.skipif(not BY_HAND, reason="from Python 3.12 on asyncio itself takes first steps")

_MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


async def test_a_handler_finds_itself_in_a_task_from_its_first_line_to_its_last(serve: Any, connect: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        first = asyncio.current_task()
        assert first is not None
        if message == "wait":
            await asyncio.sleep(0)
        elif message == "wait for a future":
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, None)
            await future
        assert asyncio.current_task() is first
        assert message == "at once" or first in asyncio.all_tasks()
        return message

    connection = await connect(await serve(on_request))
    for message in ("at once", "wait", "wait for a future", "at once"):
        assert await connection.request(message) == message


async def test_a_task_that_somebody_keeps_is_not_another_handlers(serve: Any, connect: Any) -> None:
    tasks: list[Any] = []

    async def on_request(connection: Any, message: Any) -> Any:
        tasks.append(asyncio.current_task())
        return message

    connection = await connect(await serve(on_request))
    await asyncio.gather(*(connection.request(number) for number in range(5)))
    assert len(set(tasks)) == 5


async def test_handlers_do_not_see_each_others_context(serve: Any, connect: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        found = _MARK.get()
        _MARK.set(message)
        if message == "wait":
            await asyncio.sleep(0)
            assert _MARK.get() == "wait"
        return found

    connection = await connect(await serve(on_request))
    assert await asyncio.gather(*map(connection.request, ("a", "wait", "b", "wait", "c"))) == ["none"] * 5


@pytest.mark.parametrize("when", ["first step", "before its second", "later"])
async def test_a_handler_can_be_cancelled_whenever_it_waits(serve: Any, connect: Any, when: str) -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[Any]] = []
    inner: list[asyncio.Future[Any]] = []

    async def on_request(connection: Any, message: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if message != "wait":
            return message
        tasks.append(task)
        inner.append(loop.create_future())
        if when == "first step":
            task.cancel("on purpose")
        elif when == "before its second":
            loop.call_soon(task.cancel, "on purpose")
        else:
            loop.call_later(0.01, task.cancel, "on purpose")
        await inner[0]

    connection = await connect(await serve(on_request))
    with pytest.raises(RemoteError, match="CancelledError"):
        await connection.request("wait")
    assert inner[0].cancelled()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    assert await connection.request("x") == "x"


async def test_a_handler_that_cancels_itself_and_returns_has_answered(serve: Any, connect: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return message

    connection = await connect(await serve(on_request))
    assert await asyncio.gather(*map(connection.request, range(3))) == [0, 1, 2]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
async def test_a_time_out_of_a_handler_is_its_own(serve: Any, connect: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        try:
            async with asyncio.timeout(0 if message == "late" else 10):
                if message == "late":
                    await asyncio.get_running_loop().create_future()
                return message
        except TimeoutError:
            return "too late"

    connection = await connect(await serve(on_request))
    messages = ["x", "late", "y", "late", "z"]
    expected = ["x", "too late", "y", "too late", "z"]
    assert await asyncio.gather(*map(connection.request, messages)) == expected


async def test_nothing_is_left_of_a_task_in_reserve_when_its_loop_closes(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        return message

    before = asyncio.all_tasks()
    connection = await connect(await serve(on_request))
    assert await connection.request("x") == "x"
    assert {task for task in asyncio.all_tasks() - before if "_Reserve" in repr(task)} == set()


async def test_where_tasks_are_made_by_somebody_else_they_make_the_handlers_too(serve: Any, connect: Any) -> None:
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def on_request(connection: Any, message: Any) -> Any:
        return message

    connection = await connect(await serve(on_request))
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        assert await connection.request("x") == "x"
    finally:
        loop.set_task_factory(None)
    assert "Handling._handle" in made
