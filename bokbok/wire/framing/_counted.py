"""What the framings with a length before each packet share: how it is counted and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import BokbokError, ProfileError
from .._foreign import foreign
from .._integers import Read
from ..strategy import Bytes, Integer, Several, Span, key
from ._strategy import Buffered, Framing, Splitter, Write, too_long

__all__ = ["CountedFraming", "CountedSplitter", "cannot_count"]

_MOST = 1 << 31
"""How many bytes a length may count more, or fewer, than the packet has."""


def cannot_count(what: str, size: int) -> BokbokError:
    """What a writer raises for a packet that is too long for its length."""
    return BokbokError(f"a packet of {size} bytes is longer than a length in {what} can say")


@dataclass(frozen=True, kw_only=True)
class CountedFraming(Framing):
    """Base of the framings with a length before each packet.

    Attributes:
        own: whether the length counts its own bytes too.
        counts: what else it counts beyond the bytes that follow it in the packet; below 0 for bytes that it leaves out.
        after: how many of a packet's first bytes (a type, a nonce) stand before the length; it does not count them
            unless `counts` says so.
        trailer: bytes behind each packet (a netstring's comma).
        heads: as `after`, where what stands before the length is of no fixed size: each packet begins with one of
            these.
    """

    own: bool = key(False, always=True)
    counts: int = key(0, Integer(-_MOST, _MOST))
    after: int = key(0, Integer(0, 65_536))
    trailer: bytes = b""
    heads: tuple[bytes, ...] = key((), Several(Bytes(least=1), most=255))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads and self.after:
            raise ProfileError("heads and after both say what stands before a length; expected one of them")

    def _reader(self) -> Read:
        """Reads a length: what it counts, and where it ends."""
        raise NotImplementedError

    def _length_of(self) -> Callable[[int], bytes]:
        """Writes the length for so many bytes that follow it."""
        raise NotImplementedError

    def _counted(self, size: int) -> int:
        count = size + self.counts
        if count < 0:
            raise BokbokError(f"a packet of {size} bytes is shorter than the {-self.counts} that its length leaves out")
        return count

    def writer(self) -> Write:
        """See `Framing.writer`."""
        length_of, after, trailer, heads = self._length_of(), self.after, self.trailer, _longest_first(self.heads)

        def write(out: list[bytes], packet: bytes) -> None:
            before = len(_head_of(packet, heads)) if heads else after
            length = length_of(len(packet) - before)
            if before:
                out += (packet[:before], length, packet[before:])
            else:
                out += (length, packet)
            if trailer:
                out.append(trailer)

        return write

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return CountedSplitter(limit, self._reader(), self)

    def spans(self, data: bytes) -> list[Span]:
        """See `Framing.spans`."""
        before = len(_head_of(data, _longest_first(self.heads))) if self.heads else self.after
        found = self._reader()(data, before)
        assert found is not None
        end = len(data) - len(self.trailer)
        spans = [
            Span("packet", 0, before), Span("length", before, found[1]),
            Span("packet", found[1], end), Span("trailer", end, len(data)),
        ]  # fmt: skip
        return [span for span in spans if span.start < span.end or span == spans[2]]

    def _around(self) -> str:
        """In words: what stands around the length and the packet."""
        parts = []
        if self.own:
            parts.append("that counts itself too")
        if self.counts:
            parts.append(f"and {self.counts:+d} bytes")
        if self.after:
            parts.append(f"behind {self.after} byte{'s' * (self.after > 1)} of type")
        if self.heads:
            parts.append(f"behind a type: {', '.join(map(repr, self.heads))}")
        text = "".join(f" {part}" for part in parts)
        return f"{text}, {self.trailer!r} behind each packet" if self.trailer else text


class CountedSplitter(Buffered):
    """Receiving side of every framing with a length before each packet."""

    def __init__(self, limit: int, read: Read, framing: CountedFraming) -> None:
        super().__init__(limit)
        self._read = read
        self._after, self._counts, self._own = framing.after, framing.counts, framing.own
        self._trailer, self._heads = framing.trailer, _longest_first(framing.heads)

    def _cut(self) -> bytes | None:
        buffer, at, after = self._buffer, self._at, self._after
        if self._heads:
            there = bytes(buffer[at : at + len(self._heads[0])])
            if len(there) < len(self._heads[0]) and any(one.startswith(there) for one in self._heads):
                self._wait()
                return None
            after = len(_head_of(there, self._heads))
        found = self._read(buffer, at + after)
        if found is None:
            self._wait()
            return None
        counted, start = found
        size = counted - self._counts - (start - at - after if self._own else 0)
        if size < 0:
            raise foreign(f"a length says {counted}; expected {counted - size} or more, which it always counts")
        if size + after > self.limit:
            raise too_long(size + after, self.limit)
        end = start + size
        if len(buffer) < end + len(self._trailer):
            self._need = end + len(self._trailer) - at
            return None
        if self._trailer and buffer[end : end + len(self._trailer)] != self._trailer:
            raise foreign(
                f"{bytes(buffer[end : end + len(self._trailer)])!r} behind a packet of {size} bytes; expected "
                f"{self._trailer!r}"
            )
        self._at = end + len(self._trailer)
        packet = bytes(buffer[start:end])
        return bytes(buffer[at : at + after]) + packet if after else packet

    def _wait(self) -> None:
        self._need = len(self._buffer) - self._at + 1


def _longest_first(heads: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted(heads, key=len, reverse=True))


def _head_of(data: bytes, heads: tuple[bytes, ...]) -> bytes:
    """The one of them, the longest first, that some bytes begin with."""
    for head in heads:
        if data.startswith(head):
            return head
    expected = " or ".join(map(repr, heads))
    raise foreign(f"a packet begins with {data[:24]!r}; expected {expected} before the length")
