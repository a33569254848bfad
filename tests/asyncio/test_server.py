"""A server on an event loop: what waits for it, and connections that are still being set up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from tests.support.leaks import soon
from tests.support.peers import KEY, Awaited, RawPeer


@pytest.mark.parametrize("which", ["on_request", "on_open", "on_close", "user_to_key"])
async def test_a_handler_that_waits_for_its_own_server_is_told_that_it_cannot(
    serve: Any, connect: Any, which: str
) -> None:
    servers: list[Any] = []
    ready = asyncio.Event()
    said: asyncio.Queue[str] = asyncio.Queue()

    async def handler(*args: Any) -> Any:
        assert await soon(ready.wait())
        with pytest.raises(RuntimeError) as raised:
            await servers[0].wait()
        said.put_nowait(str(raised.value))
        return KEY if which == "user_to_key" else None

    servers.append(await serve(**{"on_request": lambda connection, message: message, which: handler}))
    ready.set()
    connection = await connect(servers[0], secure=which == "user_to_key")
    if which == "on_request":
        await connection.request("x")
    await connection.close()
    assert await soon(said.get()) == "a handler cannot wait for its own server: the server waits for its handlers"


async def test_a_task_of_a_handler_may_stop_its_server_and_wait(serve: Any, connect: Any, spawn: Any) -> None:
    servers: list[Any] = []
    over = asyncio.Event()

    async def stop_and_wait() -> None:
        await servers[0].stop()
        await servers[0].wait()
        over.set()

    async def on_request(connection: Any, message: Any) -> Any:
        spawn(stop_and_wait)
        return "soon"

    servers.append(await serve(on_request))
    assert await (await connect(servers[0])).request("stop") == "soon"
    assert await soon(over.wait())


def _fail_to_serve_one(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    """The next connection that is accepted cannot be set up; those after it can."""
    loop = asyncio.get_running_loop()
    connect_accepted_socket = loop.connect_accepted_socket
    failures = iter([failure])

    async def failing(*args: Any) -> Any:
        for each in failures:
            raise each
        return await connect_accepted_socket(*args)

    monkeypatch.setattr(loop, "connect_accepted_socket", failing)


async def test_a_connection_that_cannot_be_served_disturbs_nobody(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    _fail_to_serve_one(monkeypatch, ZeroDivisionError("on purpose"))
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert "a connection could not be served" in caplog.text
    assert await (await connect(server)).request("x") == "x"


async def test_a_connection_that_is_being_set_up_when_the_server_stops_is_closed(serve: Any, address: Any) -> None:
    for turns in range(8):
        server = await serve(at=address)
        peer = RawPeer.connect(server.address)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop()
        with contextlib.suppress(ConnectionResetError):  # it was not accepted at all
            assert await Awaited(peer).read_to_end() == b""
        peer.close()
        await soon(server.wait())


async def test_a_connection_whose_setting_up_is_cancelled_is_forgotten(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()
    _fail_to_serve_one(monkeypatch, asyncio.CancelledError())
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert await (await connect(server)).request("x") == "x"
