"""A connection that is opened again: what only concerns the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import bokbok.asyncio
from bokbok.errors import ConnectFailed
from bokbok.reconnecting import Backoff
from bokbok.reconnecting.asyncio import Connection
from tests.support.peers import SOON


@pytest.mark.parametrize("succeeds", [False, True])
async def test_closing_does_not_wait_for_a_cancellation_that_is_swallowed(
    monkeypatch: pytest.MonkeyPatch, succeeds: bool
) -> None:
    begun = asyncio.Event()
    closed = []

    class Opened:
        async def close(self) -> None:
            closed.append(self)

    async def swallowing(*args: Any, **options: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(SOON * 10)
        except asyncio.CancelledError:
            if succeeds:
                return Opened()
            raise ConnectFailed("nobody is there") from None

    monkeypatch.setattr(bokbok.asyncio, "open_connection", swallowing)
    async with Connection(["a:1", "b:1"], backoff=Backoff(initial=0.01, most=0.02)) as connection:
        await begun.wait()
        await asyncio.wait_for(connection.close(), SOON)
    assert len(closed) == succeeds
