"""Recordings: the bytes of conversations with their times, complete at any length.

A `Capture` takes chunks as they come and returns them later. Beyond a few megabytes they are on disk. In a file, a
recording is JSON lines: `{"bokbok-capture": 1, "transport": "tcp"}`, then one object for each chunk, each end of file,
and each direction that ends early: `{"t": SECONDS, "from": "client" | "server", "conn": NUMBER, …}` with `"data": HEX`,
`"eof": true` or `"lost": REASON`. `RecordingReader` reads it, in pieces of any size.
"""

from __future__ import annotations

import binascii
import json
import math
import os
import re
import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "CLIENT",
    "SERVER",
    "Capture",
    "CaptureError",
    "Chunk",
    "RecordingReader",
    "RecordingWriter",
    "read_capture",
]

CLIENT: Final = "client"
SERVER: Final = "server"

MEMORY = 4 << 20
"""The most bytes of a recording that are kept in memory, with `AROUND` for each chunk."""
AROUND = 200
"""Bytes that a chunk takes besides its data."""
PIECE = 1 << 20
"""The most bytes of one chunk; longer ones are divided. So reading a recording only takes the memory of a few
chunks."""


class CaptureError(ValueError):
    """A file is not a recording; the message names the place and what was expected there."""


@dataclass(frozen=True)
class Chunk:
    """The result of one read from a socket.

    Attributes:
        t: seconds since the recording began.
        conn: number of the connection, from 1.
        source: who sent it, `client` or `server`.
        data: the bytes; `None` for the end of the direction.
        lost: why the recording of the direction ends here although the direction went on; empty at an end of file.
    """

    t: float
    conn: int
    source: str
    data: bytes | None
    lost: str = ""


