"""No framing: a packet ends where CHICKEN's reader stops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ...errors import ProfileError, ReadError
from ...sexpr import CHICKEN_4
from ...sexpr.machine import NEED_MORE, PAUSED, Machine
from .._foreign import foreign
from .._limits import DEFAULT_MESSAGE_MEMORY
from ..strategy import Choice, Integer, Span, key
from ._strategy import Framing, Splitter, Write, too_long

__all__ = ["Datums"]


@dataclass(frozen=True)
class Datums(Framing):
    """No framing: a packet is one datum (or several) as `write` prints it; the reader finds its end.

    Attributes:
        separator: what stands between two packets: white space, or nothing.
        place: `after` each packet, or only `between` two.
        count: how many datums make a packet.
    """

    strategy: ClassVar[str] = "datums"
    separator: bytes = key(b"\n", always=True)
    place: str = key("after", Choice("after", "between"))
    count: int = key(1, Integer(1, 64))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.separator.strip():
            raise ProfileError(f"separator: expected white space, or nothing; got {self.separator!r}")

    def words(self) -> str:
        """See `Strategy.words`."""
        count = f", {self.count} to a packet" if self.count > 1 else ""
        return f"one datum after another{count}, {self.separator!r} {self.place}"

    def writer(self) -> Write:
        """See `Framing.writer`."""
        separator, first = self.separator, True

        def write_after(out: list[bytes], packet: bytes) -> None:
            out += (packet, separator)

        def write_between(out: list[bytes], packet: bytes) -> None:
            nonlocal first
            if not first:
                out.append(separator)
            first = False
            out.append(packet)

        return write_after if self.place == "after" else write_between

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _DatumSplitter(limit, self.count)

    def spans(self, data: bytes) -> list[Span]:
        """See `Framing.spans`."""
        space = _SPACE.match(data)
        start = space.end() if space is not None else 0
        return [*([Span("separator", 0, start)] if start else []), Span("packet", start, len(data))]


_SPACE = re.compile(rb"[ \t\n\v\f\r]*")
_WHITE_CHARACTERS = tuple(b"#\\%c" % white for white in b" \t\n\v\f\r")
_DEPTH = 1_000_000  # the codec behind has the limit that counts
_MEMORY = 2 * DEFAULT_MESSAGE_MEMORY
"""Bytes of memory of a datum whose end is looked for. A message over the codec's limit fails alone as long as its end
is found; one over this ends the connection, since it is not known where the next one begins."""


class _DatumSplitter:
    """Splits where CHICKEN's reader would stop. A symbol or number is whole only with a byte behind it.

    Each byte is read once. The machine keeps what it has read of a datum, so nothing is read again when more comes;
    of a token that is not complete its search for the end goes on where it stopped. Packets that lie whole in a chunk
    are cut from it by their offsets; only one that goes on behind the chunk is gathered.
    """

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self.piece = 0
        self.paused = False
        self._count = self._left = count
        self._machine = Machine(CHICKEN_4, _DEPTH, max(_MEMORY, 4 * limit))
        self._fed: list[bytes] = []  # chunks that were not looked at
        self._chunk = b""
        self._at = 0  # how far the machine has read in the chunk
        self._start = 0  # where the packet that is being read begins, or goes on, in the chunk
        self._in_packet = False
        self._gathered = bytearray()  # of that packet: what the machine has read of chunks that are gone
        self._token = bytearray()  # behind it: a token that is not complete
        self._waiting = False

    def feed(self, data: bytes) -> None:
        self._fed.append(data)

    def next(self) -> bytes | None:
        machine = self._machine
        self.paused = False
        while True:
            if self._at == len(self._chunk) and not self._next_chunk():
                return None
            if not self._in_packet:
                space = _SPACE.match(self._chunk, self._at)
                assert space is not None
                self._at = self._start = space.end()
                machine.base = -self._start  # offsets count within the packet
                if self._at == len(self._chunk):
                    continue
                self._in_packet = True
            try:
                pause = self._at + self.piece if self.piece else None
                value = machine.run(self._chunk, self._at, False, pause)
            except ReadError as error:
                raise foreign(f"bytes that do not read as a datum: {error}") from None
            self._at = machine.position
            if value is PAUSED:
                self.paused = True
                return None
            if value is NEED_MORE:
                machine.ending.shift(self._at)
                self._gather()
                self._token += self._chunk[self._at :]
                self._chunk, self._at, self._start = b"", 0, 0
                self._waiting = True
                self._check()
                continue
            self._left -= 1
            if self._left:
                continue
            if self._chunk.startswith(_WHITE_CHARACTERS, max(self._start, self._at - 2)):
                self._at += 1  # CHICKEN leaves the white space unread, but a packet without it does not read
            size = len(self._gathered) + self._at - self._start
            if size > self.limit:
                raise too_long(size, self.limit, announced=False)
            packet = self._chunk[self._start : self._at]
            if self._gathered:
                self._gathered += packet
                packet = bytes(self._gathered)
                self._gathered = bytearray()
            self._left, self._in_packet = self._count, False
            return packet

    def _next_chunk(self) -> bool:
        """Whether there is anything for the machine to read."""
        if not self._fed:
            return False
        self._gather()
        data = b"".join(self._fed)
        self._fed.clear()
        if self._waiting:
            self._token += data
            if self._machine.ending.find(self._token) < 0:
                self._check()
                return False
            data = bytes(self._token)
            self._token.clear()
            self._waiting = False
        self._chunk, self._at, self._start = data, 0, 0
        self._machine.base = len(self._gathered)  # behind which this chunk goes on with the packet
        return bool(data)

    def _gather(self) -> None:
        if self._in_packet:
            self._gathered += self._chunk[self._start : self._at]
            self._start = self._at

    def _check(self) -> None:
        size = len(self._gathered) + len(self._token)
        if size > self.limit:
            raise too_long(size, self.limit, announced=False)

    def held(self) -> int:
        begun = len(self._gathered) + len(self._token) + sum(map(len, self._fed))
        return begun + len(self._chunk) - (self._start if self._in_packet else self._at)

    def pending(self) -> str | None:
        rest = self._held().strip(b" \t\n\v\f\r")
        return f"{len(rest)} bytes of a datum" if rest else None

    def rest(self) -> bytes:
        data = self._held()
        self.__init__(self.limit, self._count)  # type: ignore[misc]
        return data

    def _held(self) -> bytes:
        begin = self._start if self._in_packet else self._at
        return b"".join((self._gathered, self._token, self._chunk[begin:], *self._fed))
