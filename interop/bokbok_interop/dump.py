"""A recording, explained: which bytes are framing, nonce, tag, box, and what they say when opened.

What this module knows: how to take a conversation apart with the strategies of a profile and the passphrases that the
runner gave out itself. What it refuses to know: whether the conversation is right; whatever cannot be explained is
shown as it is, with the reason, and never raises.

The session key and the keys of users are used and not shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError
from bokbok.keys import Key
from bokbok.wire import Profile
from bokbok.wire.boxes import NONCE_BYTES, TAG_BYTES, box_opener
from bokbok_traffic.capture import CLIENT, SERVER, Capture

__all__ = ["Conversation", "Packet", "Range", "beginning", "explain", "fixed_bytes", "render"]

SPLIT_LIMIT = 64 * 1024 * 1024
DEPTH = 20_000
SHOWN_TEXT = 600
"""Bytes of a message that are shown as text, beside its bytes."""
_BEGINNING = 1_024
"""Bytes of each direction that the beginning of a recording has, about."""
MAX_PACKETS = 2_000
"""Packets of one conversation that are explained."""


@dataclass(frozen=True)
class Range:
    """Some bytes and the layer they belong to.

    Attributes:
        offset: from the beginning of the direction's stream; -1 for bytes that came out of a box.
        data: the bytes.
        layer: `framing`, `hello`, `nonce`, `tag`, `box`, `message`, `opened`, `raw`.
        note: what they say.
    """

    offset: int
    data: bytes
    layer: str
    note: str = ""


@dataclass
class Packet:
    """One packet of a conversation.

    Attributes:
        t: seconds, when its last byte came.
        source: `client` or `server`.
        conn: number of the connection.
        title: what it is, in words.
        ranges: its bytes, all of them, in order; after them what came out of its box.
        nonce: of its box, or `None`.
        body: the message's bytes, opened if they were boxed; empty for a hello.
        message: tag, ID and datum, or `None` if it is none or does not read.
        problem: what is wrong with it, or empty.
    """

    t: float
    source: str
    conn: int
    title: str = ""
    ranges: list[Range] = field(default_factory=list)
    nonce: bytes | None = None
    body: bytes = b""
    message: tuple[str, int, Any] | None = None
    problem: str = ""


class Conversation:
    """One connection of a recording, taken apart.

    Args:
        capture: the recording.
        conn: number of the connection in it.
        profile: what was spoken.
        secrets: passphrases by user; none means that the connection is read as an insecure one. The values may be
            `Key` objects as well.

    Attributes:
        packets: of both directions, in the order in which they were complete.
        user: who said hello, once it opened; `None` otherwise.
        problem: the first thing that could not be explained, or empty.
        session: a fingerprint of the session key, to compare and not to open anything with; `None` if there is none.
    """

    _KINDS = ("request", "response", "error")

    def __init__(self, capture: Capture, conn: int, profile: Profile, secrets: Mapping[str, str | Key]) -> None:
        self.conn = conn
        self.profile = profile
        self.user: str | None = None
        self.problem = ""
        self.session: bytes | None = None
        self._secret = b""
        self._open: Any = None
        self._codec = profile.messages.bind(profile.dialect, DEPTH)
        self._secrets = secrets
        self.packets: list[Packet] = []
        for source in (CLIENT, SERVER):  # the client first: its hello has the session key
            self.packets += self._direction(capture, source)
        self.packets.sort(key=lambda packet: packet.t)
        self.problem = next((packet.problem for packet in self.packets if packet.problem), "")

    def _direction(self, capture: Capture, source: str) -> Iterator[Packet]:
        times: list[tuple[int, float]] = []  # end offset of a chunk, when it came
        end = 0
        eof: float | None = None
        chunks: list[bytes] = []
        for chunk in capture.chunks:
            if chunk.conn != self.conn or chunk.source != source:
                continue
            if chunk.data is None:
                eof = chunk.t
                continue
            end += len(chunk.data)
            times.append((end, chunk.t))
            chunks.append(chunk.data)
        stream = b"".join(chunks)
        hello = self.profile.hello.server() if source == CLIENT and self._secrets else None
        at = 0
        for body, size, problem in self._split(stream):
            at_end = at + size
            when = next((t for end, t in times if end >= at_end), times[-1][1] if times else 0.0)
            packet = Packet(when, source, self.conn)
            if body is None:
                packet.title, packet.problem = "bytes that are no packet", problem
                packet.ranges.append(Range(at, stream[at:at_end], "raw", problem))
            else:
                head = size - len(body)
                if head:
                    packet.ranges.append(Range(at, stream[at : at + head], "framing", f"length {len(body)}"))
                hello = self._explain(packet, body, at + head, hello)
            yield packet
            at = at_end
        if eof is not None:
            yield Packet(eof, source, self.conn, "end of file")

    def _split(self, stream: bytes) -> Iterator[tuple[bytes | None, int, str]]:
        """Packets, each with how many bytes of the stream it took; at last what is left over."""
        splitter = self.profile.framing.splitter(SPLIT_LIMIT)
        splitter.feed(stream)
        at = 0
        for _ in range(MAX_PACKETS):
            try:
                body = splitter.next()
            except BokbokError as error:
                yield None, len(stream) - at, str(error)
                return
            if body is None:
                break
            out: list[bytes] = []
            self.profile.framing.write(out, body)
            size = sum(map(len, out))
            yield body, size, ""
            at += size
        else:
            if at < len(stream):
                yield None, len(stream) - at, f"more than {MAX_PACKETS} packets: the rest is not explained"
            return
        if at < len(stream):
            yield None, len(stream) - at, f"cut off: {splitter.pending() or 'the rest of a packet is missing'}"

    def _explain(self, packet: Packet, body: bytes, at: int, hello: Any) -> Any:
        """Fill in one packet; returns the hello that is still going on, or `None`."""
        if hello is not None:
            try:
                whole = hello.receive(body)
            except BokbokError as error:
                packet.title, packet.problem = "no hello", str(error)
                packet.ranges.append(Range(at, body, "raw", str(error)))
                return None
            if not whole:
                packet.title = "hello: username"
                packet.ranges.append(Range(at, body, "hello", f"username {_text(body)}"))
                return hello
            packet.title = "hello: session key"
            self._session_key(packet, hello, body, at)
            return None
        if self._secrets:
            self._boxed(packet, body, at)
        else:
            packet.body = body
            packet.ranges.append(Range(at, body, "message", ""))
        if not packet.problem:
            self._message(packet)
        return None

    def _session_key(self, packet: Packet, hello: Any, body: bytes, at: int) -> None:
        user = hello.user.decode("utf-8", "surrogateescape")
        candidates = [user] if user in self._secrets else []
        candidates += [other for other in self._secrets if other != user]
        for candidate in candidates:
            try:
                session = hello.session_key(box_opener(self._key(self._secrets[candidate])))
            except BokbokError:
                continue
            self._open = box_opener(session)
            self._secret = session
            self.session = hashlib.sha256(b"fingerprint" + session).digest()
            self.user = user
            note = f"opens under the key of {_text(candidate.encode('utf-8', 'surrogateescape'))}"
            if candidate != user:
                packet.problem = f"the session key's box {note}, who is not the user"
            self._box_ranges(packet, body, at, note)
            packet.ranges.append(Range(-1, b"", "opened", f"a session key of {len(session)} bytes (not shown)"))
            return
        packet.problem = "the session key's box does not open under any key of this case"
        self._box_ranges(packet, body, at, packet.problem)

    def _key(self, secret: str | Key) -> bytes:
        if isinstance(secret, Key):
            return secret.to_bytes()
        return self.profile.key_derivation(secret.encode("utf-8", "surrogateescape"))

    def _boxed(self, packet: Packet, body: bytes, at: int) -> None:
        if self._open is None:
            packet.title = "a packet"
            packet.problem = "cannot be opened: no session key is known"
            packet.ranges.append(Range(at, body, "raw", packet.problem))
            return
        try:
            packet.body = self._open(body)
        except BokbokError as error:
            packet.title, packet.problem = "a packet that does not open", str(error)
            packet.ranges.append(Range(at, body, "raw", str(error)))
            return
        self._box_ranges(packet, body, at, "opens under the session key")
        packet.ranges.append(Range(-1, packet.body, "opened", ""))

    @staticmethod
    def _box_ranges(packet: Packet, body: bytes, at: int, note: str) -> None:
        packet.nonce = body[:NONCE_BYTES]
        tag_end = NONCE_BYTES + TAG_BYTES
        packet.ranges.append(Range(at, body[:NONCE_BYTES], "nonce"))
        packet.ranges.append(Range(at + NONCE_BYTES, body[NONCE_BYTES:tag_end], "tag"))
        packet.ranges.append(Range(at + tag_end, body[tag_end:], "box", note))

    def _message(self, packet: Packet) -> None:
        try:
            kind, number, datum = self._codec.decode(packet.body)
        except BokbokError as error:
            packet.title, packet.problem = "no message", str(error)
            return
        packet.message = (self._KINDS[kind], number, datum)
        packet.title = f"{self._KINDS[kind]} {number}"
        if hasattr(datum, "problem"):
            packet.problem = f"its datum does not read: {datum.problem}"


def fixed_bytes(conversations: Sequence[Conversation], source: str | None = None) -> list[int]:
    """Which bytes are the same in all of several conversations, where all should be random.

    Args:
        conversations: each of a connection of its own.
        source: whose nonces' random half (the first 16 bytes) is looked at; `None` for the session keys.
    """
    if source is None:
        found = [one._secret for one in conversations]
    else:
        found = [
            next((p.nonce[:16] for p in one.packets if p.source == source and p.nonce), b"") for one in conversations
        ]
    if not found or not all(found):
        return []
    return [index for index, column in enumerate(zip(*found, strict=False)) if len(set(column)) == 1]


def _text(data: bytes) -> str:
    return '"' + data.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii") + '"'


def explain(
    capture: Capture, profile: Profile, secrets: Mapping[str, str | Key], *, cap: int = 4_096, total: int = 1 << 20
) -> list[dict[str, Any]]:
    """A whole recording as plain values, for JSON and HTML.

    Args:
        capture: the recording.
        profile: what was spoken.
        secrets: see `Conversation`.
        cap: bytes of one range that are shown.
        total: bytes of the whole recording that are shown, about: of a longer one each range shows less.
    """
    packets: list[Packet] = []
    for conn in capture.connections():
        # A client without a hello at a secure server, and the reverse, read better as what they are.
        best = min(
            (Conversation(capture, conn, profile, chosen) for chosen in ([secrets, {}] if secrets else [{}])),
            key=lambda conversation: sum(bool(packet.problem) for packet in conversation.packets),
        )
        packets += best.packets
    packets.sort(key=lambda packet: packet.t)
    if sum(min(cap, len(r.data)) for packet in packets for r in packet.ranges) > total:
        cap = max(32, min(cap, total // (1 + sum(len(packet.ranges) for packet in packets))))
    out = []
    for packet in packets[:MAX_PACKETS]:
        out.append(
            {
                "t": round(packet.t, 6),
                "from": packet.source,
                "conn": packet.conn,
                "title": packet.title,
                "problem": packet.problem,
                "text": packet.body[:SHOWN_TEXT].decode("utf-8", "backslashreplace"),
                "ranges": [
                    {
                        "offset": r.offset,
                        "hex": r.data[:cap].hex(),
                        "length": len(r.data),
                        "layer": r.layer,
                        "note": r.note,
                    }
                    for r in packet.ranges
                ],
            }
        )
    return out


def beginning(capture: Capture, profile: Profile, secrets: Mapping[str, str | Key], *, packets: int, cap: int) -> Any:
    """As `explain`, the first packets of a recording's first connection: cheap, however long the recording is."""
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
    """What `explain` returned, as text: 16 bytes a line, the layer beside them."""
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
