"""The receiving side of every framing that says a packet's length before it."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import BokbokError, RemoteProtocolError

__all__ = [
    "CountedSplitter",
    "cannot_count",
    "check_heads",
    "head_of",
    "longest_first",
]

from ._strategy import Buffered


class CountedSplitter(Buffered):
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
        self._heads = longest_first(heads)

    def _cut(self) -> bytes | None:
        buffer, at, after = self._buffer, self._at, self._after
        if self._heads:
            there = bytes(buffer[at : at + len(self._heads[0])])
            if len(there) < len(self._heads[0]) and any(one.startswith(there) for one in self._heads):
                self._wait()
                return None
            after = len(head_of(there, self._heads))
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


def longest_first(heads: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted(heads, key=len, reverse=True))


def head_of(data: bytes, heads: tuple[bytes, ...]) -> bytes:
    """The one of them, the longest first, that some bytes begin with."""
    for head in heads:
        if data.startswith(head):
            return head
    expected = " or ".join(map(repr, heads))
    raise RemoteProtocolError(f"a packet that begins with {data[:24]!r}; expected {expected} before the length")


def check_heads(heads: tuple[bytes, ...], after: int) -> None:
    if heads and after:
        raise BokbokError("either 'heads' or 'after' says what stands before a length, not both")
    if not all(heads):
        raise BokbokError("none of the heads is empty")


def cannot_count(what: str, size: int) -> BokbokError:
    return BokbokError(f"a packet of {size} bytes is longer than a length in {what} can say")
