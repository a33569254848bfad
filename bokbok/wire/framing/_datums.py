"""No framing: a packet ends where CHICKEN's reader stops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError, ReadError, RemoteProtocolError
from ...sexpr import CHICKEN_4
from ...sexpr.machine import NEED_MORE, NO_DATUM, Machine
from ._strategy import Splitter, Write

__all__ = [
    "Datums",
]


@dataclass(frozen=True)
class Datums:
    """No framing: a packet is one datum (or several) as `write` prints it; the reader finds its end.

    Attributes:
        separator: what stands between two packets: white space, or nothing.
        place: `after` each packet, or only `between` two.
        count: how many datums make a packet.
    """

    strategy: ClassVar[str] = "datums"
    separator: bytes = b"\n"
    place: str = "after"
    count: int = 1

    def __post_init__(self) -> None:
        if self.separator.strip():
            raise BokbokError(f"datums are separated by white space, not by {self.separator!r}")
        if self.place not in ("after", "between"):
            raise BokbokError(f"the separator's place is 'after' or 'between', not {self.place!r}")

    @property
    def name(self) -> str:
        """How it is called."""
        return "datums"

    def writer(self) -> Write:
        """See `Framing.writer`."""
        if self.place == "after":
            return self.write
        first = True

        def write(out: list[bytes], packet: bytes) -> None:
            nonlocal first
            if not first:
                out.append(self.separator)
            first = False
            out.append(packet)

        return write

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        out += (packet, self.separator)

    def most(self) -> int | None:
        """See `Framing.most`."""
        return None

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _DatumSplitter(limit, self.count)


_SPACE = re.compile(rb"[ \t\n\v\f\r]*")
_DEPTH = 1_000_000  # the codec behind has the limit that counts


class _DatumSplitter:
    """Cuts where CHICKEN's reader would stop. A symbol or number is whole only with a byte behind it."""

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self._count = count
        self._left = count
        self._machine = Machine(CHICKEN_4, _DEPTH)
        self._buffer = b""  # from the beginning of the packet that is being read
        self._at = 0  # how far the machine has read in it
        self._waiting = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> bytes | None:
        machine = self._machine
        while True:
            if self._at == 0:
                space = _SPACE.match(self._buffer)
                assert space is not None
                if space.end():
                    self._buffer = self._buffer[space.end() :]
            if not self._buffer:
                return None
            if self._waiting:
                if machine.ending.find(self._buffer) < 0:
                    self._check()
                    return None
                self._waiting = False
            try:
                value = machine.run(self._buffer, self._at, False)
            except ReadError as error:
                raise RemoteProtocolError(f"no datum: {error.problem}") from None
            self._at = machine.position
            if value is NEED_MORE:
                self._waiting = True
                self._check()
                return None
            if value is NO_DATUM:
                self._check()
                return None
            self._left -= 1
            if not self._left:
                packet, self._buffer = self._buffer[: self._at], self._buffer[self._at :]
                self._at, self._left = 0, self._count
                if len(packet) > self.limit:
                    raise self._too_long(len(packet))
                return packet

    def _check(self) -> None:
        if len(self._buffer) > self.limit:
            raise self._too_long(len(self._buffer))

    def _too_long(self, length: int) -> RemoteProtocolError:
        return RemoteProtocolError(f"a datum of {length} bytes or more, over the limit of {self.limit} bytes")

    def pending(self) -> str | None:
        rest = self._buffer.strip(b" \t\n\v\f\r")
        return f"{len(rest)} bytes of a datum" if rest else None

    def rest(self) -> bytes:
        data, self._buffer, self._at, self._waiting = self._buffer, b"", 0, False
        return data
