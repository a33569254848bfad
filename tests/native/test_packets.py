"""Batches in compiled code and in Python: the same events, bytes and errors, however the bytes are divided."""

from __future__ import annotations

import ctypes
import itertools
import platform
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokbok import Symbol
from bokbok._native import ABSENT, NATIVE
from bokbok.errors import RemoteProtocolError
from bokbok.keys import Key
from bokbok.sexpr import dumps
from bokbok.wire import Closed, Connection, Guards, Limits, RequestReceived, ResponseReceived, _native
from bokbok.wire.boxes import SentMaker, box_sealer
from bokbok.wire.framing import IntegerLength
from bokbok.wire.framing._strategy import too_long
from tests.support.peers import framed
from tests.support.pure import pure

pytestmark = pytest.mark.skipif(NATIVE is None, reason=f"bokbok-native is {ABSENT}")

KEY = Key(bytes(range(32)))
SESSION_KEY = b"\x01" * 32

BODIES = [
    b'(request 0 ("ping" 1))', b"(request 1 x)", b"(request 1 x)", b"(request 3 (a . (b)))", b"(response 0 5)",
    b'(error 0 "no")', b"(error 0 no)", b"(request 01 x)", b"(request -1 x)", b"(request 2 x) ", b"(request 2 x);c",
    b"(request 2 x)y", b"(request 2 x y)", b"(request 2)", b"(request  2 x)", b"(requests 2 x)", b"[request 2 x]",
    b"(request 4 #<p>)", b"(request 4 (x)", b"", b"x",
    b"(request 5 " + b"1 " * 600 + b")", b"(request 6 (" + b"1 " * 600 + b"))", b'(request 7 "' + b"x" * 5000 + b'")',
    b"(request 9999999999999999999 x)", b"(request 8 |a b|)", b"(request 9 #u8(1))",
]  # fmt: skip


def counting(first: int) -> Callable[[int], bytes]:
    """Fixed "randomness": the same in each run."""
    count = itertools.count(first)
    return lambda size: bytes([next(count) % 256]) * size


def server(secure: bool, **named: Any) -> Connection:
    """A server's connection that has sent two requests. If it is secure, its client has said hello."""
    connection = Connection("server", secure=secure, draw=counting(100), **named)
    if secure:
        client = Connection("client", user="me", key=KEY, draw=counting(1))
        connection.receive(client.data_to_send())
        connection.authenticate(KEY)
    connection.request("first")
    connection.request("second")
    return connection


def happened(secure: bool, stream: bytes, size: int, seconds: float | None, **named: Any) -> list[Any]:
    """A server's events for a stream in pieces, in words; and what it sends."""
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    return happened_in(pieces, secure, seconds, **named)


def happened_in(pieces: list[bytes], secure: bool, seconds: float | None, **named: Any) -> list[Any]:
    connection = server(secure, **named)
    told: list[Any] = []
    for piece in pieces:
        events = connection.receive(piece, seconds=seconds)
        while connection.more:
            events += connection.receive(seconds=seconds)
        for event in events:
            # The estimate of the memory is a bound, not a behaviour.
            told.append((event.id, event.message) if isinstance(event, RequestReceived) else repr(event))
            if isinstance(event, Closed):
                told.append(str(event.error))
            if isinstance(event, RequestReceived) and event.id % 2 and connection.state == "open":
                connection.respond(event.id, event.message)
        told.append(connection.data_to_send())
    told += [connection.held > 0, list(map(repr, connection.receive_eof())), str(connection.error)]
    return told


def each_packet(bodies: list[bytes], secure: bool) -> list[bytes]:
    seal = box_sealer(SESSION_KEY, (number.to_bytes(24, "big") for number in itertools.count()).__next__)
    made = map(seal, bodies) if secure else bodies
    return [len(packet).to_bytes(4, "big") + packet for packet in made]


def packets(bodies: list[bytes], secure: bool) -> bytes:
    return b"".join(each_packet(bodies, secure))


