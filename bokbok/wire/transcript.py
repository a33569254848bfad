"""A conversation, read passively: the bytes of both directions in, packets with named byte ranges out.

The passive twin of `Connection`. It speaks any profile, with any set of secrets or none, and takes all that it knows
from the profile's strategies: what splits a stream, opens a box and decodes a message is what a `Connection` uses, and
each strategy's `spans` name the bytes. So a strategy of a user's own can be read as soon as it can be spoken; without
`spans` its bytes are one range. What does not fit is shown as it is, with the reason; nothing raises.

Keys are used and never shown. Memory is bounded: a direction keeps the packet that is not complete (`limit`), and what
came before the hello has said which kind of connection it is (`HELD`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..errors import BokbokError
from ..keys import Key
from .boxes import BoxMaker, Open, Role
from .framing import Framing
from .messages import Unreadable
from .profile import Profile
from .strategy import Span

__all__ = ["HELD", "KINDS", "LIMIT", "Packet", "Range", "Secrets", "Stream", "Transcript", "shown_name"]

LIMIT = 64 * 1024 * 1024
"""Bytes of the longest packet: more than any peer of this project sends, since a reader does not judge limits."""
HELD = 1024 * 1024
"""Bytes of the server that wait until the client's hello says what they are."""
_DEPTH = 20_000

KINDS = ("request", "response", "error")
"""The kinds of message, as `MessageCodec.decode` numbers them."""

Secrets = Mapping[str, "str | bytes | Key"]
"""Passphrases or keys by user."""


class Range(NamedTuple):
    """Some bytes, and the layer they belong to.

    Attributes:
        offset: from the beginning of the direction's stream; -1 for bytes that are not in it: those of a box that was
            encoded, and those that were in a box.
        data: the bytes.
        layer: `preamble`, `framing`, `type`, `hello`, `encoding`, `nonce`, `zeros`, `tag`, `box`, `message`; `opened`
            for what was in a box; `raw` for what does not fit.
        note: what they say, in words.
    """

    offset: int
    data: bytes
    layer: str
    note: str = ""


@dataclass
class Packet:
    """One packet of a conversation, or what stands between packets.

    Attributes:
        t: when its last byte came, as `feed` was told.
        source: who sent it.
        start: where it begins in the direction's stream.
        raw: all its bytes there.
        title: what it is, in words.
        data: the packet itself, without what the framing adds.
        box: of a message's packet: the box, decoded; on an insecure connection the message.
        ranges: its bytes, all of them, in order; those that are not in the stream follow the ones they come from.
        hello: whether it is a part of the hello, or of an insecure client's announcement.
        nonce: of its box, where one travels.
        body: the message's bytes, opened if they were boxed; empty where there are none, or they could not be had.
        message: kind (see `KINDS`), ID and datum; `None` where the body is not a message, or its datum does not read.
        cut: whether it is the beginning of a packet whose rest did not come.
        unreadable: whether the body is a message of which the datum alone does not read.
        problem: what does not fit, and why; empty where all does.
    """

    t: float
    source: Role
    start: int
    raw: bytes
    title: str
    _ranges: list[Range] | Callable[[], list[Range]]
    data: bytes = b""
    box: bytes = b""
    hello: bool = False
    _nonce: bytes | Callable[[], bytes | None] | None = None
    body: bytes = b""
    message: tuple[str, int, Any] | None = None
    cut: bool = False
    unreadable: bool = False
    problem: str = ""

    # The two are made when somebody looks at them: most packets are read for their messages alone.

    @property
    def ranges(self) -> list[Range]:
        """Its bytes, all of them, in order."""
        if not isinstance(self._ranges, list):
            self._ranges = self._ranges()
        return self._ranges

    @property
    def nonce(self) -> bytes | None:
        """Of its box, where one travels."""
        if callable(self._nonce):
            self._nonce = self._nonce()
        return self._nonce

    @property
    def end(self) -> int:
        """Where it ends in the direction's stream."""
        return self.start + len(self.raw)


