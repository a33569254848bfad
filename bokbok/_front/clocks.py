"""Time-outs: of packets that come, of bytes that are sent, and of connections on which nothing happens.

What this module knows: points in time that its callers tell it (seconds on a clock that only goes forward), and when
each of these things is too late. The front ends read the clock, and wait.
"""

from __future__ import annotations

__all__ = ["PAUSED", "IdleClock", "PacketClock", "SendClock"]


PAUSED = 5.0
"""Seconds that a part of a packet may wait for memory, or `packet_timeout`, if that is shorter. Measured: with 30, good
clients beside two hundred hostile ones waited for 30 s."""


class PacketClock:
    """The time in which a packet must come: so much from its first byte, and more for each byte that comes.

    So a slow but steady peer is in time, however long its packet is, if the bytes come at the lowest rate or faster.
    (Apache's `RequestReadTimeout` has the same rule, with 500 bytes a second.)

    While nothing is read, since too much memory is held, it has `longest_pause` and no more: where all of it is held by
    parts of packets, nobody reads on before somebody has given up.

    Args:
        timeout: seconds.
        rate: bytes of a packet that buy one more second.

    Attributes:
        bytes: bytes of the packet that have come.
        longest_pause: seconds that it may wait for memory.
        paused: since when nothing is read.
        since: when the packet has begun that is coming; `None` while none is.
    """

    __slots__ = ("_rate", "_timeout", "bytes", "longest_pause", "paused", "since")

    def __init__(self, timeout: float, rate: float) -> None:
        self._timeout = timeout
        self._rate = rate
        self.since: float | None = None
        self.bytes = 0
        self.longest_pause = min(timeout, PAUSED)
        self.paused: float | None = None

    def note(self, now: float, held: int, whole: bool) -> bool:
        """Bytes were read, and all whole packets were taken out of them.

        Args:
            now: when.
            held: how many bytes of an unfinished packet there are.
            whole: whether a packet was completed.

        Returns:
            Whether a packet's time has begun: then look at `left` when that time may be over.
        """
        self.bytes = held
        if not held:
            self.since = None
            return False
        if self.since is not None and not whole:
            return False
        self.since = now
        return True

    def pause(self, now: float) -> None:
        """From now on nothing is read."""
        if self.paused is None:
            self.paused = now

    def go_on(self, now: float) -> None:
        """From now on it is read again: the time between was not the packet's."""
        if self.paused is not None and self.since is not None:
            self.since += now - self.paused
        self.paused = None

    def left(self, now: float) -> float | None:
        """Seconds until the packet is too late, if nothing more comes; 0 or less: it is too late. `None`: there is no
        packet."""
        if self.paused is not None:
            return self.paused + self.longest_pause - now
        if self.since is None:
            return None
        return self.since + self._timeout + self.bytes / self._rate - now


class SendClock:
    """The time in which the other end must take something of what is sent to it.

    Args:
        timeout: seconds.
    """

    __slots__ = ("_since", "_taken", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since = 0.0
        self._taken = -1

    def start(self, now: float, taken: int) -> None:
        """From now on something waits to be sent; so many bytes were taken before."""
        self._since, self._taken = now, taken

    def left(self, now: float, taken: int) -> float:
        """Seconds until it is too late; 0 or less: it is too late.

        Args:
            now: when.
            taken: bytes that the other end has taken so far, without those that wait in this process or its system.
        """
        if taken > self._taken:
            self._since, self._taken = now, taken
        return self._since + self._timeout - now


class IdleClock:
    """The time in which something must come while nothing is under way.

    Args:
        timeout: seconds; `None` for no time-out.
    """

    __slots__ = ("_since", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._since = 0.0

    def note(self, now: float) -> None:
        """Something came, or was done."""
        self._since = now

    def left(self, now: float) -> float:
        """Seconds until the connection has been idle for too long; 0 or less: it has."""
        assert self.timeout is not None
        return self._since + self.timeout - now
