"""Other framings than the default's: lengths of every kind, lines, datums, one after another.

What this module knows: how a stream can be cut into packets. What it refuses to know: what a packet holds. All of
these are for profiles of peers that differ from `inferred-1`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..errors import BokbokError, ReadError, RemoteProtocolError
from ..sexpr import CHICKEN_4
from ..sexpr.machine import NEED_MORE, NO_DATUM, Machine
from .framing import LengthPrefix, Splitter

__all__ = ["INTEGERS", "Datums", "IntegerLength", "Lines", "Preamble", "TextLength"]

Write = Callable[[list[bytes], bytes], None]
Head = tuple[int, int]
"""Where a packet's bytes begin behind its length, and how many are counted there."""


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
            raise RemoteProtocolError("a length in LEB128 of more than 9 bytes")
    return None


_FORMATS = {
    "u8": ">B", "u16-be": ">H", "u16-le": "<H", "u32-be": ">I", "u32-le": "<I", "u64-be": ">Q", "u64-le": "<Q",
}  # fmt: skip
INTEGERS = (*_FORMATS, "leb128")
"""The integers that a length may be."""


def _integer(name: str) -> tuple[Callable[[int], bytes], Callable[[bytes | bytearray, int], tuple[int, int] | None]]:
    """How an integer is written, and read: its value and where it ends, `None` if not all of it is there."""
    if name == "leb128":
        return _leb128, _read_leb128
    try:
        layout = struct.Struct(_FORMATS[name])
    except KeyError:
        raise BokbokError(f"no integer is called {name!r}; known: {', '.join(INTEGERS)}") from None
    size, unpack = layout.size, layout.unpack_from

    def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
        return (unpack(data, at)[0], at + size) if at + size <= len(data) else None

    return layout.pack, read


class _Buffered:
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


