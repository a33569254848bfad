"""`bokbok.wire.framing`: every framing cuts its stream where it was put together."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.wire.framing import INTEGERS, Datums, IntegerLength, Lines, TextLength

BINARY = [
    *(IntegerLength(integer) for integer in INTEGERS),
    *(IntegerLength(integer, own=True) for integer in INTEGERS),
    IntegerLength("u16-be", counts=3),
    IntegerLength("u16-be", counts=-2, after=2),
    IntegerLength("u32-be", after=1),
    IntegerLength("u16-le", own=True, after=1, counts=1),
    IntegerLength("u8", trailer=b"\r\n"),
    TextLength(),
    TextLength(ending=b":", trailer=b","),
    TextLength(16, ending=b" "),
    TextLength(16, upper=True),
    TextLength(10, before=b"(packet ", ending=b")\n"),
    TextLength(10, width=4, ending=b""),
    TextLength(16, width=8, ending=b":", own=True),
    TextLength(10, own=True),
    TextLength(10, after=1, ending=b" "),
    TextLength(10, counts=1),
]
TEXT = [Lines(), Lines(b"\r\n"), Lines(b";")]
DATUMS = [Datums(), Datums(b""), Datums(b" "), Datums(b"\n", "between"), Datums(b"\n", count=2)]
every = pytest.mark.parametrize("framing", [*BINARY, *TEXT, *DATUMS], ids=repr)


def written(framing: Any, packets: list[bytes]) -> bytes:
    out: list[bytes] = []
    write = framing.writer()
    for packet in packets:
        write(out, packet)
    return b"".join(out)


def split(framing: Any, data: bytes, cuts: list[int], limit: int = 1000) -> tuple[list[bytes], Any]:
    splitter = framing.splitter(limit)
    packets: list[bytes] = []
    for cut in [*cuts, len(data)]:
        splitter.feed(data[:cut])
        data = data[cut:]
        packets += iter(splitter.next, None)
    return packets, splitter


def packets_for(framing: Any) -> st.SearchStrategy[list[bytes]]:
    if isinstance(framing, Datums):
        datum = st.sampled_from(
            [b'"text"', b"(a (b) #(c))", b'"(\\")"', b"#${00ff}", b"()", b"(#\\) ; )\n)", b"(|a )|)"]
        )
        return st.lists(st.lists(datum, min_size=framing.count, max_size=framing.count).map(b" ".join), max_size=6)
    if isinstance(framing, Lines):
        return st.lists(st.binary(max_size=40).filter(lambda data: framing.ending[:1] not in data), max_size=6)
    least = getattr(framing, "after", 0) + max(0, -getattr(framing, "counts", 0))
    return st.lists(st.binary(min_size=least, max_size=60), max_size=6)


@every
@settings(max_examples=30)
@given(data=st.data(), cuts=st.lists(st.integers(1, 30), max_size=12))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(framing: Any, data: Any, cuts: list[int]) -> None:
    packets = data.draw(packets_for(framing))
    got, splitter = split(framing, written(framing, packets), cuts)
    assert got == packets
    assert splitter.pending() is None


@every
@settings(max_examples=30)
@given(data=st.binary(max_size=80), cuts=st.lists(st.integers(1, 30), max_size=5))
def test_any_bytes_are_packets_or_a_protocol_error(framing: Any, data: bytes, cuts: list[int]) -> None:
    try:
        packets, splitter = split(framing, data, cuts, limit=50)
    except RemoteProtocolError:
        return
    assert all(len(packet) <= 50 for packet in packets)
    assert splitter.pending() is None or isinstance(splitter.pending(), str)
    assert len(splitter.rest()) <= len(data)
    assert splitter.pending() is None


@every
def test_a_packet_of_the_limit_passes_and_one_beyond_is_refused(framing: Any) -> None:
    def packet(size: int) -> bytes:
        if isinstance(framing, Datums):
            first = b'"" ' if framing.count == 2 else b""
            return first + b'"' + b"x" * (size - len(first) - 2) + b'"'
        return b"x" * size

    assert split(framing, written(framing, [packet(50)]), [], limit=50)[0] == [packet(50)]
    with pytest.raises(RemoteProtocolError, match="over the limit of 50 bytes"):
        split(framing, written(framing, [packet(51)]), [], limit=50)


@every
def test_a_writer_writes_as_write_does(framing: Any) -> None:
    out: list[bytes] = []
    framing.write(out, b'"xyz"')
    if getattr(framing, "place", "after") == "after":
        assert b"".join(out) == written(framing, [b'"xyz"'])


@every
def test_what_is_not_a_whole_packet_yet_is_pending_and_can_be_given_up(framing: Any) -> None:
    data = written(framing, [b'"xxxxxxx"'])[:4]
    got, splitter = split(framing, data, [])
    assert got == []
    assert splitter.pending()
    assert splitter.rest() == data
    assert splitter.pending() is None


@pytest.mark.parametrize(
    ("framing", "packet", "data"),
    [
        (IntegerLength("u8"), b"abc", b"\3abc"),
        (IntegerLength("u16-be"), b"abc", b"\0\3abc"),
        (IntegerLength("u16-le", own=True), b"abc", b"\5\0abc"),
        (IntegerLength("u32-be"), b"abc", b"\0\0\0\3abc"),
        (IntegerLength("u64-le"), b"abc", b"\3\0\0\0\0\0\0\0abc"),
        (IntegerLength("leb128"), b"x" * 200, b"\xc8\1" + b"x" * 200),
        (IntegerLength("leb128", own=True), b"x" * 126, b"\x7f" + b"x" * 126),
        (IntegerLength("leb128", own=True), b"x" * 127, b"\x81\1" + b"x" * 127),
        (IntegerLength("u8", after=1), b"abc", b"a\2bc"),
        (IntegerLength("u8", counts=1, trailer=b"\n"), b"abc", b"\4abc\n"),
        (TextLength(), b"abc", b"3\nabc"),
        (TextLength(ending=b":", trailer=b","), b"abc", b"3:abc,"),
        (TextLength(16), b"x" * 26, b"1a\n" + b"x" * 26),
        (TextLength(16, upper=True), b"x" * 26, b"1A\n" + b"x" * 26),
        (TextLength(width=4, ending=b""), b"abc", b"0003abc"),
        (TextLength(own=True), b"x" * 8, b"11\n" + b"x" * 8),
        (TextLength(before=b"(", ending=b")"), b"abc", b"(3)abc"),
        (Lines(), b"abc", b"abc\n"),
        (Datums(), b"(a)", b"(a)\n"),
    ],
    ids=repr,
)
def test_the_bytes_are_what_the_name_says(framing: Any, packet: bytes, data: bytes) -> None:
    assert written(framing, [packet]) == data
    assert split(framing, data, [])[0] == [packet]


def test_a_separator_may_stand_only_between_datums() -> None:
    assert written(Datums(b"\n", "between"), [b"(a)", b"(b)"]) == b"(a)\n(b)"


@pytest.mark.parametrize(
    ("framing", "most"),
    [
        (IntegerLength(), 2**32 - 1),
        (IntegerLength("u8"), 255),
        (IntegerLength("u8", own=True), 254),
        (IntegerLength("u8", after=1), 256),
        (IntegerLength("u16-be", counts=3), 65532),
        (TextLength(width=2), 97),
    ],
    ids=repr,
)
def test_the_longest_packet_that_a_length_can_say_can_be_written(framing: Any, most: int) -> None:
    assert framing.most() == most
    if most < 100_000:
        assert split(framing, written(framing, [b"x" * most]), [], limit=100_000)[0] == [b"x" * most]


@pytest.mark.parametrize(
    ("framing", "size"),
    [(IntegerLength("u8"), 256), (IntegerLength("u8", own=True), 255), (TextLength(width=2), 100)],
    ids=repr,
)
def test_a_longer_packet_than_a_length_can_say_is_refused_when_it_is_written(framing: Any, size: int) -> None:
    with pytest.raises(BokbokError, match="longer than a length in"):
        written(framing, [b"x" * size])


@pytest.mark.parametrize("framing", [IntegerLength("leb128"), TextLength(), Lines(), Datums()], ids=repr)
def test_some_know_no_longest_packet(framing: Any) -> None:
    assert framing.most() is None


@pytest.mark.parametrize(
    ("framing", "data", "problem"),
    [
        (IntegerLength("leb128"), b"\xff" * 10, "a length in LEB128 has more than 9 bytes"),
        (
            IntegerLength("u16-be", own=True),
            struct.pack(">H", 1),
            "a length says 1; expected 2 or more, which it always counts",
        ),
        (IntegerLength("u8", counts=3), b"\2", "a length says 2; expected 3 or more, which it always counts"),
        (IntegerLength("u8", trailer=b"\n"), b"\1ab", r"b'b' behind a packet of 1 bytes; expected b'\\n'"),
        (TextLength(), b"x" * 30, "b'x+' in the place of a length; expected"),
        (TextLength(), b"1" * 30, "in the place of a length"),
        (TextLength(before=b"("), b"[", r"in the place of a length; expected '\(DIGITS"),
        (TextLength(16), b"1A\n" + bytes(30), "in the place of a length"),
        (Datums(), b")", "bytes that do not read as a datum"),
        (Datums(), b"#<x>", "bytes that do not read as a datum"),
    ],
    ids=repr,
)
def test_what_cannot_be_a_packet_is_told(framing: Any, data: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem):
        split(framing, data, [])


def test_a_line_holds_no_ending() -> None:
    with pytest.raises(BokbokError, match=r"a packet that holds b'\\n' cannot be ended by it"):
        Lines().write([], b"a\nb")


@pytest.mark.parametrize("size", [60, 200])
def test_an_endless_line_or_datum_is_refused_before_its_end(size: int) -> None:
    for framing, data in ((Lines(), b"x" * size), (Datums(), b'"' + b"x" * size), (Datums(), b"(" * size)):
        with pytest.raises(RemoteProtocolError, match="over the limit of 50 bytes"):
            split(framing, data, list(range(1, 8)), limit=50)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: IntegerLength("u7"), "integer: expected one of u8, u16-be.*; got 'u7'"),
        (lambda: TextLength(8), "base: expected one of 10, 16; got 8"),
        (lambda: TextLength(ending=b""), "ending is empty and width is 0: expected an ending"),
        (lambda: Datums(b","), "separator: expected white space, or nothing; got b','"),
        (lambda: Datums(place="before"), "place: expected one of after, between; got 'before'"),
    ],
)
def test_a_framing_that_cannot_be_is_refused(make: Any, problem: str) -> None:
    with pytest.raises(BokbokError, match=problem):
        make()


@pytest.mark.parametrize(
    ("framing", "words"),
    [
        (IntegerLength(), "u32-be"),
        (IntegerLength("u8", own=True, counts=-1), "u8 that counts itself too and -1 bytes"),
        (IntegerLength("leb128", after=1), "leb128 behind 1 byte of type"),
        (IntegerLength(heads=(b"a", b"bc")), "u32-be behind a type: b'a', b'bc'"),
        (TextLength(), r"decimal length behind b'', then b'\n'"),
        (TextLength(16, width=4, ending=b""), "hexadecimal length of 4 digits behind b''"),
        (TextLength(trailer=b","), r"decimal length behind b'', then b'\n', b',' behind each packet"),
        (Lines(), r"lines ended by b'\n'"),
        (Datums(), r"one datum after another, b'\n' after"),
        (Datums(count=2), r"one datum after another, 2 to a packet, b'\n' after"),
    ],
    ids=repr,
)
def test_each_says_in_words_what_it_is(framing: Any, words: str) -> None:
    assert framing.words() == words


def test_a_line_of_the_longest_size_is_taken_also_while_its_ending_is_on_its_way() -> None:
    splitter = Lines(b"\r\n").splitter(5)
    for byte in b"abcde\r":
        splitter.feed(bytes((byte,)))
        assert splitter.next() is None
    splitter.feed(b"\n")
    assert splitter.next() == b"abcde"
    splitter.feed(b"abcdef\r")
    with pytest.raises(RemoteProtocolError, match="a packet has 6 bytes or more, over the limit of 5"):
        splitter.next()
