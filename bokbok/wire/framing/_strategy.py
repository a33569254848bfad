"""What a framing is, and what its receiving side is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...errors import RemoteProtocolError

__all__ = [
    "Buffered",
    "Framing",
    "Splitter",
    "Write",
]


class Splitter(Protocol):
    """Receiving side of a framing: takes bytes as they come, gives packets one at a time.

    Attributes:
        limit: bytes of the longest packet that is taken. May be changed between two calls of `next`: before a
            hello has opened it is what the hello needs.
    """

    limit: int

    def feed(self, data: bytes) -> None:
        """Take bytes from the transport."""

    def next(self) -> bytes | None:
        """The next whole packet, or `None` until more bytes come.

        Raises:
            RemoteProtocolError: what is there cannot be the start of a packet, or announces one over the limit.
        """

    def pending(self) -> str | None:
        """What an end of file would cut off now, in words; `None` between two packets."""

    def rest(self) -> bytes:
        """The bytes that were fed and belong to no packet yet, and are given up: another framing goes on with them."""


class Framing(Protocol):
    """Strategy: how packets are told apart."""

    @property
    def name(self) -> str:
        """How a profile file calls it."""

    def write(self, out: list[bytes], packet: bytes) -> None:
        """Append to `out` the pieces that carry `packet`, whatever came before it."""

    def writer(self) -> Callable[[list[bytes], bytes], None]:
        """The same for one direction of one connection, bound once: it may depend on what was written before."""

    def most(self) -> int | None:
        """Bytes of the longest packet that it can carry; `None` where it knows no end."""

    def splitter(self, limit: int) -> Splitter:
        """A fresh receiving side."""


Write = Callable[[list[bytes], bytes], None]


class Buffered:
    """Splitter over one buffer; subclasses find the next packet in it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._at = 0
        self._need = 1  # bytes from `_at` without which it is not worth looking again

    def feed(self, data: bytes) -> None:
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next(self) -> bytes | None:
        if len(self._buffer) - self._at < self._need:
            return None
        self._need = 1
        return self._cut()

    def _cut(self) -> bytes | None:
        raise NotImplementedError

    def pending(self) -> str | None:
        rest = len(self._buffer) - self._at
        return f"{rest} bytes of a packet" if rest else None

    def rest(self) -> bytes:
        data = bytes(self._buffer[self._at :])
        self._buffer, self._at, self._need = bytearray(), 0, 1
        return data

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise RemoteProtocolError(f"a packet of {length} bytes is announced, over the limit of {self.limit} bytes")
