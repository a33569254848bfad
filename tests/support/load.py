"""Five hundred connections with ten thousand requests in flight, for either front end."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bokbok.asyncio import open_connection

from .peers import KEY

CONNECTIONS = 500
REQUESTS = 20  # each


@pytest.fixture
def many_files() -> Iterator[None]:
    """Enough file descriptors for both ends of every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} file descriptors, and this system allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def ask_all(address: Any, all_sent: Callable[[], object]) -> int:
    """Send all requests over every connection, and call `all_sent` once they are on their way.

    Returns:
        How many requests were answered with what they asked.
    """
    connections = [await open_connection(address, "myuser", KEY) for _ in range(CONNECTIONS)]
    try:
        asking = [
            asyncio.ensure_future(connection.request([number, i]))
            for i in range(REQUESTS)
            for number, connection in enumerate(connections)
        ]
        await asyncio.sleep(0)  # each task runs until its request is queued
        all_sent()
        answers = await asyncio.gather(*asking)
        return sum(answer == [number, i] for answer, (i, number) in zip(answers, _asked(), strict=True))
    finally:
        for connection in connections:
            await connection.close()


def _asked() -> Iterator[tuple[int, int]]:
    return ((i, number) for i in range(REQUESTS) for number in range(CONNECTIONS))