class Transcript:
    """One connection, read from its first byte.

    Args:
        profile: what is spoken.
        secrets: passphrases or keys by user; boxes of other users stay closed.
        secure: whether the connection is secure; `None` lets its first bytes tell.
        limit: bytes of the longest packet.
        depth: nesting of the deepest datum.

    Attributes:
        secure: whether it is a secure connection; `None` until that is known.
        user: who said hello, once the session key's box has opened.
        session: a fingerprint of the session key, to compare: the same for the same key. `None` if it is not known.
    """

    def __init__(
        self,
        profile: Profile,
        secrets: Secrets | None = None,
        *,
        secure: bool | None = None,
        limit: int = LIMIT,
        depth: int = _DEPTH,
    ) -> None:
        self.profile = profile
        self.codec = profile.messages.bind(profile.dialect, depth)
        readings = [kind for kind in (True, False) if secure in (kind, None)]
        self._readings = {kind: _Reading(self, kind, secrets or {}, limit) for kind in readings}
        # Until only one reading is left, the packets of both wait here, and so do the server's bytes.
        self._found: dict[bool, list[Packet]] = {kind: [] for kind in readings}
        self._waiting: list[tuple[float, bytes | None]] = []
        self._held = 0
        self._began = False
        self._prefers_secure = bool(secrets)
        self._reading: _Reading | None = self._readings[readings[0]] if len(readings) == 1 else None

    @property
    def secure(self) -> bool | None:
        """Whether it is a secure connection."""
        return None if self._reading is None else self._reading.secure

    @property
    def user(self) -> str | None:
        """Who said hello."""
        return None if self._reading is None else self._reading.user

    @property
    def session(self) -> bytes | None:
        """A fingerprint of the session key."""
        key = self.session_key
        return None if key is None else hashlib.sha256(b"fingerprint" + key).digest()

    @property
    def session_key(self) -> bytes | None:
        """The session key itself, for programs that go on speaking on the connection: never to be shown."""
        return None if self._reading is None else self._reading.session

    @property
    def nonce_base(self) -> bytes:
        """What counted nonces begin from, as the hello has said it; for programs that go on speaking."""
        return b"" if self._reading is None else self._reading.nonce_base

    def feed(self, source: Role, data: bytes, t: float = 0.0) -> list[Packet]:
        """Take bytes of one direction, in pieces of any size, in the order in which they came.

        Returns:
            The packets that are complete now.
        """
        if self._reading is not None:
            return self._reading.feed(source, data, t)
        if source == "server":
            if not self._began:
                # Only an insecure server speaks before its client.
                return [*self._choose(False), *self.feed(source, data, t)]
            self._waiting.append((t, data))
            self._held += len(data)
            return self._choose(self._prefers_secure) if self._held > HELD else []
        self._began = True
        for kind, reading in self._readings.items():
            self._found[kind] += reading.feed(source, data, t)
        return self._decide()

    def end(self, source: Role, t: float = 0.0) -> list[Packet]:
        """Take the end of one direction.

        Returns:
            What it cut off, if anything, and a packet without bytes that stands for the end.
        """
        if self._reading is not None:
            return self._reading.end(source, t)
        if source == "server":
            self._waiting.append((t, None))
            return []
        for kind, reading in self._readings.items():
            self._found[kind] += reading.end(source, t)
        return self._decide() or self._choose(self._prefers_secure)

    def cut(self, t: float = 0.0) -> list[Packet]:
        """Stop here: nothing more is known of either direction, although neither has ended.

        Returns:
            What is there of packets that are not complete.
        """
        found = [] if self._reading is not None else self._choose(self._prefers_secure)
        assert self._reading is not None
        return found + self._reading.cut("client", t) + self._reading.cut("server", t)

    def respelt(self, packet: Packet) -> bytes | None:
        """How the profile writes a packet's message; `None` where it has none, or its datum cannot be written.

        The same as `packet.body`, unless the peer writes another dialect, or spells its messages otherwise.
        """
        if packet.message is None:
            return None
        kind, id, datum = packet.message
        try:
            return getattr(self.codec, kind)(id, datum)  # type: ignore[no-any-return]
        except BokbokError:
            return None

    def _decide(self) -> list[Packet]:
        """Choose a reading as soon as one fits, or the other is impossible."""
        secure, plain = self._readings[True].standing, self._readings[False].standing
        if secure == plain:
            return [] if secure == "open" else self._choose(secure == "opened" or self._prefers_secure)
        if secure == "opened" or plain == "foreign":
            return self._choose(True)
        if plain == "opened" or secure == "foreign":
            return self._choose(False)
        return self._choose(True)  # the form of a hello, of which insecure bytes make nothing yet

    def _choose(self, kind: bool) -> list[Packet]:
        reading = self._reading = self._readings[kind]
        found = self._found[kind]
        for t, data in self._waiting:
            found += reading.feed("server", data, t) if data is not None else reading.end("server", t)
        self._readings, self._found, self._waiting = {}, {}, []
        return found


