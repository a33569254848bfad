"""`bokbok.wire.framing`: the cost of splitting, counted in bytes that are moved or searched, not in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from bokbok.wire.framing import Datums, IntegerLength, Lines, TextLength, _datums, _fixed, _strategy
from tests.support.framing_contract import written

FRAMINGS = [
    IntegerLength(),
    IntegerLength("u16-le", own=True, trailer=b";"),
    IntegerLength("leb128"),
    TextLength(ending=b":", trailer=b","),
    Lines(),
    Datums(),
    Datums(count=2),
]


class Work:
    """How many bytes were looked at, copied or searched."""

    def __init__(self) -> None:
        self.bytes = 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Every buffer, chunk and reader of the splitters, with what it does to bytes counted."""
    work = Work()

    class Buffer(bytearray):
        def __iadd__(self, data: Any) -> Any:
            work.bytes += len(data)
            return super().__iadd__(data)

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            work.bytes += len(found) if isinstance(at, slice) else 1
            return found

        def find(self, what: Any, start: int = 0, *end: int) -> int:  # type: ignore[override]
            found = super().find(what, start, *end)
            work.bytes += (len(self) if found < 0 else found) - start
            return found

    class Machine(_datums.Machine):
        def run(self, data: bytes, position: int, final: bool, pause: int | None = None) -> Any:
            value = super().run(data, position, final, pause)
            # What it has read, and an incomplete token, which is read again once it is complete.
            work.bytes += (len(data) if value is _datums.NEED_MORE else self.position) - position
            return value

    for module in (_datums, _fixed, _strategy):
        monkeypatch.setattr(module, "bytearray", Buffer, raising=False)
    monkeypatch.setattr(_datums, "Machine", Machine)
    return work


class Chunk(bytes):
    """A chunk whose slices and concatenations are counted, until it is turned into plain bytes."""

    work: Work

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if isinstance(at, slice):
            self.work.bytes += len(found)
        return found

    def __add__(self, other: Any) -> Any:
        self.work.bytes += len(self) + len(other)
        return super().__add__(other)

    def __radd__(self, other: Any) -> Any:
        self.work.bytes += len(self) + len(other)
        return bytes(other) + bytes(self)


def cost(framing: Any, stream: bytes, step: int, work: Work) -> float:
    """Bytes of work for each byte of a stream that comes in chunks of so many."""
    work.bytes = 0
    splitter = framing.splitter(1 << 30)
    taken = 0
    for at in range(0, len(stream), step):
        chunk = Chunk(stream[at : at + step])
        chunk.work = work
        splitter.feed(chunk)
        taken += sum(1 for _ in iter(splitter.next, None))
    assert taken
    return work.bytes / len(stream)


def packet(framing: Any, size: int) -> bytes:
    first = b'"" ' if isinstance(framing, Datums) and framing.count == 2 else b""
    return first + b'"' + b"x" * size + b'"'


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
@pytest.mark.parametrize(
    ("packets", "size", "step"),
    [(2000, 10, 7), (2000, 10, 1 << 20), (1, 20_000, 7)],
    ids=["many small packets in small chunks", "many small packets in one chunk", "a big packet in small chunks"],
)
def test_the_work_grows_as_the_bytes_do(framing: Any, packets: int, size: int, step: int, work: Work) -> None:
    assert cost(framing, written(framing, [packet(framing, size)] * packets), step, work) < 12


@pytest.mark.parametrize("framing", FRAMINGS[:1], ids=repr)
def test_what_is_counted_would_show_work_that_grows_faster(framing: Any, work: Work) -> None:
    class Slow:
        limit = 0

        def __init__(self) -> None:
            self._buffer: Any = Chunk(b"")

        def feed(self, data: Any) -> None:
            joined = Chunk(self._buffer + data)
            joined.work = work
            self._buffer = joined

        def next(self) -> bytes | None:
            whole = self._buffer[:20_004]
            return bytes(whole) if len(whole) == 20_004 and not setattr(self, "_buffer", Chunk(b"")) else None

    Chunk.work = work
    slow: Any = type("SlowFraming", (), {"splitter": staticmethod(lambda limit: Slow())})()
    assert cost(slow, bytes(20_004), 7, work) > 100
