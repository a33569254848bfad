"""The sending side of a connection on a socket: what is to be written, which thread writes it, what the peer takes.

One thread at a time has this side (`busy`), and takes along what others leave. What the peer does not take at once is
left to the poller, and no new handler starts meanwhile; what it does not take for `send_timeout` ends the connection.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Any, Protocol

from .. import wire
from .._front import texts
from .._front.clocks import SendClock
from .._front.lifecycle import Lifecycle
from .._sockets import ENDLESS, not_taken
from ..errors import ConnectionClosed
from .poller import WRITE, Timer, poller
from .receiving import NOW
from .threads import Latch
from .turns import STAY_SECONDS, lingering

__all__ = ["OVER", "Owner", "Sending"]

_PILE = 256 * 1024
"""Bytes of answers that may wait for the sending thread while further handlers start."""
_NOTHING = memoryview(b"")
"""One for all: two objects fewer for Python's collector to look at, for each connection."""
_PATIENCE = 1.0
"""Seconds in which a peer must take some of what was sent before, while an answer waits that there is no room for."""


class Owner(Protocol):
    """What the sending side asks of its connection."""

    _socket_closed: Latch

    @property
    def _wants_rest_sent(self) -> bool:
        """With the lock held: whether to go on sending, or to forget what is left, since the connection has ended."""

    def _await_also(self, events: int) -> None:
        """With the lock held: have the poller wait for these events, too; `Sending.go_on` where there is room."""

    def _sending_stopped(self) -> bool:
        """With the lock held: nobody has the sending side any more. Whether to start a worker for handlers."""

    def _all_sent(self, call: bool, over: bool) -> None:
        """Everything is sent.

        Args:
            call: whether to start a worker for handlers that have waited for that.
            over: whether the end may have waited for it (`Sending.winding_down`).
        """

    def _sending_failed(self, error: Exception) -> None:
        """The socket takes nothing more."""

    def _end(self, error: ConnectionClosed) -> None:
        """End the connection."""

    def _end_soon(self, error: ConnectionClosed) -> None:
        """As the poller: have a thread end the connection."""


class Over:
    """What stands in the place of a connection that is over: nothing is to be done any more."""

    _wants_rest_sent = False

    def __init__(self) -> None:
        self._socket_closed = Latch()
        self._socket_closed.set()

    def _await_also(self, events: int) -> None:
        pass

    def _sending_stopped(self) -> bool:
        return False

    def _all_sent(self, call: bool, over: bool) -> None:
        pass

    def _sending_failed(self, error: Exception) -> None:
        pass

    def _end(self, error: ConnectionClosed, *, flush: bool = False) -> None:
        pass

    def _end_soon(self, error: ConnectionClosed) -> None:
        pass

    def _call_worker(self) -> bool:
        return False

    def _worker(self) -> None:
        pass

    def _close_if_idle(self) -> None:
        pass

    def _maybe_finished(self) -> None:
        pass


OVER = Over()


