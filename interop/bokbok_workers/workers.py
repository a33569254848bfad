"""Calls that workers do: in order, some ahead of what is asked for, and again when a worker is lost.

What this module knows: how a program without an event loop uses a scheduler. What is called is a function of a module,
so that a worker finds it by its name, and its result depends on nothing but its arguments.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import pickle
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distributed.worker import get_worker

from .connection import Scheduler, quietly
from .digest import source_digest
from .where import Where, WorkersError

__all__ = ["Workers"]

_T = TypeVar("_T")

AHEAD = 2
"""Calls that are sent out for each thread of the workers: one is done, and the next one is already there."""
RECOUNT = 2.0
"""Seconds after which the threads of the workers are counted again."""
PATIENCE = 30.0
"""Seconds without any worker after which a call has failed: it would wait for ever."""
_LOOK = 0.2
"""Seconds between two calls of a function that may end the wait."""
_END = 5.0
"""Seconds that the end may take."""


@dataclass(frozen=True)
class _Call:
    """What is sent. Dask shows calls in its logs and on its pages, and arguments may be secret."""

    packages: tuple[str, ...]
    digest: str
    work: Callable[..., Any] = field(repr=False)
    arguments: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True)
class _Done:
    """What comes back: a result, an error that the call raised, or why it was not done."""

    result: Any = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)
    refused: str = ""


def _do(call: _Call) -> _Done:
    """Do a call; on a worker."""
    mine = source_digest(*call.packages)
    if mine != call.digest:
        here = get_worker().address
        what = f"another version of the code ({mine[:12]}, here {call.digest[:12]}): install the same one"
        return _Done(refused=f"the worker {here} has {what}")
    try:
        return _Done(call.work(*call.arguments))
    except Exception as error:  # Dask would show the arguments in its log
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return _Done(error=RuntimeError(f"{type(error).__name__}: {error}"))
        return _Done(error=error)


class Workers:
    """The workers of a scheduler.

    Args:
        where: the scheduler.
        packages: those of the project that a worker must have in the same version.
        threads: for processes of this machine, how many calls each of them does at once.

    Raises:
        WorkersError: the scheduler cannot be reached, or has no worker.
    """

    def __init__(self, where: Where, packages: tuple[str, ...], *, threads: int = 1) -> None:
        self._packages, self._digest = packages, source_digest(*packages)
        self._name = f"bokbok-{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._threads, self._counted = 1, 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bokbok-workers", daemon=True)
        self._thread.start()
        self._scheduler = Scheduler()
        try:
            self._there(self._scheduler.connect(where, threads=threads)).result()
            self._recount()
        except BaseException:
            self.close()
            raise

    def _there(self, work: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _recount(self) -> int:
        if time.monotonic() - self._counted > RECOUNT:
            with contextlib.suppress(OSError, concurrent.futures.TimeoutError):
                self._threads = max(1, self._there(self._scheduler.threads()).result(RECOUNT))
            self._counted = time.monotonic()
        return self._threads

    @property
    def room(self) -> int:
        """How many calls it is worth having under way."""
        return AHEAD * self._recount()

    def submit(self, work: Callable[..., _T], *arguments: Any) -> concurrent.futures.Future[_T]:
        """Have a call done.

        Args:
            work: a function of a module. If a worker is lost, another one does it again.
            arguments: its arguments.

        Returns:
            Its result, or the error that it raised, or a `WorkersError`. If it is cancelled and has not begun, it does
            not begin.
        """
        return self._there(self._submit(_Call(self._packages, self._digest, work, arguments)))

    async def _submit(self, call: _Call) -> Any:
        future = self._scheduler.client.submit(_do, call, key=f"{self._name}-{next(self._numbers)}", pure=False)
        waiting = asyncio.ensure_future(_result(future))
        alone: float | None = None
        try:
            while not (await asyncio.wait({waiting}, timeout=RECOUNT))[0]:
                alone = (alone or time.monotonic()) if await self._nobody() else None
                if alone is not None and time.monotonic() - alone > PATIENCE:
                    raise WorkersError("no worker of the scheduler is left")
        finally:
            if not waiting.done():
                waiting.cancel()
                await quietly(asyncio.wait_for(future.cancel(), 1.0))
        if waiting.cancelled():
            raise WorkersError("the connection to the scheduler was lost")
        if (error := waiting.exception()) is not None:
            raise WorkersError(f"no worker could do it: {type(error).__name__}: {error}") from error
        done: _Done = waiting.result()
        if done.refused:
            raise WorkersError(done.refused)
        if done.error is not None:
            raise done.error
        return done.result

    async def _nobody(self) -> bool:
        try:
            return not await asyncio.wait_for(self._scheduler.threads(), RECOUNT)
        except (OSError, asyncio.TimeoutError):
            return False  # if the connection is lost, Dask says so

    def ahead(
        self, work: Callable[..., _T], calls: Iterable[tuple[Any, ...]], check: Callable[[], None] = lambda: None
    ) -> Generator[_T, None, None]:
        """The results of some calls, in order. Later ones are under way meanwhile; closing this ends them.

        Args:
            work: a function of a module.
            calls: the arguments of each call, taken as there is room for them.
            check: called all the time while there is nothing to do but wait; may raise something.
        """
        under_way: deque[concurrent.futures.Future[_T]] = deque()
        waiting = iter(calls)
        try:
            while True:
                for arguments in itertools.islice(waiting, max(0, self.room - len(under_way))):
                    under_way.append(self.submit(work, *arguments))
                if not under_way:
                    return
                while not under_way[0].done():
                    concurrent.futures.wait([under_way[0]], _LOOK)
                    check()
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """End what is under way, and the connection."""
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._there(self._scheduler.close()).result(_END)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END)


async def _result(future: Any) -> Any:
    return await future.result()
