"""Where things end: strings, tokens, comments, looked for in bytes that are still arriving.

What this module knows: how far each kind of token reaches, and how to go on looking where the last search left off, so
that nothing is searched twice however small the pieces are.

Each `Ending` looks for one end. `find(buffer)` returns the offset just behind the token, or -1 if the end is not there
yet; called again with a longer buffer (the same bytes and more), it goes on where it stopped. With `find(buffer, stop)`
the buffer is taken to end at `stop`: so a search through very much stops now and then.
"""

from __future__ import annotations

import sys
from typing import Final

from bokbok._later import pattern

__all__ = [
    "AnyEnd", "BlockCommentEnd", "ByteEnd", "Ending", "HereStringEnd", "LineEnd", "PlainTokenEnd", "QuotedEnd",
    "TokenEnd",
]  # fmt: skip

Buffer = bytes | bytearray

_TOKEN_STOP: Final = pattern(rb"[ \t\n\v\f\r,;()'\"\[\]{}|\\]")
_PLAIN_STOP: Final = pattern(rb"[ \t\n\v\f\r,;()'\"\[\]{}]")
_COMMENT_MARK: Final = pattern(rb"[|#]")
_BAR: Final = 0x7C
_BACKSLASH: Final = 0x5C
_NEWLINE: Final = 0x0A
EVERYTHING: Final = sys.maxsize
"""A `stop` behind everything."""


class Ending:
    """Base of the searches: `seek` is the offset from which the next search goes on."""

    __slots__ = ("seek",)

    def __init__(self, seek: int) -> None:
        self.seek = seek

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:
        """The offset just behind the token in `buffer[:stop]`, or -1 if more bytes are needed to know it."""
        raise NotImplementedError

    def shift(self, count: int) -> None:
        """Takes note that the first `count` bytes of the buffer have been dropped."""
        self.seek -= count


class AnyEnd(Ending):
    """Of something so short that any further byte is worth a new attempt."""

    __slots__ = ()

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        return min(len(buffer), stop)

    def shift(self, count: int) -> None:  # noqa: D102
        pass


class ByteEnd(Ending):
    """Of something that ends with one certain byte: `}` of a blob."""

    __slots__ = ("byte",)

    def __init__(self, seek: int, byte: bytes) -> None:
        super().__init__(seek)
        self.byte = byte

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        end = buffer.find(self.byte, self.seek, stop)
        if end >= 0:
            self.seek = end
            return end + 1
        self.seek = max(self.seek, min(len(buffer), stop))
        return -1


class LineEnd(ByteEnd):
    """Of a line: a comment from `;`."""

    __slots__ = ()

    def __init__(self, seek: int) -> None:
        super().__init__(seek, b"\n")


class QuotedEnd(Ending):
    """Of a string, or of a part of a symbol between bars: at the first quote that no backslash escapes.

    A quote is escaped if an odd number of backslashes stands right before it.
    """

    __slots__ = ("quote", "segment")

    def __init__(self, seek: int, quote: bytes) -> None:
        super().__init__(seek)
        self.quote = quote
        self.segment = seek

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        while (end := buffer.find(self.quote, self.seek, stop)) >= 0:
            self.seek = end + 1
            if end == self.segment or buffer[end - 1] != _BACKSLASH:
                return end + 1
            run = buffer[self.segment : end]
            self.segment = end + 1
            if (len(run) - len(run.rstrip(b"\\"))) % 2 == 0:
                return end + 1
        self.seek = max(self.seek, min(len(buffer), stop))
        return -1

    def shift(self, count: int) -> None:  # noqa: D102
        super().shift(count)
        self.segment -= count


class PlainTokenEnd(Ending):
    """Of a token in which bars and backslashes are ordinary: behind `#\\`, `#!` and `##`. The delimiter is not part."""

    __slots__ = ()

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        match = _PLAIN_STOP.search(buffer, self.seek, stop)
        if match:
            return match.start()
        self.seek = max(self.seek, min(len(buffer), stop))
        return -1


