"""Integers of a fixed width, and LEB128, as lengths are written in."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

from ._foreign import foreign

__all__ = ["FIXED", "INTEGERS", "Read", "integer_codec", "layout_of"]


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_leb128(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        at += 1
        if not data[at - 1] & 128:
            return value, at
        shift += 7
        if shift > 63:
            raise foreign("a length in LEB128 has more than 9 bytes; expected 9 at most")
    return None


_FORMATS = {
    "u8": ">B", "u16-be": ">H", "u16-le": "<H", "u32-be": ">I", "u32-le": "<I", "u64-be": ">Q", "u64-le": "<Q",
}  # fmt: skip
FIXED = tuple(_FORMATS)
"""The integers of a fixed width."""
INTEGERS = (*FIXED, "leb128")
"""The integers that a length may be."""


Read = Callable[[bytes | bytearray, int], tuple[int, int] | None]
"""Reads an integer at an offset: its value and where it ends, `None` if not all of it is there."""


@functools.cache
def layout_of(name: str) -> struct.Struct:
    """How an integer of a fixed width is laid out."""
    return struct.Struct(_FORMATS[name])


def integer_codec(name: str) -> tuple[Callable[[int], bytes], Read]:
    """How one of `INTEGERS` is written (`struct.error` for one that is too large), and read."""
    if name == "leb128":
        return _leb128, _read_leb128
    layout = layout_of(name)
    size, unpack = layout.size, layout.unpack_from

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        return (unpack(data, at)[0], at + size) if at + size <= len(data) else None

    return layout.pack, read