class Sending:
    """The sending side of one connection.

    Args:
        connection: whose.
        sock: what is written to.
        lock: the connection's. It is not held while anything is sealed or sent.
        life: the connection's.

    Attributes:
        busy: whether a thread has this side, or the poller waits for room.
        bunch: answers that are not sent yet, on purpose.
        winding_down: whether the connection may be waiting for everything to be sent.
    """

    __slots__ = (
        "_account",
        "_admission",
        "_clock",
        "_connection",
        "_life",
        "_limits",
        "_lock",
        "_output",
        "_rest",
        "_room",
        "_sent",
        "_socket",
        "_timer",
        "_wire",
        "bunch",
        "busy",
        "winding_down",
    )

    def __init__(self, connection: Owner, sock: socket.socket, lock: threading.Lock, life: Lifecycle[Any]) -> None:
        self._connection: Owner = connection
        self._socket = sock
        self._lock = lock
        self._life = life
        self._wire: wire.Connection = life.wire
        self._output = life.wire.output
        self._admission = life.admission
        self._account = life.account
        self._limits = life.settings.limits
        self.busy = False
        self.bunch = 0
        self.winding_down = False
        self._rest = _NOTHING  # what the peer has not taken, while nobody but the poller waits for room
        self._sent = 0  # bytes that the system took since the peer does not get on
        self._clock = SendClock(self._limits.send_timeout)
        self._timer: Timer | None = None
        self._room: threading.Condition | None = None  # made by the first who waits: most connections never need it

    def take(self) -> list[bytes] | None:
        """With the lock held: what this thread is to `transmit` now; nothing, if another is sending already."""
        if self.busy:
            return None
        self.bunch = 0
        if not self._output:
            return None
        self.busy = True
        return self._wire.take_out()

    def transmit(self, outgoing: list[bytes]) -> None:
        """Send what `take` has given, as far as the peer takes it; the rest is left to the poller."""
        rest: memoryview | None = None
        call = over = False
        mine = True  # whether this thread has this side
        try:
            while outgoing:
                data = self._wire.sealed(outgoing)
                outgoing.clear()
                try:
                    sent = self._socket.send(data, NOW)
                except BlockingIOError:
                    sent = 0
                if sent < len(data):
                    with self._lock:
                        self._admission.congested = True  # no new handler starts
                    rest = self._push(memoryview(data)[sent:])
                    if rest:
                        break
                # Without the lock, since it is seldom needed: whoever leaves something, or waits for everything to be
                # sent, does so under the lock, and has found this side taken. So this thread finds that now. Those who
                # come from here on find it free, and see to it themselves.
                self.busy = mine = False
                if not (self._output or self.winding_down or self._admission.congested):
                    return
                with self._lock:
                    if self.busy:  # somebody else has taken it meanwhile
                        return
                    mine = True
                    outgoing = self.take() or []
                    if not outgoing and (self.winding_down or self._admission.congested):
                        call, over = self._stop()
        except OSError as error:
            self._failed(error)
            return
        except BaseException:  # KeyboardInterrupt: nobody knows how much was sent
            if mine:
                self._connection._end(ConnectionClosed("interrupted while sending"))
                with self._lock:
                    self._stop()
            raise
        if rest:
            self._leave_to_poller(rest)
        elif call or over:
            self._all_sent(call, over)

    def send_now(self) -> None:
        """Send what the protocol object has, if nobody does already."""
        with self._lock:
            outgoing = self.take()
        if outgoing:
            self.transmit(outgoing)

    def go_on(self) -> None:
        """As a worker, which the poller has called: there is room."""
        with self._lock:
            rest, self._rest = self._rest, _NOTHING
        if not rest:  # the connection has ended meanwhile
            return
        try:
            before = len(rest)
            rest = self._push(rest[self._send(rest) :])
            self._sent += before - len(rest)
        except OSError as error:
            self._failed(error)
            return
        if rest:
            self._leave_to_poller(rest)
            return
        call = over = False
        with self._lock:
            self.bunch = 0
            outgoing = self._wire.take_out()
            if not outgoing:
                call, over = self._stop()
        if outgoing:
            self.transmit(outgoing)
        else:
            self._all_sent(call, over)

    # What waits.

    def await_room(self, deadline: float | None, timeout: float | None) -> None:
        """As a thread that asks: wait while too many bytes wait to be taken, so that requests do not pile up.

        Raises:
            RequestTimeout: until the deadline.
        """
        with self._lock:
            while self._admission.congested and not self._life.ended and self.note_unsent() > self._limits.unsent:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise texts.not_sent(timeout)
                self._await_change(left)

    def await_room_for_answer(self, size: int) -> bool:
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
                self._await_change(_PATIENCE)
                if self._admission.congested and not self._connection._socket_closed.is_set:
                    self.note_unsent()
                    if self._taken() <= taken:
                        break
        finally:
            self._account.let_go(size)
        return True

    def note_unsent(self) -> int:
        """With the lock held: bytes that wait here for the other end."""
        unsent = self._wire.unsent + len(self._rest)
        self._account.note(unsent=unsent)
        return unsent

    def note_pile(self) -> None:
        """With the lock held: start no handler that adds to the answers, where too many wait for whoever is sending."""
        if self._wire.unsent > _PILE:
            self._admission.congested = True
            self.note_unsent()

    def _taken(self) -> int:
        """With the lock held, while the socket is open: bytes that the peer has taken, up to a constant."""
        return self._sent - not_taken(self._socket)

    # What the peer does not take at once.

    def _push(self, rest: memoryview) -> memoryview:
        """Send on for as long as the peer takes some every few milliseconds; what is left then."""
        if not lingering.take():
            return rest
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT)
            while rest and not self._life.ended and poll.poll(STAY_SECONDS * 1000):
                rest = rest[self._send(rest) :]
            return rest
        finally:
            lingering.give()

    def _send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data, NOW)
        except BlockingIOError:
            return 0

    def _leave_to_poller(self, rest: memoryview) -> None:
        """The peer does not get on: no new handler starts, and a worker sends on when there is room."""
        with self._lock:
            if not self._connection._wants_rest_sent:
                self._stop()
                return
            self._rest = rest
            self._admission.congested = True
            self.note_unsent()
            self.wake()  # who waits for room may look whether the peer gets on
            self._connection._await_also(WRITE)
            if self._timer is None and self._limits.send_timeout < ENDLESS:
                self._sent = 0
                self._clock.start(time.monotonic(), self._taken())
                self._look_in(self._limits.send_timeout)

    def _look_in(self, seconds: float) -> None:
        """With the lock held: look in so many seconds whether the peer has taken anything."""
        self._timer = poller.call_at(time.monotonic() + seconds, self._look)

    def _look(self) -> None:
        """As the poller: whether the peer has taken anything lately."""
        with self._lock:
            self._timer = None
            if not self._admission.congested or self._connection._socket_closed.is_set:
                return
            left = self._clock.left(time.monotonic(), self._taken())
            if left > 0:
                self._look_in(left)
        if left <= 0:
            self._connection._end_soon(texts.took_nothing(self._limits.send_timeout))

    # The end.

    def wake(self) -> None:
        """With the lock held: whoever waits for room looks again; the peer gets on, or the connection has ended."""
        if self._room is not None:
            self._room.notify_all()

    def _await_change(self, seconds: float | None) -> None:
        """With the lock held, which others have meanwhile: wait until `wake`, or for so long."""
        if self._room is None:
            self._room = threading.Condition(self._lock)
        self._room.wait(seconds)

    def drop(self) -> None:
        """With the lock held, as the connection has ended: forget what the poller waits for room for."""
        if self._rest:
            self._rest = _NOTHING
            self._stop()

    def forget(self) -> None:
        """With the lock held: the connection is over, and its socket is closed."""
        self._connection = OVER

    def forked(self, lock: threading.Lock) -> None:
        """In a forked child, where the connection has a new lock."""
        self._lock = lock
        self._room = None

    def _failed(self, error: Exception) -> None:
        self._connection._sending_failed(error)
        with self._lock:
            self.bunch = 0
            self._wire.take_out()  # nobody will take it
            call, over = self._stop()
        self._all_sent(call, over)

    def _stop(self) -> tuple[bool, bool]:
        """With the lock held: nobody has this side any more; what `_all_sent` is to do."""
        self.busy = self._admission.congested = False
        self._account.note(unsent=0)
        self.wake()
        return self._connection._sending_stopped(), self.winding_down

    def _all_sent(self, call: bool, over: bool) -> None:
        if call or over:
            self._connection._all_sent(call, over)
