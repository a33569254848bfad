"""A recording, explained: which bytes are framing, nonce, tag and box, and what a box contains.

It feeds a recording to `bokbok.wire.transcript`, which takes conversations apart for any profile. It turns the packets
into what reports show: plain values, and text. The cases decide whether a conversation is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokbok.wire import Profile
from bokbok.wire.boxes import Role
from bokbok.wire.transcript import Packet, Range, Secrets, Transcript
from bokbok_traffic.capture import CLIENT, SERVER, Capture, Chunk

__all__ = ["Conversation", "beginning", "explain", "not_random", "plain", "render", "take"]

SHOWN_TEXT = 600
"""Bytes of a message that are also shown as text."""
_BEGINNING = 1_024
"""About how many bytes of each direction the beginning of a recording has."""
MAX_PACKETS = 2_000
"""Packets of one conversation that are explained."""


class Conversation:
    """One connection of a recording, taken apart.

    Args:
        capture: the recording.
        conn: number of the connection in it.
        profile: the wire format.
        secrets: passphrases or keys by user.
        most: how many packets are explained; the bytes after them are only counted.

    Attributes:
        packets: of both directions, in the order in which they were complete.
        user: who said hello, once the hello has opened; `None` otherwise.
        problem: the first thing that could not be explained, or empty.
        session: a fingerprint of the session key, only for comparison; `None` if there is none.
    """

    def __init__(
        self, capture: Capture, conn: int, profile: Profile, secrets: Secrets, *, most: int = MAX_PACKETS
    ) -> None:
        self.conn = conn
        self.profile = profile
        self.transcript = Transcript(profile, secrets)
        self.packets: list[Packet] = []
        left: dict[str, int] = {CLIENT: 0, SERVER: 0}  # bytes that are not explained any more
        t = 0.0
        for chunk in capture.chunks:
            if chunk.conn != conn:
                continue
            t = chunk.t
            if len(self.packets) < most:
                self.packets += take(self.transcript, chunk)
            else:
                left[chunk.source] += len(chunk.data or b"")
        self.packets += self.transcript.cut(t)
        ends: tuple[Role, Role] = (CLIENT, SERVER)
        for source in ends:
            if left[source]:
                problem = f"more than {most} packets: {left[source]} bytes of the {source} are not explained"
                self.packets.append(Packet(t, source, 0, b"", "the rest", [], problem=problem))
        self.user = self.transcript.user
        self.session = self.transcript.session
        self.problem = next((packet.problem for packet in self.packets if packet.problem), "")


def take(transcript: Transcript, chunk: Chunk) -> list[Packet]:
    """Feed a chunk of a recording to the transcript of its connection. Returns the packets that are complete now."""
    source: Any = chunk.source
    if chunk.data is not None:
        return transcript.feed(source, chunk.data, chunk.t)
    return transcript.cut(chunk.t) if chunk.lost else transcript.end(source, chunk.t)


def not_random(conversations: Sequence[Conversation], source: str | None = None) -> list[str]:
    """Which bytes are the same in several conversations, or repeat another byte in each, although all of them should be
    random.

    Args:
        conversations: each of its own connection.
        source: compare the random half (the first 16 bytes) of this side's nonces; `None`: compare the session keys.

    Returns:
        What is wrong with each such byte, in words; the first is byte 0.
    """
    if source is None:
        found = [one.transcript.session_key or b"" for one in conversations]
    else:
        found = [
            next((p.nonce[:16] for p in one.packets if p.source == source and p.nonce), b"") for one in conversations
        ]
    if not found or not all(found):
        return []
    wrong = []
    before: dict[tuple[int, ...], int] = {}
    for index, column in enumerate(zip(*found, strict=False)):
        if len(set(column)) == 1:
            wrong.append(f"byte {index} never changes")
        elif before.setdefault(column, index) != index:
            wrong.append(f"byte {index} is always as byte {before[column]}")
    return wrong


def explain(
    capture: Capture, profile: Profile, secrets: Secrets, *, cap: int = 4_096, total: int = 1 << 20
) -> list[dict[str, Any]]:
    """A whole recording as plain values, for JSON and HTML.

    Args:
        capture: the recording.
        profile: the wire format.
        secrets: see `Conversation`.
        cap: the most bytes of one range that are shown.
        total: about how many bytes of the whole recording are shown. In a longer one, each range shows less.
    """
    packets = [
        (packet, conn) for conn in capture.connections()
        for packet in Conversation(capture, conn, profile, secrets).packets
    ]  # fmt: skip
    packets.sort(key=lambda found: found[0].t)
    if sum(min(cap, len(r.data)) for packet, _ in packets for r in packet.ranges) > total:
        cap = max(32, min(cap, total // (1 + sum(len(packet.ranges) for packet, _ in packets))))
    return [plain(packet, conn, cap) for packet, conn in packets[:MAX_PACKETS]]


def plain(packet: Packet, conn: int, cap: int) -> dict[str, Any]:
    """One packet as plain values.

    Args:
        packet: of a transcript.
        conn: number of its connection.
        cap: bytes of one range that are shown.
    """
    return {
        "t": round(packet.t, 6),
        "from": packet.source,
        "conn": conn,
        "title": packet.title,
        "problem": packet.problem,
        "text": packet.body[:SHOWN_TEXT].decode("utf-8", "backslashreplace"),
        "ranges": [_range(one, cap) for one in packet.ranges],
    }


def _range(one: Range, cap: int) -> dict[str, Any]:
    return {
        "offset": one.offset, "hex": one.data[:cap].hex(), "length": len(one.data), "layer": one.layer,
        "note": one.note,
    }  # fmt: skip


def beginning(capture: Capture, profile: Profile, secrets: Secrets, *, packets: int, cap: int) -> Any:
    """As `explain`, for the first packets of a recording's first connection: fast, however long the recording is."""
    first = Capture(capture.transport)
    connection = next((chunk.conn for chunk in capture.chunks), 0)
    sizes = {CLIENT: 0, SERVER: 0}
    for chunk in capture.chunks:
        if chunk.conn != connection or sizes[chunk.source] > _BEGINNING:
            continue
        sizes[chunk.source] += len(chunk.data or b"")
        first.add(chunk.t, chunk.conn, chunk.source, None if chunk.data is None else chunk.data[: 2 * _BEGINNING])
        if min(sizes.values()) > _BEGINNING:
            break
    found = explain(first, profile, secrets, cap=cap)
    return [packet for packet in found if not packet["problem"].startswith("cut off")][:packets]


