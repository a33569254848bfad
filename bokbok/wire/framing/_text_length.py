"""A length in digits before each packet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ...errors import ProfileError
from .._foreign import foreign
from .._integers import Read
from ..strategy import Choice, Integer, key
from ._counted import CountedFraming, cannot_count

__all__ = ["TextLength"]

_MOST_DIGITS = 20
"""Digits of a length: a u64 has as many."""


@dataclass(frozen=True)
class TextLength(CountedFraming):
    """A length in digits before each packet: netstrings, a line, a datum that announces the count.

    Attributes:
        base: 10 or 16.
        before: bytes before the digits.
        ending: bytes behind the digits.
        width: digits that are always there, with zeros in front; 0 for as many as are needed.
        upper: whether hexadecimal digits from ten up are capitals.

    The others are those of `CountedFraming`: `own` (the length counts `before`, the digits and `ending` too), `counts`,
    `after`, `trailer`, `heads`.
    """

    strategy: ClassVar[str] = "text-length"
    base: int = key(10, Choice(10, 16), always=True)
    before: bytes = b""
    ending: bytes = key(b"\n", always=True)
    width: int = key(0, Integer(0, _MOST_DIGITS))
    upper: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ending and not self.width:
            raise ProfileError("ending is empty and width is 0: expected an ending, or digits of a fixed width")

    def words(self) -> str:
        """See `Strategy.words`."""
        base = "decimal" if self.base == 10 else "hexadecimal"
        width = f" of {self.width} digits" if self.width else ""
        end = f", then {self.ending!r}" if self.ending else ""
        return f"{base} length{width} behind {self.before!r}{end}{self._around()}"

    def _digits(self, value: int) -> bytes:
        kind = "d" if self.base == 10 else "X" if self.upper else "x"
        digits = format(value, f"0{self.width}{kind}" if self.width else kind)
        if self.width and len(digits) > self.width:
            raise cannot_count(f"{self.width} digits", value)
        return digits.encode("ascii")

    def _length_of(self) -> Callable[[int], bytes]:
        before, ending, digits = self.before, self.ending, self._digits

        def length_of(size: int) -> bytes:
            count = self._counted(size)
            text = digits(count)
            if self.own:
                fixed = len(before) + len(ending)
                width = len(text)
                while len(digits(count + fixed + width)) > width:
                    width += 1
                text = digits(count + fixed + width)
            return before + text + ending

        return length_of

    def most(self) -> int | None:
        """See `Framing.most`."""
        if not self.width:
            return None
        return int(self.base**self.width) - 1 - self.counts - self.width

    def _reader(self) -> Read:
        before, ending, base = self.before, self.ending, self.base
        digit = b"0-9" if base == 10 else (b"0-9A-F" if self.upper else b"0-9a-f")
        number = b"{%d}" % self.width if self.width else b"{1,%d}" % _MOST_DIGITS
        whole = re.compile(re.escape(before) + b"([" + digit + b"]" + number + b")" + re.escape(ending)).match
        longest = len(before) + (self.width or _MOST_DIGITS) + len(ending)
        shape = f"{before.decode('latin-1')}DIGITS{ending.decode('latin-1')}"

        def read(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
            found = whole(data, at)
            if found is None:
                start = bytes(data[at : at + longest])
                if len(start) == longest or not start.startswith(before[: len(start)]):
                    raise foreign(f"{start[:16]!r} in the place of a length; expected {shape!r}")
                return None
            return int(found[1], base), found.end()

        return read
