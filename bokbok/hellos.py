"""The memory of hellos that a fleet of servers shares, in Redis (or Valkey), by its official client.

A server remembers by itself which hellos it has accepted. Another server with the same keys does not know them, so
there a hello could be replayed. With one memory for all it is refused everywhere:

    from bokbok import start_server
    from bokbok.hellos import RedisHellos

    start_server(":8000", handler, user_to_key=keys.get, shared_hellos=RedisHellos("redis://localhost"))

What is kept are digests of hellos that have opened, 32 bytes each, under a key of its own: `SET NX`, one round trip.
They reveal nothing about a key. A hello carries no time, so it must be remembered for as long as its user's key is in
use: configure Redis not to evict (`maxmemory-policy noeviction`), and to persist. A hello that it forgets can be
replayed. The extra `redis` installs the client.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Final, Literal

import redis
import redis.asyncio

__all__ = ["AsyncRedisHellos", "RedisHellos"]

_log = logging.getLogger("bokbok.hellos")

Unreachable = Literal["refuse", "serve"]

DEFAULT_PREFIX: Final = "bokbok:hello:"
"""Of the keys: whoever names none shares the memory of all who name none."""
DEFAULT_TIMEOUT: Final = 2.0
"""Seconds for a round trip: an answer takes a millisecond, and a client waits meanwhile."""
DEFAULT_CONNECTIONS: Final = 16
"""Connections to Redis: with threads, as many hellos ask at once; the others wait for one of them."""
_TOLD_EVERY: Final = 10.0
"""Seconds between two log lines that say that it cannot be reached."""
_BATCH: Final = 1000
"""Hellos in one pipeline."""


class _Common:
    def __init__(self, prefix: str, keep: float | None, unreachable: Unreachable) -> None:
        if unreachable not in ("refuse", "serve"):
            raise ValueError(f"unreachable: expected 'refuse' or 'serve'; got {unreachable!r}")
        if keep is not None and not keep > 0:
            raise ValueError(f"keep: expected a number of seconds above 0, or None; got {keep!r}")
        self._prefix, self._unreachable = prefix.encode(), unreachable
        self._how: dict[str, Any] = {"nx": True, **({} if keep is None else {"px": max(1, round(keep * 1000))})}
        self._told = 0.0
        self._lock = threading.Lock()

    def _key(self, digest: bytes) -> bytes:
        return self._prefix + digest

    def _failed(self, error: Exception) -> bool:
        """What happens to a hello that cannot be looked up: True serves it; otherwise the error is raised, which
        refuses it."""
        if self._unreachable == "refuse":
            raise error
        with self._lock:
            now = time.monotonic()
            silent = self._told and now - self._told < _TOLD_EVERY
            if not silent:
                self._told = now
        if not silent:
            _log.warning("Redis cannot be reached, so hellos that other servers have seen are served: %s", error)
        return True


class RedisHellos(_Common):
    """For `bokbok.start_server`: a memory that any number of servers share.

    Args:
        url: `redis://HOST:PORT/DATABASE`, `rediss://…` (TLS) or `unix://PATH`, as the client has it; with user and
            password where Redis asks for them.
        prefix: of the keys. Servers share a memory if it is the same.
        keep: seconds that a hello is remembered; `None` for ever. It can be replayed afterwards, so take the time after
            which keys are replaced.
        unreachable: what a hello gets while Redis does not answer: `"refuse"` (no client gets in, nothing is replayed),
            or `"serve"` (each server knows its own hellos alone; a warning is logged).
        timeout: seconds for an answer.
        connections: to Redis, at most.

    Raises:
        ValueError: an argument does not fit. Nothing is connected before the first hello.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        keep: float | None = None,
        unreachable: Unreachable = "refuse",
        timeout: float = DEFAULT_TIMEOUT,
        connections: int = DEFAULT_CONNECTIONS,
    ) -> None:
        super().__init__(prefix, keep, unreachable)
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        self._redis = redis.Redis(connection_pool=pool)

    def remember(self, digest: bytes) -> bool:
        """Remember a hello by its digest. False if any server of the fleet remembered it before.

        Raises:
            redis.RedisError: Redis cannot be reached, and `unreachable` is `"refuse"`.
        """
        try:
            return bool(self._redis.set(self._key(digest), b"", **self._how))
        except redis.RedisError as error:
            return self._failed(error)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def __repr__(self) -> str:
        return f"<RedisHellos {self._prefix.decode()!r}>"  # an URL may hold a password


class AsyncRedisHellos(_Common):
    """For `bokbok.asyncio.start_server`: the same on an event loop.

    Hellos that come while a round trip is under way share the next one: a pipeline, over one connection.

    Args:
        url, prefix, keep, unreachable, timeout: as of `RedisHellos`.

    Raises:
        ValueError: an argument does not fit. Nothing is connected before the first hello.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        keep: float | None = None,
        unreachable: Unreachable = "refuse",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(prefix, keep, unreachable)
        self._redis = redis.asyncio.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def remember(self, digest: bytes) -> bool:
        """Remember a hello by its digest. False if any server of the fleet remembered it before.

        Raises:
            redis.RedisError: Redis cannot be reached, and `unreachable` is `"refuse"`.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            return await answer
        except redis.RedisError as error:
            return self._failed(error)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                pipeline = self._redis.pipeline(transaction=False)
                for digest, _ in batch:
                    pipeline.set(self._key(digest), b"", **self._how)
                try:
                    results = await pipeline.execute(raise_on_error=False)
                except redis.RedisError as error:
                    results = [error] * len(batch)
                for (_, answer), result in zip(batch, results, strict=True):
                    if answer.done():  # its caller does not wait any longer
                        continue
                    if isinstance(result, Exception):
                        answer.set_exception(result)
                    else:
                        answer.set_result(bool(result))
        finally:
            self._asking = None

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    def __repr__(self) -> str:
        return f"<AsyncRedisHellos {self._prefix.decode()!r}>"  # an URL may hold a password
