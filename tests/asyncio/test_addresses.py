"""Opening and starting on an event loop: in any way, and cancelled at any time."""

from __future__ import annotations

import asyncio
from typing import Any

from bokbok.asyncio import open_connection, start_server
from tests.support.leaks import soon
from tests.support.peers import SOON


async def test_opening_may_be_cancelled_at_any_time_and_leaves_nothing(serve: Any, address: Any) -> None:
    server = await serve(at=address)
    closed: list[Any] = []

    async def open_() -> Any:
        return await open_connection(server.address, on_close=closed.append)

    cancelled = 0
    for turns in range(12):
        opening = asyncio.create_task(open_())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        try:
            connection = await opening
        except asyncio.CancelledError:
            cancelled += 1
        else:
            await connection.close()
    assert cancelled
    assert closed == []  # and the fixture looks for what else could be left


async def test_opening_and_starting_may_be_awaited_by_any_means(serve: Any, tmp_path: Any) -> None:
    server = await asyncio.wait_for(start_server(str(tmp_path / "here"), lambda connection, message: message), SOON)
    first, second = await asyncio.gather(open_connection(server.address), open_connection(server.address))
    assert await first.request("x") == await second.request("x") == "x"
    await first.close()
    await second.close()
    await server.stop()
    await soon(server.wait())