def assert_one_behaviour(secure: bool, stream: bytes, size: int, seconds: float | None, **named: Any) -> None:
    native = happened(secure, stream, size, seconds, **named)
    with pure():
        assert happened(secure, stream, size, seconds, **named) == native


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@given(bodies=st.lists(st.sampled_from(BODIES), max_size=6), size=st.integers(1, 3000), sliced=st.booleans())
@example(bodies=[BODIES[0]] * 100, size=100_000, sliced=True)
@example(bodies=BODIES[:6], size=1, sliced=False)
def test_messages_are_taken_alike(secure: bool, bodies: list[bytes], size: int, sliced: bool) -> None:
    assert_one_behaviour(secure, packets(bodies, secure), size, 0 if sliced else None)


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@given(bodies=st.lists(st.sampled_from(BODIES), max_size=6), rest=st.integers(0, 3), sliced=st.booleans())
@example(bodies=BODIES, rest=0, sliced=True)
def test_packets_that_come_alone_are_taken_alike(secure: bool, bodies: list[bytes], rest: int, sliced: bool) -> None:
    pieces = each_packet(bodies, secure)
    if pieces and rest:  # the last but one comes with a part of the last
        *pieces, last = pieces
        pieces = [*pieces[:-1], b"".join(pieces[-1:]) + last[:rest], last[rest:]]
    seconds = 0 if sliced else None
    native = happened_in(pieces, secure, seconds)
    with pure():
        assert happened_in(pieces, secure, seconds) == native


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@pytest.mark.parametrize("body", BODIES)
def test_a_packet_alone_is_what_a_batch_makes_of_it_or_is_left_to_that(secure: bool, body: bytes) -> None:
    packet = packets([body], secure)
    splitter: Any = server(secure)._splitter
    alone = splitter.alone(packet)
    splitter = server(secure)._splitter
    splitter.feed(packet)
    batch: list[Any] = []
    splitter.batch(batch, 1 << 30)
    assert batch == ([] if alone is None else [alone])


@pytest.mark.parametrize(
    ("before", "data"),
    [
        (b"", b"\0\0\0\x0d(request 0 1)x"),
        (b"", b"\0\0\0\x0d(request 0 1"),
        (b"", b"\0\0\0\x0d(request 0 1)\0\0\0\x0d(request 1 1)"),
        (b"", b"\0\0\0"),
        (b"", b""),
        (b"\0", b"\0\0\0\x0d(request 0 1)"),
    ],
)
def test_what_is_not_one_packet_alone_is_not_taken(before: bytes, data: bytes) -> None:
    splitter: Any = server(False)._splitter
    splitter.feed(before)
    assert splitter.alone(data) is None
    assert splitter.held() == len(before)
    assert splitter.rest() == before


def test_a_packet_alone_over_the_limit_is_not_taken() -> None:
    splitter: Any = server(False)._splitter
    packet = b"\0\0\0\x0d(request 0 1)"
    splitter.limit = 12
    assert splitter.alone(packet) is None
    splitter.limit = 13
    assert splitter.alone(packet)[:3] == (0, 0, 1)


def test_a_splitter_that_is_not_bound_takes_no_message() -> None:
    assert NATIVE.Splitter(100, too_long).alone(b"\0\0\0\x0d(request 0 1)") is None


def test_a_message_alone_goes_the_compiled_way_without_a_batch() -> None:
    connection = server(False)
    reading: Any = connection._reading
    reading.batch = pytest.fail
    assert connection.receive(packets([BODIES[0]], False)) == [RequestReceived(0, ["ping", 1])]


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@given(
    bodies=st.lists(st.sampled_from(BODIES[:6]), min_size=1, max_size=4), at=st.integers(0, 400),
    byte=st.integers(0, 255), end=st.integers(1, 500),
)  # fmt: skip
def test_bytes_that_were_changed_or_cut_off_are_taken_alike(
    secure: bool, bodies: list[bytes], at: int, byte: int, end: int
) -> None:
    stream = bytearray(packets(bodies, secure))
    stream[at % len(stream)] = byte
    assert_one_behaviour(secure, bytes(stream[:end]), 200, None)


@given(st.integers(0, 4000), st.sampled_from(BODIES))
def test_limits_are_the_same(limit: int, body: bytes) -> None:
    limits = Limits(packet=max(limit, 100), message_memory=max(limit * 2, 1), depth=1 + limit % 3)
    with pure():
        happened(False, packets([body], False), 10_000, None)  # no symbol is new then: new ones are charged
    assert_one_behaviour(False, packets([body, BODIES[0]], False), 10_000, None, limits=limits)


def reflected(guards: Guards) -> list[Any]:
    connection = server(True, guards=guards)
    events = connection.receive(connection.data_to_send())
    return [(event.id, event.message) if isinstance(event, RequestReceived) else repr(event) for event in events]


@pytest.mark.parametrize("reflection", [False, True])
def test_a_packet_of_one_s_own_is_refused_alike(reflection: bool) -> None:
    guards = Guards(reflection=reflection)
    native = reflected(guards)
    with pure():
        assert reflected(guards) == native
    assert ("a reflection" in str(native[0])) is reflection


def spoken(message: Any) -> tuple[bytes, list[Any]]:
    client = Connection("client", user="me", key=KEY, draw=counting(1))
    other = Connection("server", secure=True, draw=counting(50))
    sent = client.data_to_send()
    other.receive(sent)
    other.authenticate(KEY)
    for number in range(3):
        client.request([number, message])
    data = client.data_to_send()
    events = other.receive(data)
    for event in events:
        assert isinstance(event, RequestReceived)
        other.respond(event.id, event.message)
    answers = other.data_to_send()
    return sent + data + answers, client.receive(answers)


