"""The solver: from recorded bytes to the profiles that explain all of them.

What this module knows: how to go from what is certain to what is likely. Framings that cut every stream exactly are
few; in their packets the encryption is an oracle: what opens under a key that the passphrase gives is a box, whatever
surrounds it, and what is in the first one opens all others. With the boxes' places known, what stands around them is
the packet's type, what the username stands in is the hello, and the plaintexts give the form of messages. What it
refuses to know: sockets, files and reports.

A profile is claimed only when `verify.prove` has written every byte of every connection again.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import nacl.exceptions
from nacl.bindings import crypto_secretbox_open_easy

from bokbok.errors import BokbokError, ReadError, RemoteProtocolError
from bokbok.sexpr import Symbol, dumps, loads
from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.framing import Framing
from bokbok.wire.framings import Datums, IntegerLength, Lines, TextLength
from bokbok.wire.hello import TemplateHello
from bokbok.wire.nonces import Counted, Sent
from bokbok.wire.packets import PacketForm
from bokbok.wire.profile import DERIVATIONS, Derivation
from bokbok.wire.profile_file import canonical, plain
from bokbok.wire.template import Field, Template

from .fit import Body, Fit, fit_messages
from .recording import Recorded
from .verify import Mismatch, Proof, prove

__all__ = ["Answer", "Secrets", "Step", "solve"]

LIMIT = 64 << 20


@dataclass(frozen=True)
class Secrets:
    """What is known of the client; none of it is shown.

    Attributes:
        user: the username's bytes; `None` for insecure connections.
        passphrase: its bytes, if known.
        key: the key, if given instead.
    """

    user: bytes | None = None
    passphrase: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def secure(self) -> bool:
        """Whether boxes are to be expected."""
        return self.user is not None

    def keys(self) -> dict[str, bytes]:
        """Every key that may be the user's, by the name of its derivation."""
        if self.key is not None:
            return {"": self.key}
        assert self.passphrase is not None
        out: dict[str, bytes] = {}
        for name, derive in DERIVATIONS.items():
            made = derive(self.passphrase)
            if made not in out.values():
                out[name] = made
        return out


@dataclass(frozen=True)
class Step:
    """One step of the reasoning, for the report.

    Attributes:
        topic: what it is about.
        text: what was found, and why it is believed.
        sure: `proven`, `likely`, `assumed`, or `failed`.
    """

    topic: str
    text: str
    sure: str = "proven"