class Capture:
    """A recording.

    The first chunks are kept in memory. Further ones become rows of a temporary SQLite database. That is a file in the
    folder for temporary files, which disappears with the last reference to the recording.

    Args:
        transport: `tcp` or `unix`.
        limit: the most bytes to keep; `None` for all. A direction that goes on beyond it ends there, with a mark.

    Attributes:
        size: how many bytes are kept.
        dropped: how many bytes came after the end of their direction's recording.
        marks: for each direction whose recording ended early, the chunk that says so.
        unwritten: why the file of `keep` is not complete, or empty.
    """

    def __init__(self, transport: str, *, limit: int | None = None) -> None:
        self.transport = transport
        self.limit = limit
        self.size = self.dropped = 0
        self.unwritten = ""
        self._writer: RecordingWriter | None = None
        self.marks: dict[tuple[int, str], Chunk] = {}
        self._lengths: dict[tuple[int, str], int] = {}
        self._ended: set[tuple[int, str]] = set()
        self._first: list[Chunk] = []
        self._room = MEMORY
        self._rows: sqlite3.Connection | None = None

    def add(self, t: float, conn: int, source: str, data: bytes | None, lost: str = "") -> None:
        """Record one chunk; without data, the end of file, or why the direction is not recorded any further."""
        direction = conn, source
        if direction in self.marks:
            self.dropped += len(data or b"")
            return
        if lost:
            self.marks[direction] = Chunk(t, conn, source, None, lost)
            self._write(self.marks[direction])
            return
        room = len(data or b"") if self.limit is None else self.limit - self.size
        kept = None if data is None else data[:room]
        try:
            self._insert(t, conn, source, kept)
        except sqlite3.OperationalError as error:  # the disk is full
            room, kept = 0, b""
            self.marks[direction] = Chunk(t, conn, source, None, f"the recording could not be kept: {error}")
        self.size += len(kept or b"")
        self._lengths[direction] = self._lengths.get(direction, 0) + len(kept or b"")
        if data is None:
            self._ended.add(direction)
        elif room < len(data):
            self.dropped += len(data) - room
            self.marks.setdefault(
                direction, Chunk(t, conn, source, None, f"the recording is limited to {self.limit} bytes")
            )
        if kept != b"":
            self._write(Chunk(t, conn, source, kept))
        if direction in self.marks:
            self._write(self.marks[direction])

    def keep(self, writer: RecordingWriter) -> None:
        """Write what was recorded to a file, and also what will come. If that fails, `unwritten` says why."""
        self._writer = writer
        for chunk in self.chunks:
            self._write(chunk)

    def _write(self, chunk: Chunk) -> None:
        if self._writer is not None:
            try:
                self._writer.add(chunk)
            except OSError as error:
                self.unwritten = error.strerror or str(error)
                self._writer = None

    def take(self, chunks: Iterable[Chunk]) -> None:
        """Record chunks that a reader returns."""
        for chunk in chunks:
            self.add(chunk.t, chunk.conn, chunk.source, chunk.data, chunk.lost)

    def _insert(self, t: float, conn: int, source: str, data: bytes | None) -> None:
        pieces = [data] if data is None else (data[at : at + PIECE] for at in range(0, len(data), PIECE))
        for piece in pieces:
            self._room -= len(piece or b"") + AROUND
            if self._room >= 0:
                self._first.append(Chunk(t, conn, source, piece))
                continue
            if self._rows is None:
                self._rows = _database()
                weakref.finalize(self, self._rows.close)
            self._rows.execute(
                "INSERT INTO chunk (t, conn, source, data) VALUES (?, ?, ?, ?)", (t, conn, source, piece)
            )

    @property
    def chunks(self) -> Iterator[Chunk]:
        """All chunks in the order in which they came, including ends of file. The marks of early ends come last."""
        yield from tuple(self._first)
        if self._rows is not None:
            for t, conn, source, data in self._rows.execute("SELECT t, conn, source, data FROM chunk ORDER BY id"):
                yield Chunk(t, conn, source, data)
        yield from self.marks.values()

    def connections(self) -> list[int]:
        """The numbers of the connections in it."""
        return sorted({conn for conn, _ in (*self._lengths, *self.marks)})

    def length(self, conn: int, source: str) -> int:
        """How many bytes of one direction of one connection are kept."""
        return self._lengths.get((conn, source), 0)

    def ended(self, conn: int, source: str) -> bool:
        """Whether the end of file of a direction is in it."""
        return (conn, source) in self._ended

    def pieces(self, conn: int, source: str) -> Iterator[bytes]:
        """The bytes of one direction of one connection, in pieces of at most a megabyte."""
        for chunk in tuple(self._first):
            if (chunk.conn, chunk.source) == (conn, source) and chunk.data is not None:
                yield chunk.data
        if self._rows is not None:
            rows = self._rows.execute(
                "SELECT data FROM chunk WHERE conn = ? AND source = ? AND data NOT NULL ORDER BY id", (conn, source)
            )
            yield from (data for (data,) in rows)

    def stream(self, conn: int, source: str) -> bytes:
        """All bytes of one direction of one connection."""
        return b"".join(self.pieces(conn, source))

    def lines(self) -> Iterator[str]:
        """The recording in its file format."""
        several = len(self.connections()) > 1
        yield _header(self.transport)
        for chunk in self.chunks:
            yield _entry(chunk, several=several)

    def write(self, path: str | Path) -> None:
        """Write the recording to a file."""
        with open(path, "w", encoding="ascii") as file:
            file.writelines(line + "\n" for line in self.lines())


def _database() -> sqlite3.Connection:
    """A store on disk, for chunks beyond those in memory."""
    rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    rows.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        "CREATE TABLE chunk (id INTEGER PRIMARY KEY, t REAL, conn INTEGER, source TEXT, data BLOB);"
        "CREATE INDEX direction ON chunk (conn, source);"
    )
    return rows


def _header(transport: str) -> str:
    return json.dumps({"bokbok-capture": 1, "transport": transport})


def _entry(chunk: Chunk, *, several: bool) -> str:
    entry: dict[str, Any] = {"t": round(chunk.t, 6), "from": chunk.source}
    if several:
        entry["conn"] = chunk.conn
    if chunk.data is not None:
        entry["data"] = chunk.data.hex()
    else:
        entry |= {"lost": chunk.lost} if chunk.lost else {"eof": True}
    return json.dumps(entry)


