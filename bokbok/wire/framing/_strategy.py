"""What a framing is, and what its receiving side is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from ...errors import RemoteProtocolError
from .._foreign import foreign
from ..strategy import Span, Strategy

__all__ = ["Buffered", "Framing", "Head", "PausingSplitter", "Splitter", "Write", "too_long"]

Write = Callable[[list[bytes], bytes], None]
"""Appends to the output the pieces that carry a packet."""
Head = Callable[[int], bytes]
"""What a framing puts in front of a packet of so many bytes."""


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
        """The next whole packet, or `None` until more bytes come (see `PausingSplitter` for the exception).

        Raises:
            RemoteProtocolError: what is there cannot be the start of a packet, or announces one over the limit.
        """

    def held(self) -> int:
        """How many of the bytes that were fed do not belong to a packet that `next` has returned."""

    def pending(self) -> str | None:
        """What an end of file would cut off now, in words; `None` between two packets."""

    def rest(self) -> bytes:
        """Hand over the bytes that were fed and do not belong to a packet yet: another framing goes on with them."""


class PausingSplitter(Splitter, Protocol):
    """A splitter that must read the bytes to find a packet's end, and can stop on the way.

    Attributes:
        piece: how many bytes `next` reads at a time; 0 for all there are.
        paused: whether `next` has returned `None` since it had read so many: it goes on when it is called again.
    """

    piece: int
    paused: bool


class Framing(Strategy):
    """Strategy: how packets are told apart."""

    @abstractmethod
    def writer(self) -> Write:
        """How one direction of one connection is written, bound once: it may depend on what was written before."""

    @abstractmethod
    def splitter(self, limit: int) -> Splitter:
        """A fresh receiving side, which takes packets of at most so many bytes."""

    def write(self, out: list[bytes], packet: bytes) -> None:
        """Append to `out` the pieces that carry one packet, as if it were the first."""
        self.writer()(out, packet)

    def head(self) -> Head | None:
        """A function from a packet's size to the bytes in front of it, if that is all that this framing adds; else
        `None`. With it, a packet and its head are made in one piece."""
        return None

    def most(self) -> int | None:
        """Bytes of the longest packet that it can carry; `None` if there is no limit."""
        return None

    def spans(self, data: bytes) -> list[Span]:
        """What the bytes are that carried one packet: those of the packet are called `packet`."""
        return [Span("packet", 0, len(data))]


def too_long(length: int, limit: int, *, announced: bool = True) -> RemoteProtocolError:
    """What a splitter raises for a packet that is longer than its limit.

    Args:
        length: the packet's bytes.
        limit: how many it may have.
        announced: whether a length says so; else so many have come, and more may follow.
    """
    what = f"a packet of {length} bytes is announced" if announced else f"a packet has {length} bytes or more"
    return foreign(f"{what}, over the limit of {limit} bytes")


class Buffered:
    """Splitter over one buffer; subclasses find the next packet in it.

    What was taken is dropped from the buffer's front when more is fed, and a subclass says in `_need` how much must be
    there before it is worth looking again: so each byte is moved and looked at a bounded number of times, in whatever
    pieces it comes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._at = 0
        self._need = 1  # bytes from `_at` without which it is not worth looking again

    def feed(self, data: bytes) -> None:
        """See `Splitter.feed`."""
        if self._at:
            del self._buffer[: self._at]  # moves nothing: a bytearray keeps where its bytes begin
            self._at = 0
        self._buffer += data

    def next(self) -> bytes | None:
        """See `Splitter.next`."""
        if len(self._buffer) - self._at < self._need:
            return None
        self._need = 1
        return self._cut()

    def _cut(self) -> bytes | None:
        raise NotImplementedError

    def held(self) -> int:
        """See `Splitter.held`."""
        return len(self._buffer) - self._at

    def pending(self) -> str | None:
        """See `Splitter.pending`."""
        rest = self.held()
        return f"{rest} bytes of a packet" if rest else None

    def rest(self) -> bytes:
        """See `Splitter.rest`."""
        data = bytes(self._buffer[self._at :])
        self._buffer, self._at, self._need = bytearray(), 0, 1
        return data