@dataclass
class Answer:
    """What came of it.

    Attributes:
        profiles: those that explain every byte, the likeliest first.
        proofs: one for each connection, of the first profile.
        steps: the reasoning.
        apart: what would tell the profiles apart.
        notes: what the recording does not show.
        evidence: comments for the lines of the profile's file.
        regions: what is known of which bytes: connection, source, start, end, label.
        seconds: how long it took.
    """

    profiles: list[Profile] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evidence: dict[str, str] = field(default_factory=dict)
    regions: list[tuple[int, str, int, int, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """The exit status: 0 one profile, 3 several, 4 none."""
        return 4 if not self.profiles else 0 if len(self.profiles) == 1 else 3


# Framings.


def _split(framing: Framing, data: bytes) -> tuple[list[bytes], int] | None:
    splitter = framing.splitter(LIMIT)
    splitter.feed(data)
    packets: list[bytes] = []
    try:
        while (packet := splitter.next()) is not None:
            packets.append(packet)
            if len(packets) == 64 and not any(packets):
                return None  # a stream of empty packets
    except BokbokError:
        return None
    return packets, len(splitter.rest())


def _binary_framings() -> Iterator[IntegerLength]:
    for after, own in itertools.product((0, 1), (False, True)):
        for integer in ("u32-be", "u16-be", "u64-be", "u32-le", "u16-le", "u64-le", "u8", "leb128"):
            for counts in (0, 1) if after else (0, -24, -16, -40):
                yield IntegerLength(integer, own=own, counts=counts, after=after)


def _text_framings(data: bytes) -> Iterator[TextLength]:
    for base, digits in ((10, rb"[0-9]"), (16, rb"[0-9a-f]"), (16, rb"[0-9A-F]")):
        upper = base == 16 and b"A" in digits
        before = rb"([^0-9\x00-\x08\x0e-\x1f\x7f-\xff]{0,24}?)(" + digits + rb"{1,16})"
        for after, pattern in ((0, before), (1, rb"(?s:.)()(" + digits + rb"{1,16})"), (1, rb"(?s:.)" + before)):
            found = re.match(pattern, data)
            if found is None:
                continue
            yield from _text_lengths(base, found[1], found[2], data[found.end() : found.end() + 4], upper, after)


def _text_lengths(
    base: int, before: bytes, number: bytes, tail: bytes, upper: bool, after: int
) -> Iterator[TextLength]:
    """Lengths in digits that may begin so."""
    for size in range(1, 5):
        ending = tail[:size]
        printable = all(c in b"\t\n\r" or 32 <= c < 127 for c in ending)
        if len(ending) < size or not printable or ending[:1].isalnum():
            break
        width = len(number) if number[:1] == b"0" and len(number) > 1 else 0
        for trailer in (b"", b",", b"\n", b";", b" ", b"\r\n"):
            for own, counts in ((False, 0), (False, len(trailer)), (True, 0)):
                if not counts or trailer:
                    yield TextLength(
                        base, before, ending, width, upper, own=own, counts=counts, trailer=trailer, after=after
                    )
    for width in (2, 4, 6, 8, 16, 5, 10):
        if len(number) >= width:
            for own in (False, True):
                yield TextLength(base, before, b"", width, upper, own=own, after=after)


def _is_text(data: bytes) -> bool:
    return bool(data) and not re.search(rb"[\x00-\x08\x0e-\x1f]", data[:200])


def _framings(recorded: list[Recorded], preamble: bytes = b"") -> Iterator[Framing]:
    """Every framing worth trying, the likelier first."""
    first = next((r.client for r in recorded if r.client), b"")[len(preamble) :]
    seen = set()
    # The default first; those that count oddly last.
    yield from sorted(_binary_framings(), key=lambda f: (f.counts < 0, f.after, f.own))
    for text in _text_framings(first):
        if text not in seen:
            seen.add(text)
            yield text
    if _is_text(first):
        for count in (1, 2):
            yield Datums(b"\n", "after", count)
    for ending in (b"\n", b"\r\n", b"\0"):
        if ending in first:
            yield Lines(ending)
    yield from _with_heads(recorded, preamble)


def _written(framing: Framing, packets: list[bytes]) -> bytes:
    out: list[bytes] = []
    write = framing.writer()
    for packet in packets:
        write(out, packet)
    return b"".join(out)


@dataclass
class Cut:
    """All streams of a recording, cut by one framing.

    Attributes:
        framing: which.
        client: for each connection the client's packets.
        server: the server's.
        left: bytes of last packets that are not whole.
        preamble: what the client sends before its first packet.
    """

    framing: Framing
    client: list[list[bytes]]
    server: list[list[bytes]]
    left: int
    preamble: bytes = b""


def _cut(framing: Framing, recorded: list[Recorded], preamble: bytes = b"") -> Cut | None:
    client: list[list[bytes]] = []
    server: list[list[bytes]] = []
    left = 0
    for one in recorded:
        for source, out in (("client", client), ("server", server)):
            stream = one.stream(source)
            if source == "client":
                stream = stream[len(preamble) :]
            found = _split(framing, stream)
            if found is None:
                return None
            packets, rest = found
            if rest and source in one.ended and len(packets) < 2:
                return None
            out.append(packets)
            left += rest
    total = sum(len(one.client) + len(one.server) for one in recorded)
    if not any(client) or left * 2 > total:
        return None
    return Cut(framing, client, server, left, preamble)


def _separated(cut: Cut, recorded: list[Recorded]) -> list[Cut]:
    """For datums: which separator writes the streams again."""
    assert isinstance(cut.framing, Datums)
    out = []
    for separator in (b"\n", b"", b" ", b"\r\n", b"\n\n", b"\t"):
        for place in ("after", "between") if separator else ("after",):
            framing = Datums(separator, place, cut.framing.count)
            good = True
            for index, one in enumerate(recorded):
                for source, lists in (("client", cut.client), ("server", cut.server)):
                    again = _written(framing, lists[index])
                    stream = one.stream(source)[len(cut.preamble) if source == "client" else 0 :]
                    if len(again) > len(stream) and place == "after" and again.startswith(stream):
                        continue  # cut off just before the separator
                    if not stream.startswith(again):
                        good = False
            if good:
                out.append(Cut(framing, cut.client, cut.server, cut.left, cut.preamble))
    return out[:2]


# A symbol as a type before the length, with white space or a colon behind it, or of letters alone.
_HEADS = (
    re.compile(rb"[A-Za-z!$%&*/<=>?^_~+-][A-Za-z0-9!$%&*/<=>?^_~+.-]*[ \n:]"),
    re.compile(rb"[A-Za-z][A-Za-z-]*"),
)
_MOST_HEADS = 10


def _heads(framing: Framing, pattern: re.Pattern[bytes], streams: list[bytes]) -> tuple[bytes, ...]:
    """The types that stand before the lengths of all streams; none if there are not."""
    heads: dict[bytes, None] = {}
    for data in streams:
        at = 0
        while at < len(data):
            head = pattern.match(data, at)
            if head is None:
                if at and len(data) - at < 4:
                    break  # cut off
                return ()
            splitter = framing.splitter(LIMIT)
            rest = data[head.end() :]
            splitter.feed(rest)
            try:
                if splitter.next() is None:
                    if not at:
                        return ()
                    break
            except BokbokError:
                return ()
            heads[head[0]] = None
            if len(heads) > _MOST_HEADS:
                return ()
            at = len(data) - len(splitter.rest())
    return tuple(heads)


def _with_heads(recorded: list[Recorded], preamble: bytes) -> Iterator[Framing]:
    """Framings in which a type of no fixed size stands before the length."""
    streams = [one.client[len(preamble) :] for one in recorded] + [one.server for one in recorded]
    first = streams[0]
    for pattern in _HEADS:
        head = pattern.match(first)
        if head is None or len(head[0]) > 40:
            continue
        likely: list[IntegerLength | TextLength] = [
            framing for framing in _binary_framings() if not framing.after and not framing.counts
        ]
        likely += [framing for framing in _text_framings(first[head.end() :]) if not framing.after]
        for framing in likely:
            heads = _heads(framing, pattern, streams)
            if heads and (len(heads) > 1 or len(heads[0]) > 1):
                yield replace(framing, heads=heads)


_LONGEST_PREAMBLE = 64


def _common_prefix(several: list[bytes]) -> bytes:
    # The least and the greatest share what all share.
    first, last = min(several), max(several)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _preambles(recorded: list[Recorded], user: bytes) -> Iterator[bytes]:
    """What may stand before a client's first packet: the same in every connection, and before the username."""
    clients = [one.client for one in recorded if one.client]
    common = _common_prefix(clients)
    if user and user in clients[0]:
        common = common[: clients[0].find(user)]
    for size in range(1, min(len(common), _LONGEST_PREAMBLE) + 1):
        yield common[:size]


def _all_cuts(recorded: list[Recorded], preamble: bytes = b"", among: list[Framing] | None = None) -> list[Cut]:
    """Every way to cut all streams into packets, those without rests first.

    Args:
        recorded: the connections.
        preamble: what stands before the client's first packet.
        among: the framings; `None` for all.
    """
    cuts: list[Cut] = []
    for framing in among if among is not None else _framings(recorded, preamble):
        cut = _cut(framing, recorded, preamble)
        if cut is not None:
            cuts += _separated(cut, recorded) if isinstance(framing, Datums) else [cut]
    cuts.sort(key=lambda cut: cut.left)
    return cuts


def _behind_preambles(recorded: list[Recorded], user: bytes) -> list[Cut]:
    """Cuts behind something that stands before the client's first packet; only such as leave no rest."""
    fits: dict[Framing, bool] = {}

    def suits(framing: Framing) -> bool:
        if framing not in fits:
            found = [_split(framing, one.server) for one in recorded if one.server]
            fits[framing] = all(one is not None and (one[0] and not one[1]) for one in found)
        return fits[framing]

    for preamble in _preambles(recorded, user):
        cuts = _all_cuts(recorded, preamble, [f for f in _framings(recorded, preamble) if suits(f)])
        exact = [cut for cut in cuts if not cut.left and not isinstance(cut.framing, (Datums, Lines))]
        if exact:
            return exact
    return []


# Boxes.

_TEXTS = [
    (re.compile(rb"#\$\{[0-9a-fA-F \n\t]*\}"), ("blob", "blob-upper")),
    (re.compile(rb"#u8\([0-9 \n\t]*\)"), ("u8vector",)),
    (re.compile(rb'"[0-9a-f]{32,}"'), ("quoted-hex",)),
    (re.compile(rb'"[0-9A-F]{32,}"'), ("quoted-hex-upper",)),
    (
        re.compile(rb'"[A-Za-z0-9+/_-]{22,}={0,2}"'),
        ("quoted-base64", "quoted-base64-unpadded", "quoted-base64url", "quoted-base64url-unpadded"),
    ),
    (
        re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL),
        ("string", "string-hex-high", "string-hex-controls", "string-hex"),
    ),
    (re.compile(rb"[0-9a-f]{32,}"), ("hex",)),
    (re.compile(rb"[0-9A-F]{32,}"), ("hex-upper",)),
    (
        re.compile(rb"[A-Za-z0-9+/_-]{22,}={0,2}"),
        ("base64", "base64-unpadded", "base64url", "base64url-unpadded"),
    ),
]


@dataclass(frozen=True)
class Seen:
    """A part of a packet that may be some bytes in an encoding."""

    start: int
    end: int
    encoding: str
    value: bytes


def _texts(packet: bytes) -> list[Seen]:
    """The parts of a packet that are bytes in a text form, of which writing again gives the same."""
    out = []
    for pattern, names in _TEXTS:
        for match in pattern.finditer(packet):
            # A byte of type in front may look like a digit of what follows.
            bare = names[0].startswith(("hex", "base64"))
            for start in (match.start(), match.start() + 1) if bare else (match.start(),):
                text = packet[start : match.end()]
                for name in names:
                    form = ENCODINGS[name]
                    try:
                        value = form.decode(text)
                    except (RemoteProtocolError, ValueError):
                        continue
                    if form.encode(value) == text:
                        out.append(Seen(start, match.end(), name, value))
    return out


def _open(box: bytes, nonce: bytes, key: bytes) -> bytes | None:
    if len(box) < 16 or len(nonce) != 24:
        return None
    try:
        return crypto_secretbox_open_easy(box, nonce, key)
    except nacl.exceptions.CryptoError:
        return None


_LAYOUTS: tuple[tuple[str, int, int], ...] = (
    ("big", 0, 24), ("little", 0, 24), ("big", 0, 8), ("little", 16, 8), ("big", 0, 4), ("little", 20, 4),
    ("big", 0, 16), ("little", 8, 16),
)  # fmt: skip


def _count(base: bytes, layout: tuple[str, int, int], number: int) -> bytes:
    order, at, width = layout
    end = at + width
    value = (int.from_bytes(base[at:end], order) + number) % (1 << (8 * width))  # type: ignore[arg-type]
    return base[:at] + value.to_bytes(width, order) + base[end:]  # type: ignore[arg-type]


_ZERO = bytes(24)


@dataclass(frozen=True)
class KeyBox:
    """The session key's box.

    Attributes:
        packet: index of the packet that holds it.
        start: where its form begins there.
        end: where it ends.
        encoding: its form.
        nonce: `front`, `behind`, `zero`, `counter`, `base`, `zero-front`, `zero-behind`.
        used: the nonce, or the 24 bytes that travel with the box.
        layout: of a counted nonce.
        count: of a counted nonce.
        derivation: how the key is made of the passphrase.
        key: the user's key.
        content: what is in it.
        base: place of the nonces' base in the hello: packet, start, end, encoding; `None` where there is none.
    """

    packet: int
    start: int
    end: int
    encoding: str
    nonce: str
    used: bytes
    layout: tuple[str, int, int] | None
    count: int
    derivation: str
    key: bytes = field(repr=False)
    content: bytes = field(repr=False)
    base: tuple[int, int, int, str] | None = None


MOST_ATTEMPTS = 400_000
"""Windows that each wide search tries, under each key, before it gives up: some two seconds."""


class _Oracle:
    """Looks for the session key's box; what did not open once is not tried again.

    Attributes:
        keys: those that may be the user's, by derivation.
        left: attempts that are left to the search that is under way.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        self.keys = keys
        self.tried: set[tuple[bytes, bytes]] = set()
        self.attempts = 0
        self.left = MOST_ATTEMPTS

    def open(self, box: bytes, nonce: bytes) -> tuple[str, bytes] | None:
        mark = (box, nonce)
        if mark in self.tried or self.left <= 0:
            return None
        self.left -= len(self.keys)
        for name, key in self.keys.items():
            self.attempts += 1
            content = _open(box, nonce, key)
            if content is not None:
                return name, content
        self.tried.add(mark)
        return None

    def find(self, packets: list[bytes], user: bytes, phase: int) -> KeyBox | None:
        """In the first packets of a client.

        Args:
            packets: the client's.
            user: the username.
            phase: 0 looks for boxes whose nonce travels with them, 1 for nonces of zeros and those that travel
                elsewhere in the hello, 2 for counted ones, 3 for any place in a packet.
        """
        hello = packets[:5]
        seen = [(index, part) for index, packet in enumerate(hello) for part in _texts(packet)]
        for index, packet in enumerate(hello):
            seen += [(index, part) for part in self._raw(packet, user, wide=phase == 3)]
        bases = list(self._bases(hello, wide=phase == 3)) if phase in (1, 3) else []
        for index, part in seen:
            found = self._sent(index, part) if phase == 0 else self._implied(index, part, bases, phase)
            if found:
                self.keys = {found.derivation: found.key}  # the others are out
                return found
        return None

    @staticmethod
    def _raw(packet: bytes, user: bytes, *, wide: bool) -> Iterator[Seen]:
        """Windows of a packet that may be a raw box, likely ones first; `wide` leaves no offset out."""
        size = len(packet)
        if size > 1024:
            return
        at = packet.find(user) if user else -1
        likely = {0, 1, size - 48, size - 72}
        if at >= 0:
            behind = at + len(user)
            likely |= {behind, behind + 1, behind + 24, behind + 25}
        starts = [start for start in sorted(likely) if start >= 0]
        starts += [start for start in range(size - 47 if wide else min(size - 47, 160)) if start not in likely]
        for start in starts:
            ends = [size]
            if at >= start + 48:
                ends += [at, *range(at - 1, max(start + 47, at - 9), -1)]
            if wide or start in likely:
                ends += [start + 72, start + 48]
            for end in dict.fromkeys(ends):
                if start + 48 <= end <= size:
                    yield Seen(start, end, "raw", packet[start:end])

    def _made(self, index: int, part: Seen, nonce: str, used: bytes, found: tuple[str, bytes], **more: Any) -> KeyBox:
        name, content = found
        fields = {"layout": None, "count": 0, "base": None} | more
        return KeyBox(
            index, part.start, part.end, part.encoding, nonce, used,
            derivation=name, key=self.keys[name], content=content, **fields,
        )  # fmt: skip

    def _sent(self, index: int, part: Seen) -> KeyBox | None:
        value = part.value
        if len(value) < 72:
            return None
        found = self.open(value[24:], value[:24])
        if found:
            return self._made(index, part, "front", value[:24], found)
        found = self.open(value[:-24], value[-24:])
        return self._made(index, part, "behind", value[-24:], found) if found else None

    def _implied(
        self, index: int, part: Seen, bases: list[tuple[int, int, int, str, bytes]], phase: int
    ) -> KeyBox | None:
        value = part.value
        if len(value) < 48:
            return None
        if phase == 2:
            for layout in _LAYOUTS:
                for number in (1, 2):
                    used = _count(_ZERO, layout, number)
                    found = self.open(value, used)
                    if found:
                        return self._made(index, part, "counter", used, found, layout=layout, count=number)
            return None
        found = self.open(value, _ZERO)
        if found:
            return self._made(index, part, "zero", _ZERO, found)
        if len(value) >= 72:
            for nonce, box, beside in (
                ("zero-front", value[24:], value[:24]), ("zero-behind", value[:-24], value[-24:]),
            ):  # fmt: skip
                found = self.open(box, _ZERO)
                if found:
                    return self._made(index, part, nonce, beside, found)
        for packet, start, end, encoding, base in bases:
            if packet == index and start < part.end and part.start < end:
                continue
            place = (packet, start, end, encoding)
            found = self.open(value, base)
            if found:
                return self._made(index, part, "base", base, found, base=place)
            for layout in _LAYOUTS[:2] if phase == 1 else ():
                used = _count(base, layout, 1)
                found = self.open(value, used)
                if found:
                    return self._made(index, part, "base", used, found, layout=layout, count=1, base=place)
        return None

    @staticmethod
    def _bases(hello: list[bytes], *, wide: bool) -> Iterator[tuple[int, int, int, str, bytes]]:
        """Parts of the hello that may be a base of nonces: 24 bytes in some form."""
        for index, packet in enumerate(hello):
            for part in _texts(packet):
                if len(part.value) == 24:
                    yield index, part.start, part.end, part.encoding, part.value
            if 24 <= len(packet) <= 40:
                yield index, len(packet) - 24, len(packet), "raw", packet[-24:]
        for index, packet in enumerate(hello):
            if wide and 40 < len(packet) <= 200:
                for start in range(len(packet) - 23):
                    yield index, start, start + 24, "raw", packet[start : start + 24]


# Messages' boxes.


@dataclass(frozen=True)
class Way:
    """How the boxes of one direction open.

    Attributes:
        nonce: `front`, `behind`, `counted`, `first`.
        base: what is counted from: `zero`, `hello`, `key`, `content`, `first`; empty for a nonce that travels.
        layout: of the counter.
        start: added to the base for the first message.
        step: from one message to the next.
        encoding: of the box.
    """

    nonce: str
    encoding: str
    base: str = ""
    layout: tuple[str, int, int] = ("big", 0, 24)
    start: int = 0
    step: int = 1


@dataclass(frozen=True)
class Opened:
    """One message's packet, opened."""

    prefix: bytes
    suffix: bytes
    body: bytes


def _parts(packet: bytes, prefixes: set[int], encoding: str | None) -> Iterator[Seen]:
    if encoding != "raw":
        for part in _texts(packet):
            if encoding is None or part.encoding == encoding:
                yield part
    if encoding in (None, "raw"):
        known = sorted(prefixes)
        for start in [*known, *(n for n in range(25) if n not in prefixes)]:
            if start + 16 <= len(packet):
                yield Seen(start, len(packet), "raw", packet[start:])
        for cut in (1, 2):
            yield Seen(0, len(packet) - cut, "raw", packet[:-cut])


def _apply(
    way: Way, packets: list[bytes], key: bytes, bases: dict[str, bytes], most: int | None = None
) -> list[Opened] | None:
    """Open the packets of one direction in this way; `None` if one does not."""
    out: list[Opened] = []
    prefixes: set[int] = {0}
    base = bases.get(way.base, _ZERO)
    for index, packet in enumerate(packets[:most]):
        for part in _parts(packet, prefixes, way.encoding):
            value = part.value
            if way.nonce == "front" or (way.nonce == "first" and index == 0):
                body = _open(value[24:], value[:24], key)
                if body is not None and way.nonce == "first":
                    base = value[:24]
            elif way.nonce == "behind" or (way.nonce == "first-behind" and index == 0):
                body = _open(value[:-24], value[-24:], key)
                if body is not None and way.nonce == "first-behind":
                    base = value[-24:]
            else:
                body = _open(value, _count(base, way.layout, way.start + index * way.step), key)
            if body is not None:
                prefixes.add(part.start)
                out.append(Opened(packet[: part.start], packet[part.end :], body))
                break
        else:
            return None
    return out


def _ways(packets: list[bytes], key: bytes, bases: dict[str, bytes]) -> Iterator[Way]:
    """The ways in which the first packets open."""
    if not packets:
        return
    encodings = [part.encoding for part in _texts(packets[0])]
    for encoding in dict.fromkeys([*encodings, "raw"]):
        for nonce in ("front", "behind"):
            way = Way(nonce, encoding)
            if _apply(way, packets, key, bases, 6):
                yield way
        for name in ("zero", "hello", "key", "content"):
            if name not in bases:
                continue
            for layout, start in itertools.product(_LAYOUTS if name == "zero" else _LAYOUTS[:4], range(4)):
                way = Way("counted", encoding, name, layout, start)
                if not _apply(way, packets, key, bases, 1):
                    continue
                for step in (1, 2):
                    way = Way("counted", encoding, name, layout, start, step)
                    if _apply(way, packets, key, bases, 6):
                        yield way
                        break
        for first, layout, step in itertools.product(("first", "first-behind"), _LAYOUTS[:4], (1, 2)):
            way = Way(first, encoding, "first", layout, 0, step)
            if len(packets) > 1 and _apply(way, packets, key, bases, 3):
                yield way


# The whole.


Found = tuple[float, Profile, list[Proof], list[Step], Fit]
"""How good it is, what was found, the proof for each connection, the reasoning, and how its messages fit."""


class _Solver:
    def __init__(self, recorded: list[Recorded], secrets: Secrets, known: set[bytes]) -> None:
        self.recorded = recorded
        self.secrets = secrets
        self.known = known
        self.answer = Answer()
        self.begin = time.monotonic()
        self.reached: list[tuple[int, list[Step]]] = []
        self.steps: list[Step] = []
        self.boxes: dict[int, list[KeyBox]] = {}

    def say(self, topic: str, text: str, sure: str = "proven") -> None:
        self.steps.append(Step(topic, text, sure))

    def prove(self, profile: Profile, key: bytes | None) -> list[Proof] | None:
        out = []
        for one in self.recorded:
            try:
                out.append(prove(profile, one, self.secrets.user if key is not None else None, key))
            except Mismatch as problem:
                self.say("proof", f"connection {one.conn} is not explained: {problem}", "failed")
                return None
        return out

    def run(self) -> Answer:
        answer = self.answer
        self.readable()
        oracle = _Oracle(self.secrets.keys()) if self.secrets.secure else None
        before = list(self.steps)
        self.furthest: list[Step] = []
        found: list[Found] = []
        for preambles in (False, True):
            cuts = _behind_preambles(self.recorded, self.secrets.user or b"") if preambles else _all_cuts(self.recorded)
            if preambles and not cuts:
                break
            self.steps = list(before)
            self.cuts_said(cuts)
            found = self.tried(cuts, oracle)
            if found:
                break
        found.sort(key=lambda item: -item[0])
        if not found:
            answer.steps = self.furthest
            if oracle is not None and not any(step.topic == "boxes" for step in answer.steps):
                self.steps = answer.steps
                self.last_resort(oracle)
                answer.steps = self.steps
        else:
            self.choose(found)
        answer.seconds = time.monotonic() - self.begin
        return answer

    def cuts_said(self, cuts: list[Cut]) -> None:
        if not cuts:
            self.say("framing", "no framing of the table cuts the streams into packets", "failed")
            return
        if cuts[0].preamble:
            self.say("framing", f"before its first packet each client sends {cuts[0].preamble!r}", "likely")
        names = ", ".join(dict.fromkeys(_describe(cut.framing) for cut in cuts[:6]))
        exact = sum(cut.left == 0 for cut in cuts)
        self.say(
            "framing", f"{len(cuts)} framings cut the streams, {exact} of them to the last byte: {names}", "likely"
        )

    def tried(self, cuts: list[Cut], oracle: _Oracle | None) -> list[Found]:
        """What comes of these ways to cut the streams."""
        general = list(self.steps)
        if len(self.furthest) < len(general):
            self.furthest = general
        found: list[Found] = []
        whole = [cut for cut in cuts if not cut.left]
        if oracle is not None:
            cuts = self.promising(whole, oracle) or self.promising([cut for cut in cuts if cut.left], oracle)
        else:
            cuts = whole[:16] or cuts[:8]
        for cut in cuts:
            if found and cut.left > 0 and self._complete(found):
                break
            self.steps = list(general)
            results = list(self.secure(cut)) if oracle is not None else list(self.insecure(cut))
            if len(self.steps) > len(self.furthest):
                self.furthest = list(self.steps)
            for profile, proofs, fit in results:
                found.append((self.rate(profile, proofs, fit), profile, proofs, list(self.steps), fit))
        return found

    @staticmethod
    def _complete(found: list[Any]) -> bool:
        return any(all(proof.cut == 0 for proof in item[2]) for item in found)

    def readable(self) -> None:
        """Step 1: what can be read without a key."""
        first = self.recorded[0].client
        user = self.secrets.user
        if user:
            at = first.find(user)
            if at >= 0:
                self.say("readable", f"the username stands readable at byte {at} of what the client sends")
            else:
                self.say("readable", "the username does not stand readable in what the client sends", "failed")
        kind = "text" if _is_text(first) else "binary"
        self.say("readable", f"what the client sends begins as {kind}: {first[:24]!r}")

    # Secure connections.

    def promising(self, cuts: list[Cut], oracle: _Oracle) -> list[Cut]:
        """The framings in whose packets the session key's box is found, the same way in every connection."""
        user = self.secrets.user or b""
        for phase in range(4):
            out = []
            oracle.left = MOST_ATTEMPTS
            for cut in cuts[: 40 if phase < 3 else 6]:
                first = oracle.find(cut.client[0], user, phase)
                if first is None:
                    continue
                boxes = [first]
                for packets in cut.client[1:]:
                    found = oracle.find(packets, user, phase)
                    if found is None:
                        break
                    boxes.append(found)
                else:
                    self.boxes[id(cut)] = boxes
                    out.append(cut)
            if out:
                return out
        return []

    def secure(self, cut: Cut) -> Iterator[tuple[Profile, list[Proof], Fit]]:
        boxes = self.boxes[id(cut)]
        box = boxes[0]
        if any((b.packet, b.nonce, b.count) != (box.packet, box.nonce, box.count) for b in boxes):
            self.say("boxes", "the session key's box is not at the same place in each connection", "failed")
            return
        made = f"made by {box.derivation}" if box.derivation else "given"
        self.say(
            "keys", f"the user's key is {made}: it opens a box in packet {box.packet + 1} of the client's", "proven"
        )
        where = {
            "front": "its nonce in front", "behind": "its nonce behind", "zero": "a nonce of zeros that is not sent",
            "zero-front": "a nonce of zeros that is not sent, and 24 bytes in front",
            "zero-behind": "a nonce of zeros that is not sent, and 24 bytes behind",
            "counter": f"a counted nonce ({box.count}) that is not sent", "base": "a nonce that the hello carries elsewhere",  # noqa: E501
        }[box.nonce]  # fmt: skip
        self.say("boxes", f"the session key's box: {box.encoding}, {where}, {len(box.content)} bytes inside")
        for session in self.sessions(cut, boxes):
            yield from self.messages(cut, boxes, session)

    def sessions(
        self, cut: Cut, boxes: list[KeyBox]
    ) -> Iterator[tuple[Template, list[bytes], int, Way, Way | None, dict[str, Any]]]:
        """What is in the session key's box, and in which way it opens what follows."""
        head = boxes[0].packet + 1
        tried = 0
        for template, keys in _contents([box.content for box in boxes]):
            for skip in (head, head + 1):
                for index, key in enumerate(keys[:1]):
                    mine, theirs = cut.client[index][skip:], cut.server[index]
                    bases = self.bases(cut, boxes[index], index, skip)
                    client_ways = list(_ways(mine, key, bases))
                    server_ways: list[Way | None] = list(_ways(theirs, key, bases))
                    tried += 1
                    if (mine and not client_ways) or (theirs and not server_ways):
                        if client_ways or server_ways:
                            side = "server" if client_ways else "client"
                            self.say("boxes", f"the boxes of the {side} open in no way that is known", "failed")
                        continue
                    if not client_ways:
                        continue
                    pairs = list(itertools.product(client_ways, server_ways or [None]))
                    for mine_way, their_way in pairs[:64]:
                        if their_way is None or their_way.encoding == mine_way.encoding:
                            inner = _with_base(template) if mine_way.base == "content" else template
                            yield inner, keys, skip, mine_way, their_way, {}
                    return
        if tried:
            self.say("boxes", "no 32 bytes of what is in the session key's box open what follows", "failed")

    def bases(self, cut: Cut, box: KeyBox, index: int, skip: int) -> dict[str, bytes]:
        out = {"zero": _ZERO}
        if box.base is not None:
            packet, start, end, encoding = box.base
            out["hello"] = ENCODINGS[encoding].decode(cut.client[index][packet][start:end])
        elif box.nonce.endswith(("front", "behind")):
            out["key"] = box.used
        if len(box.content) >= 56:
            out["content"] = box.content[32:56]
        if "hello" not in out:
            for other in cut.client[index][:skip]:
                for part in _texts(other):
                    if len(part.value) == 24:
                        out["hello"] = part.value
            for other in cut.client[index][:skip]:
                if other is not cut.client[index][box.packet] and 24 <= len(other) <= 40 and "hello" not in out:
                    out["hello"] = other[-24:]
        return out

    def messages(
        self, cut: Cut, boxes: list[KeyBox], session: tuple[Template, list[bytes], int, Way, Way | None, dict[str, Any]]
    ) -> Iterator[tuple[Profile, list[Proof], Fit]]:
        content, keys, skip, mine, theirs, _ = session
        opened: dict[tuple[int, str], list[Opened]] = {}
        for index in range(len(boxes)):
            bases = self.bases(cut, boxes[index], index, skip)
            for source, way, packets in (
                ("client", mine, cut.client[index][skip:]), ("server", theirs or mine, cut.server[index]),
            ):  # fmt: skip
                done = _apply(way, packets, keys[index], bases)
                if done is None:
                    self.say("boxes", f"connection {index + 1}: a later box of the {source}'s does not open", "failed")
                    return
                opened[index, source] = done
        count = sum(map(len, opened.values()))
        self.say("boxes", f"the session key opens all {count} packets behind the hello: {_describe_way(mine)}")
        bodies = [Body(index, source, one.body, one.prefix) for (index, source), ones in opened.items() for one in ones]
        fits = fit_messages(bodies, self.known)
        if not fits:
            self.say(
                "messages",
                f"the plaintexts fit no form of messages; the first is {bodies[0].data[:60]!r}"
                if bodies
                else "no message follows the hello",
                "failed",
            )
            return
        flat = [one for ones in opened.values() for one in ones]
        sources = [source for (_, source), ones in opened.items() for _ in ones]
        for fit in fits[:3]:
            forms = _packet_form(flat, sources, fit.kinds, mine.encoding)
            if forms is None:
                self.say("packet type", "what stands in front of the boxes changes from packet to packet", "failed")
                continue
            for hello in self.hellos(cut, boxes, content, skip, mine):
                nonces = self.nonces(boxes[0], mine, theirs)
                for scheme in nonces:
                    profile = canonical(
                        Profile(
                            "calibrated", framing=cut.framing, hello=hello, nonces=scheme, messages=fit.messages,
                            dialect=fit.dialects[0], packets=forms,
                            key_derivation=Derivation(boxes[0].derivation or "sha512-first-32"),
                        )
                    )  # fmt: skip
                    proofs = self.prove(profile, boxes[0].key)
                    if proofs is not None:
                        yield profile, proofs, fit
                        break
                else:
                    continue
                break

    def nonces(self, box: KeyBox, mine: Way, theirs: Way | None) -> Iterator[Sent | Counted]:
        other = theirs or mine
        if mine.nonce in ("front", "behind"):
            if other.nonce != mine.nonce or box.nonce not in ("front", "behind", "zero"):
                if box.nonce == "counter" and box.count == 0:
                    yield Sent(mine.nonce, "zero")  # type: ignore[arg-type]
                return
            yield Sent(mine.nonce, box.nonce)  # type: ignore[arg-type]
            return
        order, at, width = mine.layout
        key: Any = box.nonce
        count = box.count
        if key == "base":
            key = "base"
        places: dict[str, Any] = {"first": "front", "first-behind": "behind"}
        if mine.nonce in places:
            yield Counted("first", order, at, width, 0, 0, mine.step, key, count, first=places[mine.nonce])  # type: ignore[arg-type]
            return
        base: Any = {"content": "hello"}.get(mine.base, mine.base)
        own = other.nonce in places
        server_base: Any = "first" if own else "same"
        first = places.get(other.nonce, "front")
        server = 0 if own else other.start
        if theirs is None:
            server = mine.start if mine.step == 1 else mine.start + 1
        if not own and (other.layout, other.step, other.base) != (mine.layout, mine.step, mine.base):
            return
        if key == "zero" and box.used == _ZERO and base == "zero":
            # A counter that begins at 0 is the same.
            yield Counted(base, order, at, width, mine.start, server, mine.step, "counter", 0, server_base, first)  # type: ignore[arg-type]
        yield Counted(base, order, at, width, mine.start, server, mine.step, key, count, server_base, first)  # type: ignore[arg-type]

    def hellos(self, cut: Cut, boxes: list[KeyBox], content: Template, skip: int, mine: Way) -> Iterator[TemplateHello]:
        """Templates of the hello's packets: what is left when username, key and base are taken out is literal."""
        user = self.secrets.user or b""
        needs_base = mine.base == "hello"
        form = self._key_form(cut, boxes, mine.encoding)
        places = [
            box.base or (self._base_place(cut, box, i, skip) if needs_base else None) for i, box in enumerate(boxes)
        ]
        texts = [cut.client[i][place[0]][place[1] : place[2]] for i, place in enumerate(places) if place is not None]
        base_form = "raw"
        if texts and places[0] is not None:
            values = [_value_of(text, place[3]) for text, place in zip(texts, places, strict=True) if place]
            for name in (mine.encoding, places[0][3], *ENCODINGS):
                raw = name == "raw"
                if raw == (places[0][3] == "raw") and all(
                    v is not None and ENCODINGS[name].encode(v) == t for v, t in zip(values, texts, strict=True)
                ):
                    base_form = name
                    break
        per_packet: list[list[Template]] = []
        for number in range(skip):
            options: list[Template] | None = None
            for index, box in enumerate(boxes):
                packet = cut.client[index][number]
                fields: list[tuple[int, int, Field]] = []
                if number == box.packet:
                    fields.append((box.start, box.end, Field("key", form)))
                base = box.base
                if base is None and needs_base:
                    base = self._base_place(cut, box, index, skip)
                if base is not None and base[0] == number:
                    fields.append((base[1], base[2], Field("nonce", base_form)))
                found = _user_templates(packet, user, fields, textual=isinstance(cut.framing, Datums))
                options = found if options is None else [o for o in options if o in found]
            if not options:
                self.say(
                    "hello",
                    f"packet {number + 1} of the hello changes from connection to connection in bytes that "
                    "are neither username, key nor nonce",
                    "failed",
                )
                return
            per_packet.append(options)
        insecure: tuple[bytes, ...] = ()
        for choice in itertools.islice(itertools.product(*per_packet), 24):
            try:
                hello = TemplateHello(choice, content, insecure, preamble=cut.preamble)
            except BokbokError:
                continue
            self.say("hello", f"{skip} packets: " + "; ".join(_describe_template(t) for t in choice))
            yield hello

    @staticmethod
    def _key_form(cut: Cut, boxes: list[KeyBox], preferred: str) -> str:
        """Which of the encodings that fit the session key's box in every connection: that of the messages, if it does."""  # noqa: E501
        for name in (preferred, boxes[0].encoding, *ENCODINGS):
            if name == "raw" and boxes[0].encoding != "raw":
                continue
            fitting = 0
            for index, box in enumerate(boxes):
                text = cut.client[index][box.packet][box.start : box.end]
                try:
                    value = ENCODINGS[box.encoding].decode(text)
                except (BokbokError, ValueError):
                    break
                fitting += ENCODINGS[name].encode(value) == text
            if fitting == len(boxes):
                return name
        return boxes[0].encoding

    def _base_place(self, cut: Cut, box: KeyBox, index: int, skip: int) -> tuple[int, int, int, str] | None:
        for number, packet in enumerate(cut.client[index][:skip]):
            for part in _texts(packet):
                if len(part.value) == 24:
                    return number, part.start, part.end, part.encoding
        for number, packet in enumerate(cut.client[index][:skip]):
            if number != box.packet and 24 <= len(packet) <= 40:
                return number, len(packet) - 24, len(packet), "raw"
        return None

    # Insecure connections.

    def insecure(self, cut: Cut) -> Iterator[tuple[Profile, list[Proof], Fit]]:
        textual = isinstance(cut.framing, (Datums, Lines))
        for skip in (0, 1, 2):
            announced = {tuple(packets[:skip]) for packets in cut.client}
            if len(announced) != 1:
                continue
            lists = [(i, "client", packets[skip:]) for i, packets in enumerate(cut.client)]
            lists += [(i, "server", packets) for i, packets in enumerate(cut.server)]
            if not any(packets for _, _, packets in lists):
                continue
            first = [(source, packet) for _, source, found in lists for packet in found[:2]]
            for client_cut, server_cut, encoding in self._prefixes(lists, textual):
                sizes = {"client": client_cut, "server": server_cut}
                if encoding == "raw" and not all(_reads(packet[sizes[source] :]) for source, packet in first):
                    symbol = all(packet[sizes[source] - 1 : sizes[source]] == b" " for source, packet in first)
                    if (client_cut > 1 and not symbol) or not all(
                        _has_datum(packet[sizes[source] :]) for source, packet in first
                    ):
                        continue
                bodies: list[Body] = []
                flat: list[Opened] = []
                for index, source, packets in lists:
                    size = client_cut if source == "client" else server_cut
                    for packet in packets:
                        prefix, body = packet[:size], packet[size:]
                        if encoding != "raw":
                            try:
                                body = ENCODINGS[encoding].decode(body)
                            except (BokbokError, ValueError):
                                break
                        flat.append(Opened(prefix, b"", body))
                        bodies.append(Body(index, source, body, prefix))
                if len(bodies) != sum(len(packets) for _, _, packets in lists):
                    continue
                fits = fit_messages(bodies, self.known)
                for fit in fits[:2]:
                    form = _packet_form(
                        flat, [body.source for body in bodies], fit.kinds, encoding, plain=encoding != "raw"
                    )
                    if form is None:
                        continue
                    base = plain(INFERRED_1)
                    assert isinstance(base.hello, TemplateHello)
                    hello = TemplateHello(
                        base.hello.packets, base.hello.content, announced.copy().pop(), insecure_preamble=cut.preamble
                    )
                    profile = canonical(
                        Profile(
                            "calibrated", framing=cut.framing, hello=hello, packets=form,
                            messages=fit.messages, dialect=fit.dialects[0],
                        )
                    )  # fmt: skip
                    self.say("messages", f"the packets read as messages: {_describe_messages(fit)}", "likely")
                    proofs = self.prove(profile, None)
                    if proofs is not None:
                        yield profile, proofs, fit
                        return

    def _prefixes(self, lists: list[tuple[int, str, list[bytes]]], textual: bool) -> Iterator[tuple[int, int, str]]:
        yield 0, 0, "raw"

        def constant(source: str, size: int) -> bool:
            prefixes = {p[:size] for _, side, packets in lists if side == source for p in packets}
            return len(prefixes) <= 3

        for size in (1, 2, 3, 4, *range(5, 25)):
            if constant("client", size) and constant("server", size):
                yield size, size, "raw"
        packets = [p for _, _, found in lists for p in found]
        for encoding in ENCODINGS:
            if encoding != "raw" and all(_decodes(encoding, p) for p in packets):
                yield 0, 0, encoding
        if not textual:
            first = {
                source: {m[0] for _, side, found in lists if side == source for p in found
                         if (m := re.match(rb"[A-Za-z][A-Za-z0-9-]* ", p))}
                for source in ("client", "server")
            }  # fmt: skip
            if len(first["client"]) == 1 and len(first["server"]) <= 1:
                a = len(next(iter(first["client"])))
                b = len(next(iter(first["server"]))) if first["server"] else a
                if a != b:
                    yield a, b, "raw"

    def last_resort(self, oracle: _Oracle) -> None:
        """No framing helps: every offset of the first 4 kB, for boxes of the sizes that a session key gives."""
        data = self.recorded[0].client[:4096]
        until = time.monotonic() + 8
        for part in _texts(data):
            found = oracle._sent(0, part) or oracle._implied(0, part, [], 1)
            if found:
                self.located(found, part.start, part.end)
                return
        for start in range(max(0, len(data) - 47)):
            if time.monotonic() > until:
                break
            for size in (72, 48, 88, 96, 104, 136):
                part = Seen(start, start + size, "raw", data[start : start + size])
                if start + size <= len(data):
                    found = oracle._sent(0, part) or (oracle._implied(0, part, [], 1) if size in (48, 64, 72) else None)
                    if found:
                        self.located(found, start, start + size)
                        return
        self.say(
            "boxes", f"no window of the first {len(data)} bytes opens under any derivation of the passphrase", "failed"
        )

    def located(self, box: KeyBox, start: int, end: int) -> None:
        self.say(
            "boxes",
            f"the session key's box lies at bytes {start} to {end} of the client's, under {box.derivation or 'the given key'}"  # noqa: E501
            f" ({box.nonce}); no known framing explains what is around it",
        )
        self.answer.regions.append((self.recorded[0].conn, "client", start, end, "session key's box"))

    # The end.

    def rate(self, profile: Profile, proofs: list[Proof], fit: Fit) -> float:
        """Among profiles that explain everything: which is the likeliest."""
        framing = plain(profile).framing
        # What a simpler framing would explain is not taken for literal bytes of something else.
        score = -10.0 * _literals(profile)
        score += fit.score - 1000.0 * (sum(proof.cut for proof in proofs) > 0) - 5.0 * fit.spelt
        if isinstance(framing, IntegerLength):
            score -= 20 * framing.after + 5 * (framing.counts != 0) + (framing.integer == "leb128") * 0.5
        if isinstance(framing, TextLength):
            score -= len(framing.before) / 10 + 20 * framing.after + len(framing.ending) / 100
        if isinstance(framing, Lines):
            score -= 1.5
        return score

    def choose(self, found: list[tuple[float, Profile, list[Proof], list[Step], Fit]]) -> None:
        answer = self.answer
        _, profile, proofs, steps, fit = found[0]
        answer.proofs, answer.steps = proofs, steps
        kept = [profile]
        for _, other, _, _, other_fit in found[1:]:
            if other in kept:
                continue
            why = _difference(profile, other, fit, other_fit, self.recorded)
            if why is not None:
                kept.append(other)
                answer.apart.append(why)
        answer.profiles = kept[:5]
        self.steps = steps
        self.say("messages", _describe_messages(fit))
        if len(fit.dialects) < 3:
            names = " or ".join(d.name for d in fit.dialects)
            self.say("dialect", f"datums are written as {names} writes them")
        else:
            answer.notes.append("nothing was said that the dialects write differently: chicken-4 is assumed")
        if fit.spelt:
            answer.notes.append(
                f"{fit.spelt} messages hold a datum that the dialect writes otherwise (it reads them all)"
            )
        explained = sum(proof.explained for proof in proofs)
        left = sum(proof.cut for proof in proofs)
        self.say(
            "proof",
            f"every byte is explained: {explained} bytes of {len(self.recorded)} connections were written again the same"  # noqa: E501
            + (f"; {left} bytes of packets that were cut off are not" if left else ""),
        )
        answer.steps = self.steps
        answer.notes += fit.notes
        if len(self.recorded) < 2:
            answer.notes.append("one connection only: bytes that are literal in it may change from one to the next")


def _reads(body: bytes) -> bool:
    try:
        loads(body)
    except (ReadError, ValueError):
        return False
    return True


def _has_datum(body: bytes) -> bool:
    """Whether a datum may stand behind a binary header."""
    return any(_reads(body[size:]) for size in range(1, 13))


def _value_of(text: bytes, encoding: str) -> bytes | None:
    try:
        return ENCODINGS[encoding].decode(text)
    except (BokbokError, ValueError):
        return None


def _decodes(encoding: str, packet: bytes) -> bool:
    try:
        return ENCODINGS[encoding].encode(ENCODINGS[encoding].decode(packet)) == packet
    except (BokbokError, ValueError):
        return False


def _contents(contents: list[bytes]) -> Iterator[tuple[Template, list[bytes]]]:
    """Templates of what is in the session key's box, and the session keys that they give."""
    sizes = {len(content) for content in contents}
    parts = _texts(contents[0])
    for part in parts:
        if len(part.value) != 32:
            continue
        before, after = contents[0][: part.start], contents[0][part.end :]
        keys = []
        for content in contents:
            try:
                value, end = ENCODINGS[part.encoding].parse(content, part.start, -1)
            except (BokbokError, ValueError):
                break
            if content[: part.start] != before or content[end:] != after or len(value) != 32:
                break
            keys.append(value)
        else:
            literal = [piece for piece in (before, Field("key", part.encoding), after) if piece]
            yield Template(tuple(literal)), keys
    if len(sizes) == 1:
        size = sizes.pop()
        for start in dict.fromkeys((0, size - 32, *range(max(0, size - 31)))):
            if start < 0:
                continue
            pieces: list[bytes | Field] = []
            for a, b in ((0, start), (start + 32, size)):
                if a == start + 32:
                    pieces.append(Field("key"))
                if b <= a:
                    continue
                found = {content[a:b] for content in contents}
                text = next(iter(found))
                same = len(found) == 1 and (len(contents) > 1 or text.isascii())
                pieces.append(text if same else Field("any", "raw", b - a))
            yield Template(tuple(pieces)), [content[start : start + 32] for content in contents]
            if start == 0 and size >= 56:
                yield (
                    Template((Field("key"), Field("nonce"), *([Field("any", "raw", size - 56)] if size > 56 else []))),
                    [content[:32] for content in contents],
                )


def _with_base(template: Template) -> Template:
    """The same content, 24 bytes behind the key being a base of nonces."""
    parts: list[bytes | Field] = []
    for part in template.parts:
        size = part.size if isinstance(part, Field) and part.name == "any" else 0
        if size >= 24 and Field("nonce") not in parts:
            parts.append(Field("nonce"))
            if size > 24:
                parts.append(Field("any", "raw", size - 24))
        else:
            parts.append(part)
    return Template(tuple(parts))


def _user_templates(
    packet: bytes, user: bytes, fields: list[tuple[int, int, Field]], *, textual: bool
) -> list[Template]:
    """The templates of one packet of the hello, the likelier first."""
    fields = sorted(fields, key=lambda item: item[0])
    out: list[Template] = []
    taken = [(start, end) for start, end, _ in fields]

    def build(extra: list[tuple[int, int, Field]]) -> None:
        parts: list[bytes | Field] = []
        at = 0
        for start, end, part in sorted([*fields, *extra], key=lambda item: (item[0], item[1])):
            if start < at:
                return
            if start > at:
                parts.append(packet[at:start])
            parts.append(part)
            at = end
        if at < len(packet):
            parts.append(packet[at:])
        template = Template(tuple(parts))
        if template not in out:
            out.append(template)

    text = user.decode("utf-8", "surrogateescape")
    string, symbol = dumps(text), dumps(Symbol(text)) if user else b"||"

    def free(start: int, end: int) -> bool:
        return all(end <= a or start >= b for a, b in taken)

    found: list[tuple[float, int, int, str]] = []
    for form, literal in (("string", string), ("symbol", symbol), ("raw", user), ("hex", user.hex().encode())):
        if not literal:
            continue
        start = packet.find(literal)
        while start >= 0:
            end = start + len(literal)
            if free(start, end):
                rank = {"string": 0, "symbol": 4, "raw": 3, "hex": 5}[form]
                inside = packet[start - 1 : start] in (b"(", b" ") and packet[end : end + 1] in (b")", b" ")
                if form == "symbol" and (textual or inside or packet[start - 3 : start] == b" . "):
                    rank = 1
                if form == "raw":
                    if packet[end : end + 1] == b"\0" and free(end, end + 1):
                        found.append((2, start, end + 1, "nul"))
                    for width, order, name in (
                        (1, "be", "u8"),
                        (4, "be", "u32-be"),
                        (4, "le", "u32-le"),
                        (2, "be", "u16-be"),
                        (2, "le", "u16-le"),
                    ):
                        length = (
                            len(user).to_bytes(width, "big" if order == "be" else "little") if len(user) < 256 else b""
                        )
                        if length and packet[:start].endswith(length):
                            found.append((2 - width / 10, start - width, end, name))
                found.append((rank, start, end, form))
            start = packet.find(literal, start + 1)
    found.sort()
    for _, start, end, form in found:
        build([(start, end, Field("user", form))])
    if not found:
        build([])
    return out


def _packet_form(
    opened: list[Opened], sources: list[str], kinds: list[int | None], encoding: str, *, plain: bool = False
) -> PacketForm | None:
    """What stands around the boxes: for each direction and kind of message the same."""
    prefixes: dict[str, Any] = {"client": b"", "server": b""}
    suffixes = {"client": b"", "server": b""}
    for source in prefixes:
        mine = [(one, kind) for one, side, kind in zip(opened, sources, kinds, strict=True) if side == source]
        ends = {one.suffix for one, _ in mine}
        if len(ends) > 1:
            return None
        if ends:
            suffixes[source] = ends.pop()
        by_kind: list[bytes | None] = [None, None, None]
        for kind in range(3):
            found = {one.prefix for one, k in mine if k == kind}
            if len(found) > 1:
                return None
            by_kind[kind] = found.pop() if found else None
        given = [prefix for prefix in by_kind if prefix is not None]
        if len(set(given)) == 1:
            prefixes[source] = given[0]
        elif given:
            fill = by_kind[1] if by_kind[1] is not None else given[0]
            prefixes[source] = tuple(prefix if prefix is not None else fill for prefix in by_kind)
        else:
            prefixes[source] = None
    for source, other in (("client", "server"), ("server", "client")):
        if prefixes[source] is None:
            prefixes[source], suffixes[source] = prefixes[other] or b"", suffixes[other]
        mine, theirs = prefixes[source], prefixes[other]
        # A kind that one side never used is written as the other side writes it.
        if isinstance(mine, tuple) and isinstance(theirs, tuple):
            seen = {k for s, k in zip(sources, kinds, strict=True) if s == source}
            prefixes[source] = tuple(mine[k] if k in seen else theirs[k] for k in range(3))
    return PacketForm(encoding, prefixes["client"], prefixes["server"], suffixes["client"], suffixes["server"], plain)


def _describe(framing: Framing) -> str:
    if isinstance(framing, IntegerLength):
        parts = [framing.integer]
        if framing.own:
            parts.append("that counts itself too")
        if framing.counts:
            parts.append(f"and {framing.counts:+d} bytes")
        if framing.after:
            parts.append(f"behind {framing.after} byte of type")
        return " ".join(parts)
    if isinstance(framing, TextLength):
        base = "decimal" if framing.base == 10 else "hexadecimal"
        width = f" of {framing.width} digits" if framing.width else ""
        end = f", then {framing.ending!r}" if framing.ending else ""
        tail = f", {framing.trailer!r} behind each packet" if framing.trailer else ""
        return f"{base} length{width} behind {framing.before!r}{end}{tail}"
    if isinstance(framing, Datums):
        return f"one datum after another, {framing.separator!r} {framing.place}"
    if isinstance(framing, Lines):
        return f"lines ended by {framing.ending!r}"
    return framing.name if hasattr(framing, "name") else type(framing).__name__


def _describe_way(way: Way) -> str:
    if way.nonce in ("front", "behind"):
        return f"{way.encoding}, the nonce {'in front' if way.nonce == 'front' else 'behind'}"
    order, at, width = way.layout
    place = "" if (at, width) == (0, 24) else f", {width} bytes at byte {at}"
    base = {"zero": "from zeros", "hello": "from a base in the hello", "key": "from the session-key box's nonce",
            "content": "from a base in the session key's box", "first": "from the first box's nonce"}[way.base]  # fmt: skip  # noqa: E501
    return f"{way.encoding}, nonces counted {order}-endian {base}, first +{way.start}, by {way.step}{place}"


def _describe_template(template: Template) -> str:
    return " ".join(
        repr(part) if isinstance(part, bytes) else f"<{part.name}: {part.encoding}>" for part in template.parts
    )


def _describe_messages(fit: Fit) -> str:
    messages: Any = fit.messages
    if hasattr(messages, "integer"):
        tags = f"{messages.request!r}, {messages.response!r}, {messages.error!r}"
        return f"binary header, {messages.order}: tags {tags}, IDs {messages.integer}"
    form = "" if messages.id == "fixnum" else f", ID as {messages.id}"
    nested = "" if messages.payload == "datum" else ", the payload as text in a string"
    return f"{messages.request}, {messages.response}, {messages.error}{form}{nested}"


def _difference(best: Profile, other: Profile, fit: Fit, other_fit: Fit, recorded: list[Recorded]) -> str | None:
    """What would tell two profiles apart; `None` where nothing would, or one is too far-fetched to be kept."""
    mine, theirs = plain(best), plain(other)
    if _literals(other) > _literals(best):
        return None  # the same, by more that would have to be there by chance
    if mine.framing != theirs.framing:
        a, b = mine.framing, theirs.framing
        if isinstance(b, Lines) and isinstance(a, Datums):
            return None  # no conversation tells them apart: what `write` prints holds no such byte
        if isinstance(a, Datums) and isinstance(b, Datums):
            return None
        if {getattr(a, "integer", ""), getattr(b, "integer", "")} == {"u8", "leb128"}:
            return "framing: u8 or leb128: a message of 128 to 200 bytes would tell"
        after_b, after_a = getattr(b, "after", 0), getattr(a, "after", 0)
        counts_b = getattr(b, "counts", 0)
        if after_b > after_a or (counts_b and not getattr(a, "counts", 0)):
            return None if _wide(a) else f"framing: {_describe(a)} or {_describe(b)}: a longer message would tell"
        return f"framing: {_describe(a)} or {_describe(b)}: longer messages would tell"
    if mine.messages != theirs.messages:
        if other_fit.score < fit.score - 0.5:
            return None
        return f"messages: {_describe_messages(fit)} or {_describe_messages(other_fit)}: other datums would tell"
    return None


def _literals(profile: Profile) -> int:
    """How many literal bytes it needs around its packets."""
    form = profile.packets
    assert isinstance(form, PacketForm)
    total = 0
    for prefix in (form.client, form.server):
        total += len(prefix) if isinstance(prefix, bytes) else max(map(len, prefix))
    framing = plain(profile).framing
    total += 2 * (getattr(framing, "counts", 0) != 0) + getattr(framing, "after", 0)
    return total + len(form.client_suffix) + len(form.server_suffix)


def _wide(framing: Framing) -> bool:
    return not isinstance(framing, IntegerLength) or framing.integer not in ("u16-be", "u16-le")


def solve(recorded: list[Recorded], secrets: Secrets, known: set[bytes]) -> Answer:
    """Find the profiles that explain every byte.

    Args:
        recorded: connections of one peer in one mode.
        secrets: what is known of the client.
        known: datums that may be expected, as written (`script.known_datums`).
    """
    recorded = [one for one in recorded if one.client or one.server]
    if not recorded:
        answer = Answer()
        answer.steps.append(Step("recording", "it holds no connection in which anything was said", "failed"))
        return answer
    solver = _Solver(recorded, secrets, known)
    return solver.run()