class RecordingWriter:
    """Writes a recording's file while chunks come: what came is in the file, however the program ends.

    Args:
        path: the file, which only its owner can read. An existing file is replaced.
        transport: `tcp` or `unix`.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str | Path, transport: str) -> None:
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        self._file = open(path, "w", encoding="ascii", opener=private)  # noqa: SIM115 (it lasts as long as we do)
        self._transport = transport
        self._line(_header(transport))

    def anew(self) -> RecordingWriter:
        """Begin the file again, for another recording. Returns the writer itself."""
        self._file.seek(0)
        self._file.truncate()
        self._line(_header(self._transport))
        return self

    def add(self, chunk: Chunk) -> None:
        """Write one chunk. Raises `OSError`, for instance if the disk is full."""
        self._line(_entry(chunk, several=True))

    def _line(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()


_DATA = re.compile(rb'"data"\s*:\s*"')
_LONGEST_LINE = 1 << 16
"""Bytes of a line besides its data: an entry has four short fields."""
_LONGEST_HELD = 64 << 20
"""The most bytes of data that wait for the fields after them."""
_HEADER = '{"bokbok-capture": 1, "transport": ...} first (or a packet capture)'


class RecordingReader:
    """Reads a recording's file in pieces of any size: bytes in, chunks out. It holds at most one line in memory.

    Attributes:
        transport: as in the header; empty before the header was read.
    """

    def __init__(self) -> None:
        self.transport = ""
        self._line = 1
        self._text = bytearray()  # of the line, without the content of the string "data"
        self._data_at = -1  # where that string begins in the line; -1 before
        self._in_data = False
        self._digits = 0  # of that string
        self._odd = b""
        self._held: list[bytes] = []
        self._held_size = 0
        self._entry: dict[str, Any] | None = None  # of a line whose data is long: what comes before the data

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take the next bytes of the file.

        Raises:
            CaptureError: they are not those of a recording.
        """
        at = 0
        while at < len(data):
            if self._in_data:
                end = data.find(b'"', at)
                stop = len(data) if end < 0 else end
                yield from self._decoded(data[at:stop])
                self._in_data, at = end < 0, stop
                continue
            end = data.find(b"\n", at)
            stop = len(data) if end < 0 else end
            before = len(self._text)
            self._text += data[at:stop]
            found = _DATA.search(self._text) if self._data_at < 0 else None
            if found is not None:
                self._data_at = found.end()
                at += found.end() - before
                del self._text[found.end() :]
                self._in_data = True
                continue
            if len(self._text) > _LONGEST_LINE:
                raise self._wrong(1, f"an entry in less than {_LONGEST_LINE} bytes besides its data", "a longer line")
            at = stop
            if end >= 0:
                at += 1
                yield from self._finished()

    def finish(self) -> Iterator[Chunk]:
        """The file has ended.

        Raises:
            CaptureError: in the middle of an entry, or before there was one.
        """
        if self._in_data:
            raise self._wrong(self._data_at + self._digits, 'a quote behind "data"', "the end of the file")
        yield from self._finished()
        if not self.transport:
            raise CaptureError(f"line 1, column 1: expected {_HEADER}, found an empty file")

    def _wrong(self, column: int, expected: str, found: str) -> CaptureError:
        return CaptureError(f"line {self._line}, column {column}: expected {expected}, found {found}")

    @property
    def _object(self) -> str:
        return "a JSON object" if self.transport else _HEADER

    def _decoded(self, digits: bytes) -> Iterator[Chunk]:
        """Some more of the string "data". Long data becomes chunks at once."""
        wrong = re.search(rb"[^0-9A-Fa-f ]", digits)
        if wrong is not None:
            column = self._data_at + self._digits + wrong.start() + 1
            raise self._wrong(column, '"data" in hexadecimal', f"{chr(wrong[0][0])!r}")
        self._digits += len(digits)
        digits = self._odd + digits.replace(b" ", b"")
        even = len(digits) & ~1
        self._odd = digits[even:]
        self._held.append(binascii.unhexlify(digits[:even]))
        self._held_size += even // 2
        if self._held_size >= PIECE:
            if self._entry is None:
                self._entry = self._early()
            if self._entry is not None:
                yield self._chunk(self._entry)
            elif self._held_size > _LONGEST_HELD:
                raise self._wrong(1, f'"from" before so much data ({self._held_size} bytes)', "none")

    def _early(self) -> dict[str, Any] | None:
        """The entry whose data is being read, if the fields that say where the data belongs come before it."""
        try:
            entry = json.loads(bytes(self._text) + b'"}')
        except ValueError:
            return None
        return entry if isinstance(entry, dict) and "from" in entry else None

    def _chunk(self, entry: dict[str, Any]) -> Chunk:
        source, conn, t = self._fields(entry)
        data = b"".join(self._held)
        self._held, self._held_size = [], 0
        return Chunk(t, conn, source, data)

    def _finished(self) -> Iterator[Chunk]:
        """A line is complete."""
        if self._text.strip():
            entry = self._parsed()
            if self.transport:
                yield self._said(entry)
            elif entry.get("bokbok-capture") != 1:
                raise self._wrong(1, _HEADER, "another object")
            else:
                self.transport = str(entry.get("transport", "tcp"))[:16]
        self._line += 1
        self._text.clear()
        self._data_at, self._digits, self._odd = -1, 0, b""
        self._held, self._held_size, self._entry = [], 0, None

    def _parsed(self) -> dict[str, Any]:
        try:
            entry = json.loads(self._text)
        except json.JSONDecodeError as error:
            column = error.pos + 1 + (self._digits if 0 <= self._data_at <= error.pos else 0)
            # The content is not quoted: this may be the wrong file, with a passphrase in it.
            raise self._wrong(column, self._object, "something else") from None
        except (ValueError, RecursionError):
            raise self._wrong(1, self._object, "bytes that are not UTF-8, or too deeply nested") from None
        if not isinstance(entry, dict):
            raise self._wrong(1, self._object, "another value")
        return entry

    def _said(self, entry: dict[str, Any]) -> Chunk:
        source, conn, t = self._fields(entry)
        what = [name for name in ("data", "eof", "lost") if entry.get(name) not in (None, False)]
        if len(what) != 1 or (self._data_at < 0 and "data" in what) or entry.get("data", "") != "":
            found = f"{' and '.join(what)}" if what else "none of them"
            raise self._wrong(1, '"data" in hexadecimal, or "eof": true, or "lost"', found)
        if self._entry is not None and (source, conn) != self._fields(self._entry)[:2]:
            raise self._wrong(self._column("conn"), '"from" and "conn" before so much data', "them behind it")
        if self._odd:
            raise self._wrong(self._data_at + self._digits + 1, '"data" in hexadecimal', "an odd number of digits")
        if what == ["data"]:
            return self._chunk(entry)
        return Chunk(t, conn, source, None, str(entry.get("lost") or "")[:200])

    def _fields(self, entry: dict[str, Any]) -> tuple[str, int, float]:
        source, conn, t = entry.get("from"), entry.get("conn", 1), entry.get("t", 0)
        if source not in (CLIENT, SERVER):
            raise self._wrong(self._column("from"), '"from" to be "client" or "server"', _short(source))
        if type(conn) is not int or not 0 <= conn < 1 << 63:
            raise self._wrong(self._column("conn"), '"conn" to be a whole number', _short(conn))
        try:
            if type(t) not in (int, float) or not math.isfinite(t):
                raise ValueError
            return source, conn, float(t)
        except (ValueError, OverflowError):
            raise self._wrong(self._column("t"), '"t" to be a number of seconds', _short(t)) from None

    def _column(self, key: str) -> int:
        """The column of a field's name; 1 if the field is missing."""
        at = self._text.find(b'"%s"' % key.encode())
        return at + 1 + (self._digits if 0 <= self._data_at <= at else 0)


def _short(value: Any) -> str:
    text = repr(value) if type(value) is not int else str(value) if abs(value) < 1 << 64 else "a larger number"
    return text if len(text) <= 40 else text[:37] + "..."


def read_capture(lines: Iterable[str]) -> Capture:
    """Read a recording.

    Args:
        lines: the lines of its file.

    Raises:
        CaptureError: it is not a recording, with line, column and what was expected there.
    """
    reader = RecordingReader()
    capture = Capture("tcp")
    for line in lines:
        capture.take(reader.feed(line.encode("utf-8", "surrogateescape") + b"\n" * (not line.endswith("\n"))))
    capture.take(reader.finish())
    capture.transport = reader.transport
    return capture
