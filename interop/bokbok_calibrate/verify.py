"""The proof: a profile is claimed only if it explains every byte of a recording.

`bokbok.wire.transcript` takes a conversation apart. This module writes it again with the same keys, nonces and IDs,
packet by packet, so that a recording of any length takes only the memory of its longest packets.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError, WriteError
from bokbok.keys import Key
from bokbok.sexpr import Dotted, Symbol
from bokbok.wire import Profile
from bokbok.wire.boxes import KEY_BYTES, NONCE_BYTES, BoxMaker, Counted, Role, Sent
from bokbok.wire.framing import Write
from bokbok.wire.hello import TemplateHello
from bokbok.wire.messages import ERROR, MessageCodec
from bokbok.wire.transcript import Packet, Transcript
from bokbok_traffic.recording import Recorded

__all__ = ["Mismatch", "Proof", "Said", "prove"]

_DEPTH = 100_000
_MOST_SAID = 1000
_MOST_NONCES = 200_000
"""The most messages that a proof lists, and the most nonces that it compares."""

SOURCES: tuple[Role, Role] = ("client", "server")


class Mismatch(Exception):
    """Something that a profile does not explain: where, and why."""


@dataclass(frozen=True)
class Said:
    """One message of the conversation, as the profile reads it.

    Attributes:
        source: who sent it.
        kind: 0 request, 1 response, 2 error.
        id: the ID of the request.
        spelt: whether the profile's dialect would write the datum differently.
    """

    source: str
    kind: int
    id: int
    spelt: bool


@dataclass
class Proof:
    """What a profile explains.

    Attributes:
        messages: how many messages there are.
        said: the first messages.
        explained: how many bytes were reproduced exactly.
        cut: bytes of a last packet that was cut off.
        spelt: how many messages have a datum that the dialect writes differently.
        repeated: whether a nonce that travels came twice under one key.
    """

    messages: int = 0
    said: list[Said] = field(default_factory=list)
    explained: int = 0
    cut: int = 0
    spelt: int = 0
    repeated: bool = False


class _Given:
    """Replaces a source of randomness: returns what was recorded."""

    def __init__(self, values: list[bytes]) -> None:
        self._values = iter(values)

    def __call__(self, count: int) -> bytes:
        return next(self._values, bytes(count))


class _Replayed:
    """Replaces a choice of nonces: returns the recorded ones, each of which is put in before it is used."""

    def __init__(self) -> None:
        self.nonces: deque[bytes] = deque()

    def start(self, _: Any) -> tuple[Callable[[], bytes], bytes | None]:
        """See `PrefixCounter.start`."""
        return self.nonces.popleft, None


def prove(profile: Profile, recorded: Recorded, user: bytes | None, key: bytes | None) -> Proof:
    """Take a connection apart with a profile, and write all of it again, however long it is.

    Args:
        profile: consists of built-in strategies.
        recorded: the connection.
        user: the client's username; `None` for an insecure connection.
        key: the user's key; `None` for an insecure connection.

    Raises:
        Mismatch: something is not explained.
    """
    name = (user or b"").decode("utf-8", "surrogateescape")
    secrets = {} if key is None else {name: Key(key)}
    transcript = Transcript(profile, secrets, secure=key is not None, depth=_DEPTH)
    proof = Proof()
    again = _Again(profile, transcript.codec, proof, user or b"", key)
    writers = {source: _Direction(source, again) for source in SOURCES}
    try:
        for source in SOURCES:  # the client first, since it begins with the hello
            for piece in recorded.pieces(source):
                for packet in transcript.feed(source, piece):
                    writers[source].take(packet)
            again.said(source)
        for packet in transcript.cut():
            writers[packet.source].take(packet)
        for source in SOURCES:
            writers[source].finish()
    except _Unexplained as problem:
        at = writers[problem.source].at
        raise Mismatch(f"{problem}, behind byte {at} of the {problem.source}'s") from None
    for source, direction in writers.items():
        proof.explained += direction.at
        if recorded.whole is not None or source not in recorded.more:
            proof.cut += direction.cut
    return proof


class _Unexplained(Mismatch):
    def __init__(self, source: Role, problem: str) -> None:
        super().__init__(problem)
        self.source = source


class _Direction:
    """One direction of a connection. Each packet is written again before the next one is read.

    Attributes:
        at: how many bytes are explained.
        cut: bytes of a last packet that was cut off.
    """

    def __init__(self, source: Role, again: _Again) -> None:
        self.source: Role = source
        self.at = self.cut = 0
        self._again = again
        # A separator is written after a packet and read before the next one, so the two may differ in length.
        self._raw, self._written = bytearray(), bytearray()

    def take(self, packet: Packet) -> None:
        """Write a packet of the transcript again, and compare."""
        self._raw += packet.raw
        if not packet.cut:
            try:
                self._written += self._again.write(packet)
            except (BokbokError, Mismatch) as problem:
                raise _Unexplained(self.source, str(problem)) from None
        both = min(len(self._raw), len(self._written))
        if self._raw[:both] != self._written[:both]:
            raise _Unexplained(self.source, "the hello's framing" if packet.hello else f"the {self.source}'s framing")
        del self._raw[:both], self._written[:both]
        self.at += both
        if packet.cut:
            self.cut = len(self._raw)
            self._raw.clear()

    def finish(self) -> None:
        """The direction is over."""
        if self._raw or self._written:
            raise _Unexplained(self.source, f"the {self.source}'s framing")


class _Again:
    """Writes a connection's packets as its peers have, with the same keys, nonces and IDs."""

    def __init__(self, profile: Profile, codec: MessageCodec, proof: Proof, user: bytes, key: bytes | None) -> None:
        assert isinstance(profile.hello, TemplateHello)
        self._profile, self._hello, self._codec, self._proof = profile, profile.hello, codec, proof
        self._user, self._key = user, key
        self._boxes: _Boxes | None = None
        self._packets: list[bytes] = []  # of the hello
        self._expected = len(profile.hello.packets if key is not None else profile.hello.insecure)
        self._write = {source: profile.framing.writer() for source in SOURCES}
        framing = profile.hello_framing
        self._write_hello = self._write["client"] if framing is None else framing.writer()
        self._wraps = {source: profile.packets.wraps(source, key is not None) for source in SOURCES}
        self._counts = dict.fromkeys(SOURCES, 0)

    def write(self, packet: Packet) -> bytes:
        """The bytes that carry a packet."""
        if packet.title == "separator":
            return b""
        if packet.hello:
            return self._hello_again(packet)
        if packet.problem and not packet.body:
            raise Mismatch(f"{packet.title}: {packet.problem}")
        source = packet.source
        if source == "client" and self._expected > len(self._packets):
            raise Mismatch("the hello is not complete")
        self._counts[source] += 1
        number = self._counts[source]
        if self._boxes is not None:
            self._boxes.opened(source, packet.box)
        kind = self._message(source, number, packet.body)
        again = packet.body if self._boxes is None else self._boxes.seal(source, packet.body)
        wrap = self._wraps[source][kind]
        if (again if wrap is None else wrap(again)) != packet.data:
            raise Mismatch(f"the {source}'s packet {number} would be written differently")
        return self._framed(self._write[source], packet.data)

    def said(self, source: Role) -> None:
        """All packets of a direction were written."""
        if source == "client" and len(self._packets) < self._expected:
            raise _Unexplained(source, "the hello is not complete")
        if self._boxes is not None:
            try:
                self._boxes.sealer(source)  # the client's side writes the session key's box again, whatever follows it
            except Mismatch as problem:
                raise _Unexplained(source, str(problem)) from None
            self._proof.repeated |= self._boxes.repeated

    def _hello_again(self, packet: Packet) -> bytes:
        if packet.title == "preamble":
            return self._hello.preamble if self._key is not None else self._hello.insecure_preamble
        if packet.problem:
            raise Mismatch(f"the hello: {packet.problem}")
        number = len(self._packets)
        self._packets.append(packet.data)
        if len(self._packets) == self._expected and self._key is not None:
            self._boxes = _Boxes(self._profile, self._hello, self._packets, self._user, self._key)
        framed = self._profile.hello_framed or self._expected
        return self._framed(self._write_hello if number < framed else self._write["client"], packet.data)

    @staticmethod
    def _framed(write: Write, data: bytes) -> bytes:
        out: list[bytes] = []
        try:
            write(out, data)
        except BokbokError as error:
            raise Mismatch(f"a packet that this framing cannot carry: {error}") from None
        return b"".join(out)

    def _message(self, source: str, number: int, body: bytes) -> int:
        """The kind of a message, which must be written the same, except that its datum may be spelt differently."""
        codec, proof = self._codec, self._proof
        try:
            kind, id, datum = codec.decode(body)
        except BokbokError as error:
            raise Mismatch(f"the {source}'s message {number}: {error}") from None
        spelt = True
        if not hasattr(datum, "problem"):
            with contextlib.suppress(WriteError):
                spelt = (codec.request, codec.response, codec.error)[kind](id, datum) != body
        if spelt and not _is_enveloped(codec, kind, id, datum, body):
            raise Mismatch(f"the {source}'s message {number} would be written differently around its datum")
        proof.spelt += spelt
        proof.messages += 1
        if len(proof.said) < _MOST_SAID:
            proof.said.append(Said(source, kind, id, spelt))
        return kind


