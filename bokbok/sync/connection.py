"""A connection on a socket: any thread may ask, each handler has a thread of its own while it runs.

This module knows who reads, serves and sends when, and how all that ends. The two sides of the socket are in
`receiving` and `sending`, what runs in threads is in `handling`; `handover` knows how reading changes hands, `turns`
whose turn it is to parse, `poller` how to wait without a thread, `bokbok._front` what a connection decides,
`bokbok.wire` the bytes.

* **Workers** are threads of the pool (`threads`). One is called where bytes have come or a handler is to be started. It
  runs handlers, reads on as long as there is something to read, and goes back.
* **A thread that asks**, and is the only one, reads for its own answer: no thread has to be woken then.
* **The lock** guards what is short: the conversation (`wire.Connection.take`), who waits, who reads, who sends. While
  it is held, nothing is parsed, opened, sealed, encoded, sent or received, and no handler runs. So a thread that needs
  it gets it at once, whatever the peer sends.
* **Answers** may wait a moment for each other, where the next request is there already; if its handler is slow, the
  poller's look (`handover`) has them sent.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import wire
from .._fork import track
from .._front import texts
from .._front.admission import Job, error_text
from .._front.clocks import IdleClock, PacketClock
from .._front.lifecycle import Ending, Lifecycle, Public, remote_error
from .._front.logs import Log
from .._front.settings import Settings
from .._front.turns import QUANTUM, left
from .._sockets import ENDLESS, LINGER_SECONDS, seconds, why_broken
from ..address import Address
from ..errors import ConnectionClosed, RemoteProtocolError
from ..wire import REQUEST, RESPONSE, AnswerUnreadable, ErrorReceived, Read, RequestUnreadable
from .finishing import finishing
from .greeting import look_up, refusal
from .handling import Handling, handler_of
from .handover import CALLER, PARKED, Pace, Role
from .poller import READ, WRITE, Timer, poller
from .receiving import NOW, Receiving
from .sending import Sending
from .threads import Latch, run_in_thread
from .turns import HELLO, STAY_SECONDS, reading

if TYPE_CHECKING:
    from .._front.shared import Visit
    from .server import Server

__all__ = ["Connection", "ConnectionHandler", "RequestHandler"]

_log = Log("bokbok.sync")

RequestHandler = Callable[["Connection", Any], Any]
"""`on_request(connection, message) -> answer`"""
ConnectionHandler = Callable[["Connection"], object]
"""`on_open(connection)`, `on_close(connection)`"""

_BUNCH = 8
"""Answers that wait for each other at most. Measured: more leave the other end idle."""
_BUNCH_BYTES = 16 * 1024
"""An answer that is longer waits for no other."""
_SHORT = 1024
"""Bytes of a message that is read without a turn: a fraction of a millisecond, whatever they are."""
_AT_ONCE = 0.002
"""Seconds in which a handler returns that has waited for nothing."""
_LONELY = 16
"""Answers in a row, each for the only thread that waited, after which threads read for themselves again."""
_STILL = 20
"""Looks without anything having moved, after which the poller looks elsewhere."""


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

    # More attributes than instances of a class can share the names of: a dictionary each would take four times as much,
    # and CPython would look up methods the slow way. What is not named here still works.
    __slots__ = (
        "_account",
        "_address",
        "_admission",
        "_awake",
        "_begins",
        "_called",
        "_encode",
        "_ending",
        "_handling",
        "_idle_clock",
        "_life",
        "_limits",
        "_lock",
        "_lonely",
        "_looked_after",
        "_moves",
        "_moves_seen",
        "_number",
        "_on_request",
        "_pace",
        "_packet_clock",
        "_packet_timer",
        "_paused",
        "_polled",
        "_read_alone",
        "_reader",
        "_receiving",
        "_role",
        "_sending",
        "_server",
        "_settings",
        "_socket",
        "_socket_closed",
        "_still",
        "_timer",
        "_unread",
        "_unused",
        "_waiters",
        "_was_late",
        "_wire",
    )

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
        self._unused: list[_Waiter] = []  # those whose answer came to the one that asked, and was not waited for
        self._encode = protocol.encoder
        self._handling = Handling(self, self._lock, life, server)
        self._socket_closed = Latch()
        self._polled = 0  # what the poller waits for
        self._timer: Timer | None = None  # hello, lingering: one at a time
        self._ending: Literal["", "flush", "linger"] = ""  # what is still to be done before the socket is closed
        self._sending = Sending(self, sock, self._lock, life)
        # Reading: whoever has the role, and is a worker or a caller, owns these, and `wire.read`.
        self._read_alone = protocol.read_alone
        self._idle_clock = IdleClock(settings.limits.idle_timeout)
        self._receiving = Receiving(sock, self._idle_clock)
        self._role = Role()
        self._reader: _Waiter | None = None  # the caller who has the role
        self._unread = b""  # what was received, while it is not this connection's turn
        self._paused = False  # nobody reads, since too much memory is held for the peer
        self._packet_clock = PacketClock(settings.limits.packet_timeout, settings.limits.packet_rate)
        self._packet_timer: Timer | None = None
        # Workers.
        self._pace = Pace()
        self._begins = True  # whether a long message may be begun in this connection's turn
        self._called = False  # a worker was called for handlers that has not looked around yet
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
        handling = handler_of.handling
        if handling is None:
            return self._request(message, timeout)
        handling.park()
        try:
            return self._request(message, timeout)
        finally:
            handling.unpark()

    def _request(self, message: Any, timeout: float | None) -> Any:
        deadline = None
        if timeout is not None and (remaining := seconds(timeout)) is not None:
            deadline = time.monotonic() + remaining
        try:
            waiter = self._unused.pop()
        except IndexError:
            waiter = _Waiter()
        reader: _Waiter | None = waiter
        id = -1
        try:
            encoded = self._encode(message)
            if self._admission.congested:
                self._sending.await_room(deadline, timeout)
            try:
                with self._lock:
                    id = self._wire.request(encoded, encoded=True)
                    del encoded  # which may be long, and the answer is too, perhaps
                    if not self._waiters and self._role.ask():  # the only one that waits: read for it
                        self._reader = waiter
                        if self._paused:
                            self._paused = False
                            self._packet_clock.go_on(time.monotonic())
                        if self._polled & READ:
                            self._await(self._polled & ~READ)
                    self._waiters[id] = waiter
                    outgoing = None if self._awake else self._sending.take()
                if outgoing:
                    self._sending.transmit(outgoing)
                if self._reader is waiter:
                    answer = self._read_for(id, waiter, deadline)
                    if answer is not None:
                        reader = None  # before anybody else has it
                        self._unused.append(waiter)
                        return answer[2]
            finally:
                if reader is not None and self._reader is reader:
                    self._stop_reading_for(reader)
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

    def __exit__(self, *error: object) -> None:
        self.close()

    # The poller.

    def _begin(self) -> None:
        """Have the poller wait for what comes, and for a hello for so long."""
        try:
            if self._wire.state in ("hello", "lookup") and self._limits.hello_timeout < ENDLESS:
                self._timer = poller.call_at(time.monotonic() + self._limits.hello_timeout, self._hello_is_late)
            with self._lock:
                # The open handler may run already, and somebody may read for an answer: the role is not taken away.
                if not self._role.in_use:
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
            self._handling.start(self._sending.go_on)
        if read:
            self._line_up()
        if drop:
            self._drop()

    def _look(self, late: bool) -> bool:
        """As the poller, every few milliseconds: whether anything has got on. True if it is to come again."""
        line_up = call = False
        with self._lock:
            moved = self._moves != self._moves_seen
            if moved or (late and not self._was_late):
                # A poller that comes late was kept from running, as this connection's threads may have been: once.
                self._was_late = late and not moved
                self._moves_seen = self._moves
                if moved:
                    self._still = 0
                return True
            self._was_late = False
            stray = self._role.is_stray
            if stray:
                line_up = self._pass_on()
            left = bool(self._sending.bunch) and not self._sending.busy
            call = not self._called and (self._admission.ready or left)
            self._called |= call
            if (stray or call) and self._admission.running:
                self._pace.stands_still()
            self._still += 1
            again = self._looked_after = self._still < _STILL and self._wire.state == "open"
        if call:
            self._handling.start(self._worker)
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

    # What the sending side asks (`sending.Owner`).

    def _await_also(self, events: int) -> None:
        self._await(self._polled | events)

    @property
    def _wants_rest_sent(self) -> bool:
        return not self._life.ended or (bool(self._ending) and self._timer is not None)

    def _sending_stopped(self) -> bool:
        if self._life.ended:
            self._maybe_close_socket()
        return self._call_worker()

    def _all_sent(self, call: bool, over: bool) -> None:
        if call:
            self._handling.start(self._worker)
        if over:
            if self._ending:
                self._flushed()
            else:
                self._close_if_idle()

    def _end_soon(self, error: ConnectionClosed) -> None:
        self._handling.start_in_order(self._end, error)

    def _sending_failed(self, error: Exception) -> None:
        with self._lock:
            # The other end may have answered before it went: whoever reads takes that first, then finds the end.
            reading_goes_on = isinstance(error, ConnectionError) and self._wire.state == "open"
            if reading_goes_on and not isinstance(error, BrokenPipeError):
                self._receiving.broken = error.with_traceback(None)  # which has this connection
        if reading_goes_on:
            with contextlib.suppress(OSError):  # reset already
                self._socket.shutdown(socket.SHUT_RD)
        else:
            self._end(self._lost(error))

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
                    outgoing = self._sending.take()
            elif self._call_worker():
                rest = partial(self._handling.start, self._worker)
        if turn and not reads:
            reading.leave(self._life.party)
        if outgoing:
            self._sending.transmit(outgoing)
        if rest is not None:
            rest()
        just_read = False
        while True:
            if job is not None:
                jobs, job = [job], None  # whose message is let go of as soon as its handler has returned
                job, reads = self._handle(jobs, reads, just_read)
                just_read = False
            elif reads:
                job, reads = self._read(turn)
                turn = False
                just_read = True
            else:
                return

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
        return job, False, partial(self._handling.start, self._worker, reads=read)

    def _line_up(self) -> None:
        """Have a worker read once it is this connection's turn."""
        reading.enter(self._life.party, self, left(self._wire))

    def _turn_came(self, begin: bool) -> bool:
        """See `turns`."""
        self._begins = begin
        return self._handling.start(self._worker, reads=True, turn=True)

    def _pass_on(self) -> bool:
        """With the lock held: who reads has something else to do. True: there is something to read, so `_line_up`."""
        if self._unread or self._wire.more:
            return self._role.call()
        if self._role.park():
            self._await_also(READ)
        return False

    def _call_worker(self) -> bool:
        """With the lock held: whether to start a worker for handlers that could run."""
        if self._called or not self._admission.reserve():
            return False
        self._called = True
        return True

    # Reading.

    def _read_for(self, id: int, waiter: _Waiter, deadline: float | None) -> Read | None:
        """As a caller who has the role: read until the answer is there, or it is too late.

        Returns:
            The answer, if it came alone: the role was given back, and there is nothing more to do.
        """
        protocol, receiving = self._wire, self._receiving
        main = threading.get_ident() == receiving.main
        polls = False
        taking = False
        try:
            while not waiter.done:
                data: bytes | None = self._unread
                if data or protocol.more:
                    if deadline is not None and deadline <= time.monotonic():
                        return None
                    self._unread = b""
                else:
                    # Most answers come so soon that it costs less to receive at once, for `STAY_SECONDS` and a bit.
                    soon = deadline is not None and deadline - time.monotonic() < 2 * STAY_SECONDS
                    if polls or soon or (receiving.much and main):
                        # While the main thread waits like that, nothing gets lost if it is interrupted.
                        if not receiving.await_bytes(deadline):
                            return None
                        taking = True
                        data = receiving.receive()
                    else:
                        data = receiving.receive_kept()
                        if data is not None:
                            taking = True
                            receiving.kept.clear()
                    if data is None:
                        taking = False
                        if self._life.ended:
                            return None
                        polls = True  # it takes longer than most: from now on without waking up in between
                        continue
                    if not data:
                        self._received_end()
                        return None
                taking = True
                alone = self._read_alone(data) if data else None
                batch: list[Any] = protocol.read(data or b"", seconds=QUANTUM) if alone is None else []
                with self._lock:
                    self._moves += 1
                    waiters = self._waiters
                    if (
                        type(alone) is tuple
                        and alone[0] == RESPONSE
                        and alone[1] == id
                        and len(waiters) == 1
                        and id in waiters
                        and not self._account.partial
                        and protocol.take_response(alone)
                    ):
                        # What is below, `_take_in` and `_stop_reading_for` would do the same, in many more steps.
                        waiters.clear()
                        self._reader = None
                        self._role.leave()
                        if not self._looked_after:
                            self._be_looked_after()
                        return alone
                    events = protocol.take_plain(batch if alone is None else [alone])
                    if self._account.partial or not protocol.clear:
                        self._weigh(events)
                    rest = self._take_in(events)
                taking = False
                if rest is not None:
                    rest()
        except OSError as error:
            self._end(self._lost(error))
        except Exception as error:
            self._handling.fail(error)
        except BaseException:  # KeyboardInterrupt
            if receiving.kept:
                self._unread = receiving.kept.pop()
            elif taking:  # nobody knows what was read
                self._end(ConnectionClosed("interrupted while reading"))
            raise
        return None

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
            self._handling.start(self._worker, reads=True)

    def _read(self, turn: bool) -> tuple[Job | None, bool]:
        """As a worker who has the role: take in a slice of what comes.

        Args:
            turn: it is this connection's turn.

        Returns:
            See `_next_job`.
        """
        try:
            data = self._unread
            if data:
                self._unread = b""
            elif not self._wire.more:
                if not turn and reading.in_line:
                    # It would have to wait, and what it received until then would be memory that nobody counts.
                    self._leave_reading_to_poller()
                    return None, False
                if self._account.partial and self._life.holds_too_much:  # by now: others have read since it lined up
                    self._pause_reading()
                    return None, False
                received = self._receiving.receive(NOW) if turn else self._receiving.receive_staying()
                if not received:
                    if received is None:
                        self._leave_reading_to_poller()
                    else:
                        self._received_end()
                    return None, False
                data = received
            # To read so little takes no longer than to take a turn does, and nobody waits for one.
            is_short = not (turn or reading.in_line) and 0 < len(data) <= _SHORT and self._life.was_open
            if is_short and (alone := self._read_alone(data)) is not None:
                job = self._take_in_alone(alone)
                return (job, True) if job is not None else self._take_in_as_worker([alone])
            if not turn and not reading.try_to_enter():
                self._unread = data
                with self._lock:
                    call = self._role.call()
                if call:
                    self._line_up()
                return None, False
            party = self._life.party if turn else None  # the line counts the time of those who stood in it
            turn = True
            if not self._life.was_open:
                reading.leave(party, HELLO, HELLO)
                turn = False
                return self._read_hello(data)
            began = 0.0 if party is None else time.thread_time()
            alone = self._read_alone(data) if data and not is_short else None
            batch: list[Any] = []
            if alone is None:
                batch = self._wire.read(data, seconds=QUANTUM, begin=party is None or self._begins)
            turn = False
            if party is None:
                reading.leave()
            else:
                reading.leave(party, time.thread_time() - began)
            if alone is not None and (job := self._take_in_alone(alone)) is not None:
                return job, True
            return self._take_in_as_worker(batch if alone is None else [alone])
        except OSError as error:
            self._end(self._lost(error))
        except Exception as error:  # a fault of ours must not leave requests waiting for ever
            self._handling.fail(error)
        finally:
            if turn:
                reading.leave()
        with self._lock:
            self._stop_reading()
        return None, False

    def _received_end(self) -> None:
        """As the one who reads: the end has come."""
        with self._lock:
            self._sending.winding_down = True
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
                self._await_also(READ)

    def _pause_reading(self) -> None:
        """As a worker who has the role: too much is held to read on."""
        with self._lock:
            if self._life.ended:
                self._stop_reading()
            else:
                self._await_memory()

    def _await_memory(self) -> None:
        """With the lock held, as the one who reads: read on once memory was freed, unless it takes too long."""
        self._paused = self._role.park()
        self._receiving.much = 0  # hundreds go on at one moment, before one of them is counted
        self._account.wait(self._memory_freed)
        self._pause_packet()

    def _stop_reading(self) -> None:
        """With the lock held, as the one who reads: nobody does any more."""
        self._role.stop()
        if self._life.ended:
            self._drop_unread()
            if self._ending == "linger":
                self._await_also(READ)
            self._maybe_close_socket()

    def _take_in_alone(self, message: Read | RemoteProtocolError) -> Job | None:
        """As a worker who has the role: if this is a request, and nothing else is going on, start its handler.

        The plain version is `_take_in_as_worker`, and `_next_job` in it: this is what most batches are.

        Returns:
            The request, whose handler counts as running, and for which the role is lent; `None`: nothing was done.
        """
        if type(message) is not tuple or self._on_request is None:
            return None
        kind, id, datum, cost = message
        with self._lock:
            if kind == REQUEST and self._pace.is_quick and not self._account.partial and self._admission.start_alone():
                if self._account.admit(id, cost):
                    if self._wire.take_request(message):
                        self._moves += 1
                        self._role.lend()
                        if not self._looked_after:
                            self._be_looked_after()
                        return id, datum
                    self._account.done(id)
                self._admission.finish()
        return None

    def _take_in_as_worker(self, batch: list[Any]) -> tuple[Job | None, bool]:
        """As a worker who has the role: act on what has come. Returns what `_next_job` does."""
        with self._lock:
            events = self._wire.take_plain(batch)
            if self._account.partial or not self._wire.clear:
                self._weigh(events)
            outgoing: list[bytes] | None = None
            reads = True
            waited = len(self._waiters)
            rest = self._take_in(events)
            answered = waited - len(self._waiters)
            if answered:
                self._lonely = self._lonely + 1 if waited == 1 else 0
            if self._sending.winding_down and (self._life.ended or self._wire.state != "open"):
                self._stop_reading()
                reads = False
            job, reads, others = self._next_job(reads)
            if job is None:
                self._awake = answered > 1
                if not self._awake:
                    outgoing = self._sending.take()
                if reads and self._lonely >= _LONELY and not (self._waiters or self._wire.more):
                    self._lonely = 0
                    self._role.leave()
                    self._be_looked_after()
                    reads = False
                elif reads and self._life.holds_too_much:
                    self._await_memory()
                    reads = False
        self._do_rest(outgoing, rest, others)
        if job is None and answered > 1:
            time.sleep(0)  # those who have got an answer run now, and what they ask next is sent together
            with self._lock:
                self._awake = False
                outgoing = self._sending.take()
            if outgoing:
                self._sending.transmit(outgoing)
        return job, reads

    def _do_rest(self, outgoing: list[bytes] | None, *rest: Callable[[], object] | None) -> None:
        """What is left to do without the lock: send, and the rest in this order."""
        if outgoing:
            self._sending.transmit(outgoing)
        for each in rest:
            if each is not None:
                each()

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
            outgoing = self._sending.take()
            overflow = self._too_much_unsent()

        def rest() -> None:
            if call:
                self._handling.start(self._worker)
            if outgoing:
                self._sending.transmit(outgoing)
            if overflow is not None:
                self._end(overflow.error)
            for event in rare:
                self._take_in_rare(event)

        return rest

    def _too_much_unsent(self) -> Ending | None:
        """With the lock held: how the connection ends if answers pile up for a peer that does not take them."""
        if not self._admission.congested:
            return None
        return self._life.too_much_unsent(self._sending.note_unsent())

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
            key, problem = look_up(self._settings, events[0].user)
            with self._lock:
                events = self._wire.authenticate(key, seconds=QUANTUM) if self._wire.state == "lookup" else []
            if events and isinstance(events[0], wire.HelloOpened):
                refused = refusal(self._life, events[0], self)
                with self._lock:
                    events = self._wire.admit(refused, seconds=QUANTUM) if self._wire.state == "lookup" else []
            closed = not events  # meanwhile
        # Some profiles have an insecure client announce itself, without a key.
        is_open = not closed and self._wire.state not in ("hello", "lookup") and not self._life.ended
        if events and isinstance(events[0], wire.Closed):
            is_open = False
            self._take_in_rare(events[0])
        if problem is not None:
            # Only now: the time that writing a traceback takes would tell a stranger that the look-up has failed.
            self._life.failed(_log, texts.LOOK_UP_FAILED, self, error=problem)
        if is_open:
            self._cancel_timer()
            self._opened()
        job: Job | None = None
        others: Callable[[], object] | None = None
        outgoing: list[bytes] | None = None
        with self._lock:
            if is_open and not self._life.ended:
                plain = list(map(wire.as_plain, events))
                self._weigh(plain)  # a packet may have begun behind the hello
                rest = self._take_in(plain)
            reads = not self._life.ended and self._wire.state in ("hello", "open")
            if not reads:
                self._stop_reading()
            job, reads, others = self._next_job(reads)
            if job is None:
                outgoing = self._sending.take()
        self._do_rest(outgoing, rest, others)
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

    def _pause_packet(self) -> None:
        """With the lock held: nothing is read for a while, but not for ever."""
        now = time.monotonic()
        self._packet_clock.pause(now)
        if self._packet_timer is not None:
            self._packet_timer.cancel()
        self._packet_timer = poller.call_at(now + self._packet_clock.longest_pause, self._check_packet)

    def _check_packet(self) -> None:
        """As the poller, some time after a packet began: whether it is too late."""
        with self._lock:
            self._packet_timer = None
            now = time.monotonic()
            left = self._packet_clock.left(now)
            if left is None or self._life.ended:
                return
            late = left <= 0 and (self._paused or not (self._wire.more or self._unread))  # else it is not its turn
            if not late:
                self._packet_timer = poller.call_at(now + max(left, QUANTUM), self._check_packet)
        if late:
            self._handling.start(self._end_and_tell, self._life.too_late(self._packet_clock))

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
            self._handling.start(self._end, ending.error, linger=ending.linger)

    def _end_and_tell(self, ending: Ending) -> None:
        if not self._life.ended:
            self._life.refused(ending.error, self, _log)
            self._end(ending.error, linger=ending.linger)

    def _read_again(self) -> None:
        """Memory was freed: read on, unless it is too little."""
        with self._lock:
            if not self._paused or self._life.ended:
                return
            if self._life.holds_too_much:
                self._account.wait(self._memory_freed)
                return
            self._paused = False
            self._packet_clock.go_on(time.monotonic())
            call = bool(self._unread or self._wire.more) and self._role.call()
            if not call and self._role.state == PARKED:
                self._await(self._polled | READ)
        if call:
            self._line_up()

    def _memory_freed(self) -> None:
        """As anybody, with any lock held but this connection's: have somebody read on."""
        with contextlib.suppress(RuntimeError):  # no more threads: nor is there for what would be read
            run_in_thread(self._read_again)

    def _hello_is_late(self) -> None:
        """As the poller."""
        if not self._life.was_open:
            limit = self._limits.hello_timeout
            self._handling.start_in_order(
                self._refuse, texts.no_key(limit) if self._wire.state == "lookup" else texts.no_hello(limit)
            )

    def _refuse(self, error: ConnectionClosed) -> None:
        if not (self._life.was_open or self._life.ended):
            self._life.refused(error, self, _log)
            self._end(error, linger=True)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # Handlers.

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
            self._handling.start(self._handling.run_on_open)

    def _handle(self, jobs: list[Job], reads: bool, just_read: bool) -> tuple[Job | None, bool]:
        """As a worker: run the request handler, and answer. Returns what `_next_job` does.

        Args:
            jobs: the request, which is taken out.
            reads: the worker has lent the role.
            just_read: the worker has read it, and nothing since then.
        """
        id, message = jobs.pop()
        admission, sending = self._admission, self._sending
        assert self._on_request is not None
        failure: str | None = None
        problem: Exception | None = None
        written = b""
        next_job: Job | None = None
        others: Callable[[], object] | None = None
        outgoing: list[bytes] | None = None
        answer: Any = None
        started = time.monotonic()
        handler_of.handling = self._handling
        try:
            answer = self._on_request(self, message)
        except BaseException as error:
            self._life.handler_failed(error, self, _log)
            failure = error_text(error)
        finally:
            handler_of.handling = None
        # Each of a long message's forms is let go of before the next one is made: see `docs/speed.md`, Large messages.
        del message
        # `finishing.enter`, and below `leave`, without their calls where nobody waits.
        ticket = None
        has_place = finishing.try_to_enter()
        # One that was read in its turn, and whose handler has returned at once, need not wait for another turn.
        if not (has_place or (just_read and time.monotonic() - started < _AT_ONCE)):
            ticket = finishing.enter(self._life.party)
            has_place = True
        try:
            if failure is None:
                if admission.congested and not self._account.may_keep:
                    # Not even written: a thousand handlers may have finished at the same moment.
                    failure = texts.NOT_SENT % (self._account.unsent + self._account.kept)
                else:
                    try:
                        written = self._encode(answer)
                    except Exception as error:
                        failure, problem = self._life.not_written(error)
            del answer
            size = len(written)
            with self._lock:
                if failure is not None:
                    self._life.fail(id, failure)
                elif not (admission.congested or self._account.unsent) and self._wire.state == "open":
                    self._account.done(id)  # `answer_written`, where there is nothing to be asked
                    problem = self._wire.respond(id, written, encoded=True)
                else:
                    has_room = True
                    if admission.congested:
                        if has_place:
                            has_place = False  # who waits for the other end keeps nobody else waiting
                            finishing.leave(ticket)
                        has_room = sending.await_room_for_answer(size)
                    if has_room:
                        problem = self._life.answer_written(id, written)
                    else:
                        self._life.fail(id, texts.NOT_SENT % (self._account.unsent + self._account.kept))
                del written
                admission.finish()
                self._pace.took(time.monotonic() - started)
                self._moves += 1
                if reads:
                    reads = self._role.resume()
                if admission.queue_of_jobs or admission.share.kept:
                    next_job, reads, others = self._next_job(reads)
                sending.bunch += 1
                # This worker runs the next handler; if that is slow, the poller's look has the answers sent.
                if next_job is None or sending.bunch >= _BUNCH or size > _BUNCH_BYTES or not self._looked_after:
                    if sending.busy:
                        sending.note_pile()
                    else:
                        outgoing = sending.take()
        finally:
            if has_place:
                if ticket is None:
                    finishing.leave_at_once()
                else:
                    finishing.leave(ticket)
        if problem is not None:
            self._life.failed(_log, texts.CANNOT_TRAVEL, self, problem)
        if outgoing:
            sending.transmit(outgoing)
        if others is not None:
            others()
        if sending.winding_down:
            self._close_if_idle()
        return next_job, reads

    def _slot_kept(self) -> None:
        """The server has kept a slot for this connection. Another connection's lock may be held now: not this one's."""
        self._handling.slot_kept()

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
            sends = self._sending.busy or self._sending.bunch or self._wire.has_output
            ending = None if sends else self._life.idle()
        if ending is not None:
            self._end(ending.error, linger=ending.linger)

    def _drain(self) -> None:
        """The server stops: no new requests; close when the running handlers have finished."""
        with self._lock:
            self._sending.winding_down = True
            ending = self._life.drain()
        if ending is not None:
            self._end(ending.error)
            return
        self._sending.send_now()
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
            if self._packet_timer is not None:
                self._packet_timer.cancel()
            self._sending.winding_down = True
            self._sending.wake()
            self._ending = "linger" if linger else "flush" if flush else ""
            outgoing = self._sending.take() if self._ending else None
            idle = not self._sending.busy  # else whoever sends goes on from here
            if not self._role.in_use:  # else whoever reads does it
                self._drop_unread()
        self._announce_end(first)
        if self._ending:
            self._cancel_timer()
            with contextlib.suppress(RuntimeError, OSError):
                self._timer = poller.call_at(time.monotonic() + LINGER_SECONDS, self._shut_down)
        if outgoing:
            self._sending.transmit(outgoing)
            return
        if not self._ending:
            self._shut_down()
        elif idle:
            self._flushed()

    def _flushed(self) -> None:
        """The connection has ended, and everything is sent."""
        if self._ending == "linger":
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            with self._lock:
                if self._role.end() and self._ending and self._timer is not None:
                    self._await_also(READ)
                    return
                if self._role.in_use and self._timer is not None:
                    return  # whoever reads sees to the rest
        self._shut_down()

    def _drop(self) -> None:
        """As the poller, while it lingers: read and drop."""
        if self._receiving.drop():
            self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
        self._cancel_timer()
        with self._lock:
            self._ending = ""
            self._sending.drop()
            self._role.end()
            self._maybe_close_socket()

    def _announce_end(self, error: ConnectionClosed) -> None:
        """Fail the requests that wait, and run the close handler, once."""
        with self._lock:
            waiters, run_on_close = self._life.announce_end()
        for waiter in waiters:
            waiter.fail(type(error)(error.reason))  # a fresh one for each thread: a raise changes its traceback
        if run_on_close:
            self._handling.start(self._handling.run_on_close)

    def _maybe_close_socket(self) -> None:
        """With the lock held: give the descriptor back once no thread can be using it.

        Not before: its number may be somebody else's a moment later.
        """
        in_use = self._role.in_use or self._sending.busy or self._ending
        if in_use or not self._life.ended or self._socket_closed.is_set:
            return
        self._await(0)
        self._role.end()
        self._socket.close()
        self._drop_unread()
        self._socket_closed.set()
        self._maybe_finished()

    def _drop_unread(self) -> None:
        """With the lock held, as the connection has ended and nobody reads: keep nothing of what came and was not read.

        Not only when the socket is closed: that may be seconds later, and nobody counts these bytes any more.
        """
        self._unread = b""
        with contextlib.suppress(Exception):  # a profile's fault; memory may be what is missing
            self._wire.read()

    def _forked(self) -> None:
        """See `_fork`."""
        self._lock = threading.Lock()
        self._sending.forked(self._lock)
        self._handling.forked(self._lock)
        self._life.forked()
        self._role.stop()
        self._socket.close()  # this process's descriptor only: no `shutdown`, which would end the parent's connection
        self._socket_closed = Latch()
        self._socket_closed.set()

    def _maybe_finished(self) -> None:
        """With the lock held: tell the server once nothing of this connection is left, not even a handler."""
        if not self._handling.tasks and self._socket_closed.is_set:
            # Without these it is not a part of cycles, and is freed once nobody has it any more.
            self._sending.forget()
            self._handling.forget()
            if self._server is not None:
                self._server._finished(self)
