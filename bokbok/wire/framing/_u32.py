"""The default's framing: a u32 big-endian, then as many bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ...errors import RemoteProtocolError

__all__ = [
    "LengthPrefix",
]

from ._strategy import Splitter


@dataclass(frozen=True)
class LengthPrefix:
    """`inferred-1`: `length: u32 big-endian || bytes`."""

    strategy: ClassVar[str] = "u32-be"
    name: str = "u32-be"

    def writer(self) -> Callable[[list[bytes], bytes], None]:
        """See `Framing.writer`."""
        return self.write

    def head(self) -> Callable[[int], bytes]:
        """What makes of a packet's size all that this framing adds to it: bytes in front."""
        return _pack_u32

    def most(self) -> int | None:
        """See `Framing.most`."""
        return 0xFFFFFFFF

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        out.append(_pack_u32(len(packet)))
        out.append(packet)

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _LengthSplitter(limit)


_pack_u32 = struct.Struct(">I").pack
_unpack_u32 = struct.Struct(">I").unpack_from
_HEADER = 4


class _LengthSplitter:
    """Keeps a chunk as it came and walks through it: a packet costs one slice, however many there are in a chunk.

    Only the tail of a chunk that ends inside a packet is copied, into `_parts`, joined once when the packet is whole.
    """

    __slots__ = ("_chunk", "_offset", "_parts", "_parts_size", "_want", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._chunk = b""
        self._offset = 0
        # The beginning of a packet whose end has not come, and how many bytes it needs in all (at first: a header).
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._want = _HEADER

    def feed(self, data: bytes) -> None:
        rest = len(self._chunk) - self._offset
        if rest:  # fed again before everything was taken: only while a hello waits for its key
            data = self._chunk[self._offset :] + data
        self._chunk = data
        self._offset = 0

    def next(self) -> bytes | None:
        if self._parts_size:
            return self._next_from_parts()
        chunk, offset = self._chunk, self._offset
        start = offset + _HEADER
        if start <= len(chunk):
            length: int = _unpack_u32(chunk, offset)[0]
            if length > self.limit:
                raise self._too_long(length)
            end = start + length
            if end <= len(chunk):
                self._offset = end
                return chunk[start:end]
            self._want = _HEADER + length
        elif offset == len(chunk):
            return None
        else:
            self._want = _HEADER
        self._parts.append(chunk[offset:])
        self._parts_size = len(chunk) - offset
        self._chunk, self._offset = b"", 0
        return None

    def _next_from_parts(self) -> bytes | None:
        while True:
            if not self._take(self._want - self._parts_size):
                return None
            whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            if self._want > _HEADER or not _unpack_u32(whole)[0]:
                self._parts, self._parts_size, self._want = [], 0, _HEADER
                return whole[_HEADER:]
            length: int = _unpack_u32(whole)[0]
            if length > self.limit:
                raise self._too_long(length)
            self._parts, self._want = [whole], _HEADER + length

    def _take(self, missing: int) -> bool:
        """Move up to `missing` bytes from the chunk to the parts; true if nothing is missing any more."""
        piece = self._chunk[self._offset : self._offset + missing]
        if piece:
            self._parts.append(piece)
            self._parts_size += len(piece)
            self._offset += len(piece)
        return len(piece) == missing

    def _too_long(self, length: int) -> RemoteProtocolError:
        return RemoteProtocolError(f"a packet of {length} bytes is announced, over the limit of {self.limit} bytes")

    def pending(self) -> str | None:
        if self._parts_size:
            if self._want > _HEADER:
                return f"{self._parts_size - _HEADER} of a packet's {self._want - _HEADER} bytes"
            return f"{self._parts_size} of a length's {_HEADER} bytes"
        rest = len(self._chunk) - self._offset
        return f"{rest} bytes that were not looked at" if rest else None

    def rest(self) -> bytes:
        data = b"".join(self._parts) + self._chunk[self._offset :]
        self._parts, self._parts_size, self._want, self._chunk, self._offset = [], 0, _HEADER, b"", 0
        return data
