"""What a test must not leave behind, and how to wait for something that no event reports."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .peers import SOON

T = TypeVar("T")


def open_sockets() -> set[str]:
    """The open sockets of this process: their numbers, and what they refer to."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the descriptor that lists the folder
        if target.startswith("socket:"):
            found.add(f"{number} -> {target}")
    return found


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds that no event reports."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.001)


async def eventually_async(condition: Callable[[], object], what: str) -> None:
    """The same on an event loop."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        await asyncio.sleep(0.001)


async def soon(awaitable: Awaitable[T]) -> T:
    """Await what should happen at once."""
    return await asyncio.wait_for(awaitable, SOON)
