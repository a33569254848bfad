"""`bokbok.wire.framing`: the fast splitter of plain lengths, that of `inferred-1` among them."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.errors import RemoteProtocolError
from bokbok.wire.framing import IntegerLength, Splitter
from bokbok.wire.framing._fixed import FixedSplitter


def frame(packet: bytes) -> bytes:
    out: list[bytes] = []
    IntegerLength().write(out, packet)
    return b"".join(out)


def drain(splitter: Splitter) -> list[bytes]:
    return list(iter(splitter.next, None))


def test_a_packet_is_its_length_in_four_bytes_big_endian_and_its_bytes() -> None:
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert frame(b"") == b"\0\0\0\0"
    assert frame(bytes(0x010203))[:4] == b"\0\1\2\3"


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 60)))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, packets))
    splitter = IntegerLength().splitter(1000)
    out: list[bytes] = []
    rest = stream
    for cut in cuts:
        splitter.feed(rest[:cut])
        out += drain(splitter)
        rest = rest[cut:]
    splitter.feed(rest)
    out += drain(splitter)
    assert out == packets
    assert splitter.pending() is None


@given(st.binary(min_size=1, max_size=30), st.integers(1, 33))
def test_bytes_that_were_not_taken_are_kept_when_more_come(packet: bytes, cut: int) -> None:
    stream = frame(packet) * 2
    splitter = IntegerLength().splitter(1000)
    splitter.feed(stream[:cut])
    splitter.feed(stream[cut:])
    assert drain(splitter) == [packet, packet]


def test_a_packet_of_exactly_the_limit_passes() -> None:
    splitter = IntegerLength().splitter(5)
    splitter.feed(frame(b"12345"))
    assert splitter.next() == b"12345"


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_length_over_the_limit_is_refused_as_soon_as_it_is_there(size: int) -> None:
    splitter = IntegerLength().splitter(5)
    data = struct.pack(">I", 6) + b"x"

    def feed() -> None:
        for start in range(0, len(data), size):
            splitter.feed(data[start : start + size])
            assert splitter.next() is None

    with pytest.raises(RemoteProtocolError, match="a packet of 6 bytes is announced, over the limit of 5"):
        feed()


def test_the_limit_can_be_changed_between_two_packets() -> None:
    splitter = IntegerLength().splitter(1)
    splitter.feed(frame(b"a") + frame(b"12345"))
    assert splitter.next() == b"a"
    splitter.limit = 5
    assert splitter.next() == b"12345"


@pytest.mark.parametrize(
    ("data", "pending"),
    [
        (b"", None),
        (b"\0\0", "2 of a length's 4 bytes"),
        (b"\0\0\0\3", "0 of a packet's 3 bytes"),
        (b"\0\0\0\3ab", "2 of a packet's 3 bytes"),
        (b"\0\0\0\3abc", None),
    ],
)
def test_it_says_what_an_end_of_file_would_cut_off(data: bytes, pending: str | None) -> None:
    splitter = IntegerLength().splitter(10)
    splitter.feed(data)
    drain(splitter)
    assert splitter.pending() == pending


def test_it_says_that_bytes_were_not_looked_at() -> None:
    splitter = IntegerLength().splitter(10)
    splitter.feed(b"\0\0\0\1ab")
    assert splitter.next() == b"a"
    assert splitter.pending() == "1 bytes that were not looked at"


def test_a_large_packet_in_small_pieces_is_put_together_once() -> None:
    packet = bytes(range(256)) * 4096
    splitter = IntegerLength().splitter(len(packet))
    stream = frame(packet)
    taken = []
    for start in range(0, len(stream), 1000):
        splitter.feed(stream[start : start + 1000])
        taken += drain(splitter)
    assert taken == [packet]


@pytest.mark.parametrize("fed", [b"", frame(b"before"), b"\0\0\0\x05abc", b"\0\0"])
@pytest.mark.parametrize(
    "data",
    [frame(b"abc"), frame(b""), frame(b"abc") + frame(b"d"), frame(b"abc")[:-1], frame(b"abc") + b"\0", b"", b"\0"],
)
def test_a_packet_alone_is_what_feeding_it_would_give_and_anything_else_is_left_to_that(
    fed: bytes, data: bytes
) -> None:
    tried, plain = (FixedSplitter(1 << 32, struct.Struct(">I")) for _ in range(2))
    for splitter in (tried, plain):
        splitter.feed(fed)
        drain(splitter)
    alone = tried.alone(data)
    plain.feed(data)
    expected = drain(plain)
    if alone is not None:
        assert [alone] == expected
        assert tried.held() == plain.held() == 0
    else:
        tried.feed(data)
        assert drain(tried) == expected
        assert tried.held() == plain.held()
    usual = fed in (b"", frame(b"before")) and data in (frame(b"abc"), frame(b""))
    assert (alone is not None) == usual


def test_a_packet_alone_that_is_over_the_limit_is_left_to_what_refuses_it() -> None:
    splitter = FixedSplitter(2, struct.Struct(">I"))
    assert splitter.alone(frame(b"abc")) is None


@pytest.mark.parametrize("sizes", [(5000,), (5000, 1), (5000, 3, 4096, 4095), (1, 7, 5000, 2), (4096, 1, 1, 9000)])
def test_a_large_packet_in_pieces_of_any_size_is_counted_as_it_comes_and_put_together(sizes: tuple[int, ...]) -> None:
    packet = bytes(range(256)) * 400
    stream = frame(packet) + frame(b"behind")
    splitter = FixedSplitter(len(packet), struct.Struct(">I"))
    start, taken = 0, []
    for size in itertools.cycle(sizes):
        splitter.feed(stream[start : start + size])
        start = min(start + size, len(stream))
        taken += drain(splitter)
        if not taken:
            assert splitter.next() is None  # however often it is asked
            assert splitter.held() == start
            if start > 4:
                assert splitter.pending() == f"{start - 4} of a packet's {len(packet)} bytes"
        if start == len(stream):
            break
    assert taken == [packet, b"behind"]
    assert splitter.held() == 0


def test_what_has_come_of_a_large_packet_is_handed_over_in_its_order() -> None:
    stream = frame(bytes(range(256)) * 400)
    splitter = FixedSplitter(1 << 20, struct.Struct(">I"))
    for start, end in ((0, 6000), (6000, 6001), (6001, 12_000), (12_000, 12_005)):
        splitter.feed(stream[start:end])
        assert splitter.next() is None
    assert splitter.rest() == stream[:12_005]
    assert splitter.held() == 0
    assert splitter.pending() is None
