"""Recordings: the bytes of conversations, with their times, as JSON lines.

What this module knows: the format, `{"bokbok-capture": 1, "transport": ...}` and then one object for each chunk of
bytes or end of file. What it refuses to know: what the bytes mean (`bokbok_interop.dump` does).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Capture", "CaptureError", "Chunk", "read_capture"]

CLIENT, SERVER = "client", "server"

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of one recording that are kept: enough for any case that is about bytes, and a bound for those about load."""


class CaptureError(ValueError):
    """A file that is no recording; the message names the line."""


@dataclass(frozen=True)
class Chunk:
    """What one read from a socket gave.

    Attributes:
        t: seconds since the recording began.
        conn: number of the connection, from 1.
        source: who sent it, `client` or `server`.
        data: the bytes, or `None` for an end of file.
    """

    t: float
    conn: int
    source: str
    data: bytes | None


@dataclass
class Capture:
    """A recording in memory.

    Attributes:
        transport: `tcp` or `unix`.
        chunks: in the order in which they came.
        dropped: bytes that were not kept, for being over the limit.
    """

    transport: str
    chunks: list[Chunk] = field(default_factory=list)
    dropped: int = 0
    size: int = 0

    def add(self, t: float, conn: int, source: str, data: bytes | None) -> None:
        """Record one chunk, or an end of file."""
        if data is not None:
            if self.size + len(data) > MAX_BYTES:
                self.dropped += len(data)
                return
            self.size += len(data)
        self.chunks.append(Chunk(t, conn, source, data))

    def connections(self) -> list[int]:
        """The numbers of the connections in it."""
        return sorted({chunk.conn for chunk in self.chunks})

    def stream(self, conn: int, source: str) -> bytes:
        """All bytes of one direction of one connection."""
        return b"".join(
            chunk.data for chunk in self.chunks if chunk.conn == conn and chunk.source == source and chunk.data
        )

    def lines(self) -> Iterator[str]:
        """The recording in its file format."""
        several = len(self.connections()) > 1
        yield json.dumps({"bokbok-capture": 1, "transport": self.transport})
        for chunk in self.chunks:
            entry: dict[str, Any] = {"t": round(chunk.t, 6), "from": chunk.source}
            if several:
                entry["conn"] = chunk.conn
            entry |= {"eof": True} if chunk.data is None else {"data": chunk.data.hex()}
            yield json.dumps(entry)

    def write(self, path: Path) -> None:
        """Write the recording to a file."""
        path.write_text("".join(line + "\n" for line in self.lines()), encoding="ascii")


def read_capture(lines: Iterable[str]) -> Capture:
    """Read a recording.

    Raises:
        CaptureError: it is none, with the number of the line and what was expected there.
    """
    capture: Capture | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise CaptureError(f"line {number} is no JSON: {error}") from None
        if not isinstance(entry, dict):
            raise CaptureError(f"line {number}: expected a JSON object")
        if capture is None:
            if entry.get("bokbok-capture") != 1:
                raise CaptureError(f'line {number}: expected {{"bokbok-capture": 1, "transport": ...}} first')
            capture = Capture(str(entry.get("transport", "tcp")))
            continue
        source, conn, t = entry.get("from"), entry.get("conn", 1), entry.get("t", 0)
        if source not in (CLIENT, SERVER):
            raise CaptureError(f'line {number}: "from" is {source!r}; expected "client" or "server"')
        if not isinstance(conn, int) or not isinstance(t, int | float):
            raise CaptureError(f'line {number}: "conn" is a whole number and "t" a number of seconds')
        if entry.get("eof"):
            capture.add(t, conn, source, None)
            continue
        try:
            capture.add(t, conn, source, bytes.fromhex(entry["data"]))
        except (KeyError, TypeError, ValueError):
            raise CaptureError(f'line {number}: expected "data" in hexadecimal, or "eof": true') from None
    if capture is None:
        raise CaptureError('no line at all; expected {"bokbok-capture": 1, "transport": ...} first')
    return capture
