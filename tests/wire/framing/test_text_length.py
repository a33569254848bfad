"""`bokbok.wire.framing.TextLength`: a length in digits, then the packet."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from bokbok.errors import BokbokError
from bokbok.wire.framing import TextLength
from tests.support.framing_contract import FramingContract, carries, split, tells, written
from tests.support.strategy_tests import refuses, says


class TestContract(FramingContract):
    framings: ClassVar[list[Any]] = [
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

    @staticmethod
    def packets(framing: Any) -> st.SearchStrategy[list[bytes]]:
        return st.lists(st.binary(min_size=framing.after, max_size=60), max_size=6)


test_the_bytes_are_what_the_name_says = carries(
    (TextLength(), b"abc", b"3\nabc"),
    (TextLength(ending=b":", trailer=b","), b"abc", b"3:abc,"),
    (TextLength(16), b"x" * 26, b"1a\n" + b"x" * 26),
    (TextLength(16, upper=True), b"x" * 26, b"1A\n" + b"x" * 26),
    (TextLength(width=4, ending=b""), b"abc", b"0003abc"),
    (TextLength(own=True), b"x" * 8, b"11\n" + b"x" * 8),
    (TextLength(before=b"(", ending=b")"), b"abc", b"(3)abc"),
)


def test_the_longest_packet_that_so_many_digits_can_say_can_be_written() -> None:
    framing = TextLength(width=2)
    assert framing.most() == 97
    assert split(framing, written(framing, [b"x" * 97]), [])[0] == [b"x" * 97]


def test_a_longer_packet_than_so_many_digits_can_say_is_refused_when_it_is_written() -> None:
    with pytest.raises(BokbokError, match="longer than a length in"):
        written(TextLength(width=2), [b"x" * 100])


def test_it_knows_no_longest_packet() -> None:
    assert TextLength().most() is None


test_what_cannot_be_a_packet_is_told = tells(
    (TextLength(), b"x" * 30, "b'x+' in the place of a length; expected"),
    (TextLength(), b"1" * 30, "in the place of a length"),
    (TextLength(before=b"("), b"[", r"in the place of a length; expected '\(DIGITS"),
    (TextLength(16), b"1A\n" + bytes(30), "in the place of a length"),
)


test_a_framing_that_cannot_be_is_refused = refuses(
    (lambda: TextLength(8), "base: expected one of 10, 16; got 8"),
    (lambda: TextLength(ending=b""), "ending is empty and width is 0: expected an ending"),
)


test_it_says_in_words_what_it_is = says(
    (TextLength(), r"decimal length behind b'', then b'\n'"),
    (TextLength(16, width=4, ending=b""), "hexadecimal length of 4 digits behind b''"),
    (TextLength(trailer=b","), r"decimal length behind b'', then b'\n', b',' behind each packet"),
)
