"""Many connections at once: nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.leaks import soon
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
