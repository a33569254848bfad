"""Assembles the TCP connections of a packet capture.

`PcapReader` takes a capture in pieces of any size and returns the chunks of its connections as soon as they are in
order. Its memory is bounded: there are limits for what came out of order, and for connections. Its time is proportional
to the capture's size. What is not used is counted, by kind.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..capture import CLIENT, SERVER, Capture, CaptureError, Chunk
from .container import Container
from .link import End, Segment, Segments

__all__ = ["PcapReader", "read_pcap"]

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16

MOST_CONNECTIONS = 65_536
"""Connections that are followed at once. The one that has been silent longest is forgotten first."""
MOST_WAITING = 64 << 20
"""Bytes that wait for earlier ones, in all connections. TCP's windows are usually below 6 MiB."""
_COST = 200
"""Bytes of memory that a waiting segment takes besides its data."""
_FAR = 1 << 31

LOSS = "the capture dropped segments; record again with a larger buffer (tcpdump -B)"
SNAPSHOT = "frames were cut at a snapshot length; record again with whole frames (tcpdump -s 0)"
"""Why bytes of a direction are missing, and what to do."""


@dataclass
class _Direction:
    """One direction of a connection. Offsets count from its first byte, however often sequence numbers wrap."""

    source: str
    first: int | None = None  # sequence number of the first byte
    next: int = 0  # the next offset
    waiting: list[tuple[int, int, float, bytes]] = field(default_factory=list)  # a heap: offset, order, time, bytes
    held: int = 0  # bytes of memory that it takes
    end: int | None = None  # offset of the end of file
    cut: int = 0  # offset up to which frames came that were not kept to their ends
    over: bool = False

    def offset(self, number: int) -> int:
        """The offset of a sequence number: the one nearest to the next offset."""
        assert self.first is not None
        away = (number - self.first - self.next) & 0xFFFFFFFF
        return self.next + (away if away < _FAR else away - (1 << 32))


class _Connection:
    def __init__(self, number: int, client: End, *, guessed: bool = False) -> None:
        self.number = number
        self.client = client
        self.guessed = guessed
        self.sides = {CLIENT: _Direction(CLIENT), SERVER: _Direction(SERVER)}
        self.reset = False

    def side(self, end: End) -> _Direction:
        return self.sides[CLIENT if end == self.client else SERVER]

    @property
    def over(self) -> bool:
        return self.reset or all(side.over for side in self.sides.values())