def render(packets: list[dict[str, Any]]) -> str:
    """What `explain` returned, as text: 16 bytes on each line, with the layer beside them."""
    lines: list[str] = []
    for packet in packets:
        arrow = "client → server" if packet["from"] == CLIENT else "server → client"
        size = sum(r["length"] for r in packet["ranges"] if r["offset"] >= 0)
        count = f", {size} bytes" if size else ""
        lines.append(f"{packet['t']:9.4f} s  #{packet['conn']}  {arrow}  {packet['title']}{count}")
        if packet["text"]:
            lines.append(f"           says {packet['text']}")
        if packet["problem"]:
            lines.append(f"           ! {packet['problem']}")
        for r in packet["ranges"]:
            data = bytes.fromhex(r["hex"])
            label = r["layer"] + (f": {r['note']}" if r["note"] else "")
            if not data:
                lines.append(f"    {'opened' if r['offset'] < 0 else format(r['offset'], '06x')}  {label}")
            for i in range(0, len(data), 16):
                row = data[i : i + 16]
                where = "    ..." if r["offset"] < 0 else f"{r['offset'] + i:06x}"
                text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
                lines.append(f"    {where:>6}  {row.hex(' '):<47}  {text:<16}  {label if i == 0 else ''}".rstrip())
            if len(data) < r["length"]:
                lines.append(f"            ... {r['length'] - len(data)} more bytes")
    return "\n".join(lines) + ("\n" if lines else "")
