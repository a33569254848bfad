"""How to connect to a scheduler, or to start one for this machine's processes.

What this module knows: Dask's cluster and client. A scheduler runs whatever it is sent, and so do its workers: beyond
this machine it must be reached by TLS, which `where` sees to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import dask
from distributed import Client, LocalCluster

from .where import Where, WorkersError

__all__ = ["Scheduler", "quietly"]

CONNECT_SECONDS = 15.0
"""Seconds until a scheduler answers, and a worker is connected to it."""


class Scheduler:
    """A connection to a scheduler, used on the event loop on which it was made.

    Attributes:
        client: Dask's client.
    """

    def __init__(self) -> None:
        self.client: Any = None
        self._cluster: Any = None

    async def connect(self, where: Where, *, threads: int) -> None:
        """Connect, and wait for a worker.

        Args:
            where: the scheduler.
            threads: for processes of this machine, how many calls each of them runs at once.

        Raises:
            WorkersError: it cannot be reached, or has no worker.
        """
        try:
            if where.workers:
                local: Any = LocalCluster
                # Dask looks at what each thread does a hundred times a second; nobody would see what it finds.
                with dask.config.set({"distributed.worker.profile.enabled": False}):
                    self._cluster = await local(
                        n_workers=where.workers,
                        threads_per_worker=threads,
                        host="127.0.0.1",
                        # Without an address Dask takes port 8787, and warns where another command has it.
                        dashboard_address="127.0.0.1:0",
                        scheduler_kwargs={"dashboard": False},
                        asynchronous=True,
                        memory_limit=0,
                        silence_logs=50,
                    )
            client: Any = Client
            self.client = await client(
                self._cluster or where.address, asynchronous=True, timeout=CONNECT_SECONDS, set_as_default=False
            )
            await self.client.wait_for_workers(where.workers or 1, timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
            place = where.address or "local processes"
            what = "no worker is connected to it" if self.client is not None else f"it cannot be reached: {error}"
            raise WorkersError(f"the scheduler {place}: {what}") from error

    async def threads(self) -> int:
        """How many calls the workers run at once, now: workers come and go."""
        counts = await self.client.scheduler.ncores()
        return sum(counts.values())

    async def close(self) -> None:
        """Close the connection, and end the processes that `connect` has started."""
        for one in (self.client, self._cluster):
            if one is not None:
                await quietly(one.close())


async def quietly(work: Awaitable[Any]) -> None:
    """Wait for something at the end, whatever becomes of it."""
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await work
