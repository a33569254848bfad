"""Packet captures, written byte by byte as in the formats' drafts."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.wire import INFERRED_1
from bokbok_calibrate.report import verdict
from bokbok_traffic.capture import Capture, CaptureError
from bokbok_traffic.pcap import PcapReader, is_pcap, read_pcap
from bokbok_traffic.pcap import tcp as module
from bokbok_traffic.pcap.tcp import LOSS, SNAPSHOT
from bokbok_traffic.recording import from_capture, load_recording
from tests.support.calibrating import recording, solved

CLIENT, SERVER = 40000, 4444
FIN, SYN, ACK = 1, 2, 16


def tcp(source: int, target: int, number: int, flags: int, data: bytes = b"") -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, number, 0, 5 << 4, flags, 1024, 0, 0) + data


def ipv4(segment: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    return head + segment


def ipv6(segment: bytes) -> bytes:
    here = bytes(15) + b"\1"
    # A hop-by-hop header comes before the segment.
    return struct.pack(">IHBB", 6 << 28, 8 + len(segment), 0, 64) + here + here + bytes((6, 0, *bytes(6))) + segment


def ethertype(packet: bytes) -> bytes:
    return b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"


def ppp(packet: bytes) -> bytes:
    return (b"\0\x21" if packet[0] >> 4 == 4 else b"\0\x57") + packet


def pppoe(packet: bytes) -> bytes:
    return struct.pack(">BBHH", 0x11, 0, 1, 2 + len(packet)) + ppp(packet) + b"padding"


LINKS = {
    "ethernet": (1, lambda packet: bytes(12) + ethertype(packet) + packet),
    "vlan": (1, lambda packet: bytes(12) + b"\x81\0\0\1" + ethertype(packet) + packet),
    "loopback": (0, lambda packet: b"\2\0\0\0" + packet),
    "vlan, twice": (1, lambda packet: bytes(12) + b"\x91\0\0\1\x81\0\0\2" + ethertype(packet) + packet),
    "ppp over ethernet": (1, lambda packet: bytes(12) + b"\x88\x64" + pppoe(packet)),
    "ppp over ethernet, in a vlan": (1, lambda packet: bytes(12) + b"\x81\0\0\1\x88\x64" + pppoe(packet)),
    "pppoe": (51, lambda packet: pppoe(packet)),
    "ppp": (9, lambda packet: b"\xff\x03" + ppp(packet)),
    "ppp, compressed": (9, lambda packet: ppp(packet)[1:]),
    "cooked": (113, lambda packet: bytes(14) + ethertype(packet) + packet),
    "cooked, vlan": (113, lambda packet: bytes(14) + b"\x81\0\0\1" + ethertype(packet) + packet),
    "cooked 2": (276, lambda packet: ethertype(packet) + bytes(18) + packet),
    "cooked 2, vlan": (276, lambda packet: b"\x81\0" + bytes(18) + b"\0\1" + ethertype(packet) + packet),
    "hdlc": (104, lambda packet: b"\x0f\0" + ethertype(packet) + packet),
    "raw": (101, lambda packet: packet),
}


def pcap(
    frames: Sequence[bytes], link: int = 101, order: str = "<", magic: int = 0xA1B2C3D4, snapshot: int = 65535
) -> bytes:
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snapshot, link)]
    for t, frame in enumerate(frames):
        kept = frame[:snapshot]
        out.append(struct.pack(order + "IIII", t & 0xFFFFFFFF, 0, len(kept), len(frame)) + kept)
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def pcapng(frames: Sequence[bytes], link: int = 101, order: str = "<") -> bytes:
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)  # nanoseconds
    out += block(order, 1, struct.pack(order + "HHI", link, 0, 65535) + resolution)
    out += block(order, 5, b"statistics, of no interest..")
    for t, frame in enumerate(frames):
        if t == 1:  # a simple packet has no time
            out += block(order, 3, struct.pack(order + "I", len(frame)) + frame)
            continue
        when = t * 10**9
        out += block(
            order, 6, struct.pack(order + "IIIII", 0, when >> 32, when & 0xFFFFFFFF, len(frame), len(frame)) + frame
        )
    return out


def conversation(client: bytes = b"hello there", server: bytes = b"hello yourself", port: int = CLIENT) -> list[bytes]:
    """The segments of a connection, from its beginning to its end."""
    return [
        tcp(port, SERVER, 99, SYN),
        tcp(SERVER, port, 499, SYN | ACK),
        tcp(port, SERVER, 100, ACK, client[:5]),
        tcp(port, SERVER, 105, ACK, client[5:]),
        tcp(SERVER, port, 500, ACK, server),
        tcp(port, SERVER, 100 + len(client), FIN | ACK),
        tcp(SERVER, port, 500 + len(server), FIN | ACK),
    ]


def streams(capture: Capture, conn: int = 1) -> tuple[bytes, bytes]:
    return capture.stream(conn, "client"), capture.stream(conn, "server")


SAID = (b"hello there", b"hello yourself")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_either_byte_order_and_either_unit_of_time_is_read(order: str, magic: int) -> None:
    capture = read_pcap(pcap([ipv4(one) for one in conversation()], order=order, magic=magic))
    assert streams(capture) == SAID
    assert [chunk.source for chunk in capture.chunks if chunk.data is None] == ["client", "server"]


@pytest.mark.parametrize("order", "<>")
def test_pcapng_is_read_in_either_byte_order(order: str) -> None:
    assert streams(read_pcap(pcapng([ipv4(one) for one in conversation()], order=order))) == SAID


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("ip", [ipv4, ipv6], ids=["ipv4", "ipv6"])
def test_every_usual_link_is_known(link: str, ip: type) -> None:
    number, framed = LINKS[link]
    assert streams(read_pcap(pcap([framed(ip(one)) for one in conversation()], number))) == SAID


def test_an_unusual_link_is_named() -> None:
    with pytest.raises(CaptureError, match="link type 147 is not known"):
        read_pcap(pcap([b"x" * 60], 147))


def test_an_interface_of_an_unusual_link_beside_a_usual_one_is_counted_and_passed_over() -> None:
    out = block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for link in (189, 101):  # USB, raw IP
        out += block("<", 1, struct.pack("<HHI", link, 0, 0))
    for frame in map(ipv4, conversation()):
        out += enhanced(0, b"of USB") + enhanced(1, frame)
    reader, capture = PcapReader(), Capture("tcp")
    capture.take(reader.feed(out + enhanced(7, b"of nothing")))
    capture.take(reader.finish())
    assert streams(capture) == SAID
    assert reader.skipped == {
        "frame of unknown link type 189": 7, "frame of an interface that is not described": 1,
    }  # fmt: skip


def enhanced(interface: int, frame: bytes) -> bytes:
    return block("<", 6, struct.pack("<IIIII", interface, 0, 0, len(frame), len(frame)) + frame)


@pytest.mark.parametrize("order", "<>")
def test_packet_blocks_as_they_were_before_the_enhanced_ones_are_read(order: str) -> None:
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(order, 1, struct.pack(order + "HHI", 101, 0, 0))
    for frame in map(ipv4, conversation()):
        out += block(order, 2, struct.pack(order + "HHIIII", 0, 3, 0, 0, len(frame), len(frame)) + frame)
    reader, capture = PcapReader(), Capture("tcp")
    capture.take(reader.feed(out))
    capture.take(reader.finish())
    assert streams(capture) == SAID
    assert reader.skipped == {"frame that the capture dropped": 21}


def test_segments_come_in_any_order_and_more_than_once() -> None:
    one, two, three, four, five, six, seven = conversation()
    again = tcp(CLIENT, SERVER, 103, ACK, b"lo there")
    assert streams(read_pcap(pcap([*map(ipv4, (one, two, four, again, three, five, three, six, seven))]))) == SAID


def test_sequence_numbers_wrap() -> None:
    top = (1 << 32) - 3
    said = [
        tcp(CLIENT, SERVER, top - 1, SYN),
        tcp(CLIENT, SERVER, top, ACK, b"abcdef"),
        tcp(CLIENT, SERVER, 3, ACK, b"ghi"),
    ]
    assert read_pcap(pcap([*map(ipv4, said)])).stream(1, "client") == b"abcdefghi"


def lost(capture: Capture) -> dict[tuple[int, str], str]:
    return {direction: mark.lost for direction, mark in capture.marks.items()}


def test_a_direction_of_which_the_capture_dropped_bytes_ends_there_and_says_so() -> None:
    segments = conversation()
    del segments[3]
    capture = read_pcap(pcap([*map(ipv4, segments), *map(ipv4, conversation(port=CLIENT + 1))]))
    assert streams(capture) == (b"hello", b"hello yourself")
    assert lost(capture) == {(1, "client"): LOSS}
    assert not capture.ended(1, "client")
    assert streams(capture, 2) == SAID


def test_frames_that_are_cut_at_a_snapshot_length_are_not_called_loss() -> None:
    segments = [*map(ipv4, conversation(b"hello" + b"x" * 100))]
    capture = read_pcap(pcap(segments, snapshot=80))
    assert lost(capture) == {(1, "client"): SNAPSHOT}
    assert streams(capture) == (b"hello" + b"x" * 40, b"hello yourself")


def test_padding_of_a_short_frame_that_is_cut_is_no_loss() -> None:
    segments = [ipv4(one) + bytes(60) for one in conversation()]
    capture = read_pcap(pcap(segments, snapshot=80))
    assert (streams(capture), lost(capture)) == (SAID, {})


def test_a_loss_costs_time_and_memory_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(count: int) -> float:
        frames = [ipv4(tcp(CLIENT, SERVER, 99, SYN))]
        frames += [ipv4(tcp(CLIENT, SERVER, 101 + at, ACK, b"x")) for at in range(count)]
        data = pcap(frames)
        begin = time.process_time()
        assert lost(read_pcap(data)) == {(1, "client"): LOSS}
        return time.process_time() - begin

    few, many = seconds(4_000), seconds(32_000)
    assert many < 8 * 3 * few + 0.1
    monkeypatch.setattr(module, "MOST_WAITING", 1000 * 201)
    reader = PcapReader()
    frames = [ipv4(tcp(CLIENT, SERVER, 99, SYN))]
    frames += [ipv4(tcp(CLIENT, SERVER, 101 + at, ACK, b"x")) for at in range(3_000)]
    chunks = [*reader.feed(pcap(frames)), *reader.finish()]
    assert [chunk.lost for chunk in chunks] == [LOSS]
    assert reader.skipped["TCP segment after missing bytes"] == 1001


def test_more_connections_than_are_followed_at_once_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 10)
    reader = PcapReader()
    scan = [ipv4(tcp(port, SERVER, 1, SYN)) for port in range(1000, 1100)]
    assert list(reader.feed(pcap(scan))) == []
    assert list(reader.finish()) == []
    assert reader.skipped == {"connection, since more than 10 were open": 90}


def test_many_connections_cost_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        data = pcap([ipv4(tcp(1000 + number, SERVER, 1, SYN)) for number in range(count)])
        begin = time.process_time()
        read_pcap(data)
        return time.process_time() - begin

    few, many = seconds(2_000), seconds(16_000)
    assert many < 8 * 3 * few + 0.1


def test_without_its_beginning_the_side_with_the_lower_port_is_the_server() -> None:
    assert streams(read_pcap(pcap([*map(ipv4, conversation()[2:5])]))) == SAID


def test_a_server_that_is_named_tells_the_sides_apart_and_leaves_others_out() -> None:
    other = [tcp(50000, 80, 1, ACK, b"GET /")]
    capture = read_pcap(pcap([*map(ipv4, [*other, *conversation()[2:5]])]), server=("127.0.0.1", CLIENT))
    assert capture.connections() == [1]
    assert streams(capture) == SAID[::-1]


def test_a_syn_ack_alone_tells_who_serves() -> None:
    (_, syn_ack, *others) = conversation(port=80)
    assert streams(read_pcap(pcap([*map(ipv4, [syn_ack, *others])]))) == SAID


@pytest.mark.parametrize("first", [99, 7000], ids=["the same number", "another"])
@pytest.mark.parametrize("beginning", [0, 1, 2], ids=["whole", "without the SYN", "without either"])
def test_a_four_tuple_that_is_used_again_is_another_connection(first: int, beginning: int) -> None:
    again = [shifted(one, first - 99) for one in conversation(b"once more", b"and again")][beginning:]
    capture = read_pcap(pcap([*map(ipv4, [*conversation(), *again])]))
    assert streams(capture, 1) == SAID
    if beginning < 2 or first != 99:
        assert streams(capture, 2) == (b"once more", b"and again")
    assert not capture.marks


def shifted(segment: bytes, by: int) -> bytes:
    head = list(struct.unpack_from(">HHI", segment))
    return struct.pack(">HHI", head[0], head[1], (head[2] + by) & 0xFFFFFFFF) + segment[8:]


def test_a_four_tuple_that_is_used_again_before_its_end_was_seen_is_another_connection() -> None:
    again = [shifted(one, 5000) for one in conversation(b"once more", b"and again")]
    capture = read_pcap(pcap([*map(ipv4, [*conversation()[:5], *again])]))
    assert (streams(capture, 1), streams(capture, 2)) == (SAID, (b"once more", b"and again"))


def test_the_sides_of_a_four_tuple_may_change() -> None:
    def reply(one: bytes) -> bytes:
        return one[2:4] + one[:2] + one[4:]

    again = [reply(one) for one in conversation(b"once more", b"and again")]
    capture = read_pcap(pcap([*map(ipv4, [*conversation(), *again])]))
    assert (streams(capture, 1), streams(capture, 2)) == (SAID, (b"once more", b"and again"))


def test_a_syn_that_is_sent_twice_begins_one_connection() -> None:
    syn, *others = conversation()
    assert read_pcap(pcap([*map(ipv4, [syn, syn, *others])])).connections() == [1]


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_capture_that_was_cut_off_is_read_up_to_there(make: type) -> None:
    whole = make([ipv4(one) for one in conversation()])
    for size in range(24, len(whole)):
        capture = read_pcap(whole[:size])
        assert SAID[0].startswith(capture.stream(1, "client"))


def test_less_than_a_header_is_an_error() -> None:
    with pytest.raises(CaptureError, match="byte 0 of the file: expected a header of 24 bytes, found 10 bytes"):
        read_pcap(pcap([])[:10])


def test_frames_that_hold_no_tcp_are_passed_over() -> None:
    noise = [
        b"",
        b"\x45",
        b"\x60" + bytes(10),
        ipv4(b"short"),
        b"\x45" + bytes(8) + b"\x11" + bytes(20),
        b"\x15" + bytes(60),
    ]
    udp6 = bytearray(ipv6(tcp(1, 2, 3, 0, b"x")))
    udp6[40] = 17
    assert streams(read_pcap(pcap([*noise, bytes(udp6), *map(ipv4, conversation())]))) == SAID


def test_what_is_skipped_is_counted_by_what_it_is() -> None:
    fragment = bytearray(ipv4(tcp(1, 2, 3, 0, b"x")))
    fragment[6] = 0x20  # more of it follows
    reader = PcapReader(("127.0.0.1", SERVER))
    frames = [bytes(12) + b"\x08\x06" + bytes(28), *(bytes(12) + b"\x08\0" + one for one in (
        bytes(fragment), b"\x45" + bytes(8) + b"\x11" + bytes(20), ipv4(tcp(1, 2, 3, ACK, b"x")),
        ipv4(tcp(1, SERVER, 3, ACK)), ipv4(b"short"),
    ))]  # fmt: skip
    assert list(reader.feed(pcap(frames, 1) + b"cut off")) == []
    assert list(reader.finish()) == []
    assert reader.skipped == {
        "frame without IP": 1, "IP fragment": 1, "IP packet without TCP": 1, "TCP segment of another server": 1,
        "TCP segment without data of a connection whose beginning is missing": 1,
        "incomplete TCP segment": 1, "frame that is cut off by the end of the file": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            pcap([]) + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31),
            "byte 32 of .*: expected the length of a frame",
        ),
        (pcapng([])[:28] + struct.pack("<II", 6, 7) + bytes(8), "byte 32 of the file: expected the length of a block"),
        (
            pcapng([])[:28] + struct.pack("<III", 1, 20, 0) + bytes(8),
            "byte 44 of .*: expected the block's length again, 20",
        ),
        (pcapng([])[:8] + bytes(20), "byte 8 of the file: expected a byte-order magic, found 00 00 00 00"),
        (pcapng([]) + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), "a frame of at most 0 bytes, found 99"),
        (b"\x0a\x0d\x0d\x0b", "byte 0 of the file: expected the first bytes of a pcap or pcapng file"),
    ],
    ids=range(6),
)
def test_a_wrong_file_ends_in_a_line_that_says_where(data: bytes, problem: str) -> None:
    with pytest.raises(CaptureError, match=problem):
        read_pcap(data)


def test_a_block_of_no_use_is_passed_over_however_long_it_is() -> None:
    reader = PcapReader()
    size = 1 << 26
    assert list(reader.feed(pcapng([]) + struct.pack("<II", 0xBAD, size) + bytes((1 << 20) - 8))) == []
    for _ in range(size // (1 << 20) - 1):
        assert list(reader.feed(bytes(1 << 20))) == []
    chunks = list(reader.feed(pcapng([*map(ipv4, conversation())])))
    assert b"".join(chunk.data or b"" for chunk in chunks if chunk.source == "client") == SAID[0]


@pytest.mark.parametrize("make", [pcap, pcapng])
@given(data=st.data())
def test_pieces_of_any_size_give_the_same_and_nothing_but_the_documented_error(
    make: Callable[..., bytes], data: st.DataObject
) -> None:
    segments = data.draw(st.permutations([*conversation(), *conversation(b"once more", b"and again")]))
    file = bytearray(make([ipv4(one)[: data.draw(st.integers(30, 90))] for one in segments]))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        file += b"x" * (not file)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=6)))

    def read(pieces: Iterable[bytes]) -> Any:
        reader = PcapReader()
        try:
            chunks = [*itertools.chain.from_iterable(map(reader.feed, pieces)), *reader.finish()]
        except CaptureError as error:
            return str(error)
        return chunks, reader.skipped

    whole = read([bytes(file)])
    assert "\n" not in str(whole)
    assert whole == read(bytes(file[a:b]) for a, b in itertools.pairwise([0, *cuts, len(file)]))


def test_what_is_no_packet_capture_is_told_apart() -> None:
    assert is_pcap(pcap([])[:4])
    assert is_pcap(pcapng([])[:4])
    assert not is_pcap(b'{"bo')


def test_a_capture_of_the_default_profile_is_recognised(tmp_path: Path) -> None:
    segments = []
    for number, one in enumerate(recording(INFERRED_1)):
        segments += conversation(one.client, one.server, CLIENT + number)
    path = tmp_path / "session.pcap"
    path.write_bytes(pcap([*map(ipv4, segments)]))
    recorded = load_recording(path).connections
    assert recorded == from_capture(read_pcap(path.read_bytes()))
    assert verdict(solved(recorded), secure=True).startswith("default profile, exact")
