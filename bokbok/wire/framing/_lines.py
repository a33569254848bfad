"""Packets with given bytes at their end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError
from ..strategy import Bytes, Span, key
from ._strategy import Buffered, Framing, Splitter, Write, too_long

__all__ = ["Lines"]


@dataclass(frozen=True)
class Lines(Framing):
    """Packets with given bytes at their end, which the packets themselves never contain.

    Attributes:
        ending: those bytes.
    """

    strategy: ClassVar[str] = "lines"
    ending: bytes = key(b"\n", Bytes(least=1), always=True)

    def words(self) -> str:
        """See `Strategy.words`."""
        return f"lines ended by {self.ending!r}"

    def writer(self) -> Write:
        """See `Framing.writer`."""
        ending = self.ending

        def write(out: list[bytes], packet: bytes) -> None:
            if ending in packet:
                raise BokbokError(f"a packet that holds {ending!r} cannot be ended by it")
            out += (packet, ending)

        return write

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _LineSplitter(limit, self.ending)

    def spans(self, data: bytes) -> list[Span]:
        """See `Framing.spans`."""
        end = len(data) - len(self.ending)
        return [Span("packet", 0, end), Span("ending", end, len(data))]


class _LineSplitter(Buffered):
    def __init__(self, limit: int, ending: bytes) -> None:
        super().__init__(limit)
        self._ending = ending
        self._seek = 0

    def _cut(self) -> bytes | None:
        end = self._buffer.find(self._ending, self._at + self._seek)
        size = (len(self._buffer) if end < 0 else end) - self._at
        least = size if end >= 0 else size - len(self._ending) + 1  # the last bytes may be of an ending
        if least > self.limit:
            raise too_long(least, self.limit, announced=False)
        if end < 0:
            self._seek = max(0, size - len(self._ending) + 1)
            self._need = size + 1
            return None
        packet = bytes(self._buffer[self._at : end])
        self._at, self._seek = end + len(self._ending), 0
        return packet
