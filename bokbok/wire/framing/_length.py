"""A binary length before each packet."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError
from ._counted import CountedSplitter, cannot_count, check_heads, head_of, longest_first
from ._integers import integer_codec
from ._strategy import Splitter, Write
from ._u32 import LengthPrefix

__all__ = [
    "IntegerLength",
]


@dataclass(frozen=True)
class IntegerLength:
    """A binary length before each packet.

    Attributes:
        integer: one of `INTEGERS`.
        own: whether it counts itself too.
        counts: what else it counts beyond the bytes that follow it in the packet; below 0 for bytes that it leaves out.
        after: how many of a packet's first bytes (a type, a nonce) stand before the length; it does not count them
            unless `counts` says so.
        trailer: bytes behind each packet.
        heads: as `after`, where what stands before the length is of no fixed size: each packet begins with one of
            these.
    """

    strategy: ClassVar[str] = "length"
    integer: str = "u32-be"
    own: bool = False
    counts: int = 0
    after: int = 0
    trailer: bytes = b""
    heads: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        integer_codec(self.integer)
        check_heads(self.heads, self.after)

    @property
    def name(self) -> str:
        """How it is called."""
        return self.integer

    def _is_default(self) -> bool:
        return self == IntegerLength()

    def writer(self) -> Write:
        """See `Framing.writer`."""
        if self._is_default():
            return LengthPrefix().write
        pack, after, own, counts, trailer = (
            integer_codec(self.integer)[0],
            self.after,
            self.own,
            self.counts,
            self.trailer,
        )

        def length_of(size: int) -> bytes:
            count = size + counts
            if count < 0:
                raise BokbokError(f"a packet of {size} bytes is shorter than the {-counts} that its length leaves out")
            try:
                if not own:
                    return pack(count)
                width = len(pack(count))
                while len(pack(count + width)) > width:
                    width += 1
                return pack(count + width)
            except struct.error:
                raise cannot_count(self.integer, size) from None

        heads = longest_first(self.heads)

        def write(out: list[bytes], packet: bytes) -> None:
            before = len(head_of(packet, heads)) if heads else after
            length = length_of(len(packet) - before)
            if before:
                out += (packet[:before], length, packet[before:])
            else:
                out += (length, packet)
            if trailer:
                out.append(trailer)

        return write

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        self.writer()(out, packet)

    def most(self) -> int | None:
        """See `Framing.most`."""
        if self.integer == "leb128":
            return None
        bits = int(self.integer[1:].split("-")[0])
        before = min(map(len, self.heads)) if self.heads else self.after
        return (1 << bits) - 1 - self.counts - (bits // 8 if self.own else 0) + before

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        if self._is_default():
            return LengthPrefix().splitter(limit)
        read = integer_codec(self.integer)[1]
        return CountedSplitter(
            limit, read, after=self.after, heads=self.heads, counts=self.counts, own=self.own, trailer=self.trailer
        )
