"""A connection on a socket: any thread may ask, each handler has a thread of its own while it runs.

This module knows sockets, threads and locks; `bokbok.wire` knows the bytes, `bokbok._front` what a connection decides,
`handover` who reads, `turns` whose turn it is to parse, `poller` how to wait without a thread.

* **Workers** are threads of the pool (`threads`). One is called where bytes have come or a handler is to be started. It
  runs handlers, reads on as long as there is something to read, and goes back.
* **A thread that asks**, and is the only one, reads for its own answer: no thread has to be woken then.
* **The lock** guards what is short: the conversation (`wire.Connection.take`), who waits, who reads, who sends. While
  it is held, nothing is parsed, opened, sealed, encoded, sent or received, and no handler runs. So a thread that needs
  it gets it at once, whatever the peer sends.
* **Sending** is one thread's at a time, which takes along what others leave. What a slow peer does not take waits for
  the poller, and no new handler starts meanwhile.
* **Answers** may wait a moment for each other, where the next request is there already; if its handler is slow, the
  poller's look (`handover`) has them sent.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import wire
from .._fork import track
from .._front import texts
from .._front.admission import Job, error_text
from .._front.clocks import IdleClock, PacketClock, SendClock
from .._front.lifecycle import Ending, Lifecycle, Public, checked_key, remote_error
from .._front.settings import Settings, SharedHellos
from .._front.shared import Visit
from .._front.turns import QUANTUM
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
from ..wire import REQUEST, RESPONSE, AnswerUnreadable, ErrorReceived, Read, RequestUnreadable
from .connecting import connect
from .handover import CALLER, Pace, Role
from .poller import READ, WRITE, Timer, poller
from .threads import run_in_thread
from .turns import lingering, reading

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Connection", "ConnectionHandler", "RequestHandler", "open_connection"]

_log = logging.getLogger("bokbok.sync")

RequestHandler = Callable[["Connection", Any], Any]
"""`on_request(connection, message) -> answer`"""
ConnectionHandler = Callable[["Connection"], object]
"""`on_open(connection)`, `on_close(connection)`"""

_READ = 256 * 1024
"""Bytes read at once: as asyncio's transports do."""
_STAY_SECONDS = 0.02
"""How long a worker waits for more before it leaves that to the poller: longer than a conversation's usual pauses."""
_STAY = struct.pack("ll", int(_STAY_SECONDS), int(_STAY_SECONDS % 1 * 1e6))  # a `timeval`
_BUNCH = 8
"""Answers that wait for each other at most. Measured: more leave the other end idle."""
_BUNCH_BYTES = 16 * 1024
"""An answer that is longer waits for no other."""
_PILE = 256 * 1024
"""Bytes of answers that may wait for the sending thread while further handlers start."""
_PATIENCE = 1.0
"""Seconds in which a peer must take some of what was sent before, while an answer waits that there is no room for."""
_LONELY = 16
"""Answers in a row, each for the only thread that waited, after which threads read for themselves again."""
_STILL = 20
"""Looks without anything having moved, after which the poller looks elsewhere."""

handler_of = threading.local()
"""Whose handler this thread runs now: `.server`, and of a request handler `.connection`."""


class _Buffer(threading.local):
    """Where a thread receives: a fresh buffer of this size for each time costs a mapping and a page fault.

    A mapping: pages that no message needs are never there.
    """

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, _READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


_buffer = _Buffer()


class _Waiter:
    """One thread waiting for one answer. Set once, then read once."""

    __slots__ = ("_lock", "done", "error", "message")

    def __init__(self) -> None:
        # A bare lock is the cheapest thing that one thread can wait on and another set.
        self._lock = threading.Lock()
        self._lock.acquire()
        self.done = False
        self.error: Exception | None = None
        self.message: Any = None

    def succeed(self, message: Any) -> None:
        self.message = message
        self.done = True
        self._lock.release()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done = True
        self._lock.release()

    def wait(self, deadline: float | None) -> bool:
        if deadline is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))


