"""Packet captures: pcap and pcapng files, the TCP connections in them put together.

What this module knows: the two file formats, Ethernet, Linux "cooked", loopback and raw IP frames, IPv4, IPv6 and TCP,
as far as it takes to get the bytes of a connection in order. What it refuses to know: what the bytes mean.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, and the list of link types of the tcpdump group.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from .capture import Capture, CaptureError

__all__ = ["is_pcap", "read_pcap"]

_MAGIC = {b"\xa1\xb2\xc3\xd4": (">", 1e-6), b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
          b"\xa1\xb2\x3c\x4d": (">", 1e-9), b"\x4d\x3c\xb2\xa1": ("<", 1e-9)}  # fmt: skip
_NG = b"\x0a\x0d\x0d\x0a"
_ETHERNET, _NULL, _RAW, _RAW_BSD, _SLL, _SLL2, _LOOP = 1, 0, 101, 12, 113, 276, 108
_FIN, _SYN, _RST = 1, 2, 4


def is_pcap(head: bytes) -> bool:
    """Whether a file that begins so is a packet capture."""
    return head[:4] in _MAGIC or head[:4] == _NG


def _frames(data: bytes) -> Iterator[tuple[float, int, bytes]]:
    """Time, link type and bytes of each frame."""
    if data[:4] == _NG:
        yield from _ng_frames(data)
        return
    order, unit = _MAGIC[data[:4]]
    if len(data) < 24:
        raise CaptureError(f"packet capture: {len(data)} bytes, expected a header of 24")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, kept, _ = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + kept > len(data):
            return  # cut off while it was written
        yield seconds + fraction * unit, link, data[at + 16 : at + 16 + kept]
        at += 16 + kept


def _ng_frames(data: bytes) -> Iterator[tuple[float, int, bytes]]:
    order, at = "<", 0
    links: list[tuple[int, float]] = []
    while at + 12 <= len(data):
        if data[at : at + 4] == _NG:
            order = ">" if data[at + 8 : at + 12] == b"\x1a\x2b\x3c\x4d" else "<"
            links = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            return
        body = data[at + 8 : at + size - 4]
        if kind == 1 and len(body) >= 8:
            links.append((struct.unpack_from(order + "H", body)[0], _resolution(body[8:], order)))
        elif kind == 6 and len(body) >= 20:
            interface, high, low, kept = struct.unpack_from(order + "IIII", body)
            if interface < len(links):
                link, unit = links[interface]
                yield (high << 32 | low) * unit, link, body[20 : 20 + kept]
        elif kind == 3 and links and len(body) >= 4:
            yield 0.0, links[0][0], body[4 : 4 + struct.unpack_from(order + "I", body)[0]]
        at += size


def _resolution(options: bytes, order: str) -> float:
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == 0:
            break
        if code == 9 and size == 1:
            value = options[at + 4]
            return float(2.0 ** -(value & 127)) if value & 128 else float(10.0**-value)
        at += 4 + (size + 3) // 4 * 4
    return 1e-6


def _ip(link: int, frame: bytes) -> bytes | None:
    """The IP packet in a frame."""
    if link == _ETHERNET:
        at = 12
        kind = int.from_bytes(frame[at : at + 2], "big")
        while kind in (0x8100, 0x88A8):
            at += 4
            kind = int.from_bytes(frame[at : at + 2], "big")
        return frame[at + 2 :] if kind in (0x0800, 0x86DD) else None
    skip = {_NULL: 4, _LOOP: 4, _RAW: 0, _RAW_BSD: 0, 14: 0, 228: 0, 229: 0, _SLL: 16, _SLL2: 20}.get(link)
    if skip is None:
        raise CaptureError(
            f"packet capture: link type {link} is not known; expected Ethernet, cooked, loopback or raw IP"
        )
    return frame[skip:]


@dataclass(frozen=True)
class _Segment:
    t: float
    source: tuple[str, int]
    target: tuple[str, int]
    flags: int
    number: int
    data: bytes


def _segments(data: bytes) -> Iterator[_Segment]:
    for t, link, frame in _frames(data):
        packet = _ip(link, frame)
        if not packet:
            continue
        version = packet[0] >> 4
        if version == 4 and len(packet) >= 20:
            head = (packet[0] & 15) * 4
            total = int.from_bytes(packet[2:4], "big") or len(packet)  # 0: left to the network card
            if packet[9] != 6 or int.from_bytes(packet[6:8], "big") & 0x1FFF:
                continue
            source, target = str(ipaddress.IPv4Address(packet[12:16])), str(ipaddress.IPv4Address(packet[16:20]))
            tcp = packet[head:total]
        elif version == 6 and len(packet) >= 40:
            following, at = packet[6], 40
            total = 40 + int.from_bytes(packet[4:6], "big")
            total = len(packet) if total == 40 else total
            while following in (0, 43, 60) and at + 8 <= len(packet):
                following, at = packet[at], at + 8 + packet[at + 1] * 8
            if following != 6:
                continue
            source, target = str(ipaddress.IPv6Address(packet[8:24])), str(ipaddress.IPv6Address(packet[24:40]))
            tcp = packet[at:total]
        else:
            continue
        if len(tcp) < 20:
            continue
        source_port, target_port, number = struct.unpack_from(">HHI", tcp)
        yield _Segment(t, (source, source_port), (target, target_port), tcp[13], number, tcp[(tcp[12] >> 4) * 4 :])


@dataclass
class _Flow:
    """One direction: what came out of order waits."""

    next: int | None = None
    waiting: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    end: int | None = None
    ended: bool = False


def read_pcap(data: bytes, *, server: tuple[str, int] | None = None) -> Capture:
    """Put the TCP connections of a packet capture together.

    Args:
        data: the file.
        server: address (or "") and port of the server: other connections are left out, and it tells the sides apart where
            the first packet of a connection is missing.

    Returns:
        A recording, its connections numbered in the order in which they began.

    Raises:
        CaptureError: it is no packet capture, or of a kind that is not known, or bytes are missing in the middle.
    """  # noqa: E501
    capture = Capture("tcp")
    flows: dict[tuple[tuple[str, int], tuple[str, int]], tuple[int, dict[str, _Flow]]] = {}
    start: float | None = None
    for segment in _segments(data):
        ends = segment.source, segment.target
        if server is not None and not any(end[1] == server[1] and server[0] in ("", end[0]) for end in ends):
            continue
        start = segment.t if start is None else start
        syn = segment.flags & _SYN
        opening = syn and not segment.flags & 16
        if opening and (ends not in flows or flows[ends][1]["client"].next != (segment.number + 1) & 0xFFFFFFFF):
            flows[ends] = (len({id(f) for f in flows.values()}) + 1, {"client": _Flow(), "server": _Flow()})
        if ends in flows:
            key, side = ends, "client"
        elif ends[::-1] in flows:
            key, side = ends[::-1], "server"
        else:
            # Its beginning is missing: whoever has the server's port, or the lower one, is taken for the server.
            if not segment.data:
                continue
            port = server[1] if server is not None else min(ends[0][1], ends[1][1])
            side = "server" if ends[0][1] == port else "client"
            key = ends if side == "client" else ends[::-1]
            flows[key] = (len(flows) + 1, {"client": _Flow(), "server": _Flow()})
        number, pair = flows[key]
        flow = pair[side]
        begin = (segment.number + (1 if syn else 0)) & 0xFFFFFFFF
        if syn or flow.next is None:
            flow.next = begin if flow.next is None or syn else flow.next
        if segment.data:
            flow.waiting.setdefault(begin, (segment.t - start, segment.data))
            held = flow.waiting[begin]
            if len(held[1]) < len(segment.data):
                flow.waiting[begin] = (segment.t - start, segment.data)
        if segment.flags & (_FIN | _RST):
            flow.end = (begin + len(segment.data)) & 0xFFFFFFFF
        _deliver(capture, number, side, flow, segment.t - start)
    for number, pair in flows.values():
        for side, flow in pair.items():
            if flow.waiting and not flow.ended:
                raise CaptureError(
                    f"packet capture: connection {number}: bytes of the {side} are missing in the middle (dropped by the "  # noqa: E501
                    "capture); record again with a larger buffer (tcpdump -B)"
                )
    return capture


def _deliver(capture: Capture, number: int, side: str, flow: _Flow, t: float) -> None:
    while flow.next is not None:
        for begin in list(flow.waiting):
            behind = (flow.next - begin) & 0xFFFFFFFF
            if behind < 1 << 31:
                when, data = flow.waiting.pop(begin)
                fresh = data[behind:]  # a retransmission may bring bytes again
                if fresh:
                    capture.add(when, number, side, fresh)
                    flow.next = (flow.next + len(fresh)) & 0xFFFFFFFF
                break
        else:
            break
    if flow.end is not None and flow.next == flow.end and not flow.ended:
        flow.ended = True
        capture.add(t, number, side, None)
