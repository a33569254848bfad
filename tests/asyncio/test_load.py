"""Many connections at once: nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bokbok.asyncio import sending
from tests.support.leaks import eventually_async, soon
from tests.support.load import CONNECTIONS, REQUESTS, ask_all, many_files
from tests.support.peers import USERS

__all__ = ["many_files"]


async def test_500_connections_with_10000_requests_in_flight_lose_none(
    serve: Any, address: Any, many_files: None
) -> None:
    all_sent = asyncio.Event()

    async def on_request(connection: Any, message: Any) -> Any:
        assert await soon(all_sent.wait())
        return message

    server = await serve(on_request, at=address, backlog=CONNECTIONS, user_to_key=USERS.get)
    assert await ask_all(server.address, all_sent.set) == CONNECTIONS * REQUESTS == 10_000


async def test_nothing_is_written_to_a_transport_that_is_lost(
    serve: Any, raw: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FLUSH_AT", 1)  # so that each answer is written by itself
    go = asyncio.Event()
    there: list[Any] = []

    async def on_request(connection: Any, message: Any) -> Any:
        there.append(connection)
        await go.wait()
        return message

    server = await serve(on_request)
    peer = await raw(server)
    await peer.send_message(*(b"(request %d x)" % id for id in range(100)))
    await eventually_async(lambda: len(there) == 100, "all are handled")
    there[0]._transport.pause_reading()  # the end is noticed by writing first
    await peer.close()
    go.set()
    await eventually_async(lambda: there[0].closed, "the end is noticed")
    assert "socket.send() raised exception" not in caplog.text
