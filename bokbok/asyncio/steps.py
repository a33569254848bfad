"""The first step of a handler, taken at once; a task is only made of one that waits.

What this module knows: coroutines and tasks of Python before 3.12, which has `eager_start` for that. The plain version
is a task for each handler: it costs as much as the rest of a small request, and most handlers never wait.

A handler must find itself in a task from its first line on: `asyncio.timeout`, `TaskGroup` and `current_task` ask for
it. So there is one task in reserve (`_Reserve`), which waits for work. While handlers take their first steps it is the
current task. One that ends there has not needed it, and the next one takes the same; one that waits gets it: the
reserve goes on with it, from where it stands. The next reserve serves from the next turn of the event loop on; until
then handlers are tasks.

`asyncio._enter_task` and its like are what the documentation offers to makers of tasks ("Extending").
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import types
from asyncio.tasks import _enter_task, _leave_task, _register_task, _unregister_task
from collections.abc import Callable, Coroutine, Generator
from typing import Any

__all__ = ["BY_HAND", "FirstSteps", "Rest"]

BY_HAND = sys.version_info < (3, 12) and hasattr(sys, "getrefcount")
"""Whether first steps are taken here."""


class Rest:
    """What is left of a coroutine that has taken its first step: to be awaited, once.

    Args:
        coroutine: what waits.
        context: where it runs.
        waits_for: what it has yielded.
    """

    __slots__ = ("_context", "_coroutine", "waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context, waits_for: Any) -> None:
        self._coroutine = coroutine
        self._context = context
        self.waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, run, waits_for, self.waits_for = self._coroutine, self._context.run, self.waits_for, None
        if waits_for is not None:
            # As `Future.__await__` says it; whoever awaits the future as well has taken it back.
            waits_for._asyncio_future_blocking = True
        try:
            while True:
                try:
                    value = yield waits_for
                except BaseException as error:
                    waits_for = run(coroutine.throw, error)
                else:
                    waits_for = run(coroutine.send, value)
        except StopIteration as end:
            return end.value


class _Reserve:
    """A task that waits for work.

    Attributes:
        gate: what it waits for; done once it has work, or is cancelled.
        task: the task. Nobody sees it before it has work: `asyncio.all_tasks` does not have it.
    """

    __slots__ = ("_started", "_work", "gate", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.gate: asyncio.Future[None] = loop.create_future()
        self._work: tuple[Coroutine[Any, Any, None], Rest] | None = None
        self._started = False
        self.task: asyncio.Task[None] = loop.create_task(self._run())
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]
        _unregister_task(self.task)

    @property
    def ready(self) -> bool:
        """Whether it waits for work, and nobody has cancelled it."""
        return self._started and not self.gate.done()

    @types.coroutine
    def _run(self) -> Generator[Any, Any, None]:
        self._started = True
        try:
            yield from self.gate
        except asyncio.CancelledError as error:
            if self._work is None:
                raise
            # Cancelled since its first step: what it waits for is cancelled, as a task does it.
            rest = self._work[1]
            if rest.waits_for is None or not rest.waits_for.cancel():
                rest.waits_for = _cancelled(self.gate.get_loop(), error)
        assert self._work is not None
        work, self._work = self._work[0], None
        yield from work.__await__()

    def give(self, work: Coroutine[Any, Any, None], rest: Rest) -> asyncio.Task[None]:
        """Have it do some work, which awaits the rest of a handler; it is a task as any other from here on."""
        self._work = work, rest
        self.task._log_destroy_pending = True  # type: ignore[attr-defined]
        _register_task(self.task)
        if not self.gate.done():
            self.gate.set_result(None)
        return self.task


def _cancelled(loop: asyncio.AbstractEventLoop, error: asyncio.CancelledError) -> asyncio.Future[None]:
    future: asyncio.Future[None] = loop.create_future()
    future.cancel(*error.args)
    return future


class FirstSteps:
    """First steps of handlers, for one event loop.

    Args:
        loop: the event loop.

    Attributes:
        current: the task in which a handler is taking its first step now; `None` while none does.
    """

    __slots__ = ("_cancelled", "_loop", "_references", "_reserve", "current")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reserve: _Reserve | None = None
        self._references = 0
        self._cancelled: Callable[[], bool] = bool
        self.current: asyncio.Task[None] | None = None

    def begin(self) -> bool:
        """Handlers are about to take their first steps: `take` while there is a `current` task, then `end`.

        Returns:
            Whether there is one: not where another task runs, or where tasks are not asyncio's own.
        """
        loop = self._loop
        reserve = self._reserve
        if reserve is None or not reserve.ready:
            if reserve is None or reserve.task.done():
                self._reserve = _Reserve(loop)  # for the next time: it has to come to where it waits
            return False
        if loop.get_task_factory() is not None or loop.get_debug() or asyncio.current_task(loop) is not None:
            return False
        self.current = reserve.task
        _enter_task(loop, reserve.task)
        self._cancelled = reserve.gate.done
        self._references = sys.getrefcount(self.current)
        return True

    def end(self) -> None:
        """None is about to take one."""
        if self.current is not None:
            _leave_task(self._loop, self.current)
            self.current = None

    def take(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context) -> tuple[bool, Any]:
        """Take the first step of a coroutine.

        Returns:
            Whether it has returned, and what; or what it waits for: give the rest to `go_on`.

        Raises:
            BaseException: what it has raised.
        """
        returned = True
        try:
            found = context.run(coroutine.send, None)
            returned = False
        except StopIteration as end:
            found = end.value
        finally:
            # Somebody may have kept the task, to cancel it later, or has cancelled it: it is no other handler's then.
            if returned and (sys.getrefcount(self.current) > self._references or self._cancelled()):
                self._replace()
        return returned, found

    def go_on(self, work: Coroutine[Any, Any, None], rest: Rest) -> asyncio.Task[None]:
        """Have the task in which a handler took its first step go on with it."""
        assert self._reserve is not None
        task = self._reserve.give(work, rest)
        self._replace()
        return task

    def _replace(self) -> None:
        self.end()
        self._reserve = _Reserve(self._loop)
