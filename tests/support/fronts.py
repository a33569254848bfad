"""Both front ends in one blocking shape, so that what they share is tested once.

`bokbok.sync` has this shape already. `bokbok.asyncio` runs on an event loop in a thread of its own: each coroutine
method runs there, and the caller waits for it. A plain handler of a test, which may block, is called in a thread. A
coroutine function is passed on unchanged.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import bokbok.asyncio
import bokbok.service
import bokbok.sync

from .leaks import eventually
from .peers import SOON

HANDLERS = ("on_request", "user_to_key", "on_open", "on_close")


class Gates(dict[Any, threading.Event]):
    """A handler that answers a message once its gate is open."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[Any] = queue.Queue()

    def __missing__(self, message: Any) -> threading.Event:
        return self.setdefault(message, threading.Event())

    def __call__(self, connection: Any, message: Any) -> Any:
        self.arrived.put(message)
        assert self[message].wait(SOON)
        return message


class Threads:
    """`bokbok.sync`, as it is."""

    name = "sync"
    module: ModuleType = bokbok.sync
    deadly = SystemExit
    """It is not an `Exception`, and still it may end a handler and nothing else."""
    clock: ModuleType = time
    """How it sleeps."""
    open_connection = staticmethod(bokbok.sync.open_connection)
    start_server = staticmethod(bokbok.sync.start_server)
    service = staticmethod(bokbok.service.handler)

    @staticmethod
    def echo(connection: Any, message: Any) -> Any:
        """Answer what was asked."""
        return message

    def close(self) -> None:
        """There is nothing to close."""


class EventLoop:
    """`bokbok.asyncio`, on an event loop in a thread of its own."""

    name = "asyncio"
    module: ModuleType = bokbok.asyncio
    deadly = GeneratorExit
    clock: ModuleType = asyncio
    service = staticmethod(bokbok.service.async_handler)

    def __init__(self) -> None:
        self.complaints: list[Any] = []
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        self._threads = ThreadPoolExecutor(1000)  # handlers block, and wait for each other
        self.loop.set_default_executor(self._threads)
        self._runner = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._runner.start()

    @staticmethod
    async def echo(connection: Any, message: Any) -> Any:
        """Answer what was asked."""
        return message

    def open_connection(self, *args: Any, **options: Any) -> Any:
        """`bokbok.asyncio.open_connection`, entered or awaited."""
        names = ("address", "user", "key", "on_request", "on_close")
        return self._made(bokbok.asyncio.open_connection, dict(zip(names, args, strict=False)) | options)

    def start_server(self, *args: Any, **options: Any) -> Any:
        """`bokbok.asyncio.start_server`, entered or awaited."""
        return self._made(
            bokbok.asyncio.start_server, dict(zip(("address", "on_request"), args, strict=False)) | options
        )

    def _made(self, make: Callable[..., Any], options: dict[str, Any]) -> Any:
        for name in HANDLERS:
            if options.get(name) is not None:
                options[name] = self._handler(options[name])

        async def made() -> Any:
            return await make(**options)

        return Blocking(self, self.run(made()))

    def _handler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):
            return function

        async def call(*args: Any) -> Any:
            blocking = [Blocking(self, arg) if isinstance(arg, bokbok.asyncio.Connection) else arg for arg in args]
            return await asyncio.to_thread(function, *blocking)

        return call

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the event loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        """Stop the event loop, and check that no task is left and that the loop has not complained."""
        eventually(lambda: not asyncio.all_tasks(self.loop), "every task is done")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._runner.join()
        self._threads.shutdown(wait=False)
        self.loop.close()
        assert self.complaints == []


class Blocking:
    """A connection or a server of an event loop, for other threads: its coroutine methods return when they are done."""

    def __init__(self, front: EventLoop, inner: Any) -> None:
        self._front = front
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        def method(*args: Any, **options: Any) -> Any:
            return self._front.run(found(*args, **options))

        return method

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self.inner is other.inner

    def __hash__(self) -> int:
        return hash(self.inner)

    def __repr__(self) -> str:
        return repr(self.inner)

    def __enter__(self) -> Blocking:
        self._front.run(self.inner.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._front.run(self.inner.__aexit__(*error))


FRONTS: dict[str, Callable[[], Any]] = {"sync": Threads, "asyncio": EventLoop}
