"""A binary length before each packet."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .._integers import FIXED, INTEGERS, Read, integer_codec, layout_of
from ..strategy import Choice, key
from ._counted import CountedFraming, cannot_count
from ._fixed import FixedSplitter
from ._strategy import Head, Splitter, Write

__all__ = ["IntegerLength"]


@dataclass(frozen=True)
class IntegerLength(CountedFraming):
    """A binary length before each packet; by default that of `inferred-1`, a u32 big-endian.

    Attributes:
        integer: one of `INTEGERS`.

    The others are those of `CountedFraming`: `own`, `counts`, `after`, `trailer`, `heads`.
    """

    strategy: ClassVar[str] = "length"
    integer: str = key("u32-be", Choice(*INTEGERS), always=True)

    def words(self) -> str:
        """See `Strategy.words`."""
        return self.integer + self._around()

    @functools.cached_property
    def _is_plain(self) -> bool:
        """Whether each packet is a length of a fixed width and as many bytes."""
        return self == IntegerLength(integer=self.integer) and self.integer in FIXED

    def _reader(self) -> Read:
        return integer_codec(self.integer)[1]

    def _length_of(self) -> Callable[[int], bytes]:
        if self._is_plain and layout_of(self.integer).size >= 4:
            # One call for each packet, and no check: what does not fit into a u32 is over every limit.
            return layout_of(self.integer).pack
        pack, own = integer_codec(self.integer)[0], self.own

        def length_of(size: int) -> bytes:
            count = self._counted(size)
            try:
                if not own:
                    return pack(count)
                width = len(pack(count))
                while len(pack(count + width)) > width:
                    width += 1
                return pack(count + width)
            except struct.error:
                raise cannot_count(self.integer, size) from None

        return length_of

    def head(self) -> Head | None:
        """See `Framing.head`."""
        return None if self.after or self.heads or self.trailer else self._length_of()

    def writer(self) -> Write:
        """See `Framing.writer`."""
        return self._writer if self._writer is not None else super().writer()

    @functools.cached_property
    def _writer(self) -> Write | None:
        head = self.head()  # of what it writes nothing is kept, so all connections share it
        if head is None:
            return None

        # Two appends, and no question that this framing has answered: the plain version is `CountedFraming.writer`.
        def write(out: list[bytes], packet: bytes) -> None:
            out.append(head(len(packet)))
            out.append(packet)

        return write

    @functools.cached_property
    def _most(self) -> int | None:
        if self.integer not in FIXED:
            return None
        width = layout_of(self.integer).size
        before = min(map(len, self.heads)) if self.heads else self.after
        return (1 << 8 * width) - 1 - self.counts - (width if self.own else 0) + before

    def most(self) -> int | None:
        """See `Framing.most`."""
        return self._most

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return FixedSplitter(limit, layout_of(self.integer)) if self._is_plain else super().splitter(limit)