_MARK = "bokbok-mark-of-a-datum"


def _is_enveloped(codec: MessageCodec, kind: int, id: int, datum: Any, body: bytes) -> bool:
    """Whether a message is written as the codec writes it, except for its datum."""
    if kind == ERROR:
        marks: list[Any] = [_MARK]
    elif isinstance(datum, list) and datum:
        marks = [Symbol(_MARK), [Symbol(_MARK)]]  # brackets at its ends may belong to the message
    elif isinstance(datum, Dotted):
        marks = [Symbol(_MARK), Dotted([Symbol(_MARK)], Symbol(_MARK))]
    else:
        marks = [Symbol(_MARK)]
    for mark in marks:
        text = (codec.request, codec.response, codec.error)[kind](id, mark)
        before, _, after = text.partition(_MARK.encode())
        after = after.rpartition(_MARK.encode())[2]
        if body.startswith(before) and body.endswith(after) and len(body) >= len(before) + len(after):
            return True
    return False


class _Boxes:
    """The boxes of one secure connection. They are opened, and sealed again with the recorded nonces.

    Attributes:
        repeated: whether a nonce that travels came twice under one key.
    """

    def __init__(self, profile: Profile, hello: TemplateHello, packets: list[bytes], user: bytes, key: bytes) -> None:
        nonces = profile.nonces
        assert isinstance(nonces, (Sent, Counted))
        self._nonces = nonces
        self._key = key
        self._server = nonces.start("server", _Given([]))
        self._content = self._read_hello(hello, packets, user)
        self._sealers: dict[str, Callable[[bytes], bytes]] = {}
        self._replayed: dict[str, _Replayed] = {source: _Replayed() for source in SOURCES}
        self._first: dict[str, bytes] = {}
        self._seen: set[bytes] = set()
        # The nonce of the session key's box belongs to the user's key, but a peer that counts would use it again.
        behind = nonces.key.endswith("behind")
        self._key_nonce = self.box[-NONCE_BYTES:] if behind else self.box[:NONCE_BYTES]
        self.repeated = isinstance(nonces, Sent) and nonces.key != "zero" and not any(self._key_nonce)

    def _read_hello(self, hello: TemplateHello, packets: list[bytes], user: bytes) -> bytes:
        """The content of the session key's box. The hello is written again as it came."""
        side = hello.server(self._server)
        try:
            for packet in packets:
                side.receive(packet)
            self.box = side.box
            content = self._server.key_opener(self._key)(side.box)
            opened = hello.server(self._server)
            for packet in packets:
                opened.receive(packet)
            self.session = opened.session_key(lambda _: content)
        except BokbokError as error:
            raise Mismatch(f"the hello: {error}") from None
        if side.user != user:
            raise Mismatch(f"the hello names {side.user!r}")
        inner = hello.content.read(content, {"key": KEY_BYTES, "nonce": self._server.base_size})
        inner["key"] = self.session
        if hello.content.write(inner) != content:
            raise Mismatch("the content of the session key's box would be written differently")
        sizes = {"nonce": self._server.base_size}
        sizes["key"] = hello.key_field.fixed(sizes | {"key": len(side.box)}) or 0
        for template, packet in zip(hello.packets, packets, strict=True):
            if template.write(template.read(packet, sizes)) != packet:
                raise Mismatch("a packet of the hello would be written differently")
        return content

    def opened(self, source: str, box: bytes) -> None:
        """Note the next box of a direction, whose nonce is used again."""
        self._first.setdefault(source, box)
        if isinstance(self._nonces, Sent):
            nonce = _travelling(box, self._nonces.place)
            self.repeated |= nonce in self._seen
            if len(self._seen) < _MOST_NONCES:
                self._seen.add(nonce)
            self._replayed[source].nonces.append(nonce)

    def seal(self, source: str, body: bytes) -> bytes:
        """The same box again."""
        return self.sealer(source)(body)

    def sealer(self, source: str) -> Callable[[bytes], bytes]:
        """The object that seals the boxes of a direction as they came."""
        if source not in self._sealers:
            self._sealers[source] = self._sealer(source)
        return self._sealers[source]

    def _check_key_box(self, maker: BoxMaker) -> None:
        """The session key's box is written as it came."""
        if maker.key_sealer(self._key)(self._content) != self.box:
            raise Mismatch("the session key's box would be written differently")

    def _sealer(self, source: str) -> Callable[[bytes], bytes]:
        nonces, role = self._nonces, source
        maker: BoxMaker
        if isinstance(nonces, Sent):
            choose: Any = self._replayed[source]
            if source == "client" and nonces.key != "zero":
                choose.nonces.appendleft(self._key_nonce)
            maker = dataclasses.replace(nonces, choose=choose).start(role, _Given([]))  # type: ignore[arg-type]
            if source == "client":
                self._check_key_box(maker)
            return maker.sealer(self.session)
        first = _travelling(self._first.get(source, b""), nonces.first)
        if source == "server":
            own = "first" in (nonces.base, nonces.server_base)
            maker = nonces.start("server", _Given([first] if own else []))
            maker.base = self._server.base
            return maker.sealer(self.session)
        draws = [self._server.base] if nonces.base == "hello" else []
        if nonces.key.endswith(("front", "behind")):
            draws.append(self._key_nonce)
        if nonces.base == "first":
            draws.append(first)
        maker = nonces.start("client", _Given(draws))
        if nonces.base == "hello":
            maker.base = self._server.base
        self._check_key_box(maker)
        return maker.sealer(self.session)


def _travelling(box: bytes, place: str) -> bytes:
    """The nonce that travels with a box."""
    return box[:NONCE_BYTES] if place == "front" else box[-NONCE_BYTES:]
