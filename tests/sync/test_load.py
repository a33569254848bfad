"""Many connections at once: nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from bokbok import Limits
from tests.support.load import CONNECTIONS, REQUESTS, ask_all, many_files
from tests.support.peers import SOON, USERS

__all__ = ["many_files"]


def test_500_connections_with_10000_requests_in_flight_lose_none(serve: Any, address: Any, many_files: None) -> None:
    all_sent = threading.Event()

    def on_request(connection: Any, message: Any) -> Any:
        assert all_sent.wait(SOON)
        return message

    # Two threads for each connection are a thousand; the other requests wait their turn.
    server = serve(on_request, at=address, backlog=CONNECTIONS, user_to_key=USERS.get, limits=Limits(running=2))
    assert asyncio.run(ask_all(server.address, all_sent.set)) == CONNECTIONS * REQUESTS == 10_000
