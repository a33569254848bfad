"""The proof: a profile is claimed only if it explains every byte of a recording.

It takes a conversation apart with a profile's own strategies and writes it again with the same keys, nonces and IDs,
packet by packet, so that a recording of any length takes the memory of its longest packets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError, WriteError
from bokbok.sexpr import Dotted, Symbol
from bokbok.wire import Profile
from bokbok.wire.boxes import KEY_BYTES, NONCE_BYTES, BoxMaker, Counted, Sent
from bokbok.wire.framing import Framing
from bokbok.wire.hello import TemplateHello
from bokbok.wire.messages import ERROR, MessageCodec
from bokbok_traffic.recording import Recorded

__all__ = ["Mismatch", "Proof", "Said", "prove"]

LIMIT = 64 << 20
"""Bytes of the longest packet."""
_DEPTH = 100_000
_HEAD = 1 << 16
"""Bytes in which what stands before the first packet, and a hello that is framed otherwise, must lie."""
_MOST_SAID = 1000
_MOST_NONCES = 200_000
"""Messages that a proof lists, and nonces that it compares."""

SOURCES = ("client", "server")


class Mismatch(Exception):
    """What a profile does not explain: where, and why."""


@dataclass(frozen=True)
class Said:
    """One message of the conversation, as the profile reads it.

    Attributes:
        source: who said it.
        kind: 0 request, 1 response, 2 error.
        id: of the request.
        spelt: whether the profile's dialect writes the datum otherwise than it came.
    """

    source: str
    kind: int
    id: int
    spelt: bool


@dataclass
class Proof:
    """What a profile explains.

    Attributes:
        messages: how many there are.
        said: the first of them.
        explained: bytes written again the same.
        cut: bytes of a last packet that was cut off.
        spelt: messages whose datum the dialect writes otherwise.
        repeated: whether a nonce that travels came twice under one key.
    """

    messages: int = 0
    said: list[Said] = field(default_factory=list)
    explained: int = 0
    cut: int = 0
    spelt: int = 0
    repeated: bool = False


class _Given:
    """In the place of a source of randomness: what was recorded."""

    def __init__(self, values: list[bytes]) -> None:
        self._values = iter(values)

    def __call__(self, count: int) -> bytes:
        return next(self._values, bytes(count))


class _Replayed:
    """In the place of a choice of nonces: the recorded ones, each of which is put in before it is used."""

    def __init__(self) -> None:
        self.nonces: deque[bytes] = deque()

    def start(self, _: Any) -> tuple[Callable[[], bytes], bytes | None]:
        """See `PrefixCounter.start`."""
        return self.nonces.popleft, None


class _Direction:
    """One direction of a connection, read from its beginning to its end.

    Attributes:
        at: bytes that are explained.
        cut: bytes of a last packet that was cut off.
    """

    def __init__(self, source: str, pieces: Iterator[bytes]) -> None:
        self.source = source
        self.at = self.cut = 0
        self._pieces = pieces
        self._head = bytearray()

    def take(self, expected: bytes) -> bool:
        """Whether it begins, or goes on, with some bytes, which are then explained."""
        self._fill()
        if not self._head.startswith(expected):
            return False
        self._explained(len(expected))
        return True

    def hello(self, framing: Framing, count: int) -> list[bytes]:
        """The first packets, which another framing tells apart."""
        self._fill()
        data = bytes(self._head)
        splitter = framing.splitter(LIMIT)
        splitter.feed(data)
        out: list[bytes] = []
        try:
            while len(out) < count and (packet := splitter.next()) is not None:
                out.append(packet)
        except BokbokError as error:
            raise Mismatch(f"in the hello: {error}") from None
        if len(out) < count:
            raise Mismatch("the hello is not whole")
        again = _written(framing.writer(), out)
        if not data.startswith(again) or len(again) < len(data) - len(splitter.rest()):
            raise Mismatch("the hello's framing")
        self._explained(len(again))
        return out

    def packets(self, framing: Framing) -> Iterator[bytes]:
        """All others; each is written again as it came before the next is looked for."""
        splitter, write = framing.splitter(LIMIT), framing.writer()
        raw, again = bytearray(), bytearray()
        count = 0
        for piece in itertools.chain([bytes(self._head)], self._pieces):
            raw += piece
            splitter.feed(piece)
            while True:
                try:
                    packet = splitter.next()
                except BokbokError as error:
                    raise Mismatch(f"after {count} packets: {error}") from None
                if packet is None:
                    break
                again += _written(write, [packet])
                both = min(len(raw), len(again))
                if raw[:both] != again[:both]:
                    raise Mismatch(f"the {self.source}'s framing")
                del raw[:both], again[:both]
                self.at += both
                count += 1
                yield packet
        self.cut = len(splitter.rest())
        if again or len(raw) > self.cut:
            raise Mismatch(f"the {self.source}'s framing")

    def _fill(self) -> None:
        while len(self._head) < _HEAD and (piece := next(self._pieces, None)) is not None:
            self._head += piece

    def _explained(self, count: int) -> None:
        del self._head[:count]
        self.at += count


def _written(write: Callable[[list[bytes], bytes], None], packets: Iterable[bytes]) -> bytes:
    out: list[bytes] = []
    try:
        for packet in packets:
            write(out, packet)
    except BokbokError as error:
        raise Mismatch(f"a packet that this framing cannot carry: {error}") from None
    return b"".join(out)


def prove(profile: Profile, recorded: Recorded, user: bytes | None, key: bytes | None) -> Proof:
    """Take a connection apart with a profile and write it again: all of it, however long it is.

    Args:
        profile: built of the strategies that are built in.
        recorded: the connection.
        user: who the client is; `None` for an insecure connection.
        key: the user's key; `None` for an insecure connection.

    Raises:
        Mismatch: something is not explained.
    """
    directions = [_Direction(source, recorded.pieces(source)) for source in SOURCES]
    reader = _Reader(profile, user, key)
    for direction in directions:
        try:
            reader.read(direction)
        except Mismatch as problem:
            raise Mismatch(f"{problem}, behind byte {direction.at} of the {direction.source}'s") from None
        reader.proof.explained += direction.at
        if recorded.whole is not None or direction.source not in recorded.more:
            reader.proof.cut += direction.cut
    return reader.proof


class _Reader:
    """Reads both directions of one connection, the client's first: it begins with the hello."""

    def __init__(self, profile: Profile, user: bytes | None, key: bytes | None) -> None:
        self.proof = Proof()
        self._profile, self._user, self._key = profile, user or b"", key
        assert isinstance(profile.hello, TemplateHello)
        self._hello = profile.hello
        self._codec = profile.messages.bind(profile.dialect, _DEPTH)
        self._boxes: _Boxes | None = None

    def read(self, direction: _Direction) -> None:
        """One direction, to its end."""
        source = direction.source
        if source == "client":
            framed = self._framed(direction)
            packets = direction.packets(self._profile.framing)
            self._opened(framed + list(itertools.islice(packets, self._expected - len(framed))))
        else:
            packets = direction.packets(self._profile.framing)
        unwrap = self._profile.packets.unwrap(source, self._key is not None)  # type: ignore[arg-type]
        wraps = self._profile.packets.wraps(source, self._key is not None)  # type: ignore[arg-type]
        for number, packet in enumerate(packets, 1):
            box = _do(unwrap, packet, source) if unwrap else packet
            body = box if self._boxes is None else self._boxes.open(source, box)
            kind = self._message(source, number, body)
            again = body if self._boxes is None else self._boxes.seal(source, body)
            wrap = wraps[kind]
            if (again if wrap is None else wrap(again)) != packet:
                raise Mismatch(f"the {source}'s packet {number} is written otherwise")
        if self._boxes is not None:
            self._boxes.sealer(source)  # the client's writes the session key's box again, whatever follows it
            self.proof.repeated |= self._boxes.repeated

    @property
    def _expected(self) -> int:
        return len(self._hello.packets if self._key is not None else self._hello.insecure)

    def _framed(self, client: _Direction) -> list[bytes]:
        """What stands before the first packet, and the packets of the hello that another framing tells apart."""
        preamble = self._hello.preamble if self._key is not None else self._hello.insecure_preamble
        if not client.take(preamble):
            raise Mismatch("what stands before the first packet")
        if self._profile.hello_framing is None or not self._expected:
            return []
        return client.hello(self._profile.hello_framing, self._profile.hello_framed or self._expected)

    def _opened(self, hello: list[bytes]) -> None:
        if len(hello) < self._expected:
            raise Mismatch("the hello is not whole")
        if self._key is not None:
            self._boxes = _Boxes(self._profile, self._hello, hello, self._user, self._key)
        elif tuple(hello) != self._hello.insecure:
            raise Mismatch("the announcement of an insecure connection")

    def _message(self, source: str, number: int, body: bytes) -> int:
        """Of which kind a message is; it is written the same, or its datum alone is spelt otherwise."""
        codec, proof = self._codec, self.proof
        try:
            kind, id, datum = codec.decode(body)
        except BokbokError as error:
            raise Mismatch(f"the {source}'s message {number}: {error}") from None
        spelt = True
        if not hasattr(datum, "problem"):
            with contextlib.suppress(WriteError):
                spelt = (codec.request, codec.response, codec.error)[kind](id, datum) != body
        if spelt and not _is_enveloped(codec, kind, id, datum, body):
            raise Mismatch(f"the {source}'s message {number} is written otherwise around its datum")
        proof.spelt += spelt
        proof.messages += 1
        if len(proof.said) < _MOST_SAID:
            proof.said.append(Said(source, kind, id, spelt))
        return kind


