"""Cuts: which framings divide complete streams, and what may be left over."""

from __future__ import annotations

import pytest

from bokbok.wire.framing import Datums, IntegerLength, Lines, TextLength
from bokbok_calibrate.clock import Clock
from bokbok_calibrate.framing.candidates import is_text
from bokbok_calibrate.framing.cut import Cut, common_prefix, ends
from bokbok_calibrate.framing.order import cuts_in
from bokbok_traffic.recording import Recorded

BOTH = {"client", "server"}


def cuts(client: bytes, server: bytes, ended: set[str], user: bytes = b"") -> list[Cut]:
    """All cuts of a connection."""
    recorded = [Recorded(1, client, server, ended)]
    return [cut for _, group in cuts_in(recorded, user, Clock()) for cut in group]


def framings(client: bytes, server: bytes, ended: set[str]) -> list[object]:
    return [cut.framing for cut in cuts(client, server, ended)]


DATUMS = b"(a 1)", b"(b 2)", b"(c 3)"


def test_datums_with_a_newline_between_are_not_taken_for_lines_once_their_end_is_seen() -> None:
    stream = b"\n".join(DATUMS)
    found = framings(stream, stream, BOTH)
    assert Datums(b"\n", "between") in found
    assert Datums(b"\n", "after") not in found
    assert not any(isinstance(framing, Lines) for framing in found)


def test_before_the_end_is_seen_the_last_newline_may_be_to_come() -> None:
    stream = b"\n".join(DATUMS)
    found = framings(stream, stream, set())
    assert Datums(b"\n", "after") in found
    assert any(isinstance(framing, Lines) for framing in found)


def packets(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def test_the_framing_that_leaves_least_comes_first_where_all_leave_a_rest() -> None:
    found = cuts(packets(*DATUMS * 9)[:-3], packets(*DATUMS * 9), {"server"})
    assert IntegerLength() in [cut.framing for cut in found]
    assert [cut.left for cut in found] == sorted(cut.left for cut in found)


def test_nothing_is_left_of_a_stream_that_has_ended() -> None:
    assert all(cut.left == 0 for cut in cuts(packets(*DATUMS)[:-3], packets(*DATUMS), BOTH))


@pytest.mark.parametrize(
    ("framing", "preamble"),
    [(IntegerLength("u16-le"), b"bokbok 0.2\r\n"), (TextLength(10, ending=b":", trailer=b","), b"hello\n")],
)
def test_what_stands_before_the_first_packet_is_taken_off(framing: IntegerLength | TextLength, preamble: bytes) -> None:
    out: list[bytes] = []
    for body in (b"myuser", *DATUMS):
        framing.writer()(out, body)
    stream = b"".join(out)
    found = [cut for cut in cuts(preamble + stream, stream, BOTH, b"myuser") if cut.preamble == preamble]
    assert framing in [cut.framing for cut in found]


def test_packets_of_the_hello_may_be_framed_otherwise() -> None:
    hello = b"myuser\n" + b"0123456789\n"
    found = [cut for cut in cuts(hello + packets(*DATUMS), packets(*DATUMS), BOTH) if cut.hello_framing == Lines()]
    assert (2, [b"myuser", b"0123456789"]) in [(cut.hello, cut.client[0][:2]) for cut in found]


def test_the_ends_of_packets_are_told_as_offsets_in_the_stream() -> None:
    one = Recorded(1, b"hi\n" + b"me\n" + packets(b"ab", b"c"), packets(b"d"), BOTH)
    cut = Cut(IntegerLength(), [[b"me", b"ab", b"c"]], [[b"d"]], 0, b"hi\n", Lines(), 1)
    assert list(ends(cut, one, "client")) == [6, 12, 17]
    assert list(ends(cut, one, "server")) == [5]


def test_what_several_have_in_common() -> None:
    assert common_prefix([b"abcd", b"abx", b"abcy"]) == 2
    assert common_prefix([b"ab", b"ab"]) == 2


@pytest.mark.parametrize(
    ("data", "text"), [(b"(hello)\n", True), (b"", False), (b"a\0b", False), (b"caf\xc3\xa9", True)]
)
def test_text_is_told_from_binary(data: bytes, text: bool) -> None:
    assert is_text(data) is text
