"""A connection on an asyncio transport: everything on one event loop, handlers as tasks.

This module knows who waits for what has come, when nothing more is read, and how all that ends. The two sides of the
transport are in `receiving` and `sending`, tasks and handlers in `handling`; `bokbok._front` knows what a connection
decides, `bokbok.wire` the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from .. import wire
from .._fork import let_go, track
from .._front import texts
from .._front.clocks import IdleClock, PacketClock
from .._front.lifecycle import Lifecycle, Public, remote_error
from .._front.logs import Log
from .._front.reads import READ
from .._front.settings import Settings
from .._front.turns import FIRST, MORE, NOTHING, QUANTUM, left
from .._sockets import ENDLESS, LINGER_SECONDS, seconds, why_broken
from ..address import Address
from ..errors import ConnectionClosed, RemoteProtocolError
from ..keys import Key
from .greeting import look_up, refusal
from .handling import OF_THE_LOOP, Handling, handled
from .sending import FLUSH_AT, Sending
from .turns import turns_of

if TYPE_CHECKING:
    from .._front.shared import Visit
    from .server import Server

__all__ = ["Connection", "ConnectionHandler", "KeyLookup", "RequestHandler"]

_log = Log("bokbok.asyncio")

RequestHandler = Callable[["Connection", Any], Any]
"""`on_request(connection, message) -> answer`: a coroutine function, or a plain one, which holds up the event loop."""
ConnectionHandler = Callable[["Connection"], Any]
"""`on_open(connection)`, `on_close(connection)`: coroutine functions or plain ones."""
KeyLookup = Callable[[str], Key | Sequence[Key] | Awaitable[Key | Sequence[Key] | None] | None]
"""`user_to_key(user) -> Key | list of keys | None`: a coroutine function or a plain one."""

_LOOK_UP, _TURNS, OTHER_LEG, _MEMORY = 1, 2, 4, 8
"""Why nothing is read from the transport: the user is being looked up; what was read waits for its turn; the other leg
of a bridge does not take it; too much is held. Bits: each reason comes and goes by itself."""


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
        "_eof",
        "_handling",
        "_idle_clock",
        "_idle_timer",
        "_in_line",
        "_is_closed",
        "_life",
        "_limits",
        "_lingering",
        "_loop",
        "_loss",
        "_not_reading",
        "_packet_clock",
        "_packet_timer",
        "_read_alone",
        "_rest",
        "_sending",
        "_server",
        "_settings",
        "_timer",
        "_transport",
        "_turns",
        "_unread",
        "_waiters",
        "_when_closed",
        "_wire",
    )

    def __init__(
        self,
        protocol: wire.Connection,
        settings: Settings,
        server: Server | None = None,
        visit: Visit | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._limits = settings.limits
        self._server = server

        slots = server._shared.slots if server is not None else None
        self._life = life = Lifecycle["asyncio.Future[Any]"](protocol, settings, visit, slots, self._slot_kept)
        self._wire = protocol
        self._read_alone = protocol.read_alone
        self._admission = life.admission
        self._account = life.account
        self._waiters = life.waiters
        self._transport: asyncio.Transport | None = None
        self._address: Address | None = None
        self._sending = Sending(self, life, self._loop)
        self._handling = Handling(self, life, self._sending, self._loop, server)
        self._timer: asyncio.TimerHandle | None = None  # hello, lingering: one at a time
        # What a connection may never need is made when it is: there are thousands of connections.
        self._packet_clock: PacketClock | None = None  # once a packet has come in part
        self._packet_timer: asyncio.TimerHandle | None = None
        idle = settings.limits.idle_timeout
        self._idle_clock = IdleClock(idle) if idle is not None else None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._lingering = False  # what still comes is read and dropped
        self._not_reading = 0  # why: bits
        self._turns = turns_of(self._loop)
        self._in_line = False  # for a turn to read what has come
        self._unread = b""  # what came in a crowded round, or since then
        self._eof = False  # it ended after that
        self._loss: tuple[Exception | None] | None = None  # how the transport was lost, while the rest is being read
        self._rest: socket.socket | None = None  # where the rest is read from
        self._is_closed = False  # the transport
        self._when_closed: asyncio.Future[None] | None = None  # for who waits for that
        if server is None:  # a server tells its connections of a fork
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
        asker = handled.get()
        if asker is not None:
            asker.park()
        try:
            limit = None if timeout is None else seconds(timeout)
            sending = self._sending
            if sending.full:
                limit = await sending.await_room(limit, timeout)
            try:
                id = self._wire.request(message, brief=True)
            except wire.TakesLong:  # in a thread: the event loop goes on meanwhile
                began = self._loop.time()
                written = await asyncio.to_thread(self._wire.encode, message)
                id = self._wire.request(written, encoded=True)
                del written  # it is long, and the answer is too, perhaps
                if limit is not None:
                    limit = max(0.0, limit - (self._loop.time() - began))
            if self._not_reading & _MEMORY:  # however much is held: the answer must come in
                if self._packet_clock is not None:
                    self._packet_clock.go_on(self._loop.time())
                self._read_on(_MEMORY)
            # `flush_soon`, without the call: this is done for each request.
            sending.unflushed += 1
            if not self._waiters or sending.unflushed >= FLUSH_AT:
                sending.flush()
            elif not sending.scheduled:
                sending.scheduled = True
                self._loop.call_soon(sending.flush_scheduled)
            waiter: asyncio.Future[Any] = self._loop.create_future()
            self._waiters[id] = waiter
            if limit is None:
                try:
                    return await waiter
                except BaseException as error:
                    self._gave_up(id, waiter, error)
                    del waiter  # which has the error, whose traceback has this frame
                    raise
            timer = self._loop.call_later(limit, self._expire, id, timeout)
            try:
                return await waiter
            except BaseException as error:
                self._gave_up(id, waiter, error)
                del waiter
                raise
            finally:
                timer.cancel()
        finally:
            if asker is not None:
                asker.unpark()

    def _gave_up(self, id: int, waiter: asyncio.Future[Any], error: BaseException) -> None:
        """A request's task has stopped waiting: its answer was an error, or it was cancelled."""
        self._waiters.pop(id, None)
        if isinstance(error, asyncio.CancelledError) and waiter.done() and not waiter.cancelled():
            waiter.exception()  # it was set in the same moment: marked as seen, so that asyncio does not complain

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

    @property
    def _transport_closed(self) -> asyncio.Future[None]:
        """Done once the transport is closed."""
        if self._when_closed is None:
            self._when_closed = self._loop.create_future()
            if self._is_closed:
                self._when_closed.set_result(None)
        return self._when_closed

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # Reading.

    def _made(self, transport: asyncio.Transport, address: Address) -> None:
        self._transport = transport
        self._address = address
        if self._life.ended:  # the server was stopped meanwhile
            transport.close()
            return
        self._sending.made(transport)
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
        if self._idle_clock is not None:
            self._idle_clock.note(self._loop.time())
        if self._in_line:
            self._unread += data
            self._account.note(partial=self._wire.held + len(self._unread))
            self._stop_reading(_TURNS)
        elif self._wire.state != "open":
            self._take_slice(self._wire.receive_plain(data, FIRST, self._turns.may_begin(self._life.party)))
        elif self._turns.at_once():
            if (alone := self._read_alone(data)) is None:
                begin = self._turns.may_begin(self._life.party)
                self._take_slice(self._wire.take_plain(self._wire.read(data, seconds=FIRST, begin=begin)))
            elif not self._take_in_alone(alone):
                self._take_slice(self._wire.take_plain([alone]))
        else:
            # Reading goes on until more comes: to stop and go on costs more than to look at what is here.
            self._unread = data
            self._account.note(partial=self._wire.held + len(data))
            if self._life.holds_too_much:
                self._stop_reading(_TURNS)
            self._line_up()

    def _take_in_alone(self, message: wire.Read | RemoteProtocolError) -> bool:
        """Act on a message that came alone, if it is an answer or a request, and nothing else is going on.

        The plain version is `take_plain` and `_take_slice`: this is what most of them are.

        Returns:
            False: nothing was done.
        """
        account, clock = self._account, self._packet_clock
        if (
            type(message) is not tuple
            or account.held
            or account.partial
            or self._not_reading
            or (clock is not None and clock.since is not None)
            or not self._life.was_open
        ):
            return False
        kind, id, datum, cost = message
        if kind == wire.RESPONSE:
            if not self._wire.take_response(message):
                return False
            waiter = self._waiters.pop(id, None)
            if waiter is not None and not waiter.done():  # else its task was cancelled
                waiter.set_result(datum)
            return True
        if kind != wire.REQUEST or self._settings.on_request is None or not self._admission.start_alone():
            return False
        if account.admit(id, cost):
            if self._wire.take_request(message):
                self._handling.handle_alone(id, datum)
                if self._account.held and not self._life.ended:
                    self._weigh(0, True)
                return True
            account.done(id)
        self._admission.finish()
        return False

    def _take_slice(self, events: list[wire.Plain]) -> None:
        """Act on what was read. The rest takes turns with other connections, and nothing more is read meanwhile."""
        held, clock = self._wire.held, self._packet_clock
        if held or self._account.partial:  # before requests are looked at: what they hold is not held in part any more
            self._account.note(partial=held)
        if not self._life.was_open:
            self._maybe_opened(events)
        self._take_in(events)
        if self._wire.more:
            self._stop_reading(_TURNS)
            self._line_up()
        elif (
            held or (clock is not None and clock.since is not None) or self._account.held or self._not_reading
        ) and not self._life.ended:
            self._weigh(held, bool(events))

    def _weigh(self, held: int, whole: bool) -> None:
        """All that has come was read: since when a packet has been coming, and whether to read on."""
        clock = self._packet_clock
        if clock is None:
            clock = self._packet_clock = PacketClock(self._limits.packet_timeout, self._limits.packet_rate)
        begun = (held or clock.since is not None) and clock.note(self._loop.time(), held, whole)
        if begun and self._packet_timer is None:
            self._packet_timer = self._loop.call_later(min(self._limits.packet_timeout, ENDLESS), self._check_packet)
        if self._life.holds_too_much:
            self._stop_reading(_MEMORY)
            self._account.wait(self._memory_freed)
            if clock.paused is None:
                clock.pause(self._loop.time())  # nothing is read for a while, but not for ever
                if self._packet_timer is not None:
                    self._packet_timer.cancel()
                self._packet_timer = self._loop.call_later(clock.longest_pause, self._check_packet)
        elif self._not_reading & _MEMORY:
            clock.go_on(self._loop.time())
            self._read_on(_MEMORY)

    def _memory_freed(self) -> None:
        self._loop.call_soon(self._weigh_again)

    def _weigh_again(self) -> None:
        if not self._life.ended and self._not_reading & _MEMORY:
            self._weigh(self._account.partial, False)

    def _check_packet(self) -> None:
        """Some time has gone since a packet began: is it too late?"""
        self._packet_timer = None
        clock = self._packet_clock
        assert clock is not None
        left = clock.left(self._loop.time())
        if left is None or self._life.ended:
            return
        if left > 0 or self._in_line:  # what it waits for may be its turn
            self._packet_timer = self._loop.call_later(min(max(left, QUANTUM), ENDLESS), self._check_packet)
            return
        self._refuse(self._life.too_late(clock).error)

    def _check_idle(self) -> None:
        """Some time has gone since anything came: has the connection been idle for too long?"""
        now, clock = self._loop.time(), self._idle_clock
        assert clock is not None
        if self._life.busy or self._in_line:
            clock.note(now)
        left = clock.left(now)
        if left > 0:
            self._idle_timer = self._loop.call_later(min(left, ENDLESS), self._check_idle)
            return
        self._lingering = True
        self._end(self._life.idle_too_long().error)

    def _line_up(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._turns.join(self._life.party, self._take_turn, left(self._wire))

    def _take_turn(self, begin: bool) -> int:
        """Read on for a moment. See `turns.Step`."""
        try:
            if not self._life.ended:
                data, self._unread = self._unread, b""
                if data or self._wire.more:
                    self._take_slice(self._wire.receive_plain(data, QUANTUM, begin))
                elif self._rest is not None:
                    self._read_rest(self._rest, begin)
                if (self._wire.more or self._rest is not None) and not self._life.ended:
                    return left(self._wire) or MORE
        except Exception as error:
            self._handling.fail(error)
        self._in_line = False
        self._read_on(_TURNS)
        if self._eof:
            self._eof = False
            self._received_eof()
        if self._loss is not None:
            self._lost_for_good(self._loss[0])
        return NOTHING

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
        if self._in_line:
            self._eof = True  # after what has come before it
            return
        try:
            self._take_in(cast("list[wire.Plain]", self._wire.receive_eof()))
        except Exception as error:
            self._handling.fail(error)

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
            self._sending.flush_soon()
            self._check_unsent()
        elif kind is wire.HelloReceived:
            event = cast(wire.HelloReceived, event)
            if self._life.visit is not None:
                self._life.visit.claimed = event.user
            self._stop_reading(_LOOK_UP)  # until the key is there
            self._handling.start(self._authenticate(event.user))
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
            self._sending.flush_soon()
            self._check_unsent()
        self._handling.start_handlers()

    def _fail_waiter(self, id: int, error: Exception) -> None:
        waiter = self._waiters.pop(id, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    async def _authenticate(self, user: str) -> None:
        try:
            key, problem = await look_up(self._settings, user)
        except OF_THE_LOOP:
            self._end(ConnectionClosed("the look-up of the user was given up"))
            raise
        if self._wire.state == "lookup":  # not closed meanwhile
            events = self._wire.authenticate(key, seconds=FIRST)
            if isinstance(events[0], wire.HelloOpened):
                try:
                    refused = await refusal(self._life, events[0], self)
                except OF_THE_LOOP:
                    self._end(ConnectionClosed("the look-up of the hello was given up"))
                    raise
                events = self._wire.admit(refused, seconds=FIRST) if self._wire.state == "lookup" else []
            if events:
                self._authenticated(events)
        if problem is not None:
            # Only now: the time that writing a traceback takes would tell a stranger that the look-up has failed.
            self._life.failed(_log, texts.LOOK_UP_FAILED, self, error=problem)

    def _authenticated(self, events: list[wire.Event]) -> None:
        self._stop_timer()
        self._read_on(_LOOK_UP)
        if isinstance(events[0], wire.Opened):
            self._opened()
            if self._life.ended:
                return
            events = events[1:]
        self._take_slice(list(map(wire.as_plain, events)))

    def _check_unsent(self) -> None:
        """Answers that no handler made pile up when the peer does not read: reading goes on, so that has a bound."""
        if not self._sending.full:
            return
        ending = self._life.too_much_unsent(self._sending.note_unsent())
        if ending is not None:
            self._end(ending.error, abort=True)

    # What the sending side tells (`sending.Owner`).

    def _became_full(self) -> None:
        """Nothing to do; a bridge has."""

    def _all_sent(self) -> None:
        # Not at once: a transport must not be closed while it is calling from where it writes.
        self._handling.start_soon()
        self._loop.call_soon(self._close_if_idle)

    # Handlers.

    def _maybe_finished(self) -> None:
        """Tell the server once nothing of this connection is left, not even a handler."""
        if not self._handling.tasks and self._is_closed:
            # Without these it is not a part of cycles, and is freed once nobody has it any more.
            self._sending.forget()
            self._handling.forget()
            if self._server is not None:
                self._server._finished(self)

    def _opened(self) -> None:
        """The connection is open: tell the open handler, once."""
        if (ending := self._life.admit(self)) is not None:
            self._lingering = True
            self._end(ending.error)
            return
        if self._idle_clock is not None:
            self._idle_clock.note(self._loop.time())
            self._check_idle()
        if self._life.open():
            self._handling.start(self._handling.run_on_open())

    def _slot_kept(self) -> None:
        """The server has kept a slot for this connection."""
        self._handling.start_soon()

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
        ending = self._life.idle() if not self._sending.full else None
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
        self._sending.flush_soon()
        self._close_if_idle()

    def _end(self, error: ConnectionClosed, *, abort: bool = False) -> None:
        """End the connection for good. Only the first call does anything."""
        if self._life.ended:
            return
        self._sending.hand_over()
        self._announce_end(self._life.end(error) or error)
        self._unread = b""
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
            self._handling.start(self._handling.run_on_close())

    def _forked(self) -> None:
        """See `_fork`.

        The transport is not closed: both processes share the selector, so the parent's would be changed too. But its
        socket is closed, so that the other end notices when the parent closes its own.
        """
        self._life.forked()
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None and sock.fileno() >= 0:
            let_go(sock.fileno())

    def _read_rest(self, sock: socket.socket, begin: bool) -> None:
        """Sending has failed, and the transport reads no more; but the other end may have answered before it went."""
        data = b""
        if self._wire.state == "open":
            with contextlib.suppress(OSError):
                data = sock.recv(READ)
        if data:
            self._take_slice(self._wire.receive_plain(data, QUANTUM, begin))
        else:
            self._forget_rest()

    def _forget_rest(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _lost(self, error: Exception | None) -> None:
        """The transport is closed; what has come before it was is read first."""
        self._sending.wake()
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
        if not self._is_closed:
            self._is_closed = True
            if self._when_closed is not None:
                self._when_closed.set_result(None)
        self._maybe_finished()
