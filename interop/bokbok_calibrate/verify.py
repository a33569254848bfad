"""The proof: a profile is claimed only if it explains every byte of a recording.

What this module knows: how to take a conversation apart with a profile's own strategies and to write it again with the
same keys, nonces and IDs. What it refuses to know: how the profile was found.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError, WriteError
from bokbok.sexpr import Dotted, Symbol
from bokbok.wire import Profile
from bokbok.wire.boxes import KEY_BYTES, NONCE_BYTES, Counted, Sent
from bokbok.wire.framing import Framing
from bokbok.wire.hello import TemplateHello
from bokbok.wire.messages import ERROR, MessageCodec
from bokbok.wire.profile import plain
from bokbok_traffic.recording import Recorded

__all__ = ["Mismatch", "Proof", "Said", "prove"]

LIMIT = 64 << 20
_DEPTH = 100_000


class Mismatch(Exception):
    """What a profile does not explain: where, and why."""


@dataclass(frozen=True)
class Said:
    """One message of the conversation, as the profile reads it.

    Attributes:
        conn: number of the connection.
        source: who said it.
        kind: 0 request, 1 response, 2 error.
        id: of the request.
        datum: what it says.
        start: offset of its packet, length included, in the direction's bytes.
        end: offset behind it.
        spelt: whether the profile's dialect writes the datum otherwise than it came.
    """

    conn: int
    source: str
    kind: int
    id: int
    datum: Any
    start: int
    end: int
    spelt: bool


@dataclass
class Proof:
    """What a profile explains.

    Attributes:
        said: all messages.
        explained: bytes written again the same.
        cut: bytes of a last packet that was cut off.
        spelt: messages whose datum the dialect writes otherwise.
        repeated: whether a nonce that travels came twice under one key.
    """

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


@dataclass(frozen=True)
class _Replayed:
    """In the place of a choice of nonces: the recorded ones."""

    nonces: tuple[bytes, ...]

    def start(self, _: Any) -> tuple[Callable[[], bytes], Callable[[bytes], bool]]:
        return iter(self.nonces).__next__, lambda _: False


def _split(framing: Framing, data: bytes) -> tuple[list[bytes], int]:
    splitter = framing.splitter(LIMIT)
    splitter.feed(data)
    packets = []
    try:
        while (packet := splitter.next()) is not None:
            packets.append(packet)
    except BokbokError as error:
        raise Mismatch(f"after {len(packets)} packets: {error}") from None
    return packets, len(splitter.rest())


def _written(framing: Framing, packets: list[bytes]) -> tuple[bytes, list[int]]:
    out: list[bytes] = []
    ends: list[int] = []
    write = framing.writer()
    size = 0
    for packet in packets:
        before = len(out)
        try:
            write(out, packet)
        except BokbokError as error:
            raise Mismatch(f"a packet that this framing cannot carry: {error}") from None
        size += sum(len(piece) for piece in out[before:])
        ends.append(size)
    return b"".join(out), ends


def prove(profile: Profile, recorded: Recorded, user: bytes | None, key: bytes | None) -> Proof:
    """Take a connection apart with a profile and write it again.

    Args:
        profile: built of the strategies that are built in.
        recorded: the connection.
        user: who the client is; `None` for an insecure connection.
        key: the user's key; `None` for an insecure connection.

    Raises:
        Mismatch: something is not explained.
    """
    profile = plain(profile)
    proof = Proof()
    streams = {source: recorded.stream(source) for source in ("client", "server")}
    hello_packets: list[bytes] = []
    packets: dict[str, list[bytes]] = {}
    hello = profile.hello
    assert isinstance(hello, TemplateHello)
    expected = len(hello.packets) if key is not None else len(hello.insecure)
    preamble = hello.preamble if key is not None else hello.insecure_preamble
    if not streams["client"].startswith(preamble):
        raise Mismatch("what stands before the first packet")
    streams["client"] = streams["client"][len(preamble) :]
    proof.explained += len(preamble)
    framed = 0  # packets of the hello that another framing tells apart
    if profile.hello_framing is not None and expected:
        framed = profile.hello_framed or expected
        hello_packets, head = _cut_hello(profile.hello_framing, streams["client"], framed)
        streams["client"] = streams["client"][head:]
        proof.explained += head
    for source, data in streams.items():
        found, left = _split(profile.framing, data)
        whole, _ = _written(profile.framing, found)
        if whole != data[: len(whole)] or len(whole) + left < len(data):
            raise Mismatch(f"the {source}'s framing")
        if source == "client":
            hello_packets += found[: expected - framed]
            found = found[expected - framed :]
            if len(hello_packets) < expected:
                raise Mismatch("the hello is not whole")
        packets[source] = found
        proof.cut += left
        proof.explained += len(whole)
    bodies: dict[str, list[bytes]] = {}
    if key is None:
        if tuple(hello_packets) != hello.insecure:
            raise Mismatch("the announcement of an insecure connection")
        for source in streams:
            unwrap = profile.packets.unwrap(source, False)  # type: ignore[arg-type]
            bodies[source] = [_do(unwrap, packet, source) if unwrap else packet for packet in packets[source]]
        sealers = dict.fromkeys(streams)
    else:
        bodies, sealers = _open_all(profile, hello, hello_packets, packets, user or b"", key, proof)
    codec = profile.messages.bind(profile.dialect, _DEPTH)
    for source in streams:
        wraps = profile.packets.wraps(source, key is not None)  # type: ignore[arg-type]
        seal = sealers[source]
        for index, (body, packet) in enumerate(zip(bodies[source], packets[source], strict=True)):
            try:
                kind, id, datum = codec.decode(body)
            except BokbokError as error:
                raise Mismatch(f"the {source}'s message {index + 1}: {error}") from None
            spelt = True
            if not hasattr(datum, "problem"):
                with contextlib.suppress(WriteError):
                    spelt = (codec.request, codec.response, codec.error)[kind](id, datum) != body
            if spelt and not _is_enveloped(codec, kind, id, datum, body):
                raise Mismatch(f"the {source}'s message {index + 1} is written otherwise around its datum")
            proof.spelt += spelt
            box = body if seal is None else seal(body)
            wrap = wraps[kind]
            if (box if wrap is None else wrap(box)) != packet:
                raise Mismatch(f"the {source}'s packet {index + 1} is written otherwise")
            proof.said.append(Said(recorded.conn, source, kind, id, datum, 0, 0, spelt))
    return proof


def _cut_hello(framing: Framing, data: bytes, count: int) -> tuple[list[bytes], int]:
    """The first packets of a stream, and how many bytes they take."""
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
    size = len(data) - len(splitter.rest())
    again, _ = _written(framing, out)
    if again != data[: len(again)] or len(again) < size:
        raise Mismatch("the hello's framing")
    return out, len(again)


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


def _first_base(box: bytes, nonces: Counted) -> bytes:
    return box[:NONCE_BYTES] if nonces.first == "front" else box[-NONCE_BYTES:]


def _do(step: Callable[[bytes], bytes], data: bytes, source: str) -> bytes:
    try:
        return step(data)
    except BokbokError as error:
        raise Mismatch(f"a packet of the {source}'s: {error}") from None


def _open_all(
    profile: Profile,
    hello: TemplateHello,
    hello_packets: list[bytes],
    packets: dict[str, list[bytes]],
    user: bytes,
    key: bytes,
    proof: Proof,
) -> tuple[dict[str, list[bytes]], dict[str, Callable[[bytes], bytes] | None]]:
    nonces = profile.nonces
    server = nonces.start("server", _Given([]))
    side = hello.server(server)
    try:
        for packet in hello_packets:
            side.receive(packet)
        content = server.key_opener(key)(side.box)
        opened = hello.server(server)
        for packet in hello_packets:
            opened.receive(packet)
        session = opened.session_key(lambda _: content)
    except BokbokError as error:
        raise Mismatch(f"the hello: {error}") from None
    if side.user != user:
        raise Mismatch(f"the hello names {side.user!r}")
    sizes = {"key": KEY_BYTES, "nonce": server.base_size}
    inner = hello.content.read(content, sizes)
    inner["key"] = session
    if hello.content.write(inner) != content:
        raise Mismatch("what is in the session key's box is written otherwise")
    box_sizes = {"key": len(side.box), "nonce": server.base_size}
    for template, packet in zip(hello.packets, hello_packets, strict=True):
        if template.write(template.read(packet, box_sizes)) != packet:
            raise Mismatch("a packet of the hello is written otherwise")
    boxes: dict[str, list[bytes]] = {}
    bodies: dict[str, list[bytes]] = {}
    client = nonces.start("client", _Given([server.base]))
    client.base = server.base
    for source, maker in (("client", server), ("server", client)):
        unwrap = profile.packets.unwrap(source, True)  # type: ignore[arg-type]
        boxes[source] = [_do(unwrap, packet, source) if unwrap else packet for packet in packets[source]]
        opener = maker.opener(session, refuse_own=False)
        bodies[source] = [_do(opener, box, source) for box in boxes[source]]
    # The same again, from the other end: with the recorded nonces in the place of fresh ones.
    behind = getattr(nonces, "key", "").endswith("behind")
    key_nonce = side.box[-NONCE_BYTES:] if behind else side.box[:NONCE_BYTES]
    sealers: dict[str, Callable[[bytes], bytes] | None] = {}
    if isinstance(nonces, Sent):
        used = {}
        for source in boxes:
            front = nonces.place == "front"
            used[source] = [box[:NONCE_BYTES] if front else box[-NONCE_BYTES:] for box in boxes[source]]
        every = used["client"] + used["server"]
        proof.repeated = len(set(every)) < len(every) or (key_nonce in (bytes(24),) and nonces.key != "zero")
        with_key = [key_nonce] if nonces.key != "zero" else []
        choose: Any = _Replayed((*with_key, *used["client"]))
        replay = dataclasses.replace(nonces, choose=choose)
        maker = replay.start("client", _Given([]))
        if maker.key_sealer(key)(content) != side.box:
            raise Mismatch("the session key's box is written otherwise")
        sealers["client"] = maker.sealer(session)
        choose = _Replayed(tuple(used["server"]))
        replay = dataclasses.replace(nonces, choose=choose)
        sealers["server"] = replay.start("server", _Given([])).sealer(session)
    else:
        assert isinstance(nonces, Counted)
        draws = [server.base] if nonces.base == "hello" else []
        if nonces.key.endswith(("front", "behind")):
            draws.append(key_nonce)
        if nonces.base == "first" and boxes["client"]:
            draws.append(_first_base(boxes["client"][0], nonces))
        maker = nonces.start("client", _Given(draws))
        if nonces.base == "hello":
            maker.base = server.base
        if maker.key_sealer(key)(content) != side.box:
            raise Mismatch("the session key's box is written otherwise")
        sealers["client"] = maker.sealer(session)
        first = [_first_base(boxes["server"][0], nonces)] if boxes["server"] else []
        maker = nonces.start("server", _Given(first if "first" in (nonces.base, nonces.server_base) else []))
        maker.base = server.base
        sealers["server"] = maker.sealer(session)
    return bodies, sealers
