"""Finds the TCP segment in a frame: link layers, IPv4 and IPv6.

Link types have the numbers of the tcpdump group's list (LINKTYPE_…). Frames without TCP are counted by kind.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from typing import NamedTuple

from .container import Frame

__all__ = ["Segment", "Segments"]

End = tuple[str, int]
"""Address and port."""

_IPV4, _IPV6, _PPPOE = 0x0800, 0x86DD, 0x8864
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
"""Ethertypes of VLAN tags: 802.1Q, 802.1ad, and the two that were used earlier for double tags."""
_PPP = {0x0021: _IPV4, 0x0057: _IPV6}

_BARE = {0: 4, 108: 4, 101: 0, 12: 0, 14: 0, 228: 0, 229: 0}
"""Link types with an IP packet after a header of so many bytes: two kinds of loopback, five of raw IP."""
_TYPED = {1: (12, 14), 113: (14, 16), 276: (0, 20), 104: (2, 4)}
"""Link types with an ethertype: where it is, how long the header is. Ethernet, two kinds of cooked, Cisco HDLC."""
_PPP_LINKS = (9, 50)
_PPPOE_LINK = 51


class Segment(NamedTuple):
    """A TCP segment.

    Attributes:
        t: seconds.
        source: the sender.
        target: the receiver.
        flags: the flags of its header.
        number: its sequence number.
        data: its data, as far as it was kept.
        cut: how many bytes of the data the capture did not keep.
    """

    t: float
    source: End
    target: End
    flags: int
    number: int
    data: bytes
    cut: int


class Segments:
    """Finds the TCP segments.

    Args:
        skipped: counts frames without a TCP segment, by kind.

    Attributes:
        links: the unknown link types, and how many frames of each there were.
        known: whether there was a frame of a known link type.
    """

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped
        self.links: Counter[int] = Counter()
        self.known = False

    def of(self, frame: Frame) -> Segment | None:
        """The segment in a frame. If there is none, it is counted, and this returns `None`."""
        problem, packet = self._ip(frame)
        if not problem:
            found = self._segment(frame, packet)
            if isinstance(found, Segment):
                return found
            problem = found
        self._skipped[problem] += 1
        return None

    def _ip(self, frame: Frame) -> tuple[str, bytes]:
        """What is wrong with a frame, and the IP packet in it."""
        link, data = frame.link, frame.data
        if link not in _BARE and link not in _TYPED and link not in _PPP_LINKS and link != _PPPOE_LINK:
            self.links[link] += 1
            return f"frame of unknown link type {link}", b""
        self.known = True
        if link in _BARE:
            return "", data[_BARE[link] :]
        if link == _PPPOE_LINK:
            return _in_pppoe(data)
        if link in _PPP_LINKS:
            return _in_ppp(data)
        place, head = _TYPED[link]
        kind = int.from_bytes(data[place : place + 2], "big")
        at = head
        while kind in _TAGS:  # a tag is two bytes, then the next type
            kind = int.from_bytes(data[at + 2 : at + 4], "big")
            at += 4
        if kind == _PPPOE:
            return _in_pppoe(data[at:])
        if kind not in (_IPV4, _IPV6):
            return ("frame that is cut off in its header" if len(data) < at else "frame without IP"), b""
        return "", data[at:]

    @staticmethod
    def _segment(frame: Frame, packet: bytes) -> Segment | str:
        missing = max(0, frame.size - len(frame.data))
        version = packet[0] >> 4 if packet else 0
        if version == 4 and len(packet) >= 20:
            at = (packet[0] & 15) * 4
            total = int.from_bytes(packet[2:4], "big")
            if int.from_bytes(packet[6:8], "big") & 0x3FFF:
                return "IP fragment"
            following, addresses = packet[9], (packet[12:16], packet[16:20])
        elif version == 6 and len(packet) >= 40:
            following, at = packet[6], 40
            total = int.from_bytes(packet[4:6], "big")
            total += 40 if total else 0
            addresses = packet[8:24], packet[24:40]
            while following in (0, 43, 60) and at + 8 <= len(packet):
                following, at = packet[at], at + 8 + packet[at + 1] * 8
            if following == 44:
                return "IP fragment"
        else:
            return "frame that is cut off in its header" if missing else "frame without IP"
        if following != 6:
            return "IP packet without TCP"
        total = total or len(packet) + missing  # 0: left to the network card
        tcp = packet[at:total]
        head = (tcp[12] >> 4) * 4 if len(tcp) >= 20 else 0
        if head < 20:
            return "frame that is cut off in its header" if missing else "incomplete TCP segment"
        source_port, target_port, number = struct.unpack_from(">HHI", tcp)
        source, target = (str(ipaddress.ip_address(address)) for address in addresses)
        cut = max(0, min(total, len(packet) + missing) - len(packet))
        return Segment(frame.t, (source, source_port), (target, target_port), tcp[13], number, tcp[head:], cut)


def _in_pppoe(data: bytes) -> tuple[str, bytes]:
    """The content of a PPP over Ethernet session: six bytes of header, then PPP."""
    if len(data) < 8 or data[1]:
        return "frame without IP", b""
    return _in_ppp(data[6 : 6 + int.from_bytes(data[4:6], "big")])


def _in_ppp(data: bytes) -> tuple[str, bytes]:
    data = data.removeprefix(b"\xff\x03")
    compressed = bool(data and data[0] & 1)  # the protocol may be one byte
    kind = data[0] if compressed else int.from_bytes(data[:2], "big")
    return ("" if kind in _PPP else "frame without IP"), data[1 if compressed else 2 :]
