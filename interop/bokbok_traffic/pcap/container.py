"""The containers of packet captures, pcap and pcapng: bytes in, frames out.

It takes the file in pieces of any size and holds at most one frame. Formats: draft-ietf-opsawg-pcap and
draft-ietf-opsawg-pcapng. (`dpkt` and `scapy` also read both, but from a file object that blocks, and they read as many
bytes at once as the file says.)
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..capture import CaptureError

__all__ = ["Container", "Frame", "is_pcap"]

_MAGIC = {b"\xa1\xb2\xc3\xd4": (">", 1e-6), b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
          b"\xa1\xb2\x3c\x4d": (">", 1e-9), b"\x4d\x3c\xb2\xa1": ("<", 1e-9)}  # fmt: skip
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

LONGEST_FRAME = 1 << 24
"""The most bytes of a frame, far beyond what libpcap captures (256 KiB): a larger number is not a length."""
_MOST_INTERFACES = 4096

_INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6


class Frame(NamedTuple):
    """The captured part of one frame.

    Attributes:
        t: seconds; 0 if the file does not have a time.
        link: the link type of its interface.
        data: the bytes that were kept.
        size: how many bytes the frame had.
    """

    t: float
    link: int
    data: bytes
    size: int


@dataclass(frozen=True)
class _Interface:
    link: int
    longest: int
    unit: float
    offset: int


def is_pcap(head: bytes) -> bool:
    """Whether a file with this beginning is a packet capture."""
    return head[:4] in _MAGIC or head[:4] == _SECTION


class Container:
    """Takes a packet capture apart.

    Args:
        skipped: counts what is not used, by kind.
    """

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped
        self._buffer = bytearray()
        self._at = 0  # of the buffer, in the file
        self._passing = 0  # bytes that are still to come of an unused block
        self._order = ""
        self._unit = 1e-6
        self._link = 0
        self._interfaces: list[_Interface] = []
        self._step: Callable[[], Frame | None] = self._begin

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the next bytes of the file.

        Raises:
            CaptureError: they are not those of a packet capture.
        """
        self._buffer += data
        while True:
            passed = min(self._passing, len(self._buffer))
            self._passing -= passed
            self._drop(passed)
            if self._passing:
                return
            before = self._at, self._step
            frame = self._step()
            if frame is not None:
                yield frame
            elif before == (self._at, self._step) and not self._passing:
                return  # more is needed

    def finish(self) -> None:
        """The file has ended.

        Raises:
            CaptureError: before its header was whole.
        """
        if self._step == self._begin:
            raise self._wrong("a header of 24 bytes", f"{self._at + len(self._buffer)} bytes", 0)
        if self._buffer or self._passing:
            self._skipped["frame that is cut off by the end of the file"] += 1

    def _wrong(self, expected: str, found: str, at: int | None = None) -> CaptureError:
        place = self._at if at is None else at
        return CaptureError(f"packet capture, byte {place} of the file: expected {expected}, found {found}")

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._at += count

    def _begin(self) -> Frame | None:
        """Find out the format from the first bytes of the file."""
        head = bytes(self._buffer[:4])
        if len(head) < 4:
            return None
        if head == _SECTION:
            self._step = self._block
        elif head not in _MAGIC:
            raise self._wrong("the first bytes of a pcap or pcapng file", head.hex(" "))
        elif len(self._buffer) >= 24:
            self._order, self._unit = _MAGIC[head]
            self._link = struct.unpack_from(self._order + "I", self._buffer, 20)[0] & 0xFFFF
            self._drop(24)
            self._step = self._record
        return None

    def _record(self) -> Frame | None:
        """A frame of a pcap file."""
        if len(self._buffer) < 16:
            return None
        seconds, fraction, kept, size = struct.unpack_from(self._order + "IIII", self._buffer)
        if kept > LONGEST_FRAME:
            raise self._wrong(f"the length of a frame (at most {LONGEST_FRAME})", str(kept), self._at + 8)
        if len(self._buffer) < 16 + kept:
            return None
        frame = Frame(seconds + fraction * self._unit, self._link, bytes(self._buffer[16 : 16 + kept]), size)
        self._drop(16 + kept)
        return frame

    def _block(self) -> Frame | None:
        """A block of a pcapng file. Returns its frame, if it has one."""
        if len(self._buffer) < 12:
            return None
        if self._buffer[:4] == _SECTION:
            order = _ORDERS.get(bytes(self._buffer[8:12]))
            if order is None:
                raise self._wrong("a byte-order magic", self._buffer[8:12].hex(" "), self._at + 8)
            self._order = order
            self._interfaces.clear()
        kind, size = struct.unpack_from(self._order + "II", self._buffer)
        if size < 12 or size % 4:
            raise self._wrong("the length of a block (12 or more, a multiple of 4)", str(size), self._at + 4)
        if kind not in (_INTERFACE, _PACKET, _SIMPLE, _ENHANCED):
            self._passing = size
            return None
        if size > LONGEST_FRAME:
            raise self._wrong(f"the length of a block (at most {LONGEST_FRAME})", str(size), self._at + 4)
        if len(self._buffer) < size:
            return None
        again = struct.unpack_from(self._order + "I", self._buffer, size - 4)[0]
        if again != size:
            raise self._wrong(f"the block's length again, {size}", str(again), self._at + size - 4)
        body = bytes(self._buffer[8 : size - 4])
        frame = None
        if kind == _INTERFACE:
            self._interface(body)
        else:
            frame = self._packet(kind, body)
        self._drop(size)
        return frame

    def _interface(self, body: bytes) -> None:
        if len(body) < 8:
            raise self._wrong("an interface of 8 bytes or more", f"{len(body)} bytes")
        if len(self._interfaces) == _MOST_INTERFACES:
            raise self._wrong(f"at most {_MOST_INTERFACES} interfaces", "more")
        link, longest = struct.unpack_from(self._order + "H2xI", body)
        unit, offset = _time_of(body[8:], self._order)
        self._interfaces.append(_Interface(link, longest, unit, offset))

    def _packet(self, kind: int, body: bytes) -> Frame | None:
        head = {_PACKET: 20, _SIMPLE: 4, _ENHANCED: 20}[kind]
        if len(body) < head:
            raise self._wrong(f"a packet of {head} bytes or more", f"{len(body)} bytes")
        number = drops = high = low = 0
        if kind == _SIMPLE:
            (size,) = struct.unpack_from(self._order + "I", body)
            kept = size
        elif kind == _ENHANCED:
            number, high, low, kept, size = struct.unpack_from(self._order + "IIIII", body)
        else:  # obsolete: a short number of the interface, and how many frames were dropped since the last one
            number, drops, high, low, kept, size = struct.unpack_from(self._order + "HHIIII", body)
        if drops not in (0, 0xFFFF):
            self._skipped["frame that the capture dropped"] += drops
        if number >= len(self._interfaces):
            self._skipped["frame of an interface that is not described"] += 1
            return None
        interface = self._interfaces[number]
        if kind == _SIMPLE:
            kept = min(kept, len(body) - head, interface.longest or kept)
        if kept > len(body) - head:
            raise self._wrong(f"a frame of at most {len(body) - head} bytes", str(kept))
        t = 0.0 if kind == _SIMPLE else interface.offset + (high << 32 | low) * interface.unit
        return Frame(t, interface.link, body[head : head + kept], size)


def _time_of(options: bytes, order: str) -> tuple[float, int]:
    """The unit of an interface's times in seconds, and the offset to add."""
    unit, offset = 1e-6, 0
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == 0:
            break
        if code == 9 and size == 1 and at + 4 < len(options):
            value = options[at + 4]
            unit = float(2.0 ** -(value & 127)) if value & 128 else float(10.0**-value)
        elif code == 14 and size == 8 and at + 12 <= len(options):
            offset = struct.unpack_from(order + "q", options, at + 4)[0]
        at += 4 + (size + 3) // 4 * 4
    return unit, offset
