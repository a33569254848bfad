"""A connection on an asyncio transport: everything on one event loop, handlers as tasks.

What this module knows: transports, futures and tasks. Bytes are in `bokbok.wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .. import wire
from .._fork import let_go, track
from .._front import texts
from .._front.admission import error_text
from .._front.clocks import IdleClock, PacketClock, SendClock
from .._front.lifecycle import Lifecycle, Public, checked_key, remote_error
from .._front.settings import AsyncSharedHellos, Settings
from .._front.shared import Visit
from .._front.turns import FIRST, QUANTUM
from .._sockets import (
    DEFAULT_CONNECT_TIMEOUT,
    ENDLESS,
    LINGER_SECONDS,
    not_taken,
    peer_address,
    seconds,
    tune,
    why_broken,
)
from ..address import Address, AddressLike, parse_address
from ..errors import ConnectionClosed
from ..keys import Key
from .connecting import connect
from .steps import BY_HAND, FirstSteps, Rest
from .turns import line_up

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Connection", "ConnectionHandler", "KeyLookup", "RequestHandler", "open_connection"]

_log = logging.getLogger("bokbok.asyncio")

RequestHandler = Callable[["Connection", Any], Any]
"""`on_request(connection, message) -> answer`: a coroutine function, or a plain one, which holds up the event loop."""
ConnectionHandler = Callable[["Connection"], Any]
"""`on_open(connection)`, `on_close(connection)`: coroutine functions or plain ones."""
KeyLookup = Callable[[str], Key | Sequence[Key] | Awaitable[Key | Sequence[Key] | None] | None]
"""`user_to_key(user) -> Key | list of keys | None`: a coroutine function or a plain one."""


_READ = 256 * 1024
"""Bytes read at once: as asyncio's own streams do."""
_PATIENCE, _LOOKS = 1.0, 3
"""Seconds in which the other end must take something, while answers wait that there is no room for; and how often it
may fail to: a machine that stands still for a moment is not a peer that does."""
_LOOK_UP, _TURNS, OTHER_LEG, _MEMORY = 1, 2, 4, 8
"""Why nothing is read from the transport: the user is being looked up; what was read waits for its turn; the other leg
of a bridge does not take it; too much is held. Bits: each reason comes and goes by itself."""
_OF_THE_LOOP = (asyncio.CancelledError, SystemExit, KeyboardInterrupt)
"""What a task passes on to the event loop, beside its answer."""
_FLUSH_AT = 16
"""Messages that are sent together at most. Fewer cost system calls: 8 cost a tenth more processor time for each,
64 in flight with the accelerator. More leave the other end idle."""


class _Handling:
    """One request that is being handled: its handler is parked while it, or a task of its own, waits for an answer."""

    __slots__ = ("_asking", "_connection", "_over")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asking = 0
        self._over = False

    def park(self) -> None:
        """It asks.

        Raises:
            Overloaded: too many do already.
        """
        connection = self._connection
        if not self._asking and not self._over:
            if not connection._admission.park():
                raise texts.too_many_parked(connection._limits.parked)
            if connection._admission.ready:
                connection._loop.call_soon(connection._start_handlers)
        self._asking += 1

    def unpark(self) -> None:
        """It has been answered, or waits no longer."""
        self._asking -= 1
        if not self._asking and not self._over:
            self._connection._admission.unpark()

    def finish(self) -> None:
        """Its handler has returned; a task that it has left behind may still be waiting."""
        if self._asking:
            self._connection._admission.unpark()
        self._over = True


_handling: contextvars.ContextVar[_Handling | None] = contextvars.ContextVar("bokbok_handling", default=None)
"""What the current task, or the handler that has started it, handles. Tasks inherit it."""


