"""Bytes before the first packet of a connection."""

from __future__ import annotations

from .._foreign import foreign
from ._strategy import Splitter

__all__ = [
    "Preamble",
]


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
                raise foreign(f"the connection begins with {start!r}; expected {self._expected!r}")
            if len(start) < len(self._expected):
                return None
            rest, self._buffer = self._buffer[len(start) :], None
            if self._inner is None:
                self._buffer = rest
                return self._expected
            self._inner.feed(rest)
        return self._inner.next() if self._inner is not None else None

    def held(self) -> int:
        """See `Splitter.held`."""
        return len(self._buffer or b"") + (self._inner.held() if self._inner is not None else 0)

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
