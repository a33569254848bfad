"""What was recorded: for each connection, the bytes of both directions, from a recording or a packet capture.

A recording may be longer than memory. A search uses only its beginning (or all of a short one). `Recorded.pieces` reads
the rest from disk, in pieces.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from .capture import CLIENT, PIECE, SERVER, Capture, CaptureError, Chunk, RecordingReader
from .pcap import PcapReader, is_pcap

__all__ = ["Recorded", "Recording", "from_capture", "load_recording"]

BEGINNING = 1 << 21
"""Bytes of a recording's beginning, over all connections, that are in memory. The default script needs a twentieth."""
_LEAST = 1 << 17
SOURCES = (CLIENT, SERVER)


@dataclass
class Recorded:
    """One connection.

    Attributes:
        conn: its number.
        client: what the client sent, from the beginning; not all of it if the recording is long.
        server: what the server sent, likewise.
        ended: the directions in which an end of file followed these bytes.
        more: the directions in which more was recorded than these bytes.
        lost: why the recording of a direction ends although the direction went on, by direction.
        whole: where all bytes are, if these are not all.
    """

    conn: int
    client: bytes = b""
    server: bytes = b""
    ended: set[str] = field(default_factory=set)
    more: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    whole: Capture | None = field(default=None, repr=False, compare=False)

    def stream(self, source: str) -> bytes:
        """The beginning of one direction."""
        return self.client if source == CLIENT else self.server

    def size(self, source: str) -> int:
        """How many bytes of a direction were recorded."""
        return len(self.stream(source)) if self.whole is None else self.whole.length(self.conn, source)

    def pieces(self, source: str) -> Iterator[bytes]:
        """All bytes of a direction."""
        return iter([self.stream(source)]) if self.whole is None else self.whole.pieces(self.conn, source)

    def beginning(self) -> Recorded:
        """Only the beginning, as if there was nothing more."""
        return replace(self, whole=None)


@dataclass
class Recording:
    """A recording's connections, and what was not used of the file.

    Attributes:
        connections: those in which anything was said, in order.
        skipped: what was not used, by kind, and how often.
    """

    connections: list[Recorded]
    skipped: Counter[str] = field(default_factory=Counter)


def from_capture(capture: Capture, beginning: int = BEGINNING) -> list[Recorded]:
    """The connections of a recording in which anything was said, in order.

    Args:
        capture: the recording.
        beginning: how many bytes of it are read into memory, for all connections together, in their order. A direction
            that begins later in the file, as if it had come after the other one, has `_LEAST`.
    """
    streams = _beginnings(capture, beginning) if capture.size > beginning else None
    out = []
    for conn in capture.connections():
        client, server = (capture.stream(conn, s) if streams is None else streams[conn, s] for s in SOURCES)
        one = Recorded(conn, client, server)
        for source in SOURCES:
            if capture.length(conn, source) > len(one.stream(source)):
                one.more.add(source)
                one.whole = capture
            elif capture.ended(conn, source):
                one.ended.add(source)
            if (conn, source) in capture.marks:
                one.lost[source] = capture.marks[conn, source].lost
        if one.size(CLIENT) or one.size(SERVER) or one.lost:
            out.append(one)
    return out


def _beginnings(capture: Capture, room: int) -> defaultdict[tuple[int, str], bytes]:
    """The first bytes of a long recording's directions."""
    streams: defaultdict[tuple[int, str], bytearray] = defaultdict(bytearray)
    for chunk in capture.chunks:
        if room <= 0:
            break
        kept = (chunk.data or b"")[:room]
        streams[chunk.conn, chunk.source] += kept
        room -= len(kept)
    for conn in {conn for conn, _ in streams}:
        for source in SOURCES:
            if len(streams[conn, source]) < min(_LEAST, capture.length(conn, source)):
                streams[conn, source].clear()
                for piece in capture.pieces(conn, source):
                    streams[conn, source] += piece[: _LEAST - len(streams[conn, source])]
                    if len(streams[conn, source]) == _LEAST:
                        break
    return defaultdict(bytes, {direction: bytes(data) for direction, data in streams.items()})


class _Reader(Protocol):
    def feed(self, data: bytes) -> Iterator[Chunk]: ...
    def finish(self) -> Iterator[Chunk]: ...


def load_recording(path: str | Path, *, server: tuple[str, int] | None = None) -> Recording:
    """Read a recording of either kind.

    Args:
        path: JSON lines, or a pcap or pcapng file; `-` for standard input.
        server: for a packet capture, address and port of the server, if the beginnings of connections are missing.

    Raises:
        CaptureError: it cannot be read, or is neither; the message names the place.
    """
    try:
        if str(path) == "-":
            return _read(sys.stdin.buffer, server)
        with open(path, "rb") as file:
            return _read(file, server)
    except OSError as error:
        raise CaptureError(f"{str(path)!r}: {error.strerror}") from None
    except CaptureError as error:
        raise CaptureError(f"{str(path)!r}: {error}") from None


def _read(file: BinaryIO, server: tuple[str, int] | None) -> Recording:
    data = file.read(PIECE)
    pcap = PcapReader(server) if is_pcap(data) else None
    reader: _Reader = pcap or RecordingReader()
    capture = Capture("tcp")
    while data:
        capture.take(reader.feed(data))
        data = file.read(PIECE)
    capture.take(reader.finish())
    return Recording(from_capture(capture), pcap.skipped if pcap is not None else Counter())
