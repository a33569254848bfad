"""What holds for every framing: a framing's test derives from `FramingContract`, and names examples of the framing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bokbok.errors import RemoteProtocolError
from bokbok.wire.framing import Framing

# Each derived class has its own examples. Hypothesis warns that it cannot tell them apart.
_derived = settings(max_examples=30, suppress_health_check=[HealthCheck.differing_executors])


def written(framing: Framing, packets: list[bytes]) -> bytes:
    """The bytes that carry these packets."""
    out: list[bytes] = []
    write = framing.writer()
    for packet in packets:
        write(out, packet)
    return b"".join(out)


def split(framing: Framing, data: bytes, cuts: list[int], limit: int = 1000) -> tuple[list[bytes], Any]:
    """The packets of these bytes, which come in pieces of these sizes and a rest; and the splitter."""
    splitter = framing.splitter(limit)
    packets: list[bytes] = []
    for cut in [*cuts, len(data)]:
        splitter.feed(data[:cut])
        data = data[cut:]
        packets += iter(splitter.next, None)
    return packets, splitter


def carries(*rows: tuple[Framing, bytes, bytes]) -> Callable[..., None]:
    """A test: a framing carries a packet as these bytes. Made as `strategy_tests.refuses` is."""

    @pytest.mark.parametrize(("framing", "packet", "data"), rows, ids=repr)
    def test(framing: Framing, packet: bytes, data: bytes) -> None:
        assert written(framing, [packet]) == data
        assert split(framing, data, [])[0] == [packet]

    return test


def tells(*rows: tuple[Framing, bytes, str]) -> Callable[..., None]:
    """A test: bytes that cannot be a packet are refused with this problem."""

    @pytest.mark.parametrize(("framing", "data", "problem"), rows, ids=repr)
    def test(framing: Framing, data: bytes, problem: str) -> None:
        with pytest.raises(RemoteProtocolError, match=problem):
            split(framing, data, [])

    return test


class FramingContract:
    """The tests of every framing, run for each of `framings`."""

    framings: ClassVar[list[Any]]
    """Examples."""

    @staticmethod
    def packets(framing: Any) -> st.SearchStrategy[list[bytes]]:
        """Packets that can travel."""
        return st.lists(st.binary(max_size=60), max_size=6)

    @staticmethod
    def packet(framing: Any, size: int) -> bytes:
        """A packet of so many bytes."""
        return b"x" * size

    @staticmethod
    def carried(framing: Any, packet: bytes) -> bytes:
        """What a splitter returns for a packet."""
        return written(framing, [packet])

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run the tests that want a framing for each example."""
        if "framing" in metafunc.fixturenames:
            metafunc.parametrize("framing", self.framings, ids=repr)

    @_derived
    @given(data=st.data(), cuts=st.lists(st.integers(1, 30), max_size=12))
    def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(
        self, framing: Any, data: Any, cuts: list[int]
    ) -> None:
        packets = data.draw(self.packets(framing))
        got, splitter = split(framing, written(framing, packets), cuts)
        assert got == packets
        assert splitter.pending() is None

    @_derived
    @given(data=st.data())
    def test_spans_cover_what_carried_a_packet_once_and_in_order(self, framing: Any, data: Any) -> None:
        packet = data.draw(self.packets(framing).filter(bool))[0]
        carried = self.carried(framing, packet)
        spans = framing.spans(carried)
        assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
        assert spans[-1].end == len(carried)
        assert b"".join(carried[span.start : span.end] for span in spans if span.name == "packet") == packet

    @_derived
    @given(data=st.binary(max_size=80), cuts=st.lists(st.integers(1, 30), max_size=5))
    def test_any_bytes_are_packets_or_a_protocol_error(self, framing: Any, data: bytes, cuts: list[int]) -> None:
        try:
            packets, splitter = split(framing, data, cuts, limit=50)
        except RemoteProtocolError:
            return
        assert all(len(packet) <= 50 for packet in packets)
        assert splitter.pending() is None or isinstance(splitter.pending(), str)
        assert len(splitter.rest()) <= len(data)
        assert splitter.pending() is None

    def test_a_packet_of_the_limit_passes_and_one_beyond_is_refused(self, framing: Any) -> None:
        fits, beyond = self.packet(framing, 50), self.packet(framing, 51)
        assert split(framing, written(framing, [fits]), [], limit=50)[0] == [fits]
        with pytest.raises(RemoteProtocolError, match="over the limit of 50 bytes"):
            split(framing, written(framing, [beyond]), [], limit=50)

    def test_a_writer_writes_as_write_does(self, framing: Any) -> None:
        out: list[bytes] = []
        framing.write(out, b'"xyz"')
        if getattr(framing, "place", "after") == "after":
            assert b"".join(out) == written(framing, [b'"xyz"'])

    def test_what_is_not_a_whole_packet_yet_is_pending_and_can_be_given_up(self, framing: Any) -> None:
        data = written(framing, [b'"xxxxxxx"'])[:4]
        got, splitter = split(framing, data, [])
        assert got == []
        assert splitter.pending()
        assert splitter.rest() == data
        assert splitter.pending() is None