class _LengthSplitter(_Buffered):
    def __init__(
        self,
        limit: int,
        head: Callable[[bytearray, int], tuple[int, int] | None],
        *,
        after: int,
        heads: tuple[bytes, ...],
        counts: int,
        own: bool,
        trailer: bytes,
    ) -> None:
        super().__init__(limit)
        self._head, self._after, self._counts, self._own, self._trailer = head, after, counts, own, trailer
        self._heads = _longest_first(heads)

    def _cut(self) -> bytes | None:
        buffer, at, after = self._buffer, self._at, self._after
        if self._heads:
            there = bytes(buffer[at : at + len(self._heads[0])])
            if len(there) < len(self._heads[0]) and any(one.startswith(there) for one in self._heads):
                self._wait()
                return None
            after = len(_head_of(there, self._heads))
        found = self._head(buffer, at + after)
        if found is None:
            self._wait()
            return None
        counted, start = found
        size = counted - self._counts - (start - at - after if self._own else 0)
        if size < 0:
            raise RemoteProtocolError(f"a length of {counted} counts less than what it always counts")
        self._check(size + after)
        end = start + size
        if len(buffer) < end + len(self._trailer):
            self._need = end + len(self._trailer) - at
            return None
        if self._trailer and buffer[end : end + len(self._trailer)] != self._trailer:
            raise RemoteProtocolError(
                f"{bytes(buffer[end : end + len(self._trailer)])!r} behind a packet; expected {self._trailer!r}"
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
    raise RemoteProtocolError(f"a packet that begins with {data[:24]!r}; expected {expected} before the length")


def _checked_heads(heads: tuple[bytes, ...], after: int) -> None:
    if heads and after:
        raise BokbokError("either 'heads' or 'after' says what stands before a length, not both")
    if not all(heads):
        raise BokbokError("none of the heads is empty")


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
        _integer(self.integer)
        _checked_heads(self.heads, self.after)

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
        pack, after, own, counts, trailer = _integer(self.integer)[0], self.after, self.own, self.counts, self.trailer

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
                raise _cannot_count(self.integer, size) from None

        heads = _longest_first(self.heads)

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
        read = _integer(self.integer)[1]
        return _LengthSplitter(
            limit, read, after=self.after, heads=self.heads, counts=self.counts, own=self.own, trailer=self.trailer
        )


def _cannot_count(what: str, size: int) -> BokbokError:
    return BokbokError(f"a packet of {size} bytes is longer than a length in {what} can say")


_MOST_DIGITS = 20


@dataclass(frozen=True)
class TextLength:
    """A length in digits before each packet: netstrings, a line, a datum that announces the count.

    Attributes:
        base: 10 or 16.
        before: bytes before the digits.
        ending: bytes behind the digits.
        width: digits that are always there, with zeros in front; 0 for as many as are needed.
        upper: whether hexadecimal digits from ten up are capitals.
        own: whether the length counts its own bytes too: `before`, the digits and `ending`.
        counts: what else it counts.
        trailer: bytes behind each packet (a netstring's comma).
        after: how many of a packet's first bytes stand before all this.
        heads: as `after`, where that is of no fixed size: each packet begins with one of these.
    """

    strategy: ClassVar[str] = "text-length"
    base: int = 10
    before: bytes = b""
    ending: bytes = b"\n"
    width: int = 0
    upper: bool = False
    own: bool = False
    counts: int = 0
    trailer: bytes = b""
    after: int = 0
    heads: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        _checked_heads(self.heads, self.after)
        if self.base not in (10, 16):
            raise BokbokError(f"a length is in base 10 or 16, not {self.base}")
        if not self.ending and not self.width:
            raise BokbokError("digits without an ending need a width")

    @property
    def name(self) -> str:
        """How it is called."""
        return "decimal-length" if self.base == 10 else "hex-length"

    def _digits(self, value: int) -> bytes:
        kind = "d" if self.base == 10 else "X" if self.upper else "x"
        digits = format(value, f"0{self.width}{kind}" if self.width else kind)
        if self.width and len(digits) > self.width:
            raise _cannot_count(f"{self.width} digits", value)
        return digits.encode("ascii")

    def writer(self) -> Write:
        """See `Framing.writer`."""
        before, ending, trailer, after, counts = self.before, self.ending, self.trailer, self.after, self.counts
        digits, heads = self._digits, _longest_first(self.heads)

        def write(out: list[bytes], packet: bytes) -> None:
            first = len(_head_of(packet, heads)) if heads else after
            count = len(packet) - first + counts
            if count < 0:
                raise BokbokError(
                    f"a packet of {count - counts} bytes is shorter than the {-counts} that its length leaves out"
                )
            text = digits(count)
            if self.own:
                fixed = len(before) + len(ending)
                size = len(text)
                while len(digits(count + fixed + size)) > size:
                    size += 1
                text = digits(count + fixed + size)
            if first:
                out += (packet[:first], before, text, ending, packet[first:], trailer)
            else:
                out += (before, text, ending, packet, trailer)

        return write

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        self.writer()(out, packet)

    def most(self) -> int | None:
        """See `Framing.most`."""
        if not self.width:
            return None
        most = int(self.base**self.width)
        return most - 1 - self.counts - self.width

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        before, ending, base = self.before, self.ending, self.base
        digit = b"0-9" if base == 10 else (b"0-9A-F" if self.upper else b"0-9a-f")
        number = b"{%d}" % self.width if self.width else b"{1,%d}" % _MOST_DIGITS
        whole = re.compile(re.escape(before) + b"([" + digit + b"]" + number + b")" + re.escape(ending)).match
        longest = len(before) + (self.width or _MOST_DIGITS) + len(ending)
        shape = f"{before.decode('latin-1')}DIGITS{ending.decode('latin-1')}"

        def head(data: bytearray, at: int) -> tuple[int, int] | None:
            found = whole(data, at)
            if found is None:
                start = bytes(data[at : at + longest])
                if len(start) == longest or not start.startswith(before[: len(start)]):
                    raise RemoteProtocolError(f"{start[:16]!r} is no length; expected {shape!r}")
                return None
            return int(found[1], base), found.end()

        return _LengthSplitter(
            limit, head, after=self.after, heads=self.heads, counts=self.counts, own=self.own, trailer=self.trailer
        )


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


class _LineSplitter(_Buffered):
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


@dataclass(frozen=True)
class Datums:
    """No framing: a packet is one datum (or several) as `write` prints it; the reader finds its end.

    Attributes:
        separator: what stands between two packets: white space, or nothing.
        place: `after` each packet, or only `between` two.
        count: how many datums make a packet.
    """

    strategy: ClassVar[str] = "datums"
    separator: bytes = b"\n"
    place: str = "after"
    count: int = 1

    def __post_init__(self) -> None:
        if self.separator.strip():
            raise BokbokError(f"datums are separated by white space, not by {self.separator!r}")
        if self.place not in ("after", "between"):
            raise BokbokError(f"the separator's place is 'after' or 'between', not {self.place!r}")

    @property
    def name(self) -> str:
        """How it is called."""
        return "datums"

    def writer(self) -> Write:
        """See `Framing.writer`."""
        if self.place == "after":
            return self.write
        first = True

        def write(out: list[bytes], packet: bytes) -> None:
            nonlocal first
            if not first:
                out.append(self.separator)
            first = False
            out.append(packet)

        return write

    def write(self, out: list[bytes], packet: bytes) -> None:
        """See `Framing.write`."""
        out += (packet, self.separator)

    def most(self) -> int | None:
        """See `Framing.most`."""
        return None

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _DatumSplitter(limit, self.count)


_SPACE = re.compile(rb"[ \t\n\v\f\r]*")
_DEPTH = 1_000_000  # the codec behind has the limit that counts


class _DatumSplitter:
    """Cuts where CHICKEN's reader would stop. A symbol or number is whole only with a byte behind it."""

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self._count = count
        self._left = count
        self._machine = Machine(CHICKEN_4, _DEPTH)
        self._buffer = b""  # from the beginning of the packet that is being read
        self._at = 0  # how far the machine has read in it
        self._waiting = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> bytes | None:
        machine = self._machine
        while True:
            if self._at == 0:
                space = _SPACE.match(self._buffer)
                assert space is not None
                if space.end():
                    self._buffer = self._buffer[space.end() :]
            if not self._buffer:
                return None
            if self._waiting:
                if machine.ending.find(self._buffer) < 0:
                    self._check()
                    return None
                self._waiting = False
            try:
                value = machine.run(self._buffer, self._at, False)
            except ReadError as error:
                raise RemoteProtocolError(f"no datum: {error.problem}") from None
            self._at = machine.position
            if value is NEED_MORE:
                self._waiting = True
                self._check()
                return None
            if value is NO_DATUM:
                self._check()
                return None
            self._left -= 1
            if not self._left:
                packet, self._buffer = self._buffer[: self._at], self._buffer[self._at :]
                self._at, self._left = 0, self._count
                if len(packet) > self.limit:
                    raise self._too_long(len(packet))
                return packet

    def _check(self) -> None:
        if len(self._buffer) > self.limit:
            raise self._too_long(len(self._buffer))

    def _too_long(self, length: int) -> RemoteProtocolError:
        return RemoteProtocolError(f"a datum of {length} bytes or more, over the limit of {self.limit} bytes")

    def pending(self) -> str | None:
        rest = self._buffer.strip(b" \t\n\v\f\r")
        return f"{len(rest)} bytes of a datum" if rest else None

    def rest(self) -> bytes:
        data, self._buffer, self._at, self._waiting = self._buffer, b"", 0, False
        return data


class Preamble:
    """Takes the bytes before the first packet of a connection, then leaves the rest to a framing's splitter.

    Args:
        expected: those bytes.
        inner: what goes on; `None` where no packet of the hello's follows: then `next` returns `expected` once.
    """

    def __init__(self, expected: bytes, inner: Splitter | None = None) -> None:
        self._expected = expected
        self._inner = inner
        self._buffer: bytes | None = b""

    @property
    def limit(self) -> int:
        """See `Splitter.limit`."""
        return self._inner.limit if self._inner is not None else len(self._expected)

    @limit.setter
    def limit(self, limit: int) -> None:
        if self._inner is not None:
            self._inner.limit = limit

    def feed(self, data: bytes) -> None:
        """See `Splitter.feed`."""
        if self._buffer is None and self._inner is not None:
            self._inner.feed(data)
        else:
            self._buffer = (self._buffer or b"") + data

    def next(self) -> bytes | None:
        """See `Splitter.next`."""
        if self._buffer is not None:
            start = self._buffer[: len(self._expected)]
            if not self._expected.startswith(start):
                raise RemoteProtocolError(f"the connection begins with {start!r}; expected {self._expected!r}")
            if len(start) < len(self._expected):
                return None
            rest, self._buffer = self._buffer[len(start) :], None
            if self._inner is None:
                self._buffer = rest
                return self._expected
            self._inner.feed(rest)
        return self._inner.next() if self._inner is not None else None

    def pending(self) -> str | None:
        """See `Splitter.pending`."""
        if self._buffer:
            return f"{len(self._buffer)} bytes before the first packet"
        return self._inner.pending() if self._inner is not None else None

    def rest(self) -> bytes:
        """See `Splitter.rest`."""
        data = self._buffer or b""
        self._buffer = b""
        return data + (self._inner.rest() if self._inner is not None else b"")
