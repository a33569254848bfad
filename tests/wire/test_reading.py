"""Reading in slices, and the halves of a connection: work that does not need the writers' lock."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from bokbok._native import ABSENT, NATIVE
from bokbok.errors import LocalProtocolError, RemoteProtocolError, WriteError
from bokbok.sexpr import PIECE, dumps
from bokbok.wire import (
    INFERRED_1,
    Closed,
    Connection,
    Event,
    HelloReceived,
    Limits,
    Opened,
    Profile,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
    passphrase_to_key,
)
from bokbok.wire.framing import Datums, IntegerLength, Lines
from bokbok.wire.messages import REQUEST, BinaryHeader, Shapes
from bokbok.wire.packets import PacketForm
from tests.support.pure import pure

KEY = passphrase_to_key("mypassphrase")
LONG = [[number, "a string", ["nested", [number]]] for number in range(2000)]
"""Ten pieces and more."""

MIB = 1 << 20

PROFILES = [
    INFERRED_1,
    replace(INFERRED_1, name="datums", framing=Datums(), packets=PacketForm(encoding="blob")),
    replace(INFERRED_1, name="lines", framing=Lines(), packets=PacketForm(encoding="hex")),
    replace(INFERRED_1, name="vector", messages=Shapes("#(1 ID DATUM)", "#(2 ID DATUM)", "#(3 ID MESSAGE)")),
    replace(INFERRED_1, name="nested", messages=Shapes(payload="string")),
    replace(INFERRED_1, name="binary", messages=BinaryHeader()),
    replace(INFERRED_1, name="varint", framing=IntegerLength(integer="leb128")),
]


def pair(profile: Profile = INFERRED_1, secure: bool = True, **kwargs: Any) -> tuple[Connection, Connection]:
    if not secure or profile.framing in (Datums(), Lines()):  # the hello's raw box would not pass these
        return Connection("client", profile=profile, **kwargs), Connection("server", profile=profile, **kwargs)
    client = Connection("client", user="me", key=KEY, profile=profile, **kwargs)
    server = Connection("server", secure=True, profile=profile, **kwargs)
    (event,) = server.receive(client.data_to_send())
    assert isinstance(event, HelloReceived)
    assert server.authenticate(KEY) == [Opened("me")]
    return client, server


def in_slices(connection: Connection, data: bytes) -> tuple[list[Any], int]:
    """Receives with no time at all. Returns the events, and how often it had to continue."""
    events, slices = list(connection.receive(data, seconds=0)), 1
    while connection.more:
        events += connection.receive(seconds=0)
        slices += 1
    return events, slices


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_a_long_message_is_read_in_slices(profile: Profile, secure: bool) -> None:
    client, server = pair(profile, secure)
    client.request(LONG)
    client.request("short")
    data = client.data_to_send()
    events, slices = in_slices(server, data)
    assert events == [RequestReceived(0, LONG), RequestReceived(1, "short")]
    assert slices > len(dumps(LONG)) / PIECE / 2
    assert not server.more


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_without_a_limit_everything_is_read_at_once(profile: Profile) -> None:
    client, server = pair(profile)
    client.request(LONG)
    client.request("short")
    assert server.receive(client.data_to_send()) == [RequestReceived(0, LONG), RequestReceived(1, "short")]
    assert not server.more


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_a_long_message_that_may_not_begin_stays_bytes(profile: Profile, secure: bool) -> None:
    client, server = pair(profile, secure)
    client.request("short")
    client.request(LONG)
    client.request("short")
    data = client.data_to_send()
    events: list[Any] = []
    while not server.long:
        events += server.receive_plain(data, 3600, begin=False)
        data = b""
    assert [event[1] for event in events] == [0]
    for _ in range(3):  # as often as it is tried
        assert server.receive_plain(b"", 3600, begin=False) == []
        assert (server.more, bool(server.long), server.begun) == (True, True, False)
    assert server.receive_plain(b"", 0, begin=True) == []
    assert server.begun
    while not events[1:]:  # what has begun goes on
        events += server.receive_plain(b"", 0, begin=False)
    assert (server.long, server.begun) == (0, False)
    while server.more:
        events += server.receive_plain(b"", 0, begin=False)
    assert [(event[1], event[2]) for event in events] == [(0, "short"), (1, LONG), (2, "short")]


def test_a_long_message_behind_a_hello_does_not_begin_with_it() -> None:
    client = Connection("client", user="me", key=KEY)
    server = Connection("server", secure=True)
    client.request(LONG)
    server.receive(client.data_to_send())
    assert server.authenticate(KEY, seconds=3600) == [Opened("me")]
    assert (server.more, bool(server.long), server.begun) == (True, True, False)
    assert server.receive(seconds=3600) == [RequestReceived(0, LONG)]


def test_a_connection_that_is_dropped_has_no_long_message_left() -> None:
    client, server = pair()
    client.request(LONG)
    data = client.data_to_send()
    while not server.begun:
        server.receive(data, seconds=0)
        data = b""
    server.close("for a test")
    server.read()
    assert (server.more, server.long, server.begun) == (False, 0, False)


def test_many_short_messages_are_read_in_slices() -> None:
    client, server = pair()
    for number in range(1000):
        client.request(["ping", number])
    events, slices = in_slices(server, client.data_to_send())
    assert events == [RequestReceived(number, ["ping", number]) for number in range(1000)]
    assert 10 < slices < 100  # the clock is not looked at for each of them


def test_while_there_is_time_reading_goes_on() -> None:
    client, server = pair()
    client.request(LONG)
    client.request("short")
    events = server.receive(client.data_to_send(), seconds=3600)
    assert [type(event) for event in events] == [RequestReceived, RequestReceived]
    assert not server.more


def test_a_slice_can_go_on_without_a_limit() -> None:
    client, server = pair()
    client.request(LONG)
    client.request("short")
    assert server.receive(client.data_to_send(), seconds=0) == []
    assert server.more
    assert server.receive() == [RequestReceived(0, LONG), RequestReceived(1, "short")]


def test_what_comes_behind_a_hello_is_read_in_slices_too() -> None:
    client = Connection("client", user="me", key=KEY)
    client.request(LONG)
    server = Connection("server", secure=True)
    assert [type(event) for event in server.receive(client.data_to_send(), seconds=0)] == [HelloReceived]
    assert not server.more
    assert server.authenticate(KEY, seconds=0) == [Opened("me")]
    assert server.more
    assert in_slices(server, b"")[0] == [RequestReceived(0, LONG)]


def test_an_error_comes_behind_what_was_read_before_it() -> None:
    client, server = pair(secure=False)
    client.request("good")
    data = client.data_to_send() + b"\0\0\0\3bad"
    good, bad = in_slices(server, data)[0]
    assert good == RequestReceived(0, "good")
    assert isinstance(bad, Closed)
    assert server.receive(data, seconds=0) == []
    assert not server.more


def test_a_long_message_that_does_not_read_costs_its_request_alone() -> None:
    client, server = pair(secure=False)
    body = b"(request 0 (" + b"(a b) " * 5000 + b"#<thread>))"
    events, slices = in_slices(server, len(body).to_bytes(4, "big") + body)
    assert slices > 5
    assert [type(event) for event in events] == [RequestUnreadable]
    client.request("x")
    assert server.state == "open"


def test_a_long_comment_behind_a_message_is_read_in_slices() -> None:
    _, server = pair(secure=False)
    body = b"(request 0 x) #;(" + b"(a b) " * 5000 + b")"
    events, slices = in_slices(server, len(body).to_bytes(4, "big") + body)
    assert slices > 5
    assert [type(event) for event in events] == [RequestReceived]


def test_what_was_read_in_part_is_counted_and_given_up_with_the_connection() -> None:
    client, server = pair()
    client.request(LONG)
    client.request("short")
    data = client.data_to_send()
    assert server.held == 0
    server.receive(data, seconds=0)
    while server.more and server.held < 2 * len(data):
        server.receive(seconds=0)
    assert server.more  # the datum takes more memory than its text, and is counted before it is whole
    server.close()
    assert server.read(seconds=0) == []
    assert not server.more
    assert server.held == 0


def test_reading_touches_nothing_that_writers_need() -> None:
    client, server = pair()
    client.request("x")
    before = (server.unanswered, server.state)
    batch = server.read(client.data_to_send())
    assert (server.unanswered, server.state) == before
    id = server.request("meanwhile")
    assert server.take(batch) == [RequestReceived(0, "x")]
    assert client.receive(server.data_to_send()) == [RequestReceived(id, "meanwhile")]


def test_what_was_read_before_a_close_is_not_taken_after_it() -> None:
    client, server = pair()
    client.request("x")
    batch = server.read(client.data_to_send())
    server.close()
    assert server.take(batch) == []


def test_a_broken_packet_is_told_when_it_is_taken() -> None:
    _, server = pair(secure=False)
    batch = server.read(b"\0\0\0\3bad")
    assert server.state == "open"
    assert [type(message) for message in batch] == [RemoteProtocolError]
    assert [type(event) for event in server.take(batch)] == [Closed]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_what_was_encoded_before_travels_as_what_was_not(profile: Profile, secure: bool) -> None:
    client, server = pair(profile, secure)
    encoded = client.encode(["a", 1])
    assert client.request(encoded, encoded=True) == 0
    assert client.request(["a", 1]) == 1
    events = server.receive(client.sealed(client.take_out()))
    assert events == [RequestReceived(0, ["a", 1]), RequestReceived(1, ["a", 1])]
    assert server.respond(1, server.encode("answer"), encoded=True) is None
    assert client.receive(server.data_to_send()) == [ResponseReceived(1, "answer")]


def test_what_cannot_travel_is_told_by_encoding() -> None:
    client, server = pair(limits=Limits(packet=100))
    with pytest.raises(WriteError):
        client.encode(object())
    encoded = client.encode("x" * 100)
    with pytest.raises(WriteError, match="needs a packet of"):
        client.request(encoded, encoded=True)
    assert client.request("x") == 0
    server.receive(client.data_to_send())
    assert isinstance(server.respond(0, encoded, encoded=True), WriteError)


def test_an_answer_is_encoded_for_a_request_that_waits() -> None:
    client, server = pair()
    client.request("x")
    server.receive(client.data_to_send())
    with pytest.raises(LocalProtocolError):
        server.respond(1, server.encode("x"), encoded=True)


def test_what_is_taken_out_is_sealed_in_its_order() -> None:
    client, server = pair()
    client.request("first")
    first = client.take_out()
    client.request("second")
    assert client.unsent > 0
    second = client.take_out()
    assert client.unsent == 0
    assert client.take_out() == []
    data = client.sealed(first) + client.sealed(second)
    assert server.receive(data) == [RequestReceived(0, "first"), RequestReceived(1, "second")]


def test_the_unsent_bytes_are_those_that_are_sent() -> None:
    client = Connection("client", user="me", key=KEY)
    client.data_to_send()
    for text in ("x", "y" * 1000):
        client.request(text)
        assert client.unsent == len(client.data_to_send())


def test_a_message_alone_is_taken_as_the_plain_way_takes_it() -> None:
    client, server = pair()
    for number in range(3):
        asked = client.request(["x", number])
        (request,) = server.read(client.data_to_send(), seconds=1)
        assert server.clear
        assert isinstance(request, tuple)
        assert server.take_request(request)
        assert server.unanswered == 1
        assert not server.take_request(request), "it was used"
        assert server.respond(asked, request[2]) is None
        (response,) = client.read(server.data_to_send(), seconds=1)
        assert isinstance(response, tuple)
        assert client.take_response(response)
        assert client.outstanding == 0
        assert not client.take_response(response), "it was answered"
    assert [type(event) for event in client.take([response])] == [Closed]
    assert not client.take_response(response), "the connection is over"


def test_what_is_not_as_usual_is_left_to_the_plain_way() -> None:
    client, server = pair(secure=False)
    for text in (b"(request 0 #<port>)", b"(request 5 x)", b'(error 0 "x")', b"(response 0 x)"):
        (message,) = server.read(len(text).to_bytes(4, "big") + text, seconds=1)
        assert isinstance(message, tuple)
        assert not (server.take_request(message) if message[0] == REQUEST else server.take_response(message))
        assert server.unanswered == 0
    assert client.state == server.state == "open"


@pytest.mark.parametrize("more", [0, 1])
def test_a_long_string_alone_is_refused_where_its_memory_is_too_much(more: int) -> None:
    size = 100_000
    client, server = pair(limits=Limits(message_memory=size + 500 + 3 * size * more))
    text = "x" * (size - 1) + ("x" if more else "€")
    asked = client.request(text)
    events, _ = in_slices(server, client.data_to_send())
    assert [type(event) for event in events] == [RequestReceived if more else RequestUnreadable]
    assert events[0].id == asked


@pytest.mark.parametrize("accelerated", [False, True])
def test_of_a_long_message_no_more_than_two_forms_are_there_at_once(accelerated: bool) -> None:
    with contextlib.nullcontext() if accelerated else pure():
        client, server = pair()
        client.request("x" * 4 * MIB)
        stream = client.data_to_send()
        pieces = [stream[start : start + MIB // 4] for start in range(0, len(stream), MIB // 4)]
        del stream
        pieces.reverse()
        events: list[Event] = []
        tracemalloc.start()
        try:
            while pieces:
                events += server.receive(bytes(bytearray(pieces.pop())), seconds=1)
            while server.more:
                events += server.receive(seconds=1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert [event for event in events if isinstance(event, RequestReceived)] == [RequestReceived(0, "x" * 4 * MIB)]
    assert peak < 2.3 * 4 * MIB


BEHIND_MANY_LISTS = {
    "nothing": b"",
    "a closer that is not its own": b"]))",
    "a vector of lists": b"#u8((1))))",
    "two tails": b" . (a) . b))",
    "a token that nothing takes": b"#<x>))",
    "a lone dot": b"(. a)))",
    "a vector of vectors, and nothing else": b"#u8(#(1))",
    "an improper list in a vector": b"#u8((1 . 2))))",
    "what does read": b"[a (b)] (c . (d #;(e) f)) #(g (h))))",
}


@pytest.mark.parametrize("rest", BEHIND_MANY_LISTS.values(), ids=list(BEHIND_MANY_LISTS))
def test_what_is_looked_at_first_is_read_as_it_would_be_at_once(rest: bytes) -> None:
    nested = b"(" * 30 + b"(a #(b) (c . d)) " * 4000 + b")" * 30
    body = b"(request 3 (" + nested + rest
    packet = len(body).to_bytes(4, "big") + body
    events, _ = in_slices(Connection("server"), packet)
    with pure():
        assert in_slices(Connection("server"), packet)[0] == events
    assert len(events) == 1


@pytest.mark.skipif(NATIVE is None, reason=f"bokbok-native is {ABSENT}")
@pytest.mark.parametrize("unit", [b"'''a", b"()", b"(a . b)", b"#(a)"])
def test_a_message_that_does_not_read_in_the_end_gives_the_collector_next_to_nothing(unit: bytes) -> None:
    body = b"(request 3 (" + unit * 200_000
    connection = Connection("server")
    before = len(gc.get_objects())
    events = connection.receive(len(body).to_bytes(4, "big") + body, seconds=0)
    most = turns = 0
    while connection.more:
        if not turns % 64:
            most = max(most, len(gc.get_objects()) - before)
        turns += 1
        events += connection.receive(seconds=0)
    assert not any(isinstance(event, RequestReceived) for event in events)
    assert most < 20_000
