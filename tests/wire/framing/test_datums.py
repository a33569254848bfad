"""`bokbok.wire.framing.Datums`: a packet ends where its datum does."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from bokbok.errors import RemoteProtocolError
from bokbok.sexpr import Char, loads
from bokbok.wire.framing import Datums
from tests.support.framing_contract import FramingContract, split, written
from tests.support.strategy_tests import refuses, says


class TestContract(FramingContract):
    framings: ClassVar[list[Any]] = [
        Datums(), Datums(b""), Datums(b" "), Datums(b"\n", "between"), Datums(b"\n", count=2),
    ]  # fmt: skip

    @staticmethod
    def packets(framing: Any) -> st.SearchStrategy[list[bytes]]:
        datum = st.sampled_from(
            [b'"text"', b"(a (b) #(c))", b'"(\\")"', b"#${00ff}", b"()", b"(#\\) ; )\n)", b"(|a )|)"]
        )
        return st.lists(st.lists(datum, min_size=framing.count, max_size=framing.count).map(b" ".join), max_size=6)

    @staticmethod
    def packet(framing: Any, size: int) -> bytes:
        first = b'"" ' if framing.count == 2 else b""
        return first + b'"' + b"x" * (size - len(first) - 2) + b'"'

    @staticmethod
    def carried(framing: Any, packet: bytes) -> bytes:
        return framing.separator + packet  # a datum ends with its last byte: the separator belongs to the next one


def test_the_bytes_are_what_the_name_says() -> None:
    assert written(Datums(), [b"(a)"]) == b"(a)\n"
    assert split(Datums(), b"(a)\n", [])[0] == [b"(a)"]


@pytest.mark.parametrize("step", [1, 2, 100])
@pytest.mark.parametrize("white", b" \t\n\v\f\r")
def test_a_character_that_is_white_space_is_whole_in_its_packet(white: int, step: int) -> None:
    text = b"#\\%c" % white
    data = text * 3 + b"(%b)\n" % text
    splitter = Datums(b"").splitter(1000)
    packets: list[bytes] = []
    for at in range(0, len(data), step):
        splitter.feed(data[at : at + step])
        while (packet := splitter.next()) is not None:
            packets.append(packet)
    assert b"".join(packets) == data[:-1]
    character = Char(chr(white))
    assert [loads(packet) for packet in packets] == [character, character, character, [character]]


def test_a_separator_may_stand_only_between_datums() -> None:
    assert written(Datums(b"\n", "between"), [b"(a)", b"(b)"]) == b"(a)\n(b)"


def test_it_knows_no_longest_packet() -> None:
    assert Datums().most() is None


@pytest.mark.parametrize("data", [b")", b"#<x>"])
def test_what_cannot_be_a_packet_is_told(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="bytes that do not read as a datum"):
        split(Datums(), data, [])


@pytest.mark.parametrize("size", [60, 200])
@pytest.mark.parametrize("begins", [b'"', b"("])
def test_an_endless_datum_is_refused_before_its_end(begins: bytes, size: int) -> None:
    data = begins + b"x" * size if begins == b'"' else begins * size
    with pytest.raises(RemoteProtocolError, match="over the limit of 50 bytes"):
        split(Datums(), data, list(range(1, 8)), limit=50)


test_a_framing_that_cannot_be_is_refused = refuses(
    (lambda: Datums(b","), "separator: expected white space, or nothing; got b','"),
    (lambda: Datums(place="before"), "place: expected one of after, between; got 'before'"),
)


test_it_says_in_words_what_it_is = says(
    (Datums(), r"one datum after another, b'\n' after"),
    (Datums(count=2), r"one datum after another, 2 to a packet, b'\n' after"),
)


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("datum", "problem"),
    [
        (b"(second (one) #<thread>)", r"#<thread> .* at byte 14; "),
        (b"(second (one]", r"in a list opened at byte 8 at byte 12; "),
    ],
)
def test_an_offset_counts_within_the_packet_however_it_comes(datum: bytes, problem: str, step: int) -> None:
    data = b"(first packet)\n  " + datum
    with pytest.raises(RemoteProtocolError, match=problem):
        split(Datums(), data, list(range(step, len(data), step)))
