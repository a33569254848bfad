"""Tasks that begin and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

__all__ = ["end", "together"]


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at the same time. If one part fails, or this is cancelled, the others are ended before this
    returns."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
