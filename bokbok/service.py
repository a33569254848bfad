"""The conformance service: the request handler that every implementation has, so that any pair can be tested.

What this module knows: the service's requests (`interop/README.md`, *The service*) and what they answer. It uses only
the public API of the front ends.

`bokbok serve` offers it where no handler is named, and the puppets of the conformance runner are built on it:

    start_server("localhost:8000", service.handler())               # bokbok.sync
    await start_server("localhost:8000", service.async_handler())   # bokbok.asyncio
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from .errors import BokbokError, WriteError
from .sexpr import CHICKEN_5, Symbol, dumps, type_name

if TYPE_CHECKING:
    from . import asyncio as bokbok_asyncio
    from . import sync as bokbok_sync

__all__ = ["Raised", "ServiceError", "async_handler", "handler"]

_MAX_CALLBACKS = 100_000
"""`("callback" N X)` and `("relay" N X)` ask this end to work: often enough for every test, but with a limit."""
_MAX_SLEEP = 3_600_000
"""Milliseconds: an hour."""


class ServiceError(BokbokError):
    """What `("fail" S)` raises, and the answer to a request that the service does not know."""

    def __str__(self) -> str:
        return str(self.args[0])


class Raised(BokbokError):
    """What `("raise" X)` raises: Python raises only exceptions, so the object travels inside one, as written."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(_written(value))


class _Ops(Protocol):
    """What the service asks of a front end."""

    user: str | None

    async def request(self, message: Any) -> Any: ...

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class _SyncOps:
    """A blocking connection, in coroutines that never wait for anything else."""

    def __init__(self, connection: bokbok_sync.Connection) -> None:
        self._connection = connection
        self.user = connection.user

    async def request(self, message: Any) -> Any:
        return self._connection.request(message)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        self._connection.close()


class _AsyncOps:
    def __init__(self, connection: bokbok_asyncio.Connection) -> None:
        self._connection = connection
        self.user = connection.user

    async def request(self, message: Any) -> Any:
        return await self._connection.request(message)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._connection.close()


class _Counts:
    """The counters of `("count" S)`: one set a process, or a handler."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> int:
        with self._lock:
            self._counts[name] += 1
            return self._counts[name]


_counts = _Counts()  # "this process's counter named S"


async def _serve(ops: _Ops, request: Any) -> Any:
    """Answer one request of the service."""
    if not isinstance(request, list) or not request or not _is_string(request[0]):
        raise _unknown(request)
    name, args = request[0], request[1:]
    if name == "echo" and len(args) == 1:
        return args[0]
    if name == "ping" and len(args) == 1:
        return ["pong", args[0]]
    if name == "sleep" and len(args) == 2 and _is_number(args[0], _MAX_SLEEP):
        await ops.sleep(args[0] / 1000)
        return args[1]
    if name == "count" and len(args) == 1 and _is_string(args[0]):
        return _counts.add(args[0])
    if name == "fail" and len(args) == 1 and _is_string(args[0]):
        raise ServiceError(args[0])
    if name == "raise" and len(args) == 1:
        raise Raised(args[0])
    if name == "callback" and len(args) == 2 and _is_count(args[0]):
        return [await ops.request(["echo", [i, args[1]]]) for i in range(args[0])]
    if name == "relay" and len(args) == 2 and _is_count(args[0]):
        return args[1] if args[0] == 0 else await ops.request(["relay", args[0] - 1, args[1]])
    if name == "whoami" and not args:
        return ops.user if ops.user is not None else False
    if name == "type" and len(args) == 1:
        return type_name(args[0])
    if name == "unspecified" and not args:
        return None
    if name == "unwritable" and not args:
        return _serve
    if name == "close" and not args:
        await ops.close()
        return None
    raise _unknown(request)


def _is_string(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Symbol)


def _is_number(value: Any, most: int) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_CALLBACKS


def _unknown(request: Any) -> ServiceError:
    text = _written(request)
    return ServiceError(f"unknown request: {text if len(text) <= 200 else text[:200] + ' …'}")


def _written(value: Any) -> str:
    """A datum as written, for an error's text: also one that was read and that CHICKEN 4 has no form for (`1/2`)."""
    try:
        data = dumps(value)
    except WriteError:
        data = dumps(value, dialect=CHICKEN_5)
    return data.decode("utf-8", "surrogateescape")


def handler() -> Callable[[bokbok_sync.Connection, Any], Any]:
    """The service as a request handler for `bokbok.sync`."""

    def on_request(connection: bokbok_sync.Connection, request: Any) -> Any:
        return finish(_serve(_SyncOps(connection), request))

    return on_request


def async_handler() -> Callable[[bokbok_asyncio.Connection, Any], Awaitable[Any]]:
    """The service as a request handler for `bokbok.asyncio`."""

    async def on_request(connection: bokbok_asyncio.Connection, request: Any) -> Any:
        return await _serve(_AsyncOps(connection), request)

    return on_request


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that blocks and never suspends, so that one function serves both front ends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a coroutine that was to block suspended")