class Connection(Public[_Waiter]):
    """One end of a connection; the other end looks the same (API reference: "connections are symmetrical").

    Made by `open_connection`, or by a server, which hands it to its handlers. Any number of threads may use it at
    once. As a context manager it closes itself at the end.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: wire.Connection,
        address: Address,
        settings: Settings,
        server: Server | None = None,
        visit: Visit | None = None,
    ) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STAY)
        self._socket = sock
        self._number = sock.fileno()
        self._address = address
        self._on_request: RequestHandler | None = settings.on_request
        self._settings = settings
        self._limits = settings.limits
        self._server = server

        # Guards everything below it, and the protocol object's conversation. Never held while anything takes long.
        self._lock = threading.Lock()
        slots = server._shared.slots if server is not None else None
        self._life = life = Lifecycle[_Waiter](protocol, settings, visit, slots, self._slot_kept)
        self._wire = protocol
        self._admission = life.admission
        self._account = life.account
        self._waiters = life.waiters
        self._tasks = 0  # threads that do anything for this connection; a server waits for them
        self._socket_closed = threading.Event()
        self._polled = 0  # what the poller waits for
        self._timer: Timer | None = None  # hello, lingering: one at a time
        self._ending: Literal["", "flush", "linger"] = ""  # what is still to be done before the socket is closed
        # Sending: whoever has set `_sending` owns that side of the socket.
        self._sending = False
        self._rest = memoryview(b"")  # what the peer has not taken, while nobody but the poller waits for room
        self._sent = 0  # bytes that the system took since the peer does not get on
        self._send_clock = SendClock(settings.limits.send_timeout)
        self._send_timer: Timer | None = None
        self._room = threading.Condition(self._lock)  # notified when the peer gets on, and at the end
        self._bunch = 0  # answers that are not sent yet, on purpose
        self._winding_down = False  # the connection may be waiting for the last answer to end
        self._broken: Exception | None = None  # why sending failed, if that is more than that the other end has closed
        # Reading: whoever has the role, and is a worker or a caller, owns these, that side of the socket, `wire.read`.
        self._role = Role()
        self._reader: _Waiter | None = None  # the caller who has the role
        self._unread = b""  # what was received, while it is not this connection's turn
        self._poll: select.poll | None = None
        self._paused = False  # nobody reads, since too much memory is held for the peer
        self._packet_clock = PacketClock(settings.limits.packet_timeout, settings.limits.packet_rate)
        self._packet_timer: Timer | None = None
        self._idle_clock = IdleClock(settings.limits.idle_timeout)
        # Workers.
        self._pace = Pace()
        self._called = False  # a worker was called for handlers that has not looked around yet
        self._coming = False  # a thread was called for a slot that is kept, and waits for the lock
        self._awake = False  # whoever reads is awake, and sends what there is before it waits
        self._lonely = 0  # answers in a row, each for the only thread that waited
        self._looked_after = False
        self._moves = 0  # changes whenever something has got on
        self._moves_seen = 0  # what the poller has seen of it
        self._still = 0
        self._was_late = False  # the poller, when nothing had moved
        track(self)

    # What a user sees.

    def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Ask the other end, and wait for its answer (API reference: `request!`).

        Any number of threads may ask at once; answers may come in another order than the requests.

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
        handling: Connection | None = getattr(handler_of, "connection", None)
        if handling is None:
            return self._request(message, timeout)
        handling._park()
        try:
            return self._request(message, timeout)
        finally:
            handling._unpark()

    def _request(self, message: Any, timeout: float | None) -> Any:
        deadline = None
        if timeout is not None and (remaining := seconds(timeout)) is not None:
            deadline = time.monotonic() + remaining
        waiter = _Waiter()
        id = -1
        try:
            encoded = self._wire.encode(message)
            if self._admission.congested:
                self._await_room(deadline, timeout)
            try:
                with self._lock:
                    id = self._wire.request(encoded, encoded=True)
                    if not self._waiters:
                        self._ask_to_read(waiter)
                    self._waiters[id] = waiter
                    outgoing = None if self._awake else self._take()
                if outgoing:
                    self._transmit(outgoing)
                if self._reader is waiter:
                    self._read_for(id, waiter, deadline)
            finally:
                if self._reader is waiter:
                    self._stop_reading_for(waiter)
            in_time = waiter.done or waiter.wait(deadline)
        except BaseException:  # KeyboardInterrupt: nobody waits any more
            with self._lock:
                self._waiters.pop(id, None)
            raise
        if not in_time:
            with self._lock:
                expired = self._waiters.pop(id, None) is not None
            if expired:
                raise texts.no_answer(timeout)
            waiter.wait(None)  # it is being delivered at this very moment
        if waiter.error is not None:
            try:
                raise waiter.error
            finally:
                waiter.error = None  # the exception's traceback would point back to itself through this frame
        return waiter.message

    def close(self) -> None:
        """Close the connection (API reference: `close-connection!`).

        Waiting requests, here and at the other end, fail with `ConnectionClosed`. The close handler of this end does
        not run; that of the other end does. Closing twice does nothing.
        """
        self._end(self._life.ask_to_close(), flush=True)
        # Bounded: the reading thread is woken at once, but may be in a user's slow `user_to_key`.
        self._socket_closed.wait(LINGER_SECONDS)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # The poller.

    def _begin(self) -> None:
        """Have the poller wait for what comes, and for a hello for so long."""
        try:
            if self._wire.state in ("hello", "lookup") and self._limits.hello_timeout < ENDLESS:
                self._timer = poller.call_at(time.monotonic() + self._limits.hello_timeout, self._hello_is_late)
            with self._lock:
                self._await(READ)
                self._role.park()
        except (RuntimeError, OSError) as error:
            self._end(texts.cannot_start_thread(error))

    def _await(self, events: int) -> None:
        """With the lock held: have the poller wait for these events, and no others."""
        before, self._polled = self._polled, events
        if before != events:
            poller.change(self._number, self, before, events)

    def _ready(self, events: int) -> None:
        """As the poller: there are bytes, or there is room, which workers see to."""
        read = write = drop = False
        with self._lock:
            if events & WRITE and self._polled & WRITE:
                self._await(self._polled & ~WRITE)
                write = True
            if events & READ and self._polled & READ:
                if self._life.ended:
                    drop = True
                else:
                    self._await(self._polled & ~READ)
                    read = self._role.bytes_came()
        if write:
            self._start(self._send_on)
        if read:
            self._line_up()
        if drop:
            self._drop()

    def _look(self, late: bool) -> bool:
        """As the poller, every few milliseconds: whether anything has got on. True if it is to come again."""
        line_up = call = False
        with self._lock:
            if self._moves != self._moves_seen or (late and not self._was_late):
                # A poller that comes late was kept from running, as this connection's threads may have been: once.
                self._was_late = late and self._moves == self._moves_seen
                self._moves_seen = self._moves
                self._still = 0
                return True
            self._was_late = False
            stray = self._role.is_stray
            if stray:
                line_up = self._pass_on()
            call = not self._called and (self._admission.ready or (bool(self._bunch) and not self._sending))
            self._called |= call
            if (stray or call) and self._admission.running:
                self._pace.stands_still()
            self._still += 1
            again = self._looked_after = self._still < _STILL and self._wire.state == "open"
        if call:
            self._start(self._worker)
        if line_up:
            self._line_up()
        return again

    def _be_looked_after(self) -> None:
        """With the lock held: something is left to the next look."""
        if not self._looked_after:
            self._looked_after = True
            self._moves_seen = self._moves
            self._still = 0
            self._was_late = False
            poller.look_after(self._look)

    # Sending. One thread at a time owns the sending side (`_sending`), and takes along what others leave.

    def _take(self) -> list[bytes] | None:
        """With the lock held: what is to be sent by this thread now; nothing, if another is sending already."""
        if self._sending:
            return None
        self._bunch = 0
        outgoing = self._wire.take_out()
        self._sending = bool(outgoing)
        return outgoing

    def _transmit(self, outgoing: list[bytes]) -> None:
        """Send what `_take` has given, as far as the peer takes it; the rest is left to the poller."""
        rest: memoryview | None = None
        call = over = False
        try:
            while outgoing:
                data = self._wire.sealed(outgoing)
                try:
                    sent = self._socket.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                if sent < len(data):
                    with self._lock:
                        self._admission.congested = True  # no new handler starts
                    rest = self._push(memoryview(data)[sent:])
                    if rest:
                        break
                with self._lock:
                    self._bunch = 0
                    outgoing = self._wire.take_out()
                    if not outgoing:
                        self._sending = False
                        if self._winding_down or self._admission.congested:
                            call, over = self._stop_sending()
        except OSError as error:
            self._send_failed(error)
            return
        except BaseException:  # KeyboardInterrupt: nobody knows how much was sent
            self._end(ConnectionClosed("interrupted while sending"))
            with self._lock:
                self._stop_sending()
            raise
        if rest:
            self._leave_to_poller(rest)
        elif call or over:
            self._sent_all(call, over)

    def _socket_send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _push(self, rest: memoryview) -> memoryview:
        """Send on for as long as the peer takes some every few milliseconds; what is left then."""
        if not lingering.take():
            return rest
        try:
            poll = select.poll()
            poll.register(self._number, select.POLLOUT)
            while rest and not self._life.ended and poll.poll(_STAY_SECONDS * 1000):
                rest = rest[self._socket_send(rest) :]
            return rest
        finally:
            lingering.give()

    def _leave_to_poller(self, rest: memoryview) -> None:
        """The peer does not get on: no new handler starts, and a worker sends on when there is room."""
        with self._lock:
            if not self._life.ended or (self._ending and self._timer is not None):
                self._rest = rest
                self._admission.congested = True
                self._note_unsent()
                self._room.notify_all()  # who waits for room may look whether the peer gets on
                self._await(self._polled | WRITE)
                if self._send_timer is None and self._limits.send_timeout < ENDLESS:
                    self._sent = 0
                    self._send_clock.start(time.monotonic(), self._taken())
                    self._watch_sending(self._limits.send_timeout)
                return
            self._stop_sending()  # the end does not wait for it

    def _send_on(self) -> None:
        """As a worker: there is room."""
        with self._lock:
            rest, self._rest = self._rest, memoryview(b"")
        if not rest:  # the connection has ended meanwhile
            return
        try:
            before = len(rest)
            rest = self._push(rest[self._socket_send(rest) :])
            self._sent += before - len(rest)
        except OSError as error:
            self._send_failed(error)
            return
        if rest:
            self._leave_to_poller(rest)
            return
        call = over = False
        with self._lock:
            self._bunch = 0
            outgoing = self._wire.take_out()
            if not outgoing:
                call, over = self._stop_sending()
        if outgoing:
            self._transmit(outgoing)
        else:
            self._sent_all(call, over)

    def _taken(self) -> int:
        """With the lock held, while the socket is open: bytes that the peer has taken, up to a constant."""
        return self._sent - not_taken(self._socket)

    def _watch_sending(self, seconds: float) -> None:
        """With the lock held: look in a while whether the peer has taken anything."""
        self._send_timer = poller.call_at(time.monotonic() + seconds, self._check_sending)

    def _check_sending(self) -> None:
        """As the poller: whether the peer has taken anything lately."""
        with self._lock:
            self._send_timer = None
            if not self._admission.congested or self._socket_closed.is_set():
                return
            left = self._send_clock.left(time.monotonic(), self._taken())
            if left > 0:
                self._watch_sending(left)
        if left <= 0:
            self._start(self._end, texts.took_nothing(self._limits.send_timeout))

    def _await_room(self, deadline: float | None, timeout: float | None) -> None:
        """As a thread that asks: wait while too many bytes wait to be taken, so that requests do not pile up."""
        with self._lock:
            while self._admission.congested and not self._life.ended and self._note_unsent() > self._limits.unsent:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise texts.not_sent(timeout)
                self._room.wait(left)

    def _await_room_for_answer(self, size: int) -> bool:
        """With the lock held, as a handler has returned: wait for room for its answer, as long as the peer takes any.

        The handler's slot is taken for as long, and no new handler of this connection starts.

        Returns:
            Whether it may be put on its way; false where so many wait already that this one must not.
        """
        if self._life.has_room(size):
            return True
        if not self._account.keep(size):
            return False
        try:
            while self._admission.congested and not (self._life.ended or self._life.has_room(size)):
                taken = self._taken()
                self._room.wait(_PATIENCE)
                if self._admission.congested and not self._socket_closed.is_set():
                    self._note_unsent()
                    if self._taken() <= taken:
                        break
        finally:
            self._account.let_go(size)
        return True

    def _stop_sending(self) -> tuple[bool, bool]:
        """With the lock held: nobody owns the sending side any more; what `_sent_all` is to do."""
        self._sending = self._admission.congested = False
        self._account.note(unsent=0)
        self._room.notify_all()
        if self._life.ended:
            self._maybe_close_socket()
        return self._call_worker(), self._winding_down

    def _sent_all(self, call: bool, over: bool) -> None:
        """Everything is sent: start handlers that have waited for that; it may be what the end has waited for."""
        if call:
            self._start(self._worker)
        if over:
            if self._ending:
                self._flushed()
            else:
                self._close_if_idle()

    def _send_failed(self, error: Exception) -> None:
        with self._lock:
            # The other end may have answered before it went: whoever reads takes that first, then finds the end.
            reading_goes_on = isinstance(error, ConnectionError) and self._wire.state == "open"
            if reading_goes_on and not isinstance(error, BrokenPipeError):
                self._broken = error
        if reading_goes_on:
            with contextlib.suppress(OSError):  # reset already
                self._socket.shutdown(socket.SHUT_RD)
        else:
            self._end(self._lost(error))
        with self._lock:
            self._wire.take_out()  # nobody will take it
            call, over = self._stop_sending()
        self._sent_all(call, over)

    def _send_now(self) -> None:
        """Send what the protocol object has, if nobody does already."""
        with self._lock:
            outgoing = self._take()
        if outgoing:
            self._transmit(outgoing)

    # Workers.

    def _worker(self, *, reads: bool = False, turn: bool = False) -> None:
        """Do what there is to do: run handlers, send what is left over, read, or else leave.

        Args:
            reads: it was called to read.
            turn: … and it is this connection's turn.
        """
        job: Job | None = None
        rest: Callable[[], object] | None = None
        outgoing: list[bytes] | None = None
        with self._lock:
            self._called = False
            reads = reads and self._role.come()
            if not reads:
                job, reads, rest = self._next_job(reads)
                if job is None:
                    outgoing = self._take()
            elif self._call_worker():
                rest = partial(self._start, self._worker)
        if turn and not reads:
            reading.leave()
        if outgoing:
            self._transmit(outgoing)
        if rest is not None:
            rest()
        while job is not None or reads:
            if job is not None:
                job, reads = self._handle(*job, reads)
            else:
                job, reads = self._read(turn)
                turn = False

    def _next_job(self, reads: bool) -> tuple[Job | None, bool, Callable[[], object] | None]:
        """With the lock held, as a worker: the next handler to run.

        Args:
            reads: it has the role.

        Returns:
            The request; whether the worker still has the role, or has lent it; what is left to do without the lock.
        """
        job = self._admission.start()
        if job is None:
            return None, reads, None
        if self._pace.is_quick:
            if reads:
                self._role.lend()
            if not self._looked_after:
                self._be_looked_after()
            return job, reads, None
        # Not the poller: a worker that stays with the connection costs less for each message.
        read = reads and self._role.call()
        call = not read and self._call_worker()
        if not (read or call):
            return job, False, None
        return job, False, partial(self._start, self._worker, reads=read)

    def _line_up(self) -> None:
        """Have a worker read once it is this connection's turn."""
        reading.enter(self)

    def _turn_came(self) -> bool:
        """See `turns`."""
        return self._start(self._worker, reads=True, turn=True)

    def _pass_on(self) -> bool:
        """With the lock held: who reads has something else to do. True: there is something to read, so `_line_up`."""
        if self._unread or self._wire.more:
            return self._role.call()
        if self._role.park():
            self._await(self._polled | READ)
        return False

    def _call_worker(self) -> bool:
        """With the lock held: whether to start a worker for handlers that could run."""
        if self._called or not self._admission.reserve():
            return False
        self._called = True
        return True

    # Reading.

    def _ask_to_read(self, waiter: _Waiter) -> None:
        """With the lock held, as the only thread that waits for an answer: read for it, unless somebody reads."""
        if self._role.ask():
            self._reader = waiter
            self._paused = False
            if self._polled & READ:
                self._await(self._polled & ~READ)

    def _read_for(self, id: int, waiter: _Waiter, deadline: float | None) -> None:
        """As a caller who has the role: read until the answer is there, or it is too late."""
        # Only the main thread can be interrupted (KeyboardInterrupt). While it waits here, nothing gets lost by that.
        polls = deadline is not None or threading.get_ident() == threading.main_thread().ident
        taking = False
        protocol = self._wire
        try:
            while not waiter.done:
                data = self._unread
                if data or protocol.more:
                    if deadline is not None and deadline <= time.monotonic():
                        return
                    self._unread = b""
                else:
                    if polls and not self._poll_for_bytes(deadline):
                        return
                    taking = True
                    received = self._receive()
                    if received is None:
                        taking = False
                        if self._life.ended:
                            return
                        continue
                    if not received:
                        self._received_end()
                        return
                    data = received
                taking = True
                batch = protocol.read(data, seconds=QUANTUM)
                with self._lock:
                    self._moves += 1
                    events = protocol.take_plain(batch)
                    if protocol.held or self._account.partial:
                        self._weigh(events)
                    if (
                        len(events) == 1
                        and type(event := events[0]) is tuple
                        and event[0] == RESPONSE
                        and event[1] == id
                        and self._waiters.pop(id, None) is not None
                    ):
                        # What `_take_in` and `_stop_reading_for` would do, in fewer steps.
                        waiter.message = event[2]
                        waiter.done = True
                        if not self._waiters and not protocol.more and not self._life.ended:
                            self._reader = None
                            self._role.leave()
                            if not self._looked_after:
                                self._be_looked_after()
                        return
                    rest = self._take_in(events)
                taking = False
                if rest is not None:
                    rest()
        except OSError as error:
            self._end(self._lost(error))
        except Exception as error:
            self._fail(error)
        except BaseException:  # KeyboardInterrupt
            if taking:  # nobody knows what was read
                self._end(ConnectionClosed("interrupted while reading"))
            raise

    def _poll_for_bytes(self, deadline: float | None) -> bool:
        """Wait for bytes or an end. False: it is too late."""
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self._number, select.POLLIN)
        if deadline is None:
            poll.poll()
            return True
        remaining = deadline - time.monotonic()
        return remaining > 0 and bool(poll.poll(remaining * 1000))

    def _stop_reading_for(self, waiter: _Waiter) -> None:
        """As a caller who has the role: give it back, and see to it that somebody takes it where that cannot wait."""
        call = False
        with self._lock:
            self._reader = None
            if self._role.state != CALLER:
                return
            self._moves += 1
            if self._life.ended:
                self._stop_reading()
            elif self._waiters or self._unread or self._wire.more:
                call = self._role.call()
            else:
                self._role.leave()
                self._be_looked_after()
        if call:
            self._start(self._worker, reads=True)

    def _read(self, turn: bool) -> tuple[Job | None, bool]:
        """As a worker who has the role: take in a slice of what comes.

        Args:
            turn: it is this connection's turn.

        Returns:
            See `_next_job`.
        """
        try:
            data, self._unread = self._unread, b""
            if not data and not self._wire.more:
                received = self._receive(socket.MSG_DONTWAIT) if turn else self._receive_staying()
                if not received:
                    if received is None:
                        self._leave_reading_to_poller()
                    else:
                        self._received_end()
                    return None, False
                data = received
            if not turn and not reading.try_to_enter():
                self._unread = data
                with self._lock:
                    call = self._role.call()
                if call:
                    self._line_up()
                return None, False
            turn = True
            if not self._life.was_open:
                reading.leave()
                turn = False
                return self._read_hello(data)
            batch = self._wire.read(data, seconds=QUANTUM)
            reading.leave()
            turn = False
            return self._take_in_as_worker(batch)
        except OSError as error:
            self._end(self._lost(error))
        except Exception as error:  # a fault of ours must not leave requests waiting for ever
            self._fail(error)
        finally:
            if turn:
                reading.leave()
        with self._lock:
            self._stop_reading()
        return None, False

    def _receive(self, flags: int = 0) -> bytes | None:
        """As the one who reads: what has come, nothing at the end, `None` where nothing came for `_STAY_SECONDS`."""
        view = _buffer.view
        try:
            size = self._socket.recv_into(view, 0, flags)
        except BlockingIOError:
            return None
        if self._idle_clock.timeout is not None:
            self._idle_clock.note(time.monotonic())
        if not size and self._broken is not None:
            raise self._broken
        return view[:size].tobytes()

    def _receive_staying(self) -> bytes | None:
        """`_receive`, for a worker: it stays for a moment if there is a place."""
        if not lingering.take():
            return self._receive(socket.MSG_DONTWAIT)
        try:
            return self._receive()
        finally:
            lingering.give()

    def _received_end(self) -> None:
        """As the one who reads: the end has come."""
        with self._lock:
            self._winding_down = True
            rest = self._take_in(cast("list[wire.Plain]", self._wire.receive_eof()))
            self._stop_reading()
        if rest is not None:
            rest()

    def _leave_reading_to_poller(self) -> None:
        """As a worker who has the role: nothing has come for a while."""
        with self._lock:
            if self._life.ended:
                self._stop_reading()
            else:
                self._role.park()
                self._await(self._polled | READ)

    def _stop_reading(self) -> None:
        """With the lock held, as the one who reads: nobody does any more."""
        self._role.stop()
        if self._life.ended:
            if self._ending == "linger":
                self._await(self._polled | READ)
            self._maybe_close_socket()

    def _take_in_as_worker(self, batch: list[Any]) -> tuple[Job | None, bool]:
        """As a worker who has the role: act on what has come. Returns what `_next_job` does."""
        job: Job | None = None
        rest: Callable[[], object] | None = None
        others: Callable[[], object] | None = None
        outgoing: list[bytes] | None = None
        reads = True
        with self._lock:
            events = self._wire.take_plain(batch)
            if (
                len(events) == 1
                and type(event := events[0]) is tuple
                and event[0] == REQUEST
                and self._serves_alone(event)
            ):
                # The plain version is below, and in `_next_job`: this is what most batches are.
                self._moves += 1
                self._role.lend()
                if not self._looked_after:
                    self._be_looked_after()
                return (event[1], event[2]), True
            if self._wire.held or self._account.partial:
                self._weigh(events)
            waited = len(self._waiters)
            rest = self._take_in(events)
            answered = waited - len(self._waiters)
            if answered:
                self._lonely = self._lonely + 1 if waited == 1 else 0
            if self._winding_down and (self._life.ended or self._wire.state != "open"):
                self._stop_reading()
                reads = False
            job, reads, others = self._next_job(reads)
            if job is None:
                self._awake = answered > 1
                if not self._awake:
                    outgoing = self._take()
                if reads and self._lonely >= _LONELY and not (self._waiters or self._wire.more):
                    self._lonely = 0
                    self._role.leave()
                    self._be_looked_after()
                    reads = False
                elif reads and self._holds_too_much:
                    self._paused = self._role.park()
                    self._account.wait(self._memory_freed)
                    reads = False
        if outgoing:
            self._transmit(outgoing)
        if rest is not None:
            rest()
        if others is not None:
            others()
        if job is None and answered > 1:
            time.sleep(0)  # those who have got an answer run now, and what they ask next is sent together
            with self._lock:
                self._awake = False
                outgoing = self._take()
            if outgoing:
                self._transmit(outgoing)
        return job, reads

    def _serves_alone(self, request: Read) -> bool:
        """With the lock held: whether a request that has come alone may be served at once; it is running then."""
        _, id, _, cost = request
        if self._on_request is None or not self._pace.is_quick or not self._account.admit(id, cost):
            return False
        if self._admission.start_alone():
            return True
        self._account.done(id)
        return False

    def _take_in(self, events: list[wire.Plain]) -> Callable[[], object] | None:
        """With the lock held, as the one who reads: act on what has come.

        Returns:
            What is left to do without the lock.
        """
        self._moves += 1
        waiters = self._waiters
        rare: list[wire.Event] = []
        refused = False
        requests: list[Read] = []
        for event in events:
            if type(event) is tuple:
                if event[0] == REQUEST:
                    requests.append(event)
                    continue
                waiter = waiters.pop(event[1], None)  # None: its caller has given up
                if waiter is not None:
                    waiter.succeed(event[2])
            elif type(event) is ErrorReceived or type(event) is AnswerUnreadable:
                waiter = waiters.pop(event.id, None)
                if waiter is not None:
                    waiter.fail(remote_error(event))
            else:
                rare.append(cast(wire.Event, event))
                refused |= type(event) is RequestUnreadable
        asked = bool(requests)
        if asked:
            refused |= self._life.take_requests(requests)
        call = asked and self._role.state == CALLER and self._call_worker()
        if not (call or refused or rare):
            return None
        overflow: Ending | None = None
        outgoing: list[bytes] | None = None
        if refused:
            # Answers that no handler made. Reading never waits for the peer to take them, so there is a bound.
            outgoing = self._take()
            overflow = self._too_much_unsent()

        def rest() -> None:
            if call:
                self._start(self._worker)
            if outgoing:
                self._transmit(outgoing)
            if overflow is not None:
                self._end(overflow.error)
            for event in rare:
                self._take_in_rare(event)

        return rest

    def _too_much_unsent(self) -> Ending | None:
        """With the lock held: how the connection ends if answers pile up for a peer that does not take them."""
        if not self._admission.congested:
            return None
        return self._life.too_much_unsent(self._note_unsent())

    def _note_unsent(self) -> int:
        """With the lock held: bytes that wait here for the other end."""
        unsent = self._wire.unsent + len(self._rest)
        self._account.note(unsent=unsent)
        return unsent

    def _take_in_rare(self, event: wire.Event) -> None:
        if isinstance(event, RequestUnreadable):
            self._life.unreadable(event.problem, self, _log)
        elif isinstance(event, wire.PeerFinished):
            # "The receiver's own waiting requests fail and its close handler starts, both at once."
            self._announce_end(event.error)
            self._close_if_idle()
        elif isinstance(event, wire.Closed):
            self._life.refused(event.error, self, _log)
            self._end(event.error, linger=True)

    # The hello.

    def _read_hello(self, data: bytes) -> tuple[Job | None, bool]:
        """As a worker who has the role, on a server: take in a part of the hello. Returns what `_next_job` does."""
        problem: BaseException | None = None
        rest: Callable[[], object] | None = None
        with self._lock:
            events = self._wire.receive(data, seconds=QUANTUM)
        closed = False
        if events and isinstance(events[0], wire.HelloReceived):
            if self._life.visit is not None:
                self._life.visit.claimed = events[0].user
            key, problem = self._look_up(events[0].user)
            with self._lock:
                events = self._wire.authenticate(key, seconds=QUANTUM) if self._wire.state == "lookup" else []
            if events and isinstance(events[0], wire.HelloOpened):
                refusal = self._ask_others(events[0])
                with self._lock:
                    events = self._wire.admit(refusal, seconds=QUANTUM) if self._wire.state == "lookup" else []
            closed = not events  # meanwhile
        # Some profiles have an insecure client announce itself, without a key.
        is_open = not closed and self._wire.state not in ("hello", "lookup") and not self._life.ended
        if events and isinstance(events[0], wire.Closed):
            is_open = False
            self._take_in_rare(events[0])
        if problem is not None:
            # Only now: the time that writing a traceback takes would tell a stranger that the look-up has failed.
            _log.error(texts.LOOK_UP_FAILED, self, exc_info=problem)
        if is_open:
            self._cancel_timer()
            self._opened()
        job: Job | None = None
        others: Callable[[], object] | None = None
        outgoing: list[bytes] | None = None
        with self._lock:
            if is_open and not self._life.ended:
                rest = self._take_in(list(map(wire.as_plain, events)))
            reads = not self._life.ended and self._wire.state in ("hello", "open")
            if not reads:
                self._stop_reading()
            job, reads, others = self._next_job(reads)
            if job is None:
                outgoing = self._take()
        if outgoing:
            self._transmit(outgoing)
        if rest is not None:
            rest()
        if others is not None:
            others()
        return job, reads

    def _weigh(self, events: list[wire.Plain]) -> None:
        """With the lock held, as the one who reads: since when a packet has been coming."""
        held = self._wire.held
        self._account.note(partial=held)
        if self._wire.more or self._life.ended:
            return
        now = time.monotonic()
        begun = self._packet_clock.note(now, held, bool(events))
        if begun and self._packet_timer is None and self._limits.packet_timeout < ENDLESS:
            self._packet_timer = poller.call_at(now + self._limits.packet_timeout, self._check_packet)

    def _check_packet(self) -> None:
        """As the poller, some time after a packet began: whether it is too late."""
        with self._lock:
            self._packet_timer = None
            now = time.monotonic()
            left = self._packet_clock.left(now)
            if left is None or self._life.ended:
                return
            late = left <= 0 and not (self._wire.more or self._unread or self._paused)  # else it is not the peer's turn
            if not late:
                self._packet_timer = poller.call_at(now + max(left, QUANTUM), self._check_packet)
        if late:
            self._start(self._end_and_tell, self._life.too_late(self._packet_clock))

    def _check_idle(self) -> None:
        """As the poller: whether the connection is of any use."""
        now = time.monotonic()
        with self._lock:
            if self._life.ended:
                return
            if self._life.busy or self._wire.more or self._unread:
                self._idle_clock.note(now)
            left = self._idle_clock.left(now)
            if left > 0:
                poller.call_at(now + min(left, ENDLESS), self._check_idle)
        if left <= 0:
            ending = self._life.idle_too_long()
            self._start(self._end, ending.error, linger=ending.linger)

    def _end_and_tell(self, ending: Ending) -> None:
        if not self._life.ended:
            self._life.refused(ending.error, self, _log)
            self._end(ending.error, linger=ending.linger)

    @property
    def _holds_too_much(self) -> bool:
        """With the lock held: whether to read nothing more until memory is freed.

        Not while answers are to come; and not where most is held by requests: what comes next is refused then, which
        is kinder than silence.
        """
        account = self._account
        return account.over and 2 * account.partial > account.held and not self._wire.outstanding

    def _read_again(self) -> None:
        """Memory was freed: read on, unless it is too little."""
        with self._lock:
            if not self._paused or self._life.ended:
                return
            if self._holds_too_much:
                self._account.wait(self._memory_freed)
                return
            self._paused = False
            call = self._pass_on()
        if call:
            self._line_up()

    def _memory_freed(self) -> None:
        """As anybody, with any lock held but this connection's: have somebody read on."""
        with contextlib.suppress(RuntimeError):  # no more threads: nor is there for what would be read
            run_in_thread(self._read_again)

    def _look_up(self, user: str) -> tuple[Key | Sequence[Key] | None, BaseException | None]:
        """A user's key, or keys; `None` with the reason if the look-up has failed."""
        assert self._settings.user_to_key is not None
        try:
            return checked_key(self._settings.user_to_key(user), self._limits.keys_per_user), None
        except BaseException as error:
            return None, error

    def _ask_others(self, hello: wire.HelloOpened) -> str | None:
        """Why a hello is refused that has opened; `None` if no other server or process has seen it."""
        memory = cast("SharedHellos | None", self._settings.shared_hellos)
        visit = self._life.visit
        try:
            if memory is not None and self._settings.guards.hello_replay and not memory.remember(hello.digest):
                return wire.REPLAYED_HELLO
            asked = visit.proved(hello) if visit is not None else None
            return None if asked is None or visit is None or visit.known(asked.result()) else wire.REPLAYED_HELLO
        except Exception:
            _log.error(texts.HELLOS_FAILED, self, exc_info=True)
            return texts.NOT_REMEMBERED

    def _hello_is_late(self) -> None:
        """As the poller."""
        if not self._life.was_open:
            limit = self._limits.hello_timeout
            self._start(self._refuse, texts.no_key(limit) if self._wire.state == "lookup" else texts.no_hello(limit))

    def _refuse(self, error: ConnectionClosed) -> None:
        if not (self._life.was_open or self._life.ended):
            self._life.refused(error, self, _log)
            self._end(error, linger=True)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # Handlers.

    def _start(self, function: Callable[..., None], *args: Any, **options: Any) -> bool:
        """Run something of this connection's in a thread; a server that is waited for waits for it too."""
        with self._lock:
            self._tasks += 1
        try:
            run_in_thread(self._task, function, args, options)
        except RuntimeError as error:  # no more threads
            self._end(texts.cannot_start_thread(error))
            self._task_done()
            return False
        return True

    def _task(self, function: Callable[..., None], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        handler_of.server = self._server
        try:
            function(*args, **options)
        except BaseException as error:  # a fault of ours, or of a profile's; handlers' are caught where they belong
            self._fail(error)
        finally:
            handler_of.server = None
            self._task_done()

    def _fail(self, error: BaseException) -> None:
        """End the connection by a fault of ours. First of all: where memory is short, writing the log may fail."""
        self._end(texts.internal_error(error))
        with contextlib.suppress(Exception):
            _log.error(texts.INTERNAL_ERROR, self, exc_info=error)

    def _task_done(self) -> None:
        with self._lock:
            self._tasks -= 1
            self._maybe_finished()

    def _opened(self) -> None:
        """The connection is open: tell the open handler, once."""
        if (ending := self._life.admit(self)) is not None:
            self._end(ending.error, linger=ending.linger)
            return
        if self._idle_clock.timeout is not None:
            self._idle_clock.note(time.monotonic())
            self._check_idle()
        with self._lock:
            run_on_open = self._life.open()
        if run_on_open:
            self._start(self._run_on_open)

    def _run_on_open(self) -> None:
        assert self._settings.on_open is not None
        try:
            self._settings.on_open(self)
        except BaseException as error:
            _log.error(texts.OPEN_HANDLER_FAILED, self, exc_info=True)
            # It may have been there to refuse the connection: one that it did not accept is not served.
            self._end(texts.open_handler_failed(error), flush=True)
        with self._lock:
            run_on_close = self._life.open_handler_returned()
            call = self._call_worker()
        if call:
            self._start(self._worker)
        if run_on_close:
            self._run_on_close()
        self._close_if_idle()

    def _handle(self, id: int, message: Any, reads: bool) -> tuple[Job | None, bool]:
        """As a worker: run the request handler, and answer. Returns what `_next_job` does.

        Args:
            id: the request's.
            message: the request.
            reads: the worker has lent the role.
        """
        answer, failure, started = self._run_handler(message)
        problem: Exception | None = None
        written = b""
        if failure is None:
            if self._admission.congested and not self._account.may_keep:
                # Not even written: a thousand handlers may have finished at the same moment.
                failure = texts.NOT_SENT % (self._account.unsent + self._account.kept)
            else:
                written, failure, problem = self._life.written(answer)
        del answer
        outgoing: list[bytes] | None = None
        with self._lock:
            if failure is None:
                if not self._admission.congested or self._await_room_for_answer(len(written)):
                    problem = self._life.answer_written(id, written)
                else:
                    self._life.fail(id, texts.NOT_SENT % (self._account.unsent + self._account.kept))
            else:
                self._life.fail(id, failure)
            self._admission.finish()
            self._pace.took(time.monotonic() - started)
            self._moves += 1
            if reads:
                reads = self._role.resume()
            job, reads, others = self._next_job(reads)
            self._bunch += 1
            # This worker runs the next handler; if that is slow, the poller's look has the answers sent.
            if job is None or self._bunch >= _BUNCH or len(written) > _BUNCH_BYTES or not self._looked_after:
                if not self._sending:
                    outgoing = self._take()
                elif self._wire.unsent > _PILE:
                    self._admission.congested = True  # whoever is sending does not get on: nobody adds to that
                    self._note_unsent()
        if problem is not None:
            _log.error(texts.CANNOT_TRAVEL, self, problem)
        if outgoing:
            self._transmit(outgoing)
        if others is not None:
            others()
        if self._winding_down:
            self._close_if_idle()
        return job, reads

    def _run_handler(self, message: Any) -> tuple[Any, str | None, float]:
        """Call the request handler: its answer, or what to tell the other end of its failure; and when it began."""
        assert self._on_request is not None
        started = time.monotonic()
        handler_of.connection = self
        try:
            return self._on_request(self, message), None, started
        except BaseException as error:
            _log.error(texts.HANDLER_FAILED, self, exc_info=True)
            return None, error_text(error), started
        finally:
            handler_of.connection = None

    def _park(self) -> None:
        """A handler of this connection is about to wait for an answer: what that waits for may have to run here."""
        with self._lock:
            if not self._admission.park():
                raise texts.too_many_parked(self._limits.parked)
            call = self._call_worker()
        if call:
            self._start(self._worker)

    def _unpark(self) -> None:
        with self._lock:
            self._admission.unpark()

    def _slot_kept(self) -> None:
        """The server has kept a slot for this connection. Another connection's lock may be held now: not this one's."""
        if self._coming:
            return  # whoever comes has not looked yet, and finds this one
        self._coming = True
        try:
            run_in_thread(self._come_for_slot)
        except RuntimeError:  # no more threads
            self._coming = False
            raise

    def _come_for_slot(self) -> None:
        with self._lock:
            self._tasks += 1
            self._coming = False
        self._task(self._worker, (), {})

    # The end.

    def _lost(self, error: BaseException) -> ConnectionClosed:
        with self._lock:
            return self._wire.lost(why_broken(error))

    def _withdraw(self, error: ConnectionClosed) -> None:
        """End a connection whose user is not welcome any more."""
        self._end(error, linger=True)

    def _close_if_idle(self) -> None:
        """Close once the last answer has been sent, if that is all that the connection was still there for."""
        with self._lock:
            ending = self._life.idle() if not (self._sending or self._bunch) else None
        if ending is not None:
            self._end(ending.error, linger=ending.linger)

    def _drain(self) -> None:
        """The server stops: no new requests; close when the running handlers have finished."""
        with self._lock:
            self._winding_down = True
            ending = self._life.drain()
        if ending is not None:
            self._end(ending.error)
            return
        self._send_now()
        self._close_if_idle()

    def _end(self, error: ConnectionClosed, *, flush: bool = False, linger: bool = False) -> None:
        """End the connection for good. Only the first call does anything; from any thread.

        Args:
            error: why: what waiting requests fail with.
            flush: what was written before is still sent, as far as the peer takes it in time.
            linger: the same, and what the peer still sends is read and dropped: with anything left unread, the close
                would turn into a reset.
        """
        with self._lock:
            first = self._life.end(error)
            if first is None:
                return
            self._winding_down = True
            self._room.notify_all()
            self._ending = "linger" if linger else "flush" if flush else ""
            outgoing = self._take() if self._ending else None
        self._announce_end(first)
        if self._ending:
            self._cancel_timer()
            with contextlib.suppress(RuntimeError, OSError):
                self._timer = poller.call_at(time.monotonic() + LINGER_SECONDS, self._shut_down)
        if outgoing:
            self._transmit(outgoing)
            return
        if not self._ending:
            self._shut_down()
        elif not self._sending:
            self._flushed()

    def _flushed(self) -> None:
        """The connection has ended, and everything is sent."""
        if self._ending == "linger":
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            with self._lock:
                if self._role.end() and self._ending and self._timer is not None:
                    self._await(self._polled | READ)
                    return
                if self._role.in_use and self._timer is not None:
                    return  # whoever reads sees to the rest
        self._shut_down()

    def _drop(self) -> None:
        """As the poller, while it lingers: read and drop."""
        try:
            over = not self._socket.recv_into(_buffer.view, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            over = True  # the peer is gone, which is all that was wanted
        if over:
            self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
        self._cancel_timer()
        with self._lock:
            self._ending = ""
            if self._rest:  # the poller's
                self._rest = memoryview(b"")
                self._stop_sending()
            self._role.end()
            self._maybe_close_socket()

    def _announce_end(self, error: ConnectionClosed) -> None:
        """Fail the requests that wait, and run the close handler, once."""
        with self._lock:
            waiters, run_on_close = self._life.announce_end()
        for waiter in waiters:
            waiter.fail(type(error)(error.reason))  # a fresh one for each thread: a raise changes its traceback
        if run_on_close:
            self._start(self._run_on_close)

    def _run_on_close(self) -> None:
        assert self._settings.on_close is not None
        try:
            self._settings.on_close(self)
        except BaseException:
            _log.error(texts.CLOSE_HANDLER_FAILED, self, exc_info=True)

    def _maybe_close_socket(self) -> None:
        """With the lock held: give the descriptor back once no thread can be using it.

        Not before: its number may be somebody else's a moment later.
        """
        if not self._life.ended or self._role.in_use or self._sending or self._ending or self._socket_closed.is_set():
            return
        self._await(0)
        self._role.end()
        self._socket.close()
        self._unread = b""
        with contextlib.suppress(Exception):  # a profile's fault; memory may be what is missing
            self._wire.read()  # lets go of what was read in part
        self._socket_closed.set()
        self._maybe_finished()

    def _forked(self) -> None:
        """See `_fork`."""
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._life.forked()
        self._role.stop()
        self._socket.close()  # this process's descriptor only: no `shutdown`, which would end the parent's connection
        self._socket_closed = threading.Event()
        self._socket_closed.set()

    def _maybe_finished(self) -> None:
        """With the lock held: tell the server once nothing of this connection is left, not even a handler."""
        if self._server is not None and not self._tasks and self._socket_closed.is_set():
            self._server._finished(self)


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
) -> Connection:
    """Open a connection (API reference: `open-connection!`).

    A secure connection's key is not confirmed here: the server answers nothing to a hello, so a wrong key shows when
    the first request fails with `ConnectionClosed`, which says so.

    Args:
        address: `"host:port"`, `"path/to/socket"`, `("tcp", host, port)` or `("unix", path)`.
        user: the username, at most 255 bytes in UTF-8; `None` (and no key) for an insecure connection.
        key: the user's key, from `passphrase_to_key`.
        on_request: `on_request(connection, message) -> answer`, called in a thread for each request from the server;
            what it raises is sent back as the request's error. Without it, requests are answered with an error.
        on_close: `on_close(connection)`, called in a thread when the connection ends, unless this end closed it.
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
    place = parse_address(address)
    settings = Settings(
        on_request=on_request, on_close=on_close, profile=wire.get_profile(profile), limits=limits, guards=guards
    )
    protocol = settings.client_protocol(user, key)
    sock = connect(place, connect_timeout)
    tune(sock)
    connection = Connection(sock, protocol, peer_address(sock, place), settings)
    connection._opened()  # whatever becomes of it from here on is its end
    connection._send_now()  # the hello
    connection._begin()
    return connection
