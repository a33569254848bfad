"""Integers of a fixed width, and LEB128, as lengths are written in."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ...errors import BokbokError, RemoteProtocolError

__all__ = [
    "INTEGERS",
    "integer_codec",
]


def leb128(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_leb128(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        at += 1
        if not data[at - 1] & 128:
            return value, at
        shift += 7
        if shift > 63:
            raise RemoteProtocolError("a length in LEB128 of more than 9 bytes")
    return None


_FORMATS = {
    "u8": ">B", "u16-be": ">H", "u16-le": "<H", "u32-be": ">I", "u32-le": "<I", "u64-be": ">Q", "u64-le": "<Q",
}  # fmt: skip
INTEGERS = (*_FORMATS, "leb128")
"""The integers that a length may be."""


def integer_codec(
    name: str,
) -> tuple[Callable[[int], bytes], Callable[[bytes | bytearray, int], tuple[int, int] | None]]:
    """How an integer is written, and read: its value and where it ends, `None` if not all of it is there."""
    if name == "leb128":
        return leb128, read_leb128
    try:
        layout = struct.Struct(_FORMATS[name])
    except KeyError:
        raise BokbokError(f"no integer is called {name!r}; known: {', '.join(INTEGERS)}") from None
    size, unpack = layout.size, layout.unpack_from

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        return (unpack(data, at)[0], at + size) if at + size <= len(data) else None

    return layout.pack, read
