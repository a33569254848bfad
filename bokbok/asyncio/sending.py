"""The sending side of a connection on a transport: when what is to be written is handed over, and what the peer takes.

While anything waits in the transport it is "full": what comes then waits here, where it is cheap to count, and no new
handler starts. What the peer does not take for `send_timeout` ends the connection.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from .. import wire
from .._front import texts
from .._front.clocks import SendClock
from .._front.lifecycle import Lifecycle
from .._sockets import ENDLESS, not_taken
from ..errors import ConnectionClosed

__all__ = ["FLUSH_AT", "OVER", "Owner", "Sending"]

FLUSH_AT = 16
"""Messages that are sent together at most. Fewer cost system calls: 8 cost a tenth more processor time for each,
64 in flight with the accelerator. More leave the other end idle."""
_PATIENCE, _LOOKS = 1.0, 3
"""Seconds in which the other end must take something, while answers wait that there is no room for; and how often it
may fail to: a machine that stands still for a moment is not a peer that does."""


class Owner(Protocol):
    """What the sending side asks of its connection."""

    def _became_full(self) -> None:
        """The other end does not take everything at once any more."""

    def _all_sent(self) -> None:
        """It has taken everything, after it had not."""

    def _end(self, error: ConnectionClosed, *, abort: bool = False) -> None:
        """End the connection."""


class Over:
    """What stands in the place of a connection that is over: nothing is to be done any more."""

    def _became_full(self) -> None:
        pass

    def _all_sent(self) -> None:
        pass

    def _end(self, error: ConnectionClosed, *, abort: bool = False) -> None:
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
        life: the connection's.
        loop: its event loop.

    Attributes:
        full: whether the other end has not taken all that was handed over.
        unflushed: messages since the last flush.
        scheduled: whether they are sent at the end of this turn of the event loop.
    """

    __slots__ = (
        "_account",
        "_admission",
        "_clock",
        "_connection",
        "_finished",
        "_life",
        "_limits",
        "_loop",
        "_room",
        "_timer",
        "_transport",
        "_wire",
        "_written",
        "full",
        "scheduled",
        "unflushed",
    )

    def __init__(self, connection: Owner, life: Lifecycle[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._life = life
        self._loop = loop
        self._wire: wire.Connection = life.wire
        self._admission = life.admission
        self._account = life.account
        self._limits = life.settings.limits
        self._transport: asyncio.Transport | None = None
        self.full = False
        self.unflushed = 0
        self.scheduled = False
        self._finished = False  # an end of file was written
        self._written = 0  # bytes given to the transport, ever
        self._clock: SendClock | None = None  # once the transport was full
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None  # for who waits while too many bytes wait to be sent

    def made(self, transport: asyncio.Transport) -> None:
        """There is a transport: send what waits for it."""
        self._transport = transport
        transport.set_write_buffer_limits(0)  # "full" is when anything waits in it, which is what takes its time
        self.flush()

    def flush_soon(self, *, alone: bool = False) -> None:
        """Send at the end of this turn of the event loop, together with what else comes until then.

        But not too much of it: what is sent now, the other end works on while this one goes on. And at once, if
        nothing else is to be expected (`alone`): a turn of the event loop costs more than a system call.
        """
        self.unflushed += 1
        if alone or self.unflushed >= FLUSH_AT:
            self.flush()
        elif not self.scheduled:
            self.scheduled = True
            self._loop.call_soon(self.flush_scheduled)

    def flush_scheduled(self) -> None:
        """At the end of a turn of the event loop, as `scheduled`."""
        self.scheduled = False
        if self.unflushed:
            self.flush()

    def flush(self) -> None:
        """Send what there is, unless it has to wait here."""
        if not self.full:
            self.hand_over()

    def hand_over(self) -> None:
        """Send what there is, even if the other end has not taken what came before."""
        self.unflushed = 0
        if self._transport is not None and not self._life.ended:
            data = self._wire.data_to_send()
            # Once the transport is lost, nobody takes it; and asyncio would log it.
            if data and not self._finished and not self._transport.is_closing():
                self._written += len(data)
                self._transport.write(data)

    def finish(self) -> None:
        """Send what there is and an end of file behind it; from then on what is to be sent is dropped."""
        if self._finished or self._life.ended or self._transport is None:
            return
        self.hand_over()  # also what waits for a slow peer: the end comes behind it
        self._finished = True
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()

    # What the transport calls.

    def pause(self) -> None:
        """The transport is full."""
        self.full = self._admission.congested = True
        self.note_unsent()
        if self._clock is None:
            self._clock = SendClock(self._limits.send_timeout)
        self._clock.start(self._loop.time(), self._taken())
        self._timer = self._loop.call_later(min(self._limits.send_timeout, ENDLESS), self._look)
        self._connection._became_full()

    def resume(self) -> None:
        """It is not full any more."""
        self.wake()
        self.flush()
        self._connection._all_sent()

    def wake(self) -> None:
        """The transport is not full any more, or is lost: nobody waits for room."""
        self.full = self._admission.congested = False
        self._account.note(unsent=0)
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The transport has been full for a while: has the peer taken anything at all of it?"""
        self.note_unsent()
        assert self._clock is not None
        left = self._clock.left(self._loop.time(), self._taken())
        if left <= 0:
            self._connection._end(texts.took_nothing(self._limits.send_timeout), abort=True)
            return
        self._timer = self._loop.call_later(min(left, ENDLESS), self._look)

    def forget(self) -> None:
        """The connection is over, and its transport, which calls nothing any more."""
        self._connection = OVER

    # What waits.

    async def await_room(self, limit: float | None, timeout: float | None) -> float | None:
        """As a task that asks: wait while too many bytes wait to be taken, so that requests do not pile up.

        Returns:
            The seconds that are left.

        Raises:
            RequestTimeout: none are.
        """
        until = None if limit is None else self._loop.time() + limit
        while self.full and not self._life.ended and self.note_unsent() > self._limits.unsent:
            left = None if until is None else until - self._loop.time()
            if left is not None and left <= 0:
                raise texts.not_sent(timeout)
            await asyncio.wait([self._next_room()], timeout=left)
        return None if until is None else max(0.0, until - self._loop.time())

    async def await_room_for_answer(self, size: int) -> None:
        """As a handler has returned: wait for room for its answer, as long as the peer takes any.

        Args:
            size: the answer's bytes.
        """
        still = 0
        while still < _LOOKS and not self._life.ended and not self._life.has_room(size):
            if not self.full:
                self.flush()  # what others have answered a moment ago
                if not self.full:
                    self._account.note(unsent=0)
                    break
            taken = self._taken()
            await asyncio.wait([self._next_room()], timeout=_PATIENCE)
            still = still + 1 if self.full and self._taken() <= taken else 0
            self.note_unsent()

    def note_unsent(self) -> int:
        """Bytes that wait here for the other end, while the transport is full."""
        unsent = self._wire.unsent
        if self._transport is not None:
            unsent += self._transport.get_write_buffer_size()
        self._account.note(unsent=unsent)
        return unsent

    def _next_room(self) -> asyncio.Future[None]:
        """Done once the other end has taken all that was given to the transport."""
        if self._room is None:
            self._room = self._loop.create_future()
        return self._room

    def _taken(self) -> int:
        """Bytes that the other end has taken, of all that were given to the transport."""
        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        return self._written - self._transport.get_write_buffer_size() - not_taken(sock)
