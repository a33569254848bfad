"""What runs for a connection on the event loop: tasks, how they are counted, and how they call its handlers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from .. import wire
from .._front import texts
from .._front.admission import error_text
from .._front.lifecycle import Lifecycle
from .._front.logs import Log
from .._front.turns import MORE, NOTHING, QUANTUM
from ..errors import ConnectionClosed
from .sending import FLUSH_AT, OVER, Sending
from .steps import BY_HAND, FirstSteps, Rest
from .turns import turns_of

if TYPE_CHECKING:
    from .connection import Connection
    from .server import Server

__all__ = ["OF_THE_LOOP", "Handled", "Handling", "Owner", "handled"]

_log = Log("bokbok.asyncio")

_A = TypeVar("_A")
_R = TypeVar("_R")

OF_THE_LOOP = (asyncio.CancelledError, SystemExit, KeyboardInterrupt)
"""What a task passes on to the event loop, beside its answer."""


class Owner(Protocol):
    """What the handling asks of its connection."""

    def _end(self, error: ConnectionClosed) -> None:
        """End the connection."""

    def _close_if_idle(self) -> None:
        """Close the connection if it was only there for what has ended now."""

    def _maybe_finished(self) -> None:
        """Tell the server if nothing of the connection is left."""


class Handled:
    """One request that is being handled: its handler is parked while it, or a task of its own, waits for an answer."""

    __slots__ = ("_handling", "asking", "over")

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        self.asking = 0
        self.over = False

    def park(self) -> None:
        """It asks.

        Raises:
            Overloaded: too many do already.
        """
        if not self.asking and not self.over:
            self._handling.park()
        self.asking += 1

    def unpark(self) -> None:
        """It has been answered, or waits no longer."""
        self.asking -= 1
        if not self.asking and not self.over:
            self._handling.unpark()

    def finish(self) -> None:
        """Its handler has returned; a task that it has left behind may still be waiting."""
        if self.asking:
            self._handling.unpark()
        self.over = True


handled: contextvars.ContextVar[Handled | None] = contextvars.ContextVar("bokbok_handled", default=None)
"""What the current task, or the handler that has started it, handles. Tasks inherit it."""


class Handling:
    """What runs for one connection.

    Args:
        connection: whose; what handlers are given.
        life: the connection's.
        sending: the connection's.
        loop: its event loop.
        server: the connection's, if it has one.

    Attributes:
        tasks: those of the connection, with the request that nobody has begun to handle; a server waits for them.
    """

    __slots__ = (
        "_account",
        "_admission",
        "_connection",
        "_handles_in_task",
        "_in_start_handlers",
        "_jobs",
        "_life",
        "_loop",
        "_on_request",
        "_owner",
        "_sending",
        "_server",
        "_settings",
        "_starting",
        "_steps",
        "_turns",
        "tasks",
    )

    def __init__(
        self,
        connection: Connection,
        life: Lifecycle[Any],
        sending: Sending,
        loop: asyncio.AbstractEventLoop,
        server: Server | None,
    ) -> None:
        self._connection = connection
        self._owner: Owner = connection
        self._life = life
        self._admission = life.admission
        self._account = life.account
        self._sending = sending
        self._loop = loop
        self._turns = turns_of(loop)
        self._server = server
        self._settings = life.settings
        self._on_request: Callable[[Connection, Any], Any] | None = life.settings.on_request
        # Decided once: a plain handler needs no task.
        self._handles_in_task = self._on_request is not None and _is_coroutine_function(self._on_request)
        self._jobs = life.admission.queue_of_jobs
        self._starting = False  # handlers that could start wait for the next turn of the event loop
        self._in_start_handlers = False  # they are being started
        self._steps: FirstSteps | None = None  # a client's; a server has one for all
        self.tasks: dict[asyncio.Task[None], int | None] = {}

    # Tasks.

    def start(self, coroutine: Any) -> None:
        """Run something of the connection's as a task; a server that is waited for waits for it too."""
        self.keep(self._loop.create_task(coroutine))

    def _start_handler(self, id: int, coroutine: Any) -> None:
        """The same for a request's handler: at once up to its first wait, where Python can do that; many never wait."""
        if sys.version_info >= (3, 12) and self._loop.get_task_factory() is None:
            asyncio.Task(coroutine, loop=self._loop, eager_start=True)  # keeps itself
        else:
            self.keep(self._loop.create_task(coroutine), id)

    def keep(self, task: asyncio.Task[None], id: int | None = None) -> None:
        """Count a task.

        Args:
            task: the task.
            id: the request that it is to handle.
        """
        self.tasks[task] = id  # the loop itself keeps only a weak reference
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        id = self.tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        # A fault of ours, or of a profile's; handlers' errors are caught.
        if error is not None and not isinstance(error, OF_THE_LOOP):
            self.fail(error)
        elif id is not None:  # a handler that was cancelled before it had begun
            self._answer_failure(id, asyncio.CancelledError())
            self._handled()
        self._owner._maybe_finished()

    def fail(self, error: BaseException) -> None:
        """A fault of ours, or of a profile's: no request may go on waiting for what it has prevented."""
        # The end first: where memory is short, it may free some, and writing to the log may fail.
        self._owner._end(texts.internal_error(error))
        with contextlib.suppress(MemoryError):
            self._life.failed(_log, texts.INTERNAL_ERROR, self._connection, error=error)

    def forget(self) -> None:
        """The connection is over, and nothing of it runs."""
        self._owner = OVER
        del self._connection

    # Handlers.

    async def run_on_open(self) -> None:
        """As a task: call the open handler."""
        assert self._settings.on_open is not None
        try:
            await _call(self._settings.on_open, self._connection)
        except BaseException as error:
            self._life.failed(_log, texts.OPEN_HANDLER_FAILED, self._connection, error=error)
            # It may have been there to refuse the connection: one that it did not accept is not served.
            self._owner._end(texts.open_handler_failed(error))
            if not isinstance(error, Exception):
                raise
        finally:
            run_on_close = self._life.open_handler_returned()
            self.start_handlers()
            if run_on_close:
                self.start(self.run_on_close())
            self._owner._close_if_idle()

    async def run_on_close(self) -> None:
        """As a task: call the close handler."""
        assert self._settings.on_close is not None
        try:
            await _call(self._settings.on_close, self._connection)
        except Exception as error:
            self._life.failed(_log, texts.CLOSE_HANDLER_FAILED, self._connection, error=error)

    def park(self) -> None:
        """A request handler is about to wait for an answer: what that waits for may have to run here.

        Raises:
            Overloaded: too many do already.
        """
        if not self._admission.park():
            raise texts.too_many_parked(self._settings.limits.parked)
        if self._admission.ready:
            self.start_soon()

    def unpark(self) -> None:
        """It has been answered, or waits no longer."""
        self._admission.unpark()

    def start_handlers(self) -> None:
        """Start the handlers that may start now, as many as fit a moment: a plain one holds up everybody else."""
        if self._in_start_handlers:
            return  # whoever called this goes on there
        admission = self._admission
        number = admission.start_some()
        if not number:
            return
        steps = self._begin_first_steps()
        run = self._run_handler if steps is None else self._take_first_step
        queue, sending = self._jobs, self._sending
        until, over = -1.0, False  # the clock is not asked where one is started alone
        ended = 0
        self._in_start_handlers = True
        try:
            while number and not over:
                # Slots are taken and given back for several at once: each time costs a lock.
                begun = ended = 0
                try:
                    while begun < number and queue and not (over or sending.full):
                        begun += 1
                        if until < 0:
                            until = 0.0
                        elif not until:
                            until = time.perf_counter() + QUANTUM
                        else:
                            over = time.perf_counter() >= until
                        ended += 1  # if it raises, too
                        if not run(queue.popleft(), queue.popleft(), steps):
                            ended -= 1
                finally:
                    admission.end_some(ended, unused=number - begun)
                number = admission.start_some() if (queue or admission.share.kept) and not over else 0
        finally:
            self._in_start_handlers = False
            if steps is not None:
                steps.end()
            if (queue or admission.share.kept) and admission.ready:
                self.start_soon()
        if sending.unflushed:
            sending.flush()  # the answers of handlers that did not wait
        if ended and not queue:
            self._owner._close_if_idle()

    def handle_alone(self, id: int, message: Any) -> None:
        """Run the handler of a request that came alone, and counts as running already.

        The plain version is `start_handlers`: this is what most of its calls are.
        """
        steps = self._begin_first_steps()
        run = self._run_handler if steps is None else self._take_first_step
        ended = self._in_start_handlers = True  # if it raises, too
        try:
            ended = run(id, message, steps)
        finally:
            self._in_start_handlers = False
            if ended:
                self._admission.finish()
            if steps is not None:
                steps.end()
            if (self._jobs or self._admission.share.kept) and self._admission.ready:
                self.start_soon()
        if self._sending.unflushed:
            self._sending.flush()
        if ended and not self._jobs:
            self._owner._close_if_idle()

    def _begin_first_steps(self) -> FirstSteps | None:
        """What takes the first steps of coroutines now, until its `end`; `None` where that is a task."""
        if not (BY_HAND and self._handles_in_task):
            return None
        owner = self._server if self._server is not None else self
        steps = owner._steps
        if steps is None:
            steps = owner._steps = FirstSteps(self._loop)
        return steps if steps.begin() else None

    def start_soon(self) -> None:
        """Start the handlers that may start, but not in this call."""
        if not self._starting:
            self._starting = True
            self._loop.call_soon(self._start_more)

    def _start_more(self) -> None:
        # When slots become free, thousands of connections may have handlers to start in the same round.
        if self._turns.at_once():
            self._start_in_turn(begin=False)
        else:
            self._turns.join(self._life.party, self._start_in_turn, MORE)

    def _start_in_turn(self, begin: bool) -> int:
        self._starting = False
        self.start_handlers()
        return NOTHING

    def _run_handler(self, id: int, message: Any, steps: FirstSteps | None) -> bool:
        """Run a request's handler, as far as it goes at once. False: it goes on by itself.

        Args:
            id: the request's.
            message: the request.
            steps: see `_take_first_step`.
        """
        assert self._on_request is not None
        if self._handles_in_task:
            self._start_handler(id, self._handle(id, message))
            return False
        try:
            answer = self._on_request(self._connection, message)
        except (SystemExit, KeyboardInterrupt) as error:  # as in a task
            self._answer_failure(id, error)
            raise
        except BaseException as error:
            self._answer_failure(id, error)
        else:
            if inspect.isawaitable(answer):
                self._start_handler(id, self._handle(id, message, answer))
                return False
            if not self._answer(id, answer):
                self.start(self._answer_later(id, [answer], long=True))
                return False
        return True

    def _take_first_step(self, id: int, message: Any, steps: FirstSteps | None) -> bool:
        """Run a coroutine up to its first wait, as `_handle` would in a task. True: it has returned.

        Args:
            id: the request's.
            message: the request.
            steps: what takes the first step, as long as it has a task for it.
        """
        if steps is None or steps.current is None:
            return self._run_handler(id, message, None)
        assert self._on_request is not None
        request = Handled(self)
        context = contextvars.copy_context()
        context.run(handled.set, request)
        try:
            coroutine = self._on_request(self._connection, message)
            returned, found = steps.take(coroutine, context)
        except BaseException as error:
            request.finish()
            self._answer_failure(id, error)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
            return True
        if not returned:
            rest = Rest(coroutine, context, found)
            self.keep(steps.go_on(self._handle(id, None, rest, request), rest))
            return False
        if request.asking:
            request.finish()
        request.over = True
        sending = self._sending
        if sending.full:
            self.start(self._answer_later(id, [found], long=False))
            return False
        # `_answer`, without the calls: this is done for each request.
        try:
            problem = self._life.answer(id, found)
        except wire.TakesLong:
            self.start(self._answer_later(id, [found], long=True))
            return False
        if problem is not None or sending.full:
            self._answered(problem)
            return True
        sending.unflushed += 1
        if sending.unflushed >= FLUSH_AT:
            sending.flush()
        return True

    async def _answer_later(self, id: int, answers: list[Any], *, long: bool) -> None:
        await self._answer_when_there_is_room(id, answers, long=long)
        self._handled()

    async def _handle(
        self, id: int, message: Any, answer: Awaitable[Any] | None = None, request: Handled | None = None
    ) -> None:
        """As a task: run a request's handler, and answer.

        Args:
            id: the request's.
            message: the request.
            answer: what to wait for, where the handler was called already.
            request: how it is known, where it has begun.
        """
        assert self._on_request is not None
        task = cast("asyncio.Task[None]", asyncio.current_task())
        if task in self.tasks:
            self.tasks[task] = None  # it has begun: from here on it answers, whatever happens
        else:
            self.keep(task)
        if request is None:
            request = Handled(self)
            handled.set(request)
        try:
            result = await (self._on_request(self._connection, message) if answer is None else answer)
        except BaseException as error:
            request.finish()
            if isinstance(error, OF_THE_LOOP):
                self._answer_failure(id, error)
                self._handled()
                raise
            await self._at_once_or_in_turn(id, self._answer_failure, error)
        else:
            request.finish()
            answers, result = [result], None  # no frame is to hold it while it waits
            if self._sending.full or not await self._at_once_or_in_turn(id, self._answer_one_of, answers):
                await self._answer_when_there_is_room(id, answers, long=not self._sending.full)
        self._handled()
        # What `_task_done` would do, a turn of the event loop earlier.
        task.remove_done_callback(self._task_done)
        del self.tasks[task]
        self._owner._maybe_finished()

    async def _at_once_or_in_turn(self, id: int, answer: Callable[[int, _A], _R], what: _A) -> _R:
        """Answer: at once, or in a turn of the connection's party if this round of the event loop has taken long.

        A thousand handlers may have waited for the same moment, and others would wait for all their answers.

        Args:
            id: the request's.
            answer: does it. `False` if it did not.
            what: the other argument.
        """
        # Where handlers are being started, it has not waited (Python 3.12 on), and that takes its turns already.
        if self._in_start_handlers or self._turns.at_once():
            return answer(id, what)
        turn: asyncio.Future[_R] = self._loop.create_future()

        def step(begin: bool) -> int:
            if not turn.done():  # else it was cancelled
                try:
                    turn.set_result(answer(id, what))
                except BaseException as error:
                    turn.set_exception(error)
            return NOTHING

        self._turns.join(self._life.party, step, MORE)
        try:
            return await turn
        except BaseException as error:
            answered = turn.done() and not turn.cancelled() and not turn.exception() and turn.result() is not False
            if not answered:  # else it was cancelled a moment later
                self._answer_failure(id, error)
            self._handled()
            raise

    async def _answer_when_there_is_room(self, id: int, answers: list[Any], *, long: bool) -> None:
        """Answer, where the other end does not take all at once: as long as it takes any, this one waits for room.

        Args:
            id: the request's.
            answers: its answer, which is taken out.
            long: whether it is known to take long to be written.
        """
        if not self._account.may_keep:
            self._give_up_answer(id)  # not even written: a thousand handlers may have finished at the same moment
            return
        size = 0
        try:
            if not long:
                try:
                    written, failure, problem = self._life.written(answers[0], brief=True)
                    answers.clear()
                except wire.TakesLong:
                    long = True
            if long:  # in a thread: the event loop goes on meanwhile
                written, failure, problem = await asyncio.to_thread(self._life.written, answers.pop())
            if not self._account.keep(len(written)):
                self._give_up_answer(id)
                return
            size = len(written)
            await self._sending.await_room_for_answer(size)
        except BaseException as error:
            self._answer_failure(id, error)
            self._handled()
            raise
        finally:
            self._account.let_go(size)
        if failure is None:
            problem = self._life.answer_written(id, written)
        else:
            self._life.fail(id, failure)
        self._answered(problem)

    def _give_up_answer(self, id: int) -> None:
        """Too many answers wait for room already."""
        self._life.fail(id, texts.NOT_SENT % (self._account.unsent + self._account.kept))
        self._sending.flush_soon()

    def _answer_one_of(self, id: int, answers: list[Any]) -> bool:
        """`_answer`; False, too, if there is no room by now."""
        if self._sending.full or not self._answer(id, answers[0]):
            return False
        answers.clear()
        return True

    def _answer(self, id: int, answer: Any) -> bool:
        """Answer at once. False: writing takes too long for that."""
        try:
            problem = self._life.answer(id, answer)
        except wire.TakesLong:
            return False
        self._answered(problem)
        return True

    def _answered(self, problem: Exception | None) -> None:
        if problem is not None:
            self._life.failed(_log, texts.CANNOT_TRAVEL, self._connection, problem)
        sending = self._sending
        if self._in_start_handlers:  # which sends at its end
            sending.unflushed += 1
            if sending.unflushed >= FLUSH_AT:
                sending.flush()
        else:
            sending.flush_soon(alone=self._admission.running == 1 and not self._admission.ready)
        if sending.full:
            sending.note_unsent()

    def _answer_failure(self, id: int, error: BaseException) -> None:
        self._life.handler_failed(error, self._connection, _log)
        self._life.fail(id, error_text(error))
        self._sending.flush_soon()

    def _handled(self) -> None:
        """A request has been answered: the next one's turn, or the end that waited for it."""
        self._admission.finish()
        if not self._admission.ready:
            self._owner._close_if_idle()
        elif not self._in_start_handlers:
            # Not at once: a thousand plain handlers in a row would be a thousand calls deep.
            self.start_soon()


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    call = type(function).__call__  # an object with a coroutine method in the place of a function
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


async def _call(function: Callable[[Connection], Any], connection: Connection) -> None:
    result = function(connection)
    if inspect.isawaitable(result):
        await result