_Standing = Literal["open", "opened", "closed", "foreign"]
"""What a reading has made of the client's first bytes: nothing yet; they fit, and the key or the first message could be
read; they have the form of a hello whose box does not open; they do not fit."""


class Stream:
    """One direction's bytes, cut into packets by a framing.

    It is what a `Transcript` does first. Alone it serves where a framing is known, or guessed, and nothing else is.

    Args:
        framing: says where packets end.
        limit: bytes of the longest packet.

    Attributes:
        at: bytes of the stream that belong to packets.
        problem: why nothing more can be cut; empty while all that came fits.
    """

    def __init__(self, framing: Framing, limit: int = LIMIT) -> None:
        self.at = 0
        self.problem = ""
        self._limit = limit
        self._framing, self._splitter = framing, framing.splitter(limit)
        self._raw = bytearray()  # bytes behind `at`

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._raw += data
        if not self.problem:
            self._splitter.feed(data)

    def next(self) -> tuple[bytes, bytes, Framing] | None:
        """The next packet: what carried it, the packet, and the framing; `None` if there is none (yet)."""
        if self.problem:
            return None
        try:
            packet = self._splitter.next()
        except BokbokError as error:
            self.problem = str(error)
            return None
        if packet is None:
            return None
        raw = self.take(len(self._raw) - self._splitter.held())
        return raw, packet, self._framing

    def take(self, count: int) -> bytes:
        """Take bytes off the front."""
        raw = bytes(self._raw[:count])
        del self._raw[:count]
        self.at += len(raw)
        return raw

    def split(self, framing: Framing) -> None:
        """Go on with another framing, from the first byte that is in no packet."""
        self._framing, self._splitter = framing, framing.splitter(self._limit)
        self._splitter.feed(bytes(self._raw))

    def left(self) -> int:
        """How many bytes are in no packet."""
        return len(self._raw)

    def rest(self) -> bytes:
        """The bytes that are in no packet, which are given up."""
        return self.take(len(self._raw))


class _Direction(Stream):
    """One direction of a connection."""

    def __init__(self, source: Role, framing: Framing, limit: int) -> None:
        super().__init__(framing, limit)
        self.source = source
        self.number = 0  # messages so far
        self.ended = False

    def starts(self, expected: bytes) -> bool | None:
        """Whether the next bytes are the expected ones; `None` if too few are there."""
        there = bytes(self._raw[: len(expected)])
        return None if len(there) < len(expected) and expected.startswith(there) else there == expected

    def limit(self, most: int) -> None:
        """Take packets of at most so many bytes."""
        self._splitter.limit = most

    def pending(self) -> str | None:
        """What is cut off, in words."""
        return None if self.problem else self._splitter.pending()


