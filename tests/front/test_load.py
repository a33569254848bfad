"""Many at once: nothing is lost."""

from __future__ import annotations

from typing import Any

from tests.support.peers import SOON


def test_100_threads_over_one_connection_lose_nothing(serve: Any, connect: Any, spawn: Any, address: Any) -> None:
    connection = connect(serve(at=address))

    def ask(thread: int) -> int:
        return sum(connection.request([thread, i]) == [thread, i] for i in range(30))

    assert sum(asking.result(SOON) for asking in [spawn(ask, thread) for thread in range(100)]) == 3000
