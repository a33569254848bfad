"""Packets that some bytes end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError
from ._strategy import Buffered, Splitter, Write

__all__ = [
    "Lines",
]


@dataclass(frozen=True)
class Lines:
    """Packets that are ended by some bytes which they never hold.

    Attributes:
        ending: those bytes.
    """

    strategy: ClassVar[str] = "lines"
    ending: bytes = b"\n"

    @property
    def name(self) -> str:
        """How it is called."""
        return "lines"

    def writer(self) -> Write:
        """See `Framing.writer`."""
        return self.write

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        if self.ending in packet:
            raise BokbokError(f"a packet that holds {self.ending!r} cannot be ended by it")
        out += (packet, self.ending)

    def most(self) -> int | None:
        """See `Framing.most`."""
        return None

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _LineSplitter(limit, self.ending)


class _LineSplitter(Buffered):
    def __init__(self, limit: int, ending: bytes) -> None:
        super().__init__(limit)
        self._ending = ending
        self._seek = 0

    def _cut(self) -> bytes | None:
        end = self._buffer.find(self._ending, self._at + self._seek)
        size = (len(self._buffer) if end < 0 else end) - self._at
        self._check(size if end >= 0 else size - len(self._ending) + 1)  # the last bytes may be of an ending
        if end < 0:
            self._seek = max(0, size - len(self._ending) + 1)
            self._need = size + 1
            return None
        packet = bytes(self._buffer[self._at : end])
        self._at, self._seek = end + len(self._ending), 0
        return packet