class Connection(Public["asyncio.Future[Any]"]):
    """One end of a connection; the other end looks the same (API reference: "connections are symmetrical").

    Made by `open_connection`, or by a server, which hands it to its handlers. It belongs to the event loop that made
    it. As an asynchronous context manager it closes itself at the end.
    """

    # More attributes than instances of a class can share the names of: a dictionary each would take four times as much.
    # What is not named here still works.
    __slots__ = (
        "_account",
        "_address",
        "_admission",
        "_flush_scheduled",
        "_full",
        "_handles_in_task",
        "_idle_clock",
        "_idle_timer",
        "_in_line",
        "_in_start_handlers",
        "_life",
        "_limits",
        "_lingering",
        "_loop",
        "_loss",
        "_not_reading",
        "_on_request",
        "_packet_clock",
        "_packet_timer",
        "_rest",
        "_room",
        "_send_clock",
        "_send_timer",
        "_server",
        "_settings",
        "_starting",
        "_steps",
        "_tasks",
        "_timer",
        "_transport",
        "_transport_closed",
        "_unflushed",
        "_waiters",
        "_wire",
        "_written",
    )

    def __init__(
        self,
        protocol: wire.Connection,
        settings: Settings,
        server: Server | None = None,
        visit: Visit | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_request: RequestHandler | None = settings.on_request
        # Decided once: a plain handler needs no task.
        self._handles_in_task = settings.on_request is not None and _is_coroutine_function(settings.on_request)
        self._settings = settings
        self._limits = settings.limits
        self._server = server

        slots = server._shared.slots if server is not None else None
        self._life = life = Lifecycle["asyncio.Future[Any]"](protocol, settings, visit, slots, self._slot_kept)
        self._wire = protocol
        self._admission = life.admission
        self._account = life.account
        self._waiters = life.waiters
        self._transport: asyncio.Transport | None = None
        self._address: Address | None = None
        self._flush_scheduled = False
        self._unflushed = 0  # messages since the last flush
        self._full = False  # the transport has asked to pause
        self._timer: asyncio.TimerHandle | None = None  # hello, lingering: one at a time
        self._send_timer: asyncio.TimerHandle | None = None
        self._written = 0  # bytes given to the transport, ever
        self._send_clock = SendClock(settings.limits.send_timeout)
        self._room: asyncio.Future[None] | None = None  # for requests, while too many bytes wait to be sent
        self._packet_clock = PacketClock(settings.limits.packet_timeout, settings.limits.packet_rate)
        self._packet_timer: asyncio.TimerHandle | None = None
        self._idle_clock = IdleClock(settings.limits.idle_timeout)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._lingering = False  # what still comes is read and dropped
        self._not_reading = 0  # why: bits
        self._in_line = False  # for a turn to read what has come
        self._starting = False  # handlers that could start wait for the next turn of the event loop
        self._in_start_handlers = False  # they are being started
        self._steps: FirstSteps | None = None  # a client's; a server has one for all
        self._loss: tuple[Exception | None] | None = None  # how the transport was lost, while the rest is being read
        self._rest: socket.socket | None = None  # where the rest is read from
        self._tasks: dict[asyncio.Task[None], int | None] = {}  # with the request that nobody has begun to handle
        self._transport_closed = self._loop.create_future()
        track(self)

    # What a user sees.

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Ask the other end, and wait for its answer (API reference: `request!`).

        Any number of tasks may ask at once; answers may come in another order than the requests. A task that is
        cancelled while it waits just stops waiting: the answer will be dropped.

        Args:
            message: any datum that has an external representation.
            timeout: seconds to wait for the answer; `None` waits for as long as it takes.

        Returns:
            The answer.

        Raises:
            RemoteError: the handler at the other end failed; `.message` says how.
            UnreadableAnswer: (a `RemoteError`) an answer came that does not read.
            RequestTimeout: (a `TimeoutError`) no answer came in time. The request may still be served; its answer
                will be dropped.
            ConnectionClosed: the connection is over, or ended before the answer came; `.reason` says why.
            WriteError: the message cannot travel. Nothing was sent.
            Overloaded: called by a handler, while too many wait for answers already. Nothing was sent.
        """
        handling = _handling.get()
        if handling is not None:
            handling.park()
        try:
            limit = None if timeout is None else seconds(timeout)
            if self._full:
                limit = await self._await_room(limit, timeout)
            try:
                id = self._wire.request(message, brief=True)
            except wire.TakesLong:  # in a thread: the event loop goes on meanwhile
                began = self._loop.time()
                written = await asyncio.to_thread(self._wire.encode, message)
                id = self._wire.request(written, encoded=True)
                if limit is not None:
                    limit = max(0.0, limit - (self._loop.time() - began))
            if self._not_reading & _MEMORY:  # however much is held: the answer must come in
                self._read_on(_MEMORY)
            # `_flush_soon`, without the call: this is done for each request.
            self._unflushed += 1
            if not self._waiters or self._unflushed >= _FLUSH_AT:
                self._flush()
            elif not self._flush_scheduled:
                self._flush_scheduled = True
                self._loop.call_soon(self._flush_scheduled_now)
            waiter: asyncio.Future[Any] = self._loop.create_future()
            self._waiters[id] = waiter
            if limit is None:
                try:
                    return await waiter
                except BaseException as error:
                    self._gave_up(id, waiter, error)
                    raise
            timer = self._loop.call_later(limit, self._expire, id, timeout)
            try:
                return await waiter
            except BaseException as error:
                self._gave_up(id, waiter, error)
                raise
            finally:
                timer.cancel()
        finally:
            if handling is not None:
                handling.unpark()

    def _gave_up(self, id: int, waiter: asyncio.Future[Any], error: BaseException) -> None:
        """A request's task has stopped waiting: its answer was an error, or it was cancelled."""
        self._waiters.pop(id, None)
        if isinstance(error, asyncio.CancelledError) and waiter.done() and not waiter.cancelled():
            waiter.exception()  # it was set in the same moment: marked as seen, so that asyncio does not complain

    async def _await_room(self, limit: float | None, timeout: float | None) -> float | None:
        """Wait while too many bytes wait for the other end to take them, so that requests do not pile up without bound.

        Returns:
            The seconds that are left.
        """
        until = None if limit is None else self._loop.time() + limit
        while self._full and not self._life.ended and self._note_unsent() > self._limits.unsent:
            left = None if until is None else until - self._loop.time()
            if left is not None and left <= 0:
                raise texts.not_sent(timeout)
            await asyncio.wait([self._next_room()], timeout=left)
        return None if until is None else max(0.0, until - self._loop.time())

    def _expire(self, id: int, timeout: float | None) -> None:
        waiter = self._waiters.pop(id, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(texts.no_answer(timeout))

    async def close(self) -> None:
        """Close the connection (API reference: `close-connection!`).

        Waiting requests, here and at the other end, fail with `ConnectionClosed`. The close handler of this end does
        not run; that of the other end does. Handlers that run are not cancelled. Closing twice does nothing.
        """
        self._end(self._life.ask_to_close())
        await asyncio.shield(self._transport_closed)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Sending.

    def _flush_soon(self, *, alone: bool = False) -> None:
        """Send at the end of this turn of the event loop, together with what else comes until then.

        But not too much of it: what is sent now, the other end works on while this one goes on. And at once, if
        nothing else is to be expected (`alone`): a turn of the event loop costs more than a system call.
        """
        self._unflushed += 1
        if alone or self._unflushed >= _FLUSH_AT:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_scheduled_now)

    def _flush_scheduled_now(self) -> None:
        self._flush_scheduled = False
        if self._unflushed:
            self._flush()

    def _flush(self) -> None:
        # While the transport is full, what there is waits here, where it is cheap to count.
        if not self._full:
            self._hand_over()

    def _hand_over(self) -> None:
        self._unflushed = 0
        if self._transport is not None and not self._life.ended:
            data = self._wire.data_to_send()
            # Once the transport is lost, nobody takes it; and asyncio would log it.
            if data and not self._transport.is_closing():
                self._written += len(data)
                self._transport.write(data)

    def _pause_writing(self) -> None:
        assert self._transport is not None
        self._full = self._admission.congested = True
        self._note_unsent()
        now = self._loop.time()
        self._send_clock.start(now, self._taken())
        self._send_timer = self._loop.call_later(min(self._limits.send_timeout, ENDLESS), self._check_sending)

    def _resume_writing(self) -> None:
        self._not_full()
        self._flush()
        # Not at once: a transport must not be closed while it is calling from where it writes.
        self._loop.call_soon(self._start_handlers)
        self._loop.call_soon(self._close_if_idle)

    def _not_full(self) -> None:
        self._full = self._admission.congested = False
        self._account.note(unsent=0)
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _note_unsent(self) -> int:
        """Bytes that wait here for the other end, while the transport is full."""
        unsent = self._wire.unsent
        if self._transport is not None:
            unsent += self._transport.get_write_buffer_size()
        self._account.note(unsent=unsent)
        return unsent

    def _taken(self) -> int:
        """Bytes that the other end has taken, of all that were given to the transport."""
        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        return self._written - self._transport.get_write_buffer_size() - not_taken(sock)

    def _check_sending(self) -> None:
        """The transport has been full for a while: has the peer taken anything at all of it?"""
        self._note_unsent()
        left = self._send_clock.left(self._loop.time(), self._taken())
        if left <= 0:
            self._end(texts.took_nothing(self._limits.send_timeout), abort=True)
            return
        self._send_timer = self._loop.call_later(min(left, ENDLESS), self._check_sending)

    # Reading.

    def _made(self, transport: asyncio.Transport, address: Address) -> None:
        self._transport = transport
        self._address = address
        if self._life.ended:  # the server was stopped meanwhile
            transport.close()
            return
        transport.set_write_buffer_limits(0)  # "full" is when anything waits in it, which is what takes its time
        self._flush()  # a client's hello
        if self._wire.state == "hello":
            self._timer = self._loop.call_later(self._limits.hello_timeout, self._hello_timed_out)
        else:
            self._opened()

    def _hello_timed_out(self) -> None:
        limit = self._limits.hello_timeout
        self._refuse(texts.no_key(limit) if self._wire.state == "lookup" else texts.no_hello(limit))

    def _received(self, data: bytes) -> None:
        if self._life.ended:
            return  # while it lingers
        if self._idle_timer is not None:
            self._idle_clock.note(self._loop.time())
        self._take_slice(self._wire.receive_plain(data, FIRST))

    def _take_slice(self, events: list[wire.Plain]) -> None:
        """Act on what was read. The rest takes turns with other connections, and nothing more is read meanwhile."""
        held = self._wire.held
        if held or self._account.partial:  # before requests are looked at: what they hold is not held in part any more
            self._account.note(partial=held)
        if not self._life.was_open:
            self._maybe_opened(events)
        self._take_in(events)
        if self._wire.more:
            self._line_up()
        elif (held or self._packet_timer is not None or self._account.held or self._not_reading) and (
            not self._life.ended
        ):
            self._weigh(held, bool(events))

    def _weigh(self, held: int, whole: bool) -> None:
        """All that has come was read: since when a packet has been coming, and whether to read on."""
        begun = (held or self._packet_timer is not None) and self._packet_clock.note(self._loop.time(), held, whole)
        if begun and self._packet_timer is None:
            self._packet_timer = self._loop.call_later(min(self._limits.packet_timeout, ENDLESS), self._check_packet)
        if self._account.over and not self._wire.outstanding:
            self._stop_reading(_MEMORY)
            self._account.wait(self._memory_freed)
        elif self._not_reading & _MEMORY:
            self._read_on(_MEMORY)

    def _memory_freed(self) -> None:
        self._loop.call_soon(self._weigh_again)

    def _weigh_again(self) -> None:
        if not self._life.ended and self._not_reading & _MEMORY:
            self._weigh(self._account.partial, False)

    def _check_packet(self) -> None:
        """Some time has gone since a packet began: is it too late?"""
        self._packet_timer = None
        left = self._packet_clock.left(self._loop.time())
        if left is None or self._life.ended:
            return
        if left > 0 or self._wire.more:  # what it waits for may be its turn
            self._packet_timer = self._loop.call_later(min(max(left, QUANTUM), ENDLESS), self._check_packet)
            return
        self._refuse(self._life.too_late(self._packet_clock).error)

    def _check_idle(self) -> None:
        """Some time has gone since anything came: has the connection been idle for too long?"""
        now = self._loop.time()
        if self._life.busy or self._wire.more:
            self._idle_clock.note(now)
        left = self._idle_clock.left(now)
        if left > 0:
            self._idle_timer = self._loop.call_later(min(left, ENDLESS), self._check_idle)
            return
        self._lingering = True
        self._end(self._life.idle_too_long().error)

    def _line_up(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._stop_reading(_TURNS)
            line_up(self._take_turn)

    def _take_turn(self) -> bool:
        """Read on for a moment. True if that is not all."""
        try:
            if not self._life.ended:
                if self._wire.more:
                    self._take_slice(self._wire.receive_plain(seconds=QUANTUM))
                elif self._rest is not None:
                    self._read_rest(self._rest)
                if (self._wire.more or self._rest is not None) and not self._life.ended:
                    return True
        except Exception as error:
            self._internal_error(error)
        self._in_line = False
        self._read_on(_TURNS)
        if self._loss is not None:
            self._lost_for_good(self._loss[0])
        return False

    def _stop_reading(self, why: int) -> None:
        self._not_reading |= why
        if self._transport is not None:
            self._transport.pause_reading()

    def _read_on(self, why: int) -> None:
        self._not_reading &= ~why
        if self._transport is not None and not self._not_reading and not self._life.ended:
            self._transport.resume_reading()

    def _maybe_opened(self, events: list[wire.Plain]) -> None:
        """Whether a hello that needs no key (some profiles have an insecure client announce itself) is over."""
        if self._wire.state in ("hello", "lookup") or (events and isinstance(events[0], wire.Closed)):
            return
        self._stop_timer()
        self._opened()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _received_eof(self) -> None:
        self._take_in(cast("list[wire.Plain]", self._wire.receive_eof()))

    def _take_in(self, events: list[wire.Plain]) -> None:
        """Act on what has come, then send what there is to say to it, at once."""
        waiters = self._waiters
        requests: list[wire.Read] = []
        for event in events:
            if type(event) is not tuple:
                self._take_in_rare(cast(wire.Event, event), requests)
            elif event[0] == wire.REQUEST:
                requests.append(event)
            else:
                waiter = waiters.pop(event[1], None)
                if waiter is not None and not waiter.done():  # else its task was cancelled
                    waiter.set_result(event[2])
        if requests:
            self._take_requests(requests)

    def _take_in_rare(self, event: wire.Event, requests: list[wire.Read]) -> None:
        """The same for what is neither a request nor a response.

        Args:
            event: what has happened.
            requests: what came before it and was not looked at.
        """
        kind = type(event)
        if kind is wire.ErrorReceived or kind is wire.AnswerUnreadable:
            event = cast("wire.ErrorReceived | wire.AnswerUnreadable", event)
            self._fail_waiter(event.id, remote_error(event))
        elif kind is wire.RequestUnreadable:
            event = cast(wire.RequestUnreadable, event)
            self._life.unreadable(event.problem, self, _log)
            self._flush_soon()
            self._check_unsent()
        elif kind is wire.HelloReceived:
            event = cast(wire.HelloReceived, event)
            if self._life.visit is not None:
                self._life.visit.claimed = event.user
            self._stop_reading(_LOOK_UP)  # until the key is there
            self._start(self._authenticate(event.user))
        elif kind is wire.PeerFinished:
            event = cast(wire.PeerFinished, event)
            if requests:
                self._take_requests(requests)
                requests.clear()
            # "The receiver's own waiting requests fail and its close handler starts, both at once."
            self._announce_end(event.error)
            self._close_if_idle()
        elif kind is wire.Closed:
            event = cast(wire.Closed, event)
            if requests:
                self._take_requests(requests)
                requests.clear()
            self._refuse(event.error)

    def _take_requests(self, requests: list[wire.Read]) -> None:
        if self._life.take_requests(requests):
            self._flush_soon()
            self._check_unsent()
        self._start_handlers()

    def _fail_waiter(self, id: int, error: Exception) -> None:
        waiter = self._waiters.pop(id, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    async def _authenticate(self, user: str) -> None:
        key, problem = await self._look_up(user)
        if self._wire.state == "lookup":  # not closed meanwhile
            events = self._wire.authenticate(key, seconds=FIRST)
            if isinstance(events[0], wire.HelloOpened):
                refusal = await self._ask_others(events[0])
                events = self._wire.admit(refusal, seconds=FIRST) if self._wire.state == "lookup" else []
            if events:
                self._authenticated(events)
        if problem is not None:
            # Only now: the time that writing a traceback takes would tell a stranger that the look-up has failed.
            _log.error(texts.LOOK_UP_FAILED, self, exc_info=problem)

    async def _ask_others(self, hello: wire.HelloOpened) -> str | None:
        """Why a hello is refused that has opened; `None` if no other server or process has seen it."""
        memory = cast("AsyncSharedHellos | None", self._settings.shared_hellos)
        visit = self._life.visit
        try:
            if memory is not None and self._settings.guards.hello_replay and not await memory.remember(hello.digest):
                return wire.REPLAYED_HELLO
            asked = visit.proved(hello) if visit is not None else None
            if asked is None or visit is None or visit.known(await asyncio.wrap_future(asked)):
                return None
            return wire.REPLAYED_HELLO
        except _OF_THE_LOOP:
            self._end(ConnectionClosed("the look-up of the hello was given up"))
            raise
        except Exception:
            _log.error(texts.HELLOS_FAILED, self, exc_info=True)
            return texts.NOT_REMEMBERED

    def _authenticated(self, events: list[wire.Event]) -> None:
        self._stop_timer()
        self._read_on(_LOOK_UP)
        if isinstance(events[0], wire.Opened):
            self._opened()
            if self._life.ended:
                return
            events = events[1:]
        self._take_slice(list(map(wire.as_plain, events)))

    async def _look_up(self, user: str) -> tuple[Key | Sequence[Key] | None, BaseException | None]:
        """A user's key, or keys; `None` with the reason if the look-up has failed."""
        assert self._settings.user_to_key is not None
        try:
            found = self._settings.user_to_key(user)
            found = await found if inspect.isawaitable(found) else found
            return checked_key(found, self._limits.keys_per_user), None
        except _OF_THE_LOOP:
            self._end(ConnectionClosed("the look-up of the user was given up"))
            raise
        except BaseException as error:
            return None, error

    def _check_unsent(self) -> None:
        """Answers that no handler made pile up when the peer does not read: reading goes on, so that has a bound."""
        if not self._full or self._transport is None:
            return
        ending = self._life.too_much_unsent(self._note_unsent())
        if ending is not None:
            self._end(ending.error, abort=True)

    # Handlers.

    def _start(self, coroutine: Any) -> None:
        """Run something of this connection's as a task; a server that is waited for waits for it too."""
        self._keep(self._loop.create_task(coroutine))

    def _start_handler(self, id: int, coroutine: Any) -> None:
        """The same for a request's handler: at once up to its first wait, where Python can do that; many never wait."""
        if sys.version_info >= (3, 12) and self._loop.get_task_factory() is None:
            asyncio.Task(coroutine, loop=self._loop, eager_start=True)  # keeps itself
        else:
            self._keep(self._loop.create_task(coroutine), id)

    def _keep(self, task: asyncio.Task[None], id: int | None = None) -> None:
        self._tasks[task] = id  # the loop itself keeps only a weak reference
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        id = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        # A fault of ours, or of a profile's; handlers' errors are caught.
        if error is not None and not isinstance(error, _OF_THE_LOOP):
            self._internal_error(error)
        elif id is not None:  # a handler that was cancelled before it had begun
            self._answer_failure(id, asyncio.CancelledError())
            self._handled()
        self._maybe_finished()

    def _internal_error(self, error: BaseException) -> None:
        """A fault of ours, or of a profile's: no request may go on waiting for what it has prevented."""
        # The end first: where memory is short, it may free some, and writing to the log may fail.
        self._end(texts.internal_error(error))
        with contextlib.suppress(MemoryError):
            _log.error(texts.INTERNAL_ERROR, self, exc_info=error)

    def _maybe_finished(self) -> None:
        """Tell the server once nothing of this connection is left, not even a handler."""
        if self._server is not None and not self._tasks and self._transport_closed.done():
            self._server._finished(self)

    def _opened(self) -> None:
        """The connection is open: tell the open handler, once."""
        if (ending := self._life.admit(self)) is not None:
            self._lingering = True
            self._end(ending.error)
            return
        if self._idle_clock.timeout is not None:
            self._idle_clock.note(self._loop.time())
            self._check_idle()
        if self._life.open():
            self._start(self._run_on_open())

    async def _run_on_open(self) -> None:
        assert self._settings.on_open is not None
        try:
            await _call(self._settings.on_open, self)
        except BaseException as error:
            _log.error(texts.OPEN_HANDLER_FAILED, self, exc_info=True)
            # It may have been there to refuse the connection: one that it did not accept is not served.
            self._end(texts.open_handler_failed(error))
            if not isinstance(error, Exception):
                raise
        finally:
            run_on_close = self._life.open_handler_returned()
            self._start_handlers()
            if run_on_close:
                self._start(self._run_on_close())
            self._close_if_idle()

    def _slot_kept(self) -> None:
        """The server has kept a slot for this connection."""
        self._loop.call_soon(self._start_handlers)

    def _start_handlers(self) -> None:
        """Start the handlers that may start now, as many as fit a moment: a plain one holds up everybody else."""
        if self._in_start_handlers:
            return  # whoever called this goes on there
        admission = self._admission
        number = admission.start_some()
        if not number:
            return
        steps = self._begin_first_steps()
        run = self._run_handler if steps is None else self._take_first_step
        queue = admission.queue_of_jobs
        until, over = -1.0, False  # the clock is not asked where one is started alone
        ended = 0
        self._in_start_handlers = True
        try:
            while number and not over:
                # Slots are taken and given back for several at once: each time costs a lock.
                begun = ended = 0
                try:
                    while begun < number and queue and not (over or self._full):
                        begun += 1
                        if until < 0:
                            until = 0.0
                        elif not until:
                            until = time.perf_counter() + QUANTUM
                        else:
                            over = time.perf_counter() >= until
                        ended += 1  # if it raises, too
                        if not run(*queue.popleft(), steps):
                            ended -= 1
                finally:
                    admission.end_some(ended, unused=number - begun)
                number = 0 if over else admission.start_some()
        finally:
            self._in_start_handlers = False
            if steps is not None:
                steps.end()
            if admission.ready:
                self._start_soon()
        if self._unflushed:
            self._flush()  # the answers of handlers that did not wait
        if ended and not admission.ready:
            self._close_if_idle()

    def _begin_first_steps(self) -> FirstSteps | None:
        """What takes the first steps of coroutines now, until its `end`; `None` where that is a task."""
        if not (BY_HAND and self._handles_in_task):
            return None
        owner = self._server if self._server is not None else self
        steps = owner._steps
        if steps is None:
            steps = owner._steps = FirstSteps(self._loop)
        return steps if steps.begin() else None

    def _start_soon(self) -> None:
        if not self._starting:
            self._starting = True
            self._loop.call_soon(self._start_more)

    def _start_more(self) -> None:
        self._starting = False
        self._start_handlers()

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
            answer = self._on_request(self, message)
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
                self._start(self._answer_later(id, [answer], long=True))
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
        handling = _Handling(self)
        context = contextvars.copy_context()
        context.run(_handling.set, handling)
        try:
            coroutine = self._on_request(self, message)
            returned, found = steps.take(coroutine, context)
        except BaseException as error:
            handling.finish()
            self._answer_failure(id, error)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
            return True
        if not returned:
            rest = Rest(coroutine, context, found)
            self._keep(steps.go_on(self._handle(id, None, rest, handling), rest))
            return False
        if handling._asking:
            handling.finish()
        handling._over = True
        if self._full:
            self._start(self._answer_later(id, [found], long=False))
            return False
        # `_answer`, without the calls: this is done for each request.
        try:
            problem = self._life.answer(id, found)
        except wire.TakesLong:
            self._start(self._answer_later(id, [found], long=True))
            return False
        if problem is not None or self._full:
            self._answered(problem)
            return True
        self._unflushed += 1
        if self._unflushed >= _FLUSH_AT:
            self._flush()
        return True

    async def _answer_later(self, id: int, answers: list[Any], *, long: bool) -> None:
        await self._answer_when_there_is_room(id, answers, long=long)
        self._handled()

    async def _handle(
        self, id: int, message: Any, answer: Awaitable[Any] | None = None, handling: _Handling | None = None
    ) -> None:
        """As a task: run a request's handler, and answer.

        Args:
            id: the request's.
            message: the request.
            answer: what to wait for, where the handler was called already.
            handling: how it is known, where it has begun.
        """
        assert self._on_request is not None
        task = cast("asyncio.Task[None]", asyncio.current_task())
        if task in self._tasks:
            self._tasks[task] = None  # it has begun: from here on it answers, whatever happens
        else:
            self._keep(task)
        if handling is None:
            handling = _Handling(self)
            _handling.set(handling)
        try:
            result = await (self._on_request(self, message) if answer is None else answer)
        except BaseException as error:
            handling.finish()
            self._answer_failure(id, error)
            if isinstance(error, _OF_THE_LOOP):
                self._handled()
                raise
        else:
            handling.finish()
            full = self._full
            if full or not self._answer(id, result):
                answers, result = [result], None  # no frame is to hold it while it waits
                await self._answer_when_there_is_room(id, answers, long=not full)
        self._handled()
        # What `_task_done` would do, a turn of the event loop earlier.
        task.remove_done_callback(self._task_done)
        del self._tasks[task]
        self._maybe_finished()

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
        size = still = 0
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
            while still < _LOOKS and not self._life.ended and not self._life.has_room(len(written)):
                if not self._full:
                    self._flush()  # what others have answered a moment ago
                    if not self._full:
                        self._account.note(unsent=0)
                        break
                taken = self._taken()
                await asyncio.wait([self._next_room()], timeout=_PATIENCE)
                still = still + 1 if self._full and self._taken() <= taken else 0
                self._note_unsent()
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
        self._flush_soon()

    def _next_room(self) -> asyncio.Future[None]:
        """Done once the other end has taken all that was given to the transport."""
        if self._room is None:
            self._room = self._loop.create_future()
        return self._room

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
            _log.error(texts.CANNOT_TRAVEL, self, problem)
        if self._in_start_handlers:  # which sends at its end
            self._unflushed += 1
            if self._unflushed >= _FLUSH_AT:
                self._flush()
        else:
            self._flush_soon(alone=self._admission.running == 1 and not self._admission.ready)
        if self._full:
            self._note_unsent()

    def _answer_failure(self, id: int, error: BaseException) -> None:
        _log.error(texts.HANDLER_FAILED, self, exc_info=error)
        self._life.fail(id, error_text(error))
        self._flush_soon()

    def _handled(self) -> None:
        """A request has been answered: the next one's turn, or the end that waited for it."""
        self._admission.finish()
        if not self._admission.ready:
            self._close_if_idle()
        elif not self._in_start_handlers:
            # Not at once: a thousand plain handlers in a row would be a thousand calls deep.
            self._start_soon()

    # The end.

    def _refuse(self, error: ConnectionClosed) -> None:
        """End a connection that is at fault. Read what is left first: with bytes unread, the close would be a reset."""
        self._life.refused(error, self, _log)
        self._lingering = True
        self._end(error)

    def _withdraw(self, error: ConnectionClosed) -> None:
        """End a connection whose user is not welcome any more."""
        self._lingering = True
        self._end(error)

    def _close_if_idle(self) -> None:
        """Close once the last answer has been sent, if the connection was only there for that."""
        ending = self._life.idle() if not self._full else None
        if ending is not None:
            if ending.linger:
                self._lingering = True
            self._end(ending.error)

    def _drain(self) -> None:
        """The server stops: no new requests; close when the running handlers have finished."""
        ending = self._life.drain()
        if ending is not None:
            self._end(ending.error)
            return
        self._flush_soon()
        self._close_if_idle()

    def _end(self, error: ConnectionClosed, *, abort: bool = False) -> None:
        """End the connection for good. Only the first call does anything."""
        if self._life.ended:
            return
        self._hand_over()
        self._announce_end(self._life.end(error) or error)
        self._wire.read()  # lets go of what was read in part
        self._stop_timer()
        for timer in (self._packet_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        transport = self._transport
        if transport is None:
            return
        if abort:
            transport.abort()
            return
        if self._lingering and not transport.is_closing():
            try:
                transport.write_eof()
            except OSError:
                transport.abort()
                return
            transport.resume_reading()
            self._timer = self._loop.call_later(LINGER_SECONDS, transport.abort)
            return
        transport.close()
        if transport.get_write_buffer_size():
            self._timer = self._loop.call_later(LINGER_SECONDS, transport.abort)

    def _announce_end(self, error: ConnectionClosed) -> None:
        """Fail the requests that wait, and run the close handler, once."""
        waiters, run_on_close = self._life.announce_end()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(type(error)(error.reason))  # one each: a raise changes its traceback
        if run_on_close:
            self._start(self._run_on_close())

    async def _run_on_close(self) -> None:
        assert self._settings.on_close is not None
        try:
            await _call(self._settings.on_close, self)
        except Exception:
            _log.error(texts.CLOSE_HANDLER_FAILED, self, exc_info=True)

    def _forked(self) -> None:
        """See `_fork`.

        The transport is not closed: both processes share the selector, so the parent's would be changed too. But its
        socket is closed, so that the other end notices when the parent closes its own.
        """
        self._life.forked()
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None and sock.fileno() >= 0:
            let_go(sock.fileno())

    def _read_rest(self, sock: socket.socket) -> None:
        """Sending has failed, and the transport reads no more; but the other end may have answered before it went."""
        data = b""
        if self._wire.state == "open":
            with contextlib.suppress(OSError):
                data = sock.recv(_READ)
        if data:
            self._take_slice(self._wire.receive_plain(data, QUANTUM))
        else:
            self._forget_rest()

    def _forget_rest(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _lost(self, error: Exception | None) -> None:
        """The transport is closed; what has come before it was is read first."""
        self._not_full()
        self._stop_timer()
        if not self._life.ended and self._wire.state == "open":
            if isinstance(error, ConnectionError):
                assert self._transport is not None
                with contextlib.suppress(OSError):
                    self._rest = self._transport.get_extra_info("socket").dup()
                    self._rest.setblocking(False)
            if self._in_line or self._rest is not None:
                self._loss = (error,)
                self._line_up()
                return
        self._lost_for_good(error)

    def _lost_for_good(self, error: Exception | None) -> None:
        self._loss = None
        self._forget_rest()
        if not self._life.ended:
            self._end(self._wire.lost("connection lost" if error is None else why_broken(error)))
        if not self._transport_closed.done():
            self._transport_closed.set_result(None)
        self._maybe_finished()


class StreamProtocol(asyncio.BufferedProtocol):
    """What a transport calls; keeps those names out of the public class.

    Args:
        connection: what it belongs to.
        address: that of the other end; or, where it is not `known`, the one that was asked for.
        known: whether it is: a proxy may have told it.
    """

    def __init__(self, connection: Connection, address: Address, *, known: bool = False) -> None:
        self._connection = connection
        self._address = address
        self._known = known
        # One for all: what is in it is copied before another connection of this event loop reads.
        self._buffer = _buffer_of_this_thread()
        self.pause_writing = connection._pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection._resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        sock: socket.socket = transport.get_extra_info("socket")
        tune(sock)
        address = self._address if self._known else peer_address(sock, self._address)
        self._connection._made(cast(asyncio.Transport, transport), address)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        try:
            self._connection._received(self._buffer[:nbytes].tobytes())
        except Exception as error:
            self._connection._internal_error(error)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. True keeps the other direction open: answers may still be sent."""
        connection = self._connection
        try:
            connection._received_eof()
        except Exception as error:
            connection._internal_error(error)
        return not connection._life.ended

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._connection._lost(exc)


_buffers = threading.local()


def _buffer_of_this_thread() -> memoryview:
    """The buffer that reading goes to. A fresh one of this size would cost a mapping and a page fault each time."""
    buffer: memoryview | None = getattr(_buffers, "buffer", None)
    if buffer is None:
        buffer = _buffers.buffer = memoryview(bytearray(_READ))
    return buffer


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    call = type(function).__call__  # an object with a coroutine method in the place of a function
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


async def _call(function: Callable[[Connection], Any], connection: Connection) -> None:
    result = function(connection)
    if inspect.isawaitable(result):
        await result


class _Opening:
    """What `open_connection` returns: to be awaited, or entered with `async with`."""

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return cast("Generator[Any, None, Connection]", self._open().__await__())

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._connection is not None
        await self._connection.close()


def open_connection(
    address: AddressLike,
    user: str | None = None,
    key: Key | None = None,
    on_request: RequestHandler | None = None,
    on_close: ConnectionHandler | None = None,
    *,
    connect_timeout: float | None = DEFAULT_CONNECT_TIMEOUT,
    profile: wire.ProfileLike = None,
    limits: wire.Limits = wire.DEFAULT_LIMITS,
    guards: wire.Guards = wire.DEFAULT_GUARDS,
) -> _Opening:
    """Open a connection (API reference: `open-connection!`): `await` it, or enter it with `async with`.

    A secure connection's key is not confirmed here: the server answers nothing to a hello, so a wrong key shows when
    the first request fails with `ConnectionClosed`, which says so.

    Args:
        address: `"host:port"`, `"path/to/socket"`, `("tcp", host, port)` or `("unix", path)`.
        user: the username, at most 255 bytes in UTF-8; `None` (and no key) for an insecure connection.
        key: the user's key, from `passphrase_to_key`.
        on_request: `on_request(connection, message) -> answer`, for each request from the server: a coroutine
            function, or a plain one. What it raises is sent back as the request's error. Without it, requests are
            answered with an error.
        on_close: `on_close(connection)`, when the connection ends, unless this end closed it.
        connect_timeout: seconds to connect; `None` for as long as the system takes.
        profile: the wire format, or its name; the default is `inferred-1`.
        limits: what the other end may ask of this one at most.
        guards: what is refused although it is well formed.

    Raises:
        ConnectFailed: refused, unknown host, no such socket, …
        ConnectTimeout: (a `ConnectFailed` and a `TimeoutError`) it took too long.
        AddressError: `address` is in none of the forms.
        ValueError: `user` without `key` or the other way round, or a username that is too long.
    """

    async def open_() -> Connection:
        place, limit = parse_address(address), seconds(connect_timeout, "connect_timeout")
        settings = Settings(
            on_request=on_request, on_close=on_close, profile=wire.get_profile(profile), limits=limits, guards=guards
        )
        connection = Connection(settings.client_protocol(user, key), settings)
        await reach(connection, place, limit)
        return connection

    return _Opening(open_)


async def reach(connection: Connection, place: Address, limit: float | None) -> None:
    """Connect a client's connection, which has no transport yet.

    Args:
        connection: made for this.
        place: where the server listens.
        limit: seconds that it may take; `None` for as long as the system takes.

    Raises:
        ConnectFailed: no connection came about.
        ConnectTimeout: it took too long.
    """
    try:
        sock = await asyncio.wait_for(connect(place), limit)
    except (asyncio.TimeoutError, TimeoutError):
        raise texts.no_connection(place, limit) from None
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(lambda: StreamProtocol(connection, place), sock=sock)
    except BaseException:
        connection._life.ask_to_close()  # no caller has it, so its close handler does not run
        sock.close()
        raise
