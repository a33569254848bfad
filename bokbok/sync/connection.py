"""A connection on a blocking socket: any thread may ask, each handler has a thread of its own.

This module knows sockets, threads and locks; `bokbok.wire` knows the bytes, `bokbok._front` what a connection decides.

**Who reads.** The plain design has one thread per connection that reads for all others. Switching from one thread to
another costs more than all the rest of a small request, so here reading is a role that one thread has at a time
(`_reading`). These are the rules by which it changes hands:

* A connection's *workers* are threads that do what there is to do: run a request's handler, or else read, or else end.
  A worker serves the request that it has read, and reads on afterwards. Where nothing else goes on it does so in as
  few steps as can be (`_serve_alone`). So does a thread that asks while no other does (`_read_for`).
* A handler may take for ever, so somebody must see to it that reading goes on and the next handler starts. Handlers are
  *quick* as long as they return within `_QUICK_SECONDS`. While they are, the *watchdog* does it: one thread for all
  connections (`threads.watch`), which looks every few milliseconds whether something has moved (`_moves`), and starts a
  worker where nothing has. Once a handler was not quick, another worker is started before each handler (a *successor*),
  until many in a row were quick.
* A thread that asks, and is the only one, reads for its own answer. Where it stops and nobody else reads, the watchdog
  notices, and starts a worker.
* An answer may wait a moment to be sent together with the next ones, where requests are there already. Whoever is
  started sends what it finds before it does anything else.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import select
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import wire
from .._fork import track
from .._front import texts
from .._front.admission import Job, error_text
from .._front.lifecycle import Lifecycle, Public, checked_key, remote_error
from .._front.settings import Settings
from .._front.shared import Visit
from .._sockets import (
    DEFAULT_CONNECT_TIMEOUT,
    ENDLESS,
    LINGER_SECONDS,
    peer_address,
    seconds,
    tune,
    why_broken,
)
from ..address import Address, AddressLike, parse_address
from ..errors import ConnectionClosed
from ..keys import Key
from ..wire import AnswerUnreadable, ErrorReceived, RequestReceived, RequestUnreadable, ResponseReceived
from .connecting import connect
from .threads import run_in_thread, watch

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
_BUNCH = 8
"""Answers that wait for each other at the most, to be sent together while a successor is on its way."""
_PILE = 256 * 1024
"""Bytes of answers that may wait for whoever is sending; beyond them, handlers wait as well."""
_QUICK_SECONDS = 0.0005
"""A handler that takes longer is not quick: others should have started meanwhile."""
_QUICK_AGAIN = 100
"""Quick handlers after which the next ones are taken to be quick, too; one that is not costs as many. On a busy machine
a quick handler is sometimes interrupted in the middle: if that is rarer, it changes nothing."""
_MOST_QUICK = 300
"""Quick handlers that count at the most."""
_STILL = 20
"""Looks of the watchdog without anything having moved, after which it looks elsewhere."""

handler_of = threading.local()
"""Whose handler this thread runs now: `.server`, and of a request handler `.connection`."""


class _Waiter:
    """One thread waiting for one answer. Set once, then read once."""

    __slots__ = ("_lock", "done", "error", "message", "reads")

    def __init__(self) -> None:
        # A bare lock is the cheapest thing that one thread can wait on and another set.
        self._lock = threading.Lock()
        self._lock.acquire()
        self.done = False
        self.reads = False  # it has the role of the one who reads
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
        self._socket = sock
        self._address = address
        self._on_request: RequestHandler | None = settings.on_request
        self._settings = settings
        self._limits = settings.limits
        self._server = server

        # Guards everything below it, and the protocol object. Never held while blocking.
        self._lock = threading.Lock()
        slots = server._shared.slots if server is not None else None
        self._life = life = Lifecycle[_Waiter](protocol, settings, visit, slots, self._slot_kept)
        self._wire = protocol
        self._admission = life.admission
        self._waiters = life.waiters
        self._tasks = 0  # threads that do anything for this connection; a server waits for them
        self._socket_closed = threading.Event()
        # Sending.
        self._sending = False  # some thread owns the socket's sending side
        self._congested = False  # … and does not get on, as the peer is slow: handlers wait
        self._drained = threading.Condition(self._lock)
        self._bunch = 0  # answers that are not sent yet, on purpose
        self._broken: Exception | None = None  # why sending failed, if that is more than that the other end has closed
        # Reading.
        self._reading = False  # some thread has the role
        self._poll: select.poll | None = None  # used by whoever has it
        # A mapping: pages that no message needs are never there, and most connections are idle most of the time.
        self._buffer = memoryview(mmap.mmap(-1, _READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._lingering = False  # a thread reads and drops what still comes
        self._successor = False  # a worker was called for that has not looked around yet
        self._yielding = False  # workers leave reading to callers
        self._quick = _MOST_QUICK  # quick handlers, less what those cost that were not
        self._watched = False
        self._moves = 0  # changes whenever something has got on
        self._moves_seen = 0  # what the watchdog has seen of it
        self._still = 0
        self._was_late = False  # the watchdog, when nothing had moved
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
        remaining = seconds(timeout)
        deadline = None if remaining is None else time.monotonic() + remaining
        waiter = _Waiter()
        id, data = -1, b""
        rest: Callable[[], None] | None = None
        try:
            try:
                with self._lock:
                    id = self._wire.request(message)
                    waiter.reads = self._watched and not (self._reading or self._successor or self._waiters)
                    self._waiters[id] = waiter
                    if waiter.reads:
                        self._reading = True
                        rest = self._send_in_passing()
                    else:
                        data = self._take()
                if data:
                    self._transmit(data)
                if rest is not None:
                    rest()
                if waiter.reads and self._read_for(id, waiter, deadline):
                    return waiter.message
            finally:
                if waiter.reads:
                    self._stop_reading_for(waiter)
            in_time = waiter.wait(deadline)
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
        # Bounded: whoever reads is woken at once, but may be in a user's slow `user_to_key`.
        self._socket_closed.wait(LINGER_SECONDS)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Sending. One thread at a time owns the sending side (`_sending`), and takes along what others leave.

    def _take(self) -> bytes:
        """With the lock held: what is to be sent by this thread now; nothing, if another is sending already."""
        if self._sending:
            return b""
        self._bunch = 0
        data = self._wire.data_to_send()
        self._sending = bool(data)
        return data

    def _send_in_passing(self) -> Callable[[], None] | None:
        """With the lock held: send what there is as far as that does not block; returns what is left to do without it.

        `_take` and `_transmit` in one, for a thread that is the only one to want the lock: it is taken once less.
        """
        data = self._take()
        if not data:
            return None
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return partial(self._send_failed, error)
        except BaseException as error:  # KeyboardInterrupt: nobody knows how much was sent
            return partial(self._interrupted, error)
        if sent < len(data):
            return partial(self._leave_to_thread, data, sent)
        self._sending = False
        return None

    def _interrupted(self, error: BaseException) -> None:
        """As the one who sends: end the connection, whose peer may have got half a packet."""
        self._end(ConnectionClosed("interrupted while sending"))
        with self._lock:
            self._stop_sending()
        raise error

    def _transmit(self, data: bytes) -> None:
        """Send without blocking; what the peer does not take at once is left to a thread of its own."""
        try:
            send = self._socket.send
            while True:
                try:
                    sent = send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    self._send_failed(error)
                    return
                if sent < len(data):
                    self._leave_to_thread(data, sent)
                    return
                with self._lock:
                    data = self._wire.data_to_send()
                    over = not data and self._stop_sending()
                if not data:
                    if over:
                        self._close_if_idle()
                    return
        except BaseException as error:  # KeyboardInterrupt: nobody knows how much was sent
            self._interrupted(error)

    def _leave_to_thread(self, data: bytes, sent: int) -> None:
        with self._lock:
            self._congested = True
        if not self._start(self._transmit_slowly, data, sent):
            with self._lock:
                self._stop_sending()

    def _transmit_slowly(self, data: bytes, sent: int) -> None:
        """Send the rest, and what comes after it, at the peer's speed."""
        sock = self._socket
        poll = select.poll()
        try:
            poll.register(sock, select.POLLOUT)
            while True:
                view = memoryview(data)
                while sent < len(view):
                    if not poll.poll(min(self._limits.send_timeout, ENDLESS) * 1000):
                        raise TimeoutError(texts.took_nothing(self._limits.send_timeout).reason)
                    try:
                        sent += sock.send(view[sent:], socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        continue
                with self._lock:
                    data, sent = self._wire.data_to_send(), 0
                    if not data:
                        over = self._stop_sending()
                if not data:
                    if over:
                        self._close_if_idle()
                    return
        except (OSError, ValueError) as error:  # ValueError: the socket is closed, and has no descriptor any more
            self._send_failed(error)

    def _stop_sending(self) -> bool:
        """With the lock held: nobody owns the sending side any more. True if that may be what the end waited for."""
        self._sending = False
        if self._congested or self._life.ended:
            self._congested = False
            self._drained.notify_all()
        if self._life.ended:
            self._maybe_close_socket()
        return self._wire.state == "peer-finished" or self._admission.draining

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
            self._wire.data_to_send()  # nobody will take it
            over = self._stop_sending()
        if over:
            self._close_if_idle()

    def _send_now(self) -> None:
        """Send what the protocol object has, if nobody does already."""
        with self._lock:
            data = self._take()
        if data:
            self._transmit(data)

    def _await_drained(self) -> None:
        """Wait until a slow peer has taken what was sent: what holds a handler back from answering without end."""
        with self._lock:
            while self._congested and not self._life.ended:
                self._drained.wait()

    # The workers, and who reads.

    def _start_worker(self) -> None:
        self._reading = True  # nobody else can have this connection yet
        if not self._start(self._first_worker):
            with self._lock:
                self._stop_reading()

    def _first_worker(self) -> None:
        """The first worker: a server's connection may begin with a hello."""
        is_open = False
        try:
            is_open = self._wire.state != "hello" or self._read_hello()
        finally:
            if is_open:
                self._opened()
            with self._lock:
                self._stop_reading()
        if is_open:
            self._worker()

    def _worker(self) -> None:
        """Do what there is to do: run a handler, or else read, or else leave."""
        job: Job | None = None
        called = True
        while True:
            call = read = over = False
            with self._lock:
                if called:
                    self._successor = called = False
                    data = self._take()  # what somebody has left who is busy now
                else:
                    data = b""
                if job is not None:
                    self._admission.finish()
                    over = self._wire.state != "open" or self._admission.draining
                job = self._admission.start()
                if job is not None:
                    call = self._cover()
                else:
                    data = data or self._take()
                    if not over and not (
                        self._reading
                        or self._wire.state != "open"
                        or (
                            ((self._yielding and not self._waiters) or (self._admission.running and self._is_quick))
                            and self._be_watched()
                        )
                    ):
                        self._reading = read = True
            if data:
                self._transmit(data)
            if over:
                self._close_if_idle()
            if call:
                self._start(self._worker)
            if job is not None:
                self._handle(*job)
            elif read:
                self._read()
            elif not over:
                return

    @property
    def _is_quick(self) -> bool:
        return self._quick >= _QUICK_AGAIN

    def _cover(self) -> bool:
        """With the lock held, by a thread that is about to run a handler: whether to call a successor."""
        if self._successor or not (self._admission.ready or (not self._reading and self._wire.state == "open")):
            return False
        if self._is_quick and self._be_watched():
            return False
        self._successor = True
        return True

    def _needs_worker(self) -> bool:
        """With the lock held, by a thread that is not a worker: whether to call one."""
        if self._successor or not (self._admission.ready or (not self._reading and self._wire.state == "open")):
            return False
        self._successor = True
        return True

    def _be_watched(self) -> bool:
        """With the lock held: have the watchdog look after this connection. False if there is none."""
        if not self._watched:
            self._moves_seen = self._moves
            self._still = 0
            self._was_late = False
            self._watched = watch(self._look_after)
        return self._watched

    def _look_after(self, late: bool) -> bool:
        """What the watchdog does, every few milliseconds. True if it is to come again."""
        with self._lock:
            if self._moves != self._moves_seen or (late and not self._was_late):
                # A watchdog that comes late was kept from running, as this connection's threads may have been: once.
                self._was_late = late and self._moves == self._moves_seen
                self._moves_seen = self._moves
                self._still = 0
                return True
            self._was_late = False
            call = self._needs_worker()
            if call:
                self._yielding = False
                if self._admission.running:
                    self._quick = 0
            else:
                self._still += 1
                if self._still < _STILL and self._wire.state == "open":
                    return True
            self._watched = False
        if call:
            self._start(self._worker)
        return False

    def _read_for(self, id: int, waiter: _Waiter, deadline: float | None) -> bool:
        """As a caller who has the role: read until the answer is there, or it is too late.

        True if there is nothing more to do: the answer came alone, and the role was given back.
        """
        poll = None
        # Only the main thread can be interrupted (KeyboardInterrupt). While it waits here, nothing gets lost by that.
        if deadline is not None or threading.get_ident() == threading.main_thread().ident:
            poll = self._poll
            if poll is None:
                poll = self._poll = select.poll()
                poll.register(self._socket, select.POLLIN)
        taking = False
        try:
            while not waiter.done:
                if poll is not None:
                    remaining = None if deadline is None else (deadline - time.monotonic()) * 1000
                    if remaining is not None and remaining <= 0:
                        return False
                    if not poll.poll(remaining):
                        return False
                taking = True
                size = self._receive_bytes()
                with self._lock:
                    events = self._taken(size)
                    if (
                        len(events) == 1
                        and type(events[0]) is ResponseReceived
                        and events[0].id == id
                        and len(self._waiters) == 1
                        and self._watched
                        and self._waiters.pop(id, None) is not None
                    ):
                        waiter.message = events[0].message
                        waiter.reads = False
                        self._moves += 1
                        self._yielding = False
                        self._stop_reading()
                        return True
                    self._take_in(events, by_caller=True)
                if not size:
                    return False
                taking = False
        except OSError as error:
            self._end(self._lost(error))
        except BaseException:
            if taking:  # nobody knows what was read
                self._end(ConnectionClosed("interrupted while reading"))
            raise
        return False

    def _stop_reading_for(self, waiter: _Waiter) -> None:
        """As a caller who has the role: give it back, and see to it that somebody takes it where that cannot wait."""
        with self._lock:
            waiter.reads = False
            self._moves += 1
            self._stop_reading()
            call = (not self._watched or bool(self._waiters)) and self._needs_worker()
        if call:
            self._start(self._worker)

    def _read(self) -> None:
        """As a worker who has the role: take in what comes, until there is something better to do."""
        has_role = True
        try:
            while has_role:
                size = self._receive_bytes()
                with self._lock:
                    events = self._taken(size)
                    request = self._start_alone(events)
                    if request is None:
                        self._take_in(events)
                if request is not None:
                    has_role = False
                    has_role = self._serve_alone(request)
                elif self._yielding or self._admission.ready or self._wire.state != "open":
                    return
        except OSError as error:
            self._end(self._lost(error))
        except Exception as error:  # a fault of ours must not leave requests waiting for ever
            _log.exception("%r: reading failed", self)
            self._end(texts.internal_error(error))
        finally:
            if has_role:
                with self._lock:
                    self._stop_reading()

    def _start_alone(self, events: list[wire.Event]) -> RequestReceived | None:
        """With the lock held, by a worker who has the role: if this is one request, whether to serve it at once.

        That is what `_take_in` and `_worker` would do, in fewer steps: nothing else goes on here, handlers have been
        quick, and the watchdog sees to it that somebody reads. If so, the request is returned, and the role given back.
        """
        if len(events) != 1 or not self._is_quick or self._successor or self._on_request is None:
            return None
        event = events[0]
        if type(event) is not RequestReceived or not self._be_watched() or not self._admission.start_alone():
            return None
        self._moves += 1
        self._yielding = False
        self._stop_reading()
        return event

    def _serve_alone(self, request: RequestReceived) -> bool:
        """Run the request's handler, and answer. True if this thread has the role again, and is to read on."""
        answer, failure, started = self._run_handler(request.message)
        rest: Callable[[], None] | None = None
        with self._lock:
            problem = self._answer(request.id, answer, failure, started)
            self._admission.finish()
            if problem is None:
                rest = self._send_in_passing()
            elif data := self._take():
                rest = partial(self._transmit, data)  # what went wrong is in the log before anybody hears of it
            if rest is None and self._sending and self._wire.unsent > _PILE:
                self._congested = True  # whoever is sending does not get on: nobody adds to that
            over = self._wire.state != "open" or self._admission.draining
            has_role = not (
                over
                or rest is not None
                or self._congested
                or self._reading
                or self._successor
                or self._yielding
                or self._admission.ready
                or self._admission.running
            )
            if has_role:
                self._reading = True
        if problem is not None:
            _log.error(texts.CANNOT_TRAVEL, self, problem)
        if rest is not None:
            rest()
        if self._congested:
            self._await_drained()
        if over:
            self._close_if_idle()
        return has_role

    def _stop_reading(self) -> None:
        """With the lock held: give the role back."""
        self._reading = False
        if self._life.ended:
            self._maybe_close_socket()

    def _receive_bytes(self) -> int:
        """As the one who reads: wait for what comes, and put it into the buffer. How much it is; nothing at the end."""
        # A buffer of our own: a fresh one of this size costs a mapping and a page fault each time.
        size = self._socket.recv_into(self._buffer)
        if not size and self._broken is not None:
            raise self._broken
        return size

    def _taken(self, size: int) -> list[wire.Event]:
        """With the lock held, as the one who reads: what the bytes in the buffer mean."""
        return self._wire.receive(self._buffer[:size].tobytes()) if size else self._wire.receive_eof()

    def _take_in(self, events: list[wire.Event], *, by_caller: bool = False) -> None:
        """With the lock held, and given up for a while in between: act on what has come."""
        self._moves += 1
        waiters = self._waiters
        rare: list[wire.Event] | None = None
        asked = refused = answered = False
        for event in events:
            if type(event) is ResponseReceived:
                waiter = waiters.pop(event.id, None)  # None: its caller has given up
                if waiter is not None:
                    waiter.succeed(event.message)
                answered = True
            elif type(event) is RequestReceived:
                asked = True
                if not self._life.take_request(event.id, event.message):
                    refused = True
            elif type(event) is ErrorReceived or type(event) is AnswerUnreadable:
                waiter = waiters.pop(event.id, None)
                if waiter is not None:
                    waiter.fail(remote_error(event))
                answered = True
            else:
                rare = rare or []
                rare.append(event)
                refused |= type(event) is RequestUnreadable
        # Whoever has got the only answer will ask again, and may read for itself then.
        self._yielding = answered and not waiters and not by_caller and not self._admission.ready
        call = asked and by_caller and self._needs_worker()
        if not (call or refused or rare):
            return
        data, overflow = b"", None
        if refused:
            # Answers that no handler made. Reading never waits for the peer to take them, so there is a bound.
            overflow = self._life.too_much_unsent(self._wire.unsent)
            data = self._take()
        self._lock.release()
        try:
            if call:
                self._start(self._worker)
            if data:
                self._transmit(data)
            if overflow is not None:
                self._end(overflow.error)
            for event in rare or ():
                self._take_in_rare(event)
        finally:
            self._lock.acquire()

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

    def _read_hello(self) -> bool:
        """Server: wait for a hello, and look its user up. True once it has opened."""
        deadline = time.monotonic() + self._limits.hello_timeout
        events: list[wire.Event] = []
        problem: BaseException | None = None
        closed = False

        def hello_is_over() -> bool:
            return self._wire.state != "hello"  # some profiles have an insecure client announce itself, without a key

        while not events and not hello_is_over():
            try:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                self._socket.settimeout(min(remaining, ENDLESS))
                data = self._socket.recv(_READ)
            except TimeoutError:
                error = texts.no_hello(self._limits.hello_timeout)
                self._life.refused(error, self, _log)
                self._end(error, linger=True)
                return False
            except OSError as error:
                self._end(self._lost(error))
                return False
            with self._lock:
                if self._life.ended:  # the server was stopped, which is what ended the waiting
                    return False
                events = self._wire.receive(data) if data else self._wire.receive_eof()
            if events and isinstance(events[0], wire.HelloReceived):
                if self._life.visit is not None:
                    self._life.visit.claimed = events[0].user
                key, problem = self._look_up(events[0].user)
                with self._lock:
                    events = self._wire.authenticate(key) if self._wire.state == "lookup" else []
                    closed = not events  # meanwhile
        self._socket.settimeout(None)
        if events and isinstance(events[0], wire.Closed):
            self._take_in_rare(events[0])
            closed = True
        if problem is not None:
            # Only now: the time that writing a traceback takes would tell a stranger that the look-up has failed.
            _log.error(texts.LOOK_UP_FAILED, self, exc_info=problem)
        if closed:
            return False
        self._opened()
        if self._life.ended:
            return False
        with self._lock:
            self._take_in(events)
        return True

    def _look_up(self, user: str) -> tuple[Key | None, BaseException | None]:
        """A user's key; `None` with the reason if the look-up has failed."""
        assert self._settings.user_to_key is not None
        try:
            return checked_key(self._settings.user_to_key(user)), None
        except BaseException as error:
            return None, error

    # Handlers.

    def _start(self, function: Callable[..., None], *args: Any) -> bool:
        """Run something of this connection's in a thread; a server that is waited for waits for it too."""
        with self._lock:
            self._tasks += 1
        try:
            run_in_thread(self._task, function, args)
        except RuntimeError as error:  # no more threads
            self._end(ConnectionClosed(f"cannot start a thread: {error}"))
            self._task_done()
            return False
        return True

    def _task(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        handler_of.server = self._server
        try:
            function(*args)
        except BaseException as error:  # a fault of ours, or of a profile's; handlers' are caught where they belong
            _log.exception(texts.INTERNAL_ERROR, self)
            self._end(texts.internal_error(error))
        finally:
            handler_of.server = None
            self._task_done()

    def _task_done(self) -> None:
        with self._lock:
            self._tasks -= 1
            self._maybe_finished()

    def _opened(self) -> None:
        """The connection is open: tell the open handler, once."""
        if (ending := self._life.admit(self)) is not None:
            self._end(ending.error, linger=ending.linger)
            return
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
            call = self._needs_worker()
        if call:
            self._start(self._worker)
        if run_on_close:
            self._run_on_close()
        self._close_if_idle()

    def _handle(self, id: int, message: Any) -> None:
        """Run the request handler, and answer."""
        answer, failure, started = self._run_handler(message)
        data = b""
        with self._lock:
            problem = self._answer(id, answer, failure, started)
            if self._wire.state != "closed":
                self._bunch += 1
                if self._bunch >= _BUNCH or not (self._admission.ready and (self._successor or self._watched)):
                    data = self._take()
                if not data and self._wire.unsent > _PILE:
                    data = self._take()  # too much to wait for company
                    if not data:  # whoever is sending does not get on: nobody adds to that
                        self._congested = True
        if problem is not None:
            _log.error(texts.CANNOT_TRAVEL, self, problem)
        if data:
            self._transmit(data)
        if self._congested:
            self._await_drained()

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
            call = self._admission.ready and self._needs_worker()
        if call:
            self._start(self._worker)

    def _unpark(self) -> None:
        with self._lock:
            self._admission.unpark()

    def _slot_kept(self) -> None:
        """The server has kept a slot for this connection. Another connection's lock may be held now: not this one's."""
        run_in_thread(self._come_for_slot)

    def _come_for_slot(self) -> None:
        with self._lock:
            call = self._needs_worker()
        if call:
            self._start(self._worker)

    def _answer(self, id: int, answer: Any, failure: str | None, started: float) -> Exception | None:
        """With the lock held: put an answer on its way, and note how quick the handler was.

        Returns:
            Why the answer cannot travel; it is an error's text then.
        """
        problem = None
        if failure is None:
            problem = self._life.answer(id, answer)
        else:
            self._life.fail(id, failure)
        if time.monotonic() - started >= _QUICK_SECONDS:
            self._quick = max(0, self._quick - _QUICK_AGAIN)
        elif self._quick < _MOST_QUICK:
            self._quick += 1
        self._moves += 1
        return problem

    # The end.

    def _lost(self, error: BaseException) -> ConnectionClosed:
        with self._lock:
            return self._wire.lost(why_broken(error))

    def _close_if_idle(self) -> None:
        """Close once the last answer has been sent, if that is all that the connection was still there for."""
        with self._lock:
            ending = self._life.idle() if not self._sending else None
        if ending is not None:
            self._end(ending.error, linger=ending.linger)

    def _drain(self) -> None:
        """The server stops: no new requests; close when the running handlers have finished."""
        with self._lock:
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
            linger: the same, and what the peer still sends is read and dropped.
        """
        with self._lock:
            first = self._life.end(error)
            if first is None:
                return
            self._lingering = flush or linger  # keeps the socket open
            self._drained.notify_all()
        self._announce_end(first)
        if flush or linger:
            self._send_now()
            if linger and not self._sending:
                # At once: the thread below would wait for whatever this one does next, such as writing a log.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)
            # Most ends have nothing left to send, and need no thread.
            if (linger or self._sending) and self._start(self._linger, linger):
                return
        self._shut_down()

    def _linger(self, read: bool) -> None:
        """Send what there is, end this direction, then read and drop until the peer closes or its time is up.

        With anything left unread, the close would turn into a reset.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        try:
            with self._lock:
                while self._sending and (remaining := deadline - time.monotonic()) > 0:
                    self._drained.wait(remaining)
            self._socket.shutdown(socket.SHUT_WR)
            while read and (remaining := deadline - time.monotonic()) > 0:
                self._socket.settimeout(remaining)
                if not self._socket.recv(_READ):
                    break
        except OSError:
            pass  # the peer is gone, which is all that was wanted
        self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads or sends
        with self._lock:
            self._lingering = False
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
        if not self._life.ended or self._reading or self._sending or self._lingering or self._socket_closed.is_set():
            return
        self._socket.close()
        self._socket_closed.set()
        self._maybe_finished()

    def _forked(self) -> None:
        """See `_fork`."""
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._life.forked()
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
        connect_timeout: seconds for the connection to come about; `None` for as long as the system takes.
        profile: the wire format, or its name; the default is `inferred-1`.
        limits: what the other end may ask of this one at the most.
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
    connection._start_worker()
    return connection