class _Reading:
    """A connection read as a secure one, or as an insecure one."""

    def __init__(self, transcript: Transcript, secure: bool, secrets: Secrets, limit: int) -> None:
        self.secure = secure
        self.user: str | None = None
        self.session: bytes | None = None
        self.standing: _Standing = "open"
        profile = self._profile = transcript.profile
        self._secrets, self._limit, self._codec = secrets, limit, transcript.codec
        self._unwrap = {side: profile.packets.unwrap(side, secure) for side in ("client", "server")}
        self._boxes: dict[str, BoxMaker] = {}
        self._open: dict[str, Open] = {}
        self._hello = profile.hello.server(self._maker("server")) if secure else None
        self._hello_packets = 0
        self._announced = () if secure else profile.hello.insecure
        self._preamble = profile.hello.preamble if secure else profile.hello.insecure_preamble
        self._framed = profile.hello_framed
        framing = profile.framing
        begins = profile.hello_framing if profile.hello_framing is not None and self._expects_hello else framing
        self._client = _Direction("client", begins, limit)
        self._server = _Direction("server", framing, limit)
        self._limit_hello()

    def _maker(self, role: Role) -> BoxMaker:
        maker = self._boxes[role] = self._profile.nonces.start(role, os.urandom)
        return maker

    @property
    def nonce_base(self) -> bytes:
        """See `Transcript.nonce_base`."""
        return self._boxes["server"].base if "server" in self._boxes else b""

    @property
    def _expects_hello(self) -> bool:
        return self._hello is not None or bool(self._announced)

    def _limit_hello(self) -> None:
        if self._hello is not None:
            self._client.limit(self._hello.limit)

    # Bytes.

    def feed(self, source: Role, data: bytes, t: float) -> list[Packet]:
        """See `Transcript.feed`."""
        stream = self._client if source == "client" else self._server
        stream.feed(data)
        return list(self._packets(stream, t))

    def end(self, source: Role, t: float) -> list[Packet]:
        """See `Transcript.end`."""
        stream = self._client if source == "client" else self._server
        if stream.ended:
            return []
        found = self.cut(source, t)
        stream.ended = True
        if source == "client" and self.standing == "open":
            self.standing = "foreign" if any(packet.problem for packet in found) else "closed"
        return [*found, Packet(t, source, stream.at, b"", "end of file", [])]

    def cut(self, source: Role, t: float) -> list[Packet]:
        """See `Transcript.cut`."""
        stream = self._client if source == "client" else self._server
        pending, at, rest = stream.pending(), stream.at, stream.rest()
        if not rest:
            return []
        if pending is None and not stream.problem:  # white space behind the last datum
            return [Packet(t, source, at, rest, "separator", [Range(at, rest, "framing", "separator")])]
        return [_misfit(t, source, at, rest, stream.problem or f"cut off: {pending}", cut=not stream.problem)]

    def _packets(self, stream: _Direction, t: float) -> Iterator[Packet]:
        if stream is self._client and self._preamble and stream.at == 0 and not stream.problem:
            starts = stream.starts(self._preamble)
            if starts is None:
                return
            if starts:
                yield self._take_preamble(stream, t)
            else:
                stream.problem = f"the connection does not begin with {self._preamble!r}, as the profile has it"
        while (found := stream.next()) is not None:
            raw, packet, framing = found
            yield self._explain(stream, raw, packet, framing, t)
        if stream.problem:
            if stream is self._client and self.standing == "open":
                self.standing = "foreign"
            at = stream.at
            if rest := stream.rest():
                yield _misfit(t, stream.source, at, rest, stream.problem)

    def _take_preamble(self, stream: _Direction, t: float) -> Packet:
        expected = self._preamble
        data = stream.take(len(expected))
        framing = self._profile.hello_framing if self._expects_hello else None
        framing = framing or self._profile.framing
        stream.split(framing)  # what it was fed begins behind the preamble now
        self._limit_hello()
        return Packet(t, stream.source, 0, data, "preamble", [Range(0, data, "preamble")], hello=True)

    # Packets.

    def _explain(self, stream: _Direction, raw: bytes, data: bytes, framing: Framing, t: float) -> Packet:
        packet = Packet(t, stream.source, stream.at - len(raw), raw, "", [], data)
        if stream is not self._client or not self._expects_hello:
            name = self._take_message(stream, packet, data)

            def ranges() -> list[Range]:
                pieces = _Pieces(packet, framing, raw, data)
                name(pieces)
                return pieces.finish()

            packet._ranges = ranges
            return packet
        pieces = _Pieces(packet, framing, raw, data)
        if self._hello is not None:
            self._take_hello(packet, pieces, data)
        else:
            self._take_announcement(packet, pieces, data)
        packet._ranges = pieces.finish()
        return packet

    def _go_on(self) -> None:
        """A packet of the hello has come: the next one may be framed otherwise."""
        self._hello_packets += 1
        over = not self._expects_hello
        if self._profile.hello_framing is not None and (over or self._hello_packets == self._framed):
            self._client.split(self._profile.framing)
        if over:
            self._client.limit(self._limit)
        else:
            self._limit_hello()

    def _take_hello(self, packet: Packet, pieces: _Pieces, data: bytes) -> None:
        hello, number = self._hello, self._hello_packets
        assert hello is not None
        packet.hello = True
        try:
            whole = hello.receive(data)
        except BokbokError as error:
            packet.title, packet.problem = "not a hello", str(error)
            pieces.name([Span("raw", 0, len(data))], note=str(error))
            self.standing, self._hello = "foreign", None
            self._client.problem = f"what follows a packet that is not a hello: {error}"
            return
        maker = self._boxes["server"]
        spans = self._profile.hello.spans(number, data, maker.key_overhead, maker.base_size)
        what = [span.name for span in spans if span.name != "literal"]
        titles = [_TITLES.get(name, name) for name in what]
        packet.title = f"hello: {', '.join(titles)}" if titles else "hello"
        note = self._open_session(packet, hello) if whole else ""
        if whole:
            self._hello = None
        for span in spans:
            if span.name == "key":
                self._key_box(packet, pieces, span, hello.box if whole else b"", note)
            elif span.name == "user":
                name = hello.user if whole else data[span.start : span.end]  # as it came, while more is to come
                pieces.name([Span("hello", span.start, span.end)], note=f"username {shown_name(name)}")
            elif span.name == "nonce":
                pieces.name([Span("nonce", span.start, span.end)], note="the base of the nonces")
            else:
                pieces.name([Span("hello", span.start, span.end)], note=span.name)
        if whole and self.session is not None:
            pieces.behind(Range(-1, b"", "opened", f"a session key of {len(self.session)} bytes (not shown)"))
        self._go_on()

    def _key_box(self, packet: Packet, pieces: _Pieces, span: Span, box: bytes, note: str) -> None:
        there = pieces.data[span.start : span.end]
        if not box:  # of a hello whose later packets have not come
            box = there
        spans = self._profile.nonces.key_spans(len(box))
        if there == box:
            pieces.name([Span(s.name, s.start + span.start, s.end + span.start) for s in spans], note=note)
        else:
            pieces.name([Span("encoding", span.start, span.end)], note="the session key's box, encoded")
            pieces.inside(box, spans, note)
        packet._nonce = _nonce(box, spans)

    def _open_session(self, packet: Packet, hello: Any) -> str:
        """Try the secrets at the session key's box; what came of it, in words."""
        user = hello.user.decode("utf-8", "surrogateescape")
        for candidate in sorted(self._secrets, key=lambda name: name != user):
            try:
                opener = self._boxes["server"].key_opener(self._key(self._secrets[candidate]))
                self.session = hello.session_key(opener)
            except BokbokError:
                continue
            self.user, self.standing = user, "opened"
            note = f"opens under the key of {shown_name(candidate)}"
            if candidate != user:
                packet.problem = f"the session key's box {note}, who is not the user"
            client = self._maker("client")
            client.base = self._boxes["server"].base
            self._open = {
                "client": self._boxes["server"].opener(self.session, refuse_own=False),
                "server": client.opener(self.session, refuse_own=False),
            }
            return note
        self.standing = "closed"
        if self._secrets:
            packet.problem = "the session key's box does not open under any key that was given"
        return packet.problem or "no secret was given: the session key's box stays closed"

    def _key(self, secret: str | bytes | Key) -> bytes:
        if isinstance(secret, Key):
            return secret.to_bytes()
        text = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
        return self._profile.key_derivation(text)

    def _take_announcement(self, packet: Packet, pieces: _Pieces, data: bytes) -> None:
        packet.hello, packet.title = True, "announcement of an insecure connection"
        if data == self._announced[0]:
            pieces.name([Span("hello", 0, len(data))], note="announcement")
        else:
            packet.problem = f"the announcement of an insecure connection is {self._announced[0]!r}"
            pieces.name([Span("raw", 0, len(data))], note=packet.problem)
            self.standing = "foreign"
            self._client.problem = "what follows a packet that is not an announcement"
            return
        self._announced = self._announced[1:]
        self._go_on()

    def _take_message(self, stream: _Direction, packet: Packet, data: bytes) -> Callable[[_Pieces], None]:
        """Read a packet behind the hello; returns what names its bytes."""
        side, number = stream.source, stream.number
        stream.number += 1
        unwrap = self._unwrap[side]
        try:
            box = data if unwrap is None else unwrap(data)
        except BokbokError as error:
            problem = str(error)
            self._misfit(stream, packet, "a packet that is not one of a message", problem)
            return lambda pieces: pieces.name([Span("raw", 0, len(data))], note=problem)
        packet.box = box
        opened = False
        if not self.secure:
            packet.body = box
            self._message(stream, packet)
        else:
            opened = self._open_box(packet, side, box)
            if opened:
                self._message(stream, packet)
            packet._nonce = lambda: _nonce(box, self._inner(side, number, box))
        return lambda pieces: self._name_message(pieces, packet, side, number, data, opened=opened)

    def _inner(self, side: Role, number: int, box: bytes) -> list[Span]:
        """What a box, or the message in its place, is made of."""
        if not self.secure:
            return [Span("message", 0, len(box))]
        return self._profile.nonces.spans(side, len(box), first=number == 0)

    def _name_message(
        self, pieces: _Pieces, packet: Packet, side: Role, number: int, data: bytes, *, opened: bool
    ) -> None:
        box, inner = packet.box, self._inner(side, number, packet.box)
        note = self._box_note(side, number, packet) if opened else packet.problem
        for span in self._profile.packets.spans(side, data, self.secure):
            if span.name != "box":
                pieces.name([span])
            elif data[span.start : span.end] == box:
                pieces.name([Span(s.name, s.start + span.start, s.end + span.start) for s in inner], note=note)
            else:
                pieces.name([Span("encoding", span.start, span.end)], note=f"{len(box)} bytes, encoded")
                pieces.inside(box, inner, note)
        if opened:
            pieces.behind(Range(-1, packet.body, "opened"))

    def _box_note(self, side: Role, number: int, packet: Packet) -> str:
        counted = "" if packet.nonce is not None else self._profile.nonces.counted(side, number)
        return "opens under the session key" + (f"; nonce not sent: {counted}" if counted else "")

    def _open_box(self, packet: Packet, side: Role, box: bytes) -> bool:
        if self.session is None:
            packet.title = "a packet"
            packet.problem = "cannot be opened: the session key is not known"
            return False
        try:
            packet.body = self._open[side](box)
        except BokbokError as error:
            packet.title, packet.problem = "a packet that does not open", str(error)
            return False
        return True

    def _message(self, stream: _Direction, packet: Packet) -> None:
        try:
            kind, id, datum = self._codec.decode(packet.body)
        except BokbokError as error:
            self._misfit(stream, packet, "not a message", str(error))
            return
        packet.title = f"{KINDS[kind]} {id}"
        if isinstance(datum, Unreadable):
            packet.unreadable = True
            packet.problem = f"its datum does not read: {datum.problem}"
        else:
            packet.message = (KINDS[kind], id, datum)
        if not self.secure and stream is self._client and self.standing == "open":
            self.standing = "opened"

    def _misfit(self, stream: _Direction, packet: Packet, title: str, problem: str) -> None:
        packet.title, packet.problem = title, problem
        if not self.secure and stream is self._client and self.standing == "open":
            self.standing = "foreign"