class TokenEnd(Ending):
    """Of a symbol, keyword or number, with its parts between bars and its backslashes. The delimiter is not part.

    Attributes:
        quoted: the search for the closing bar, while between bars.
        plain: whether there were no bars and no backslashes so far.
        unbarred: what `Lexer` has found out of a token that is not plain, where that was done beforehand.
    """

    __slots__ = ("plain", "quoted", "unbarred")

    def __init__(self, seek: int) -> None:
        super().__init__(seek)
        self.quoted: QuotedEnd | None = None
        self.plain = True
        self.unbarred: tuple[bytes, bool, bool] | None = None

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        size = min(len(buffer), stop)
        while True:
            if self.quoted:
                end = self.quoted.find(buffer, stop)
                if end < 0:
                    return -1
                self.quoted = None
                self.seek = end
            match = _TOKEN_STOP.search(buffer, self.seek, stop)
            if not match:
                self.seek = max(self.seek, size)
                return -1
            end = match.start()
            byte = buffer[end]
            if byte == _BAR:
                self.plain = False
                self.quoted = QuotedEnd(end + 1, b"|")
            elif byte == _BACKSLASH:
                self.plain = False
                if end + 1 >= size:
                    self.seek = end
                    return -1
                self.seek = end + 2
            else:
                return end

    def shift(self, count: int) -> None:  # noqa: D102
        super().shift(count)
        if self.quoted:
            self.quoted.shift(count)


class BlockCommentEnd(Ending):
    """Of a comment from `#|`, nested ones included.

    CHICKEN looks at `|` and `#` in pairs with whatever follows: in `||#` the second bar is used up, and nothing closes.
    """

    __slots__ = ("level",)

    def __init__(self, seek: int) -> None:
        super().__init__(seek)
        self.level = 1

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        size = min(len(buffer), stop)
        while match := _COMMENT_MARK.search(buffer, self.seek, stop):
            mark = match.start()
            if mark + 1 >= size:
                self.seek = mark
                return -1
            self.seek = mark + 2
            pair = buffer[mark : mark + 2]
            if pair == b"|#":
                self.level -= 1
                if self.level == 0:
                    return mark + 2
            elif pair == b"#|":
                self.level += 1
        self.seek = max(self.seek, size)
        return -1


class HereStringEnd(Ending):
    """Of a string from `#<<TAG`: behind the line that is the tag and nothing else.

    Attributes:
        text: the offset where the text begins, -1 until the first line is there.
        tag: the tag, once known.
        terminator: the line of the tag, with the line ends on both sides.
        last: the offset of the line that ends the string, once found.
    """

    __slots__ = ("last", "start", "tag", "terminator", "text")

    def __init__(self, seek: int) -> None:
        super().__init__(seek)
        self.start = seek
        self.text = -1
        self.tag = self.terminator = b""
        self.last = -1

    def find(self, buffer: Buffer, stop: int = EVERYTHING) -> int:  # noqa: D102
        if self.text < 0:
            newline = buffer.find(b"\n", self.seek, stop)
            if newline < 0:
                self.seek = max(self.seek, min(len(buffer), stop))
                return -1
            self.tag = bytes(buffer[self.start : newline])
            # The newline of the first line may be the one before the tag, if there is no text at all.
            self.text = newline + 1
            self.seek = newline
            self.terminator = b"\n" + self.tag + b"\n"
        terminator, size = self.terminator, min(len(buffer), stop)
        # One that began in what was searched before: it ends at a line end that is near. Searching all of that again
        # would cost as many steps as the tag has bytes, which may be millions, each time.
        near = min(self.seek + len(terminator) - 1, size)
        end = buffer.find(b"\n", self.seek, near) if self.seek >= self.text else -1
        while end >= 0:
            line = end - len(self.tag)
            if line >= self.text - 1 and buffer[line - 1] == _NEWLINE and buffer.startswith(self.tag, line):
                self.last = line
                return end + 1
            end = buffer.find(b"\n", end + 1, near)
        found = buffer.find(terminator, self.seek, stop)
        if found >= 0:
            self.last = found + 1
            return found + len(terminator)
        self.seek = max(self.seek, size)
        return -1

    def shift(self, count: int) -> None:  # noqa: D102
        super().shift(count)
        self.start -= count
        if self.text >= 0:
            self.text -= count
