"""A length in digits before each packet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError, RemoteProtocolError
from ._counted import CountedSplitter, cannot_count, check_heads, head_of, longest_first
from ._strategy import Splitter, Write

__all__ = [
    "TextLength",
]

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
        check_heads(self.heads, self.after)
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
            raise cannot_count(f"{self.width} digits", value)
        return digits.encode("ascii")

    def writer(self) -> Write:
        """See `Framing.writer`."""
        before, ending, trailer, after, counts = self.before, self.ending, self.trailer, self.after, self.counts
        digits, heads = self._digits, longest_first(self.heads)

        def write(out: list[bytes], packet: bytes) -> None:
            first = len(head_of(packet, heads)) if heads else after
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

        return CountedSplitter(
            limit, head, after=self.after, heads=self.heads, counts=self.counts, own=self.own, trailer=self.trailer
        )
