"""Servers, connections, raw peers and tasks for tests of `bokbok.asyncio`. All of them are ended, which is checked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok.asyncio import Connection, Server, open_connection, start_server
from tests.support.fixtures import address, what_is_there_already
from tests.support.fixtures import listener as blocking_listener
from tests.support.leaks import eventually_async, open_sockets, soon
from tests.support.peers import KEY, SOON, Awaited, RawPeer

__all__ = ["address", "blocking_listener", "what_is_there_already"]


async def echo(connection: Connection, message: Any) -> Any:
    return message


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Every socket is closed at the end, by its owner and not by the garbage collector. No task is left."""
    before, tasks = open_sockets(), asyncio.all_tasks()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    yield
    await eventually_async(lambda: open_sockets() <= before, "every socket is closed")
    await eventually_async(lambda: asyncio.all_tasks() <= tasks | {asyncio.current_task()}, "every task is done")
    gc.collect()  # objects that were not closed, or not looked at, complain now
    assert complaints == []


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`start_server`; by default on a Unix socket, with an echo."""
    servers: list[Server] = []

    async def start(on_request: Any = echo, *, at: Any = None, **options: Any) -> Server:
        at = at if at is not None else ("unix", str(tmp_path / f"s{len(servers)}"))
        servers.append(await start_server(at, on_request, **options))
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()
    for server in servers:
        assert await server.wait(SOON), f"{server} does not end"


@pytest.fixture
async def connect(serve: Any) -> AsyncIterator[Callable[..., Any]]:
    """`open_connection`, to a server or an address. `secure=True` means the user that servers here know."""
    connections: list[Connection] = []

    async def open_(to: Any, *args: Any, secure: bool = False, **options: Any) -> Connection:
        if secure:
            options |= {"user": "myuser", "key": KEY}
        connections.append(await open_connection(getattr(to, "address", to), *args, **options))
        return connections[-1]

    yield open_
    for connection in connections:
        await soon(connection.close())


@pytest.fixture
async def raw(serve: Any) -> AsyncIterator[Callable[[Server], Any]]:
    """A client that sends any bytes."""
    peers: list[RawPeer] = []

    async def open_(server: Server) -> Any:
        peers.append(await asyncio.to_thread(RawPeer.connect, server.address))
        return Awaited(peers[-1])

    yield open_
    for peer in peers:
        peer.close()


@pytest.fixture
def listener(blocking_listener: Any) -> Any:
    """A server that sends any bytes."""
    return Awaited(blocking_listener)


@pytest.fixture
async def met(listener: Any, connect: Any) -> AsyncIterator[Callable[..., Any]]:
    """A connection of ours, and a server that sends any bytes, at its other end."""
    peers: list[Any] = []

    async def meet(*args: Any, secure: bool = False, **options: Any) -> tuple[Connection, Any]:
        connection = await connect(listener.address, *args, secure=secure, **options)
        peers.append(await listener.accept())
        if secure:
            await peers[-1].take_hello(KEY)
        return connection, peers[-1]

    yield meet
    for peer in peers:
        await peer.close()


@pytest.fixture
async def spawn() -> AsyncIterator[Callable[..., asyncio.Future[Any]]]:
    """Call a coroutine function in a task of its own, or a plain one in a thread."""
    tasks: list[asyncio.Future[Any]] = []

    def start(function: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Future[Any]:
        coroutine = function(*args, **options)
        assert inspect.isawaitable(coroutine)
        tasks.append(asyncio.ensure_future(coroutine))
        return tasks[-1]

    yield start
    done, waiting = await asyncio.wait(tasks, timeout=1) if tasks else (set(), set())
    for task in waiting:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
    for task in done:
        if not task.cancelled():
            task.exception()  # looked at, even if the test did not
    assert not waiting, "a task of the test still waits"
