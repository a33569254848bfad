"""`bokbok.wire.framing.IntegerLength`: a length in bytes, then the packet."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from bokbok.errors import BokbokError
from bokbok.keys import Key
from bokbok.wire import INFERRED_1, Connection
from bokbok.wire.framing import INTEGERS, IntegerLength
from bokbok.wire.hello import Field, Template, TemplateHello
from tests.support.framing_contract import FramingContract, carries, split, tells, written
from tests.support.strategy_tests import refuses, says


class TestContract(FramingContract):
    framings: ClassVar[list[Any]] = [
        *(IntegerLength(integer) for integer in INTEGERS),
        *(IntegerLength(integer, own=True) for integer in INTEGERS),
        IntegerLength("u16-be", counts=3),
        IntegerLength("u16-be", counts=-2, after=2),
        IntegerLength("u32-be", after=1),
        IntegerLength("u16-le", own=True, after=1, counts=1),
        IntegerLength("u8", trailer=b"\r\n"),
    ]

    @staticmethod
    def packets(framing: Any) -> st.SearchStrategy[list[bytes]]:
        return st.lists(st.binary(min_size=framing.after + max(0, -framing.counts), max_size=60), max_size=6)


test_the_bytes_are_what_the_name_says = carries(
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
)


@pytest.mark.parametrize(
    ("framing", "most"),
    [
        (IntegerLength(), 2**32 - 1),
        (IntegerLength("u8"), 255),
        (IntegerLength("u8", own=True), 254),
        (IntegerLength("u8", after=1), 256),
        (IntegerLength("u16-be", counts=3), 65532),
    ],
    ids=repr,
)
def test_the_longest_packet_that_a_length_can_say_can_be_written(framing: Any, most: int) -> None:
    assert framing.most() == most
    if most < 100_000:
        assert split(framing, written(framing, [b"x" * most]), [], limit=100_000)[0] == [b"x" * most]


@pytest.mark.parametrize(
    ("framing", "size"),
    [
        (IntegerLength("u8"), 256),
        (IntegerLength("u8", own=True), 255),
    ],
    ids=repr,
)
def test_a_longer_packet_than_a_length_can_say_is_refused_when_it_is_written(framing: Any, size: int) -> None:
    with pytest.raises(BokbokError, match="longer than a length in"):
        written(framing, [b"x" * size])


def test_it_knows_no_longest_packet() -> None:
    assert IntegerLength("leb128").most() is None


test_what_cannot_be_a_packet_is_told = tells(
    (IntegerLength("leb128"), b"\xff" * 10, "a length in LEB128 has more than 9 bytes"),
    (
        IntegerLength("u16-be", own=True),
        struct.pack(">H", 1),
        "a length says 1; expected 2 or more, which it always counts",
    ),
    (IntegerLength("u8", counts=3), b"\2", "a length says 2; expected 3 or more, which it always counts"),
    (IntegerLength("u8", trailer=b"\n"), b"\1ab", r"b'b' behind a packet of 1 bytes; expected b'\\n'"),
)


test_a_framing_that_cannot_be_is_refused = refuses(
    (lambda: IntegerLength("u7"), "integer: expected one of u8, u16-be.*; got 'u7'"),
)


test_it_says_in_words_what_it_is = says(
    (IntegerLength(), "u32-be"),
    (IntegerLength("u8", own=True, counts=-1), "u8 that counts itself too and -1 bytes"),
    (IntegerLength("leb128", after=1), "leb128 behind 1 byte of type"),
    (IntegerLength(heads=(b"a", b"bc")), "u32-be behind a type: b'a', b'bc'"),
)


@pytest.mark.parametrize("counts", [-24, 4])
def test_a_length_that_leaves_out_a_part_of_the_box_frames_a_secure_connection(counts: int) -> None:
    hello = TemplateHello((Template((Field("user", "u8"), Field("key"))),))
    profile = dataclasses.replace(INFERRED_1, framing=IntegerLength("u32-be", counts=counts), hello=hello)
    client = Connection("client", user="me", key=Key.from_bytes(bytes(32)), profile=profile)
    server = Connection("server", secure=True, profile=profile)
    id = client.request(["ping", "x"])
    server.receive(client.data_to_send())
    _, request = server.authenticate(Key.from_bytes(bytes(32)))
    assert (request.id, request.message) == (id, ["ping", "x"])
