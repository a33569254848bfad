"""`bokbok.wire.framing.Lines`: packets that end with a line's ending."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.wire.framing import Lines
from tests.support.framing_contract import FramingContract, split, written


class TestContract(FramingContract):
    framings: ClassVar[list[Any]] = [Lines(), Lines(b"\r\n"), Lines(b";")]

    @staticmethod
    def packets(framing: Any) -> st.SearchStrategy[list[bytes]]:
        return st.lists(st.binary(max_size=40).filter(lambda data: framing.ending[:1] not in data), max_size=6)


def test_the_bytes_are_what_the_name_says() -> None:
    assert written(Lines(), [b"abc"]) == b"abc\n"
    assert split(Lines(), b"abc\n", [])[0] == [b"abc"]


def test_it_knows_no_longest_packet() -> None:
    assert Lines().most() is None


def test_a_line_holds_no_ending() -> None:
    with pytest.raises(BokbokError, match=r"a packet that holds b'\\n' cannot be ended by it"):
        Lines().write([], b"a\nb")


@pytest.mark.parametrize("size", [60, 200])
def test_an_endless_line_is_refused_before_its_end(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="over the limit of 50 bytes"):
        split(Lines(), b"x" * size, list(range(1, 8)), limit=50)


def test_it_says_in_words_what_it_is() -> None:
    assert Lines().words() == r"lines ended by b'\n'"


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
