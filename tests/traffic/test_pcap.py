"""Packet captures, written byte by byte as the formats' drafts have them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from bokbok.wire import INFERRED_1
from bokbok_calibrate.report import verdict
from bokbok_traffic.capture import Capture, CaptureError
from bokbok_traffic.pcap import is_pcap, read_pcap
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
    # A hop-by-hop header stands before the segment.
    return struct.pack(">IHBB", 6 << 28, 8 + len(segment), 0, 64) + here + here + bytes((6, 0, *bytes(6))) + segment


LINKS = {
    "ethernet": (1, lambda packet: bytes(12) + (b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet),
    "vlan": (
        1,
        lambda packet: bytes(12) + b"\x81\0\0\1" + (b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet,
    ),
    "loopback": (0, lambda packet: b"\2\0\0\0" + packet),
    "cooked": (113, lambda packet: bytes(16) + packet),
    "cooked 2": (276, lambda packet: bytes(20) + packet),
    "raw": (101, lambda packet: packet),
}


def pcap(frames: Sequence[bytes], link: int = 101, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for t, frame in enumerate(frames):
        out += struct.pack(order + "IIII", t, 0, len(frame), len(frame)) + frame
    return out


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


def test_bytes_that_the_capture_dropped_are_said_to_be_missing() -> None:
    segments = conversation()
    del segments[2]
    with pytest.raises(CaptureError, match="connection 1: bytes of the client are missing in the middle"):
        read_pcap(pcap([*map(ipv4, segments)]))


def test_without_its_beginning_the_side_with_the_lower_port_is_the_server() -> None:
    assert streams(read_pcap(pcap([*map(ipv4, conversation()[2:5])]))) == SAID


def test_a_server_that_is_named_tells_the_sides_apart_and_leaves_others_out() -> None:
    other = [tcp(50000, 80, 1, ACK, b"GET /")]
    capture = read_pcap(pcap([*map(ipv4, [*other, *conversation()[2:5]])]), server=("127.0.0.1", CLIENT))
    assert capture.connections() == [1]
    assert streams(capture) == SAID[::-1]


def test_a_port_that_is_used_again_is_another_connection() -> None:
    again = conversation(b"once more", b"and again")
    again[0] = tcp(CLIENT, SERVER, 99, SYN)
    capture = read_pcap(pcap([*map(ipv4, [*conversation(), *again])]))
    assert streams(capture, 1) == SAID


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_capture_that_was_cut_off_is_read_up_to_there(make: type) -> None:
    whole = make([ipv4(one) for one in conversation()])
    for size in range(24, len(whole)):
        capture = read_pcap(whole[:size])
        assert SAID[0].startswith(capture.stream(1, "client"))


def test_less_than_a_header_is_an_error() -> None:
    with pytest.raises(CaptureError, match="10 bytes, expected a header of 24"):
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
    recorded = load_recording(path)
    assert recorded == from_capture(read_pcap(path.read_bytes()))
    assert verdict(solved(recorded), secure=True).startswith("default profile, exact")
