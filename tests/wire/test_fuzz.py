"""Whatever comes, nothing is raised, and nothing that was asked or answered is lost."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.secret import SecretBox

from bokbok.errors import ConnectionClosed
from bokbok.sexpr import Symbol
from bokbok.wire import (
    AnswerUnreadable,
    Closed,
    Connection,
    ErrorReceived,
    Guards,
    HelloMemory,
    HelloReceived,
    Limits,
    Opened,
    PeerFinished,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
    passphrase_to_key,
)
from tests.support.peers import KEY, framed
from tests.support.profiles import random_profile

SESSION_KEY = bytes(range(32))
EVENTS = (
    Opened, HelloReceived, RequestReceived, RequestUnreadable, ResponseReceived, ErrorReceived, AnswerUnreadable,
    PeerFinished, Closed,
)  # fmt: skip
LIMITS = Limits(packet=2000, depth=30)

# What messages are made of, whole and broken.
PIECES = st.sampled_from(
    [
        b"(request ", b"(response ", b"(error ", b"[request ", b"(", b")", b"]", b"#(", b"0 ", b"1 ", b"2", b"-1 ",
        b"4611686018427387904 ", b"99999999999999999999 ", b"0.0 ", b'"text"', b'"', b"\\", b"|", b"#|", b"|#", b";",
        b"#;", b"\n", b" ", b"'", b"foo:", b"#!eof", b"#<unspecified>", b"#<procedure>", b"#${61}", b"#u8(1)",
        b"#\\x", b"1e999999999", b". ", b"x", b"\xff", b"\0", b"request", b"#t ", b"()", b"(" * 40, b")" * 40,
    ]
)  # fmt: skip
BODIES = st.lists(PIECES, max_size=8).map(b"".join) | st.binary(max_size=40)
CUTS = st.lists(st.integers(1, 90), max_size=30)


def insecure_client() -> Connection:
    client = Connection("client", limits=LIMITS)
    for i in range(3):
        client.request(i)
    return client


def secure_client() -> Connection:
    client = Connection("client", user="myuser", key=KEY, limits=LIMITS, draw=lambda size: SESSION_KEY[:size])
    for i in range(3):
        client.request(i)
    return client


def insecure_server() -> Connection:
    return Connection("server", limits=LIMITS)


def secure_server() -> Connection:
    return Connection("server", secure=True, limits=LIMITS, hellos=HelloMemory())


def opened_server() -> Connection:
    server = secure_server()
    box = bytes(SecretBox(KEY.to_bytes()).encrypt(SESSION_KEY))
    server.receive(framed(b"myuser") + framed(box))
    assert server.authenticate(KEY) == [Opened("myuser")]
    return server


ENDS = [insecure_client, secure_client, insecure_server, secure_server, opened_server]
ends = pytest.mark.parametrize("make", ENDS, ids=lambda make: make.__name__.replace("_", " "))


def feed(connection: Connection, data: bytes, cuts: list[int]) -> list[Any]:
    """Feed bytes in pieces, then the end of the file; all that must hold whatever they are is checked."""
    events: list[Any] = []
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    for piece in [*pieces, data]:
        come = connection.receive(piece)
        if come and isinstance(come[-1], HelloReceived):
            come = [*come, *connection.authenticate(KEY)]
        events += come
        assert connection.state in ("hello", "open", "closed")
        assert (connection.state == "closed") == any(isinstance(event, Closed) for event in events)
        assert (connection.error is not None) == (connection.state == "closed")
    end = connection.receive_eof()
    assert len(end) == (0 if connection.state == "closed" and not end else 1)
    events += end
    assert connection.state in ("peer-finished", "closed")
    assert isinstance(connection.error, ConnectionClosed)
    assert connection.receive_eof() == []
    assert connection.receive(b"more") == []
    for event in events:
        assert isinstance(event, EVENTS)
    closing = [i for i, event in enumerate(events) if isinstance(event, (Closed, PeerFinished))]
    assert closing == [len(events) - 1]
    # Every request that came can still be answered, once, unless all is over.
    if connection.state == "peer-finished":
        for event in events:
            if isinstance(event, RequestReceived):
                connection.respond(event.id, event.message)
        assert connection.unanswered == 0
    connection.data_to_send()
    with pytest.raises(ConnectionClosed):
        connection.request("x")
    return events


@ends
@given(data=st.binary(max_size=300), cuts=CUTS)
def test_any_bytes_end_in_a_defined_state(make: Any, data: bytes, cuts: list[int]) -> None:
    feed(make(), data, cuts)


@ends
@given(bodies=st.lists(BODIES, max_size=6), cuts=CUTS)
def test_any_packets_end_in_a_defined_state(make: Any, bodies: list[bytes], cuts: list[int]) -> None:
    feed(make(), b"".join(map(framed, bodies)), cuts)


@pytest.mark.parametrize("make", [secure_client, opened_server], ids=["client", "server"])
@given(bodies=st.lists(BODIES, max_size=6), cuts=CUTS)
def test_anything_in_a_box_ends_in_a_defined_state(make: Any, bodies: list[bytes], cuts: list[int]) -> None:
    box = SecretBox(SESSION_KEY)
    feed(make(), b"".join(framed(bytes(box.encrypt(body))) for body in bodies), cuts)


@given(body=BODIES)
def test_a_message_means_the_same_in_a_box_and_without(body: bytes) -> None:
    plain = feed(insecure_server(), framed(body), [])
    boxed = feed(opened_server(), framed(bytes(SecretBox(SESSION_KEY).encrypt(body))), [])
    assert list(map(type, plain)) == list(map(type, boxed))


@given(change=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_bit_that_changes_on_the_way_never_becomes_a_message(change: int, bit: int) -> None:
    client = secure_client()
    data = bytearray(client.data_to_send())
    hello_ends = 4 + 6 + 4 + 72
    place = hello_ends + change % (len(data) - hello_ends)
    data[place] ^= 1 << bit
    events = feed(secure_server(), bytes(data), [])
    messages = [event.message for event in events if isinstance(event, RequestReceived)]
    assert messages == [0, 1, 2][: len(messages)]
    assert len(messages) < 3


@pytest.mark.parametrize("seed", range(60))
def test_any_bytes_end_in_a_defined_state_in_any_profile(seed: int) -> None:
    rng = random.Random(seed)
    profile = random_profile(rng)
    key = passphrase_to_key("mypassphrase")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        common: dict[str, Any] = {"profile": profile, "limits": LIMITS, "guards": Guards(nonce_reuse=False)}
        for secure in (False, True):
            for _ in range(20):
                client = Connection("client", **common, **({"user": "myuser", "key": key} if secure else {}))
                server = Connection("server", **common, secure=secure)
                client.request("x")
                data = bytearray(client.data_to_send())
                for _ in range(rng.randrange(4)):
                    place = rng.randrange(len(data) + 1)
                    data[place : place + rng.randrange(5)] = rng.randbytes(rng.randrange(6))
                for end in (client, server):
                    for start in range(0, len(data), 13):
                        for event in end.receive(bytes(data[start : start + 13])):
                            assert isinstance(event, EVENTS)
                            if isinstance(event, HelloReceived):
                                end.authenticate(key)
                    end.receive_eof()
                    assert end.state in ("peer-finished", "closed")


# Two of them, and a transport that cuts as it likes.


class Side:
    """One end of a conversation, and what it knows that it asked, was asked and was told."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.asked: dict[int, Any] = {}
        self.told: dict[int, Any] = {}
        self.open: dict[int, Any] = {}
        self.received: list[Any] = []
        self.on_the_way = b""

    def ask(self, message: Any) -> None:
        self.asked[self.connection.request(message)] = message

    def answer(self, which: int) -> None:
        """Answer one of the requests that wait, with what was asked or, for some, an error."""
        if self.open:
            id = list(self.open)[which % len(self.open)]
            message = self.open.pop(id)
            if isinstance(message, list) and message[:1] == ["fail"]:
                self.connection.fail(id, f"failed {id}")
            else:
                self.connection.respond(id, message)

    def take(self, data: bytes) -> None:
        events = self.connection.receive(data)
        if events and isinstance(events[-1], HelloReceived):
            events = self.connection.authenticate(KEY)
        for event in events:
            match event:
                case RequestReceived(id, message):
                    self.open[id] = message
                    self.received.append(message)
                case ResponseReceived(id, message):
                    assert id not in self.told
                    self.told[id] = message
                case ErrorReceived(id, message):
                    assert id not in self.told
                    self.told[id] = ["fail", message]
                case Opened():
                    pass
                case _:
                    raise AssertionError(event)

    def send(self) -> None:
        self.on_the_way += self.connection.data_to_send()


