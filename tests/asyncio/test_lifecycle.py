"""Ends of connections that only occur with transports of an event loop."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from tests.support.leaks import soon


async def test_an_answer_that_came_before_the_end_is_not_lost_to_a_request_that_finds_it(
    listener: Any, connect: Any, spawn: Any
) -> None:
    """Sending fails at once if the other end has closed a Unix socket, and an answer may not have been read yet."""
    for _ in range(5):
        connection = await connect(listener.address)
        peer = await listener.accept()
        first = spawn(connection.request, "first")
        await peer.receive()
        # All in one turn of the event loop, which therefore writes before it reads.
        others = [spawn(connection.request, "other") for _ in range(10)]
        peer.blocking.send_message(b'(response 0 "answer")')
        peer.blocking.close()
        assert await soon(first) == "answer"
        for other in others:
            with pytest.raises(ConnectionClosed, match=r"the other end closed|broken pipe|reset"):
                await soon(other)
        await connection.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "connection lost"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "connection timed out"),
        (OSError(), "OSError"),
    ],
    ids=["aborted", "keep-alive", "unknown"],
)
async def test_a_transport_that_gives_up_ends_the_connection_with_its_reason(
    met: Any, spawn: Any, error: Any, reason: str
) -> None:
    closed: asyncio.Queue[Any] = asyncio.Queue()
    connection, peer = await met(on_close=lambda connection: closed.put_nowait(connection.close_reason))
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.send_message(b"(response 0 x)")
    await soon(asking)
    connection._transport._force_close(error)  # as it does when the system reports it
    assert await soon(closed.get()) == reason


async def test_where_not_even_the_log_has_memory_the_connection_ends_all_the_same(
    met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, peer = await met()

    def no_memory(*args: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(connection, "_read_alone", no_memory)
    monkeypatch.setattr("bokbok.asyncio.handling._log.error", no_memory)
    asking = spawn(connection.request, "x")
    await peer.send_message(b"(response 0 x)")
    with pytest.raises(ConnectionClosed, match="MemoryError"):
        await soon(asking)