_MARK = "bokbok-mark-of-a-datum"


def _is_enveloped(codec: MessageCodec, kind: int, id: int, datum: Any, body: bytes) -> bool:
    """Whether a message is written as the codec writes it, but for what stands in the place of its datum."""
    if kind == ERROR:
        marks: list[Any] = [_MARK]
    elif isinstance(datum, list) and datum:
        marks = [Symbol(_MARK), [Symbol(_MARK)]]  # its brackets may be those of the message
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
    """The boxes of one secure connection: they open, and are sealed again with the nonces that were recorded.

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
        self._client = nonces.start("client", _Given([self._server.base]))
        self._client.base = self._server.base
        self._openers = {
            "client": self._server.opener(self.session, refuse_own=False),
            "server": self._client.opener(self.session, refuse_own=False),
        }
        self._sealers: dict[str, Callable[[bytes], bytes]] = {}
        self._replayed = {source: _Replayed() for source in SOURCES}
        self._first: dict[str, bytes] = {}
        self._seen: set[bytes] = set()
        # The nonce of the session key's box is under the user's key, but a peer that counts would use it again.
        behind = nonces.key.endswith("behind")
        self._key_nonce = self.box[-NONCE_BYTES:] if behind else self.box[:NONCE_BYTES]
        self.repeated = isinstance(nonces, Sent) and nonces.key != "zero" and not any(self._key_nonce)

    def _read_hello(self, hello: TemplateHello, packets: list[bytes], user: bytes) -> bytes:
        """What is in the session key's box; the hello is written again as it came."""
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
            raise Mismatch("what is in the session key's box is written otherwise")
        sizes = {"nonce": self._server.base_size}
        sizes["key"] = hello.key_field.fixed(sizes | {"key": len(side.box)}) or 0
        for template, packet in zip(hello.packets, packets, strict=True):
            if template.write(template.read(packet, sizes)) != packet:
                raise Mismatch("a packet of the hello is written otherwise")
        return content

    def open(self, source: str, box: bytes) -> bytes:
        """What is in the next box of a direction."""
        body = _do(self._openers[source], box, source)
        self._first.setdefault(source, box)
        if isinstance(self._nonces, Sent):
            nonce = _travelling(box, self._nonces.place)
            self.repeated |= nonce in self._seen
            if len(self._seen) < _MOST_NONCES:
                self._seen.add(nonce)
            self._replayed[source].nonces.append(nonce)
        return body

    def seal(self, source: str, body: bytes) -> bytes:
        """The same box again."""
        return self.sealer(source)(body)

    def sealer(self, source: str) -> Callable[[bytes], bytes]:
        """What seals the boxes of a direction as they came."""
        if source not in self._sealers:
            self._sealers[source] = self._sealer(source)
        return self._sealers[source]

    def _check_key_box(self, maker: BoxMaker) -> None:
        """The session key's box is written as it came."""
        if maker.key_sealer(self._key)(self._content) != self.box:
            raise Mismatch("the session key's box is written otherwise")

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


def _do(step: Callable[[bytes], bytes], data: bytes, source: str) -> bytes:
    try:
        return step(data)
    except BokbokError as error:
        raise Mismatch(f"a packet of the {source}'s: {error}") from None
