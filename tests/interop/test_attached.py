"""Separating an engine's stream into standard output and standard error."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok_interop.peers.attached import Attachment, Demultiplexer


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def whole(pieces: list[tuple[int, bytes]], stream: int) -> bytes:
    return b"".join(data for number, data in pieces if number == stream)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=40)), max_size=12), st.data())
def test_frames_in_any_pieces(frames: list[tuple[int, bytes]], data: Any) -> None:
    stream = b"".join(frame(*one) for one in frames)
    parts, pieces = Demultiplexer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        pieces += parts.feed(stream[:cut])
        stream = stream[cut:]
    for number in (1, 2, 3):
        assert whole(pieces, number) == b"".join(one for stream, one in frames if stream == number)


def test_a_frame_is_passed_on_before_it_is_whole() -> None:
    parts = Demultiplexer()
    assert parts.feed(frame(1, b"x" * 1_000_000)[:500]) == [(1, b"x" * 492)]


def test_an_empty_frame_is_nothing() -> None:
    assert Demultiplexer().feed(frame(1, b"") + frame(2, b"a")) == [(2, b"a")]


@pytest.mark.parametrize("data", [b"\x04\0\0\0\0\0\0\1x", b"(1 ok)\n(2 ok)\n"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no frame of an attached stream"):
        Demultiplexer().feed(data)


class _Stream:
    """What the SDK's `attach_socket` returns, with the engine's end of it in `engine`."""

    def __init__(self) -> None:
        self._sock, self.engine = socket.socketpair()

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def stream() -> Iterator[_Stream]:
    one = _Stream()
    yield one
    one.close()
    one.engine.close()


async def test_output_and_log_part(stream: _Stream) -> None:
    log: list[bytes] = []
    attached = Attachment(stream, log.append)
    stream.engine.sendall(frame(2, b"log ") + frame(1, b"(1 ") + frame(3, b"words") + frame(1, b"ok)\n"))
    received = b""
    while b"\n" not in received:
        received += await attached.receive()
    assert received == b"(1 ok)\n"
    assert b"".join(log) == b"log words"
    attached.close()


async def test_the_end_is_an_empty_read_after_what_was_left(stream: _Stream) -> None:
    attached = Attachment(stream, lambda data: None)
    stream.engine.sendall(frame(1, b"last words"))
    stream.engine.shutdown(socket.SHUT_WR)
    await attached.over.wait()
    assert [await attached.receive() for _ in range(3)] == [b"last words", b"", b""]


async def test_a_stream_that_is_none_ends_with_a_line_in_the_log(stream: _Stream) -> None:
    log: list[bytes] = []
    attached = Attachment(stream, log.append)
    stream.engine.sendall(b"HTTP/1.1 500 what?\r\n")
    assert await attached.receive() == b""
    assert b"the attached stream broke: no frame" in b"".join(log)


async def test_more_than_the_socket_takes_is_sent_all(stream: _Stream) -> None:
    attached = Attachment(stream, lambda data: None)
    data = bytes(range(256)) * 20_000
    sending = asyncio.ensure_future(attached.send(data))
    stream.engine.settimeout(10)
    got = bytearray()
    while len(got) < len(data):
        got += await asyncio.to_thread(stream.engine.recv, 1 << 16)
    await sending
    assert bytes(got) == data
    attached.close()


async def test_a_close_ends_a_send_that_nobody_reads(stream: _Stream) -> None:
    attached = Attachment(stream, lambda data: None)
    sending = asyncio.ensure_future(attached.send(bytes(50_000_000)))
    await asyncio.to_thread(stream.engine.recv, 1)
    attached.close()
    await asyncio.wait_for(sending, 10)
    await attached.send(b"and nothing more")


async def test_output_that_nobody_takes_holds_the_engine_up(stream: _Stream) -> None:
    attached = Attachment(stream, lambda data: None)
    stream.engine.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 100_000_000:
            await asyncio.to_thread(stream.engine.sendall, frame(1, bytes(1_000_000)))
            sent += 1_000_000
    assert sent < 20_000_000
    attached.close()