class _Pieces:
    """The ranges of one packet, made as its layers are told apart.

    A framing may put its length into the middle of a packet (behind a type), so a range of the packet may be two in the
    stream.
    """

    def __init__(self, packet: Packet, framing: Framing, raw: bytes, data: bytes) -> None:
        self.data = data
        self._start, self._raw = packet.start, raw
        try:
            spans = framing.spans(raw)
        except BokbokError:
            spans = [Span("packet", 0, len(raw))]
        self._own = [span for span in spans if span.name != "packet"]
        # Where the packet's bytes are in `raw`: offset in the packet, offset in `raw`, how many.
        self._places: list[tuple[int, int, int]] = []
        at = 0
        for span in spans:
            if span.name == "packet":
                self._places.append((at, span.start, span.end - span.start))
                at += span.end - span.start
        self._whole = b"".join(raw[place : place + size] for _, place, size in self._places) == data
        self._found: list[tuple[int, int, list[Range]]] = []  # offset in `raw`, order, a range and what is derived
        self._last: list[Range] = []

    def name(self, spans: list[Span], note: str = "") -> None:
        """Some bytes of the packet; the note stands at the last one."""
        for number, span in enumerate(spans):
            last = number == len(spans) - 1
            own = _NOTES.get(span.name, "")
            self._add(span, (f"{own}; {note}" if own and note else own or note) if last else own)

    def _add(self, span: Span, note: str) -> None:
        layer = _LAYERS.get(span.name, span.name)
        if not self._whole:  # a strategy whose `spans` do not say where the packet is: shown as it came
            self._last = [Range(-1, self.data[span.start : span.end], layer, note)]
            self._found.append((len(self._raw), len(self._found), self._last))
            return
        for at, place, size in self._places:
            low, high = max(span.start, at), min(span.end, at + size)
            if low < high or (span.start == span.end == at and size == 0):
                start, end = place + low - at, place + high - at
                self._last = [Range(self._start + start, self._raw[start:end], layer, note)]
                self._found.append((start, len(self._found), self._last))

    def inside(self, box: bytes, spans: list[Span], note: str) -> None:
        """The bytes of a box that is encoded in the packet."""
        for span in spans:
            note_here = note if span is spans[-1] else _NOTES.get(span.name, "")
            self.behind(Range(-1, box[span.start : span.end], _LAYERS.get(span.name, span.name), note_here))

    def behind(self, derived: Range) -> None:
        """Bytes that are not in the stream, behind those they come from."""
        if not self._found:
            self._last = []
            self._found.append((len(self._raw), 0, self._last))
        self._last.append(derived)

    def finish(self) -> list[Range]:
        """All of them, in the stream's order."""
        if not self._whole:
            whole = Range(self._start, self._raw, "framing", "a packet of a framing that does not name its bytes")
            return [whole, *(one for _, _, ranges in self._found for one in ranges)]
        for span in self._own:
            note = f"{span.name} {len(self.data)}" if span.name == "length" else span.name
            self._found.append(
                (span.start, -1, [Range(self._start + span.start, self._raw[span.start : span.end], "framing", note)])
            )
        return [one for _, _, ranges in sorted(self._found, key=lambda found: found[:2]) for one in ranges]


_TITLES = {"user": "username", "key": "session key", "nonce": "base of the nonces", "any": "bytes of no known meaning"}
_LAYERS = {"ciphertext": "box"}
_NOTES = {"zeros": "zero bytes before the tag"}


def _misfit(t: float, source: Role, at: int, data: bytes, problem: str, *, cut: bool = False) -> Packet:
    title = "a packet that is cut off" if cut else "bytes that are not a packet"
    return Packet(t, source, at, data, title, [Range(at, data, "raw", problem)], cut=cut, problem=problem)


def _nonce(box: bytes, spans: list[Span]) -> bytes | None:
    """The nonce that travels with a box."""
    return next((box[span.start : span.end] for span in spans if span.name == "nonce"), None)


def shown_name(name: str | bytes) -> str:
    """A username as an ASCII string literal, whatever bytes it has."""
    data = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return '"' + data.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii") + '"'
