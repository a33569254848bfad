"""The puppet of `bokbok.asyncio`: a task for each command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import bokbok.asyncio
from bokbok import service

from .forms import start_logging
from .puppet import Front, Puppet

__all__ = ["MAX_LINE", "main", "obey_stdin"]

MAX_LINE = 128 * 1024 * 1024
"""Bytes of a line: a datum of the largest packet, with every byte escaped."""


class Memory:
    """A memory of hellos for several servers of one event loop."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    async def remember(self, digest: bytes) -> bool:
        """Remember a hello by its digest. False if it was remembered before."""
        new = digest not in self._seen
        self._seen.add(digest)
        return new


async def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return await function(*args, **options)


async def obey_stdin(obey: Callable[[bytes], Coroutine[Any, Any, None]], close: Callable[[], Awaitable[None]]) -> None:
    """Obey each line of standard input, in a task for each, until the input ends.

    Args:
        obey: obeys a line.
        close: awaited once, at the end of standard input. Tasks that still run then are cancelled.
    """
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(obey(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _main() -> None:
    puppet = Puppet(Front(bokbok.asyncio, service.async_handler(), _call, lambda serve: serve, asyncio.Event, Memory))
    await obey_stdin(puppet.obey, puppet.close)


def main() -> None:
    """Obey until the end of standard input."""
    start_logging()
    asyncio.run(_main())


if __name__ == "__main__":
    main()
