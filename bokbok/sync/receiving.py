"""The receiving side of a connection on a socket: how bytes come out of it, and how a thread waits for them.

One thread at a time has this side: who has the role of reading (`handover`).
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import Final

from .._front.clocks import IdleClock
from .._front.reads import LITTLE, READ
from .turns import STAY_SECONDS, lingering

__all__ = ["NOW", "Receiving"]

NOW: Final = int(socket.MSG_DONTWAIT)
"""The flag that has a call on a blocking socket return at once."""

_AGAIN = 32
"""Reads after which it is `LITTLE` again: where more has come, more is likely to come.

So little goes to a fresh `bytes`: the allocator has a place for so many at hand, and takes back at once what was not
needed. That takes two thirds of the steps of reading into a buffer that is kept.
"""
_STAY = struct.pack("ll", int(STAY_SECONDS), int(STAY_SECONDS % 1 * 1e6))  # a `timeval`


_KEPT = 32
"""Buffers that are kept: as many as there are workers that stay with a connection."""


class _Buffers:
    """Where threads receive: a fresh buffer of this size for each time costs a mapping and a page fault.

    Whoever receives takes the one that was used last, and gives it back at once. A buffer for each thread took hundreds
    of megabytes where thousands of threads had read something large once.

    Attributes:
        free: those that nobody uses.
    """

    def __init__(self) -> None:
        self.free: list[memoryview] = []  # `pop` and `append` are one step each for any thread

    def take(self) -> memoryview:
        """A buffer. Give it back."""
        try:
            return self.free.pop()
        except IndexError:
            # A mapping: pages that no message needs are never there.
            return memoryview(mmap.mmap(-1, READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def give(self, buffer: memoryview) -> None:
        """It is not used any more."""
        if len(self.free) < _KEPT:
            self.free.append(buffer)


_buffers = _Buffers()


class Receiving:
    """The receiving side of one connection.

    Args:
        sock: what is read.
        idle: the connection's clock, which is told when bytes come.

    Attributes:
        broken: why sending has failed, if that is more than that the other end has closed. Once everything that came
            before is read, this is the end.
        kept: what `receive_kept` has read, until its caller has it, and clears this.
        main: the number of the main thread, which alone can be interrupted (`KeyboardInterrupt`); in a forked child,
            where it may be another one, the connection is over.
        much: how often large pieces are still read.
    """

    __slots__ = ("_idle", "_poll", "_socket", "broken", "kept", "main", "much")

    def __init__(self, sock: socket.socket, idle: IdleClock) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STAY)
        self._socket = sock
        self._idle = idle
        self._poll: select.poll | None = None
        self.broken: Exception | None = None
        self.kept: deque[bytes] = deque()
        self.much = 0
        self.main = threading.main_thread().ident

    def await_bytes(self, deadline: float | None) -> bool:
        """Wait for bytes or an end. False: it is too late."""
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self._socket, select.POLLIN)
        if deadline is None:
            poll.poll()
            return True
        remaining = deadline - time.monotonic()
        return remaining > 0 and bool(poll.poll(remaining * 1000))

    def receive(self, flags: int = 0) -> bytes | None:
        """What has come, nothing at the end, `None` where nothing came for `STAY_SECONDS`.

        Args:
            flags: `NOW`: where nothing is there.

        Raises:
            OSError: the connection is broken.
        """
        try:
            received = self._receive_much(flags) if self.much else self._socket.recv(LITTLE, flags)
        except BlockingIOError:
            return None
        return self._received(received)

    def receive_kept(self) -> bytes | None:
        """`receive`, as long as little comes, for a thread that may be interrupted: what has come is in `kept` as well.

        Python looks for signals between two of its steps. From `recv` into `kept` is none, so that an interruption
        comes before anything was read, or finds it there.
        """
        kept = self.kept
        try:
            kept.extend(map(self._socket.recv, (LITTLE,)))
        except BlockingIOError:
            return None
        return self._received(kept[0])

    def _received(self, received: bytes) -> bytes:
        if len(received) >= LITTLE:
            self.much = _AGAIN
        if self._idle.timeout is not None:
            self._idle.note(time.monotonic())
        if not received and (broken := self.broken) is not None:
            self.broken = None  # once: its traceback has this frame, and so this object
            try:
                raise broken
            finally:
                del broken
        return received

    def _receive_much(self, flags: int) -> bytes:
        self.much -= 1
        view = _buffers.take()
        try:
            return view[: self._socket.recv_into(view, 0, flags)].tobytes()
        finally:
            _buffers.give(view)

    def receive_staying(self) -> bytes | None:
        """`receive`, for a worker: it stays for a moment if there is a place."""
        free = lingering.free  # `take` and `give`, without the calls
        try:
            free.pop()
        except IndexError:
            return self.receive(NOW)
        try:
            return self.receive()
        finally:
            free.append(None)

    def drop(self) -> bool:
        """Read and drop. Whether that was all."""
        view = _buffers.take()
        try:
            return not self._socket.recv_into(view, 0, NOW)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the peer is gone, which is all that was wanted
        finally:
            _buffers.give(view)