@pytest.mark.parametrize("size", [0, 1, 60, 1000, 1024, 1100, 70_000])
def test_a_conversation_is_the_same_byte_for_byte_at_every_size_of_boxes(size: int) -> None:
    native = spoken("x" * size)
    with pure():
        assert spoken("x" * size) == native
    assert native[1] == [ResponseReceived(number, [number, "x" * size]) for number in range(3)]


def test_small_messages_go_the_compiled_way_and_rare_ones_are_handed_over_singly() -> None:
    connection = server(False)
    taken: list[tuple[int, int]] = []
    batch = connection._reading.batch
    assert batch is not None

    def watched(messages: list[Any], budget: int) -> int:
        before = len(messages)
        reason = batch(messages, budget)
        taken.append((len(messages) - before, reason))
        return reason

    connection._reading.batch = watched
    bodies = [b"(request %d (%b))" % (number, dumps(Symbol("x"))) for number in range(5)]
    events = connection.receive(packets([*bodies[:3], b"(request 9 x) ; rare", *bodies[3:]], False))
    assert len(events) == 6
    assert taken == [(3, 2), (2, 0)]


def test_a_profile_s_own_boxes_and_codec_are_asked() -> None:
    """A user's own strategy that derives from these is used."""

    class Boxes(SentMaker):
        pass

    class Framing(IntegerLength):
        pass

    assert type(_native.make_splitter(IntegerLength(), 9)).__module__ == "bokbok_native"
    assert type(_native.make_splitter(Framing(), 9)).__module__ != "bokbok_native"
    assert type(_native.make_splitter(IntegerLength("u16-be"), 9)).__module__ != "bokbok_native"
    connection = server(False)
    codec, splitter = connection._codec, connection._splitter
    assert _native.bind(splitter, codec, None, None, True, 100, 1) is not None
    other = codec._replace(read=lambda body: codec.read(body))
    assert _native.bind(splitter, other, None, None, True, 100, 1) is None
    boxes = Boxes(connection._profile.nonces, counting(1))  # type: ignore[arg-type]
    assert _native.bind(splitter, codec, boxes, SESSION_KEY, True, 100, 1) is None


def test_the_splitter_tells_what_it_holds_and_gives_it_up() -> None:
    splitter = NATIVE.Splitter(10, too_long)
    assert splitter.pending() is None
    splitter.feed(b"\0\0")
    assert splitter.next() is None
    assert splitter.pending() == "2 of a length's 4 bytes"
    splitter.feed(b"\0\3ab")
    assert splitter.pending() == "2 of a packet's 3 bytes"
    assert splitter.held() == 6
    splitter.feed(b"c\0\0\0\0rest")
    assert splitter.pending() == "15 bytes that were not looked at"
    assert [splitter.next(), splitter.next()] == [b"abc", b""]
    assert splitter.rest() == b"rest"
    assert splitter.held() == 0
    splitter.feed(b"\0\0\0\x0b")
    with pytest.raises(RemoteProtocolError, match="a packet of 11 bytes is announced, over the limit of 10 bytes"):
        splitter.next()
    splitter.limit = 11
    assert splitter.next() is None


def test_nonces_count_as_python_has_them_count() -> None:
    prefix = bytes(range(16))
    compiled = NATIVE.Nonces(prefix)
    python = map(struct.Struct(">16sQ").pack, itertools.repeat(prefix), itertools.count())
    assert [compiled() for _ in range(300)] == list(itertools.islice(python, 300))
    with pytest.raises(ValueError, match="16 bytes"):
        NATIVE.Nonces(prefix[:15])


def test_a_large_message_is_left_to_who_can_seal_it_and_no_nonce_is_spent_before() -> None:
    nonces = NATIVE.Nonces(bytes(16))
    sealer = NATIVE.Sealer(SESSION_KEY, nonces)
    assert sealer.sealed([b"small", b"x" * 1025], None) is None
    assert nonces() == bytes(24)
    assert sealer.sealed([b"x" * 1025], lambda body: b"sealed by another") == b"sealed by another"
    assert nonces()[-1] == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped: glibc says how much is used")
@pytest.mark.parametrize("whole", [0, 7])
def test_what_is_kept_of_packets_takes_little_more_than_what_is_said_to_be_held(whole: int) -> None:
    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "e", "f", "used", "g", "h")]

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Info

    def used() -> int:
        info = ask()
        return int(info.used + info.mapped)

    splitters = [NATIVE.Splitter(1 << 24, too_long) for _ in range(20)]
    piece = framed(b"x" * 100_000)
    part = framed(b"y" * (1 << 24))[: 700_000 if not whole else 30_000]
    data = piece * whole + part
    before = used()
    for splitter in splitters:
        for at in range(0, len(data), 64 * 1024):
            splitter.feed(data[at : at + 64 * 1024])
        for _ in range(whole):
            assert splitter.next() is not None
    held = sum(splitter.held() for splitter in splitters)
    assert held == len(splitters) * len(part)
    assert used() - before < 2.2 * held if whole else 1.3 * held