DATUMS = st.recursive(
    st.integers(-(2**62), 2**62 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=10)
    | st.booleans()
    | st.binary(max_size=10)
    | st.sampled_from([Symbol("a"), Symbol("request"), Symbol("|")]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=2).map(tuple),
    max_leaves=6,
) | st.just(["fail"])
SIDES = st.booleans()
STEPS = st.lists(
    st.tuples(st.just("ask"), SIDES, DATUMS)
    | st.tuples(st.just("answer"), SIDES, st.integers(0, 50))
    | st.tuples(st.just("move"), SIDES, st.integers(1, 200)),
    max_size=60,
)


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@settings(max_examples=150)
@given(steps=STEPS)
def test_two_ends_lose_nothing_however_the_stream_between_them_is_cut(secure: bool, steps: Any) -> None:
    if secure:
        client = Side(Connection("client", user="myuser", key=KEY))
        server = Side(Connection("server", secure=True, hellos=HelloMemory()))
        client.send()
        server.take(client.on_the_way)
        client.on_the_way = b""
    else:
        client, server = Side(Connection("client")), Side(Connection("server"))

    def move(sender: Side, receiver: Side, count: int) -> None:
        sender.send()
        data, sender.on_the_way = sender.on_the_way[:count], sender.on_the_way[count:]
        receiver.take(data)

    for step, from_client, value in steps:
        side, other = (client, server) if from_client else (server, client)
        if step == "ask":
            side.ask(value)
        elif step == "answer":
            side.answer(value)
        else:
            move(side, other, value)
    while client.open or server.open or any(side.on_the_way or side.connection.unsent for side in (client, server)):
        for side, other in ((client, server), (server, client)):
            side.answer(0)
            move(side, other, 1 << 20)
    for side, other in ((client, server), (server, client)):
        assert other.received == list(side.asked.values())  # in order, each once
        for id, message in side.asked.items():
            expected = ["fail", f"failed {id}"] if message == ["fail"] else message
            assert side.told[id] == expected
        assert side.connection.unanswered == 0
        assert side.connection.state == "open"
