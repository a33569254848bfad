"""Servers, bridges and clients for tests of `bokbok.bridge`. All of them are ended, which is checked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok import service
from bokbok.asyncio import Connection, Server, open_connection, start_server
from bokbok.bridge import Bridge, start_bridge
from tests.support.leaks import eventually_async, open_sockets, soon
from tests.support.peers import Awaited, RawListener, RawPeer


class Rig:
    """Starts what a test needs, each at its own address, and ends it in reverse order."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._places = 0

    def place(self, kind: str = "unix") -> Any:
        """A new address to listen at."""
        self._places += 1
        return ("tcp", "127.0.0.1", 0) if kind == "tcp" else ("unix", str(self._folder / f"s{self._places}"))

    async def server(self, on_request: Any = None, *, at: str = "unix", **options: Any) -> Server:
        """A server; by default of the conformance service."""
        return await self._stack.enter_async_context(
            start_server(self.place(at), on_request or service.async_handler(), **options)
        )

    async def bridge(self, target: Any, *, at: str = "unix", **options: Any) -> Bridge:
        """A bridge to a server or an address."""
        return await self._stack.enter_async_context(
            start_bridge(self.place(at), getattr(target, "address", target), **options)
        )

    async def client(self, to: Any, user: Any = None, key: Any = None, **options: Any) -> Connection:
        """A client that offers the conformance service."""
        options.setdefault("on_request", service.async_handler())
        return await self._stack.enter_async_context(open_connection(to.address, user, key, **options))

    async def raw_client(self, to: Any) -> Any:
        """A client that sends any bytes."""
        peer = await asyncio.to_thread(RawPeer.connect, to.address)
        self._stack.callback(peer.close)
        return Awaited(peer)

    async def raw_target(self) -> Any:
        """A target that sends any bytes. Returns its listener."""
        listener = RawListener(self.place())
        self._stack.callback(listener.close)
        return Awaited(listener)

    async def accepted(self, listener: Any) -> Any:
        """The next connection of a raw target."""
        peer = await listener.accept()
        self._stack.callback(peer.blocking.close)
        return peer


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    before, tasks = open_sockets(), asyncio.all_tasks()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    stack = contextlib.AsyncExitStack()
    yield Rig(tmp_path, stack)
    await soon(stack.aclose())
    await eventually_async(lambda: open_sockets() <= before, "every socket is closed")
    await eventually_async(lambda: asyncio.all_tasks() <= tasks | {asyncio.current_task()}, "every task is done")
    gc.collect()  # objects that were not closed, or not looked at, complain now
    assert complaints == []


@pytest.fixture
def closing() -> Callable[[], tuple[Any, asyncio.Event]]:
    """A close handler, and the event that it sets."""

    def make() -> tuple[Any, asyncio.Event]:
        event = asyncio.Event()
        return (lambda connection: event.set()), event

    return make