class PcapReader:
    """Reads a packet capture in pieces of any size: bytes in, chunks of connections out.

    Args:
        server: address (or "") and port of the server. Other connections are left out. It also tells which side is
            which if the beginning of a connection is missing.

    Attributes:
        skipped: what was not used, by kind, and how often.
    """

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        self.skipped: Counter[str] = Counter()
        self._server = server
        self._container = Container(self.skipped)
        self._segments = Segments(self.skipped)
        self._connections: OrderedDict[tuple[End, End], _Connection] = OrderedDict()
        self._numbers = 0
        self._order = 0
        self._waiting = 0
        self._start: float | None = None
        self._now = 0.0

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take the next bytes of the capture.

        A direction with missing bytes ends with a chunk whose `lost` says why.

        Raises:
            CaptureError: it is not a packet capture.
        """
        for frame in self._container.feed(data):
            segment = self._segments.of(frame)
            if segment is not None:
                yield from self._take(segment)

    def finish(self) -> Iterator[Chunk]:
        """The capture has ended: what still waits for missing bytes is lost.

        Raises:
            CaptureError: it ended in the middle of its header, or all frames have unknown link types.
        """
        self._container.finish()
        if self._segments.links and not self._segments.known:
            links = ", ".join(map(str, sorted(self._segments.links)[:4]))
            raise CaptureError(
                f"packet capture: link type {links} is not known; expected Ethernet, cooked, loopback, PPP or raw IP"
            )
        for connection in self._connections.values():
            yield from self._forgotten(connection)
        self._connections.clear()

    def _take(self, segment: Segment) -> Iterator[Chunk]:
        ends = segment.source, segment.target
        wanted = self._server
        if wanted is not None and not any(end[1] == wanted[1] and wanted[0] in ("", end[0]) for end in ends):
            self.skipped["TCP segment of another server"] += 1
            return
        self._start = segment.t if self._start is None else self._start
        self._now = segment.t - self._start
        key = (min(ends), max(ends))
        connection = self._connections.get(key)
        if connection is None or self._begins(connection, segment):
            if connection is not None:
                yield from self._forgotten(connection)
                del self._connections[key]
            connection = self._opened(segment)
            if connection is None:
                return
            self._connections[key] = connection
            if len(self._connections) > MOST_CONNECTIONS:
                self.skipped[f"connection, since more than {MOST_CONNECTIONS} were open"] += 1
                yield from self._forgotten(self._connections.popitem(last=False)[1])
        self._connections.move_to_end(key)
        yield from self._placed(connection, connection.side(segment.source), segment)

    def _begins(self, known: _Connection, segment: Segment) -> bool:
        """Whether a segment between the two ends of a known connection begins another connection."""
        side = known.side(segment.source)
        if segment.flags & _SYN:
            first = (segment.number + 1) & 0xFFFFFFFF
            if known.over or (side.first not in (None, first)):
                return True
            # What was seen before belongs to an older connection, or its sides were guessed.
            return known.guessed and side.first is None
        # After an end, without the segment that opened a connection: bytes beyond the end belong to another one.
        return bool(known.over and segment.data and side.end is not None and side.offset(segment.number) > side.end)

    def _opened(self, segment: Segment) -> _Connection | None:
        if segment.flags & _SYN:
            client = segment.target if segment.flags & _ACK else segment.source
        elif not segment.data:
            self.skipped["TCP segment without data of a connection whose beginning is missing"] += 1
            return None
        else:
            # Its beginning is missing: the side with the server's port, or with the lower port, is assumed to be the
            # server.
            ends = segment.source, segment.target
            port = self._server[1] if self._server is not None else min(end[1] for end in ends)
            client = segment.target if segment.source[1] == port else segment.source
        self._numbers += 1
        return _Connection(self._numbers, client, guessed=not segment.flags & _SYN)

    def _placed(self, connection: _Connection, side: _Direction, segment: Segment) -> Iterator[Chunk]:
        """Put a segment into its direction, and return what is in order now."""
        begin = (segment.number + bool(segment.flags & _SYN)) & 0xFFFFFFFF
        if side.first is None:
            side.first = begin
        offset = side.offset(begin)
        if segment.flags & _RST:
            connection.reset = True
        if segment.flags & _FIN or (segment.flags & _RST and offset == side.next):
            side.end = offset + len(segment.data) + segment.cut
        if segment.cut:
            side.cut = max(side.cut, offset + len(segment.data) + segment.cut)
        if side.over:
            return
        if segment.data and offset + len(segment.data) > side.next:
            self._order += 1
            heapq.heappush(side.waiting, (offset, self._order, self._now, segment.data))
            side.held += _COST + len(segment.data)
            self._waiting += _COST + len(segment.data)
        while side.waiting and side.waiting[0][0] <= side.next:
            offset, _, t, data = heapq.heappop(side.waiting)
            side.held -= _COST + len(data)
            self._waiting -= _COST + len(data)
            fresh = data[side.next - offset :]  # a retransmission may bring bytes again
            if fresh:
                side.next += len(fresh)
                yield Chunk(t, connection.number, side.source, fresh)
        if side.next == side.end:
            side.over = True
            yield Chunk(self._now, connection.number, side.source, None)
        elif self._waiting > MOST_WAITING:
            yield self._lost(connection, side)

    def _lost(self, connection: _Connection, side: _Direction) -> Chunk:
        """End a direction with missing bytes."""
        self._waiting -= side.held
        if side.waiting:
            self.skipped["TCP segment after missing bytes"] += len(side.waiting)
        side.waiting.clear()
        side.held, side.over = 0, True
        return Chunk(self._now, connection.number, side.source, None, SNAPSHOT if side.next < side.cut else LOSS)

    def _forgotten(self, connection: _Connection) -> Iterator[Chunk]:
        """A connection has no more segments: what waited is lost."""
        for side in connection.sides.values():
            short = side.end is not None and side.next < side.end and not connection.reset
            if not side.over and (side.waiting or side.next < side.cut or short):
                yield self._lost(connection, side)


def read_pcap(data: bytes, *, server: tuple[str, int] | None = None) -> Capture:
    """Assemble the TCP connections of a packet capture.

    Args:
        data: the file.
        server: see `PcapReader`.

    Returns:
        A recording, its connections numbered in the order in which they began.

    Raises:
        CaptureError: it is not a packet capture, or is of an unknown kind.
    """
    reader = PcapReader(server)
    capture = Capture("tcp")
    capture.take(reader.feed(data))
    capture.take(reader.finish())
    return capture
