from __future__ import annotations

import re
import struct
import warnings
from dataclasses import replace
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed, LocalProtocolError, ProfileError, RemoteProtocolError, WriteError
from bokbok.keys import Key
from bokbok.sexpr import Symbol
from bokbok.wire import (
    INFERRED_1,
    REPLAYED_HELLO,
    AnswerUnreadable,
    Closed,
    Connection,
    ErrorReceived,
    Event,
    Guards,
    HelloMemory,
    HelloOpened,
    HelloReceived,
    Limits,
    Opened,
    PeerFinished,
    Profile,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
    passphrase_to_key,
)
from bokbok.wire.boxes import Counted
from bokbok.wire.boxes._sent import SentMaker
from bokbok.wire.messages import MAX_ID, Shapes

KEY = passphrase_to_key("mypassphrase")


def insecure(**kwargs: Any) -> tuple[Connection, Connection]:
    return Connection("client", **kwargs), Connection("server", **kwargs)


def hello(client: Connection, server: Connection, key: Key | None = KEY) -> list[Any]:
    (event,) = server.receive(client.data_to_send())
    assert isinstance(event, HelloReceived)
    return list(server.authenticate(key))


def secure(**kwargs: Any) -> tuple[Connection, Connection]:
    client = Connection("client", user="me", key=KEY, **kwargs)
    server = Connection("server", secure=True, **kwargs)
    assert hello(client, server) == [Opened("me")]
    return client, server


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def refused(connection: Connection, data: bytes) -> str:
    """Feed bytes that must end the connection. Returns why it ended."""
    (event,) = connection.receive(data)
    assert isinstance(event, Closed)
    assert isinstance(event.error, RemoteProtocolError)
    assert connection.state == "closed"
    return event.error.reason


# Making one.


def test_the_role_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="the role is 'peer'; expected 'client' or 'server'"):
        Connection("peer")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"user": "me"}, {"key": KEY}])
def test_user_and_key_go_together(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a user or a key alone"):
        Connection("client", **given)


def test_a_secure_client_needs_both() -> None:
    with pytest.raises(ValueError, match="was given neither a user nor a key"):
        Connection("client", secure=True)


def test_a_server_is_given_neither() -> None:
    with pytest.raises(ValueError, match="a server's connection was given a user or a key; expected neither"):
        Connection("server", user="me", key=KEY)


def test_a_username_has_at_most_255_bytes() -> None:
    assert Connection("client", user="ä" * 127, key=KEY).user == "ä" * 127
    with pytest.raises(ValueError, match="the username has 256 bytes; expected 255 at most"):
        Connection("client", user="ä" * 128, key=KEY)


def test_a_username_that_stands_for_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        Connection("client", user="\ud800", key=KEY)


def test_a_profile_that_does_not_exist_is_named() -> None:
    with pytest.raises(ProfileError, match=r"unknown profile 'egg-0\.2'; expected one of inferred-1"):
        Connection("client", profile="egg-0.2")


def test_its_repr_shows_no_key() -> None:
    client, server = secure()
    assert repr(client) == "<wire.Connection secure client, open>"
    assert repr(server) == "<wire.Connection secure server, open>"
    assert KEY.to_bytes().hex() not in repr(vars(client)) + repr(vars(server))


# Asking and answering.


@pytest.mark.parametrize("pair", [insecure, secure])
def test_a_request_is_answered(pair: Any) -> None:
    client, server = pair()
    id = client.request(["ping", "12345"])
    assert server.receive(client.data_to_send()) == [RequestReceived(id, ["ping", "12345"])]
    assert server.unanswered == 1
    assert server.respond(id, ["pong", "12345"]) is None
    assert server.unanswered == 0
    assert client.receive(server.data_to_send()) == [ResponseReceived(id, ["pong", "12345"])]


def test_the_server_may_ask_as_well() -> None:
    client, server = secure()
    id = server.request("who are you?")
    assert client.receive(server.data_to_send()) == [RequestReceived(id, "who are you?")]
    client.fail(id, "none of your business")
    assert server.receive(client.data_to_send()) == [ErrorReceived(id, "none of your business")]


def test_requests_travel_with_the_hello() -> None:
    client = Connection("client", user="me", key=KEY)
    id = client.request("early")
    server = Connection("server", secure=True)
    assert hello(client, server) == [Opened("me"), RequestReceived(id, "early")]


def test_each_side_numbers_its_own_requests_from_zero() -> None:
    client, server = insecure()
    assert [client.request(1), client.request(2), server.request(3)] == [0, 1, 0]


def test_data_is_to_be_sent_once() -> None:
    client, _ = insecure()
    client.request("x")
    assert client.unsent == len(framed(b'(request 0 "x")'))
    assert client.data_to_send() == framed(b'(request 0 "x")')
    assert client.data_to_send() == b""
    assert client.unsent == 0


def test_after_the_last_fixnum_there_are_no_ids_left() -> None:
    profile = replace(INFERRED_1, name="from the end", messages=Shapes(first_id=MAX_ID))
    client = Connection("client", profile=profile)
    assert client.role == "client"
    assert client.request("x") == MAX_ID
    client.data_to_send()
    with pytest.raises(LocalProtocolError, match="used up its request IDs"):
        client.request("y")
    assert client.data_to_send() == b""
    assert client.receive(framed(b"(response %d z)" % MAX_ID)) == [ResponseReceived(MAX_ID, Symbol("z"))]


def test_a_message_that_cannot_travel_uses_no_id() -> None:
    client, _ = insecure()
    with pytest.raises(WriteError, match=r"message\[1\]"):
        client.request([1, object()])
    assert client.data_to_send() == b""
    assert client.request("x") == 0


def test_an_answer_that_cannot_travel_becomes_an_error_that_names_it() -> None:
    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    problem = server.respond(id, [1, object()])
    assert isinstance(problem, WriteError)
    (event,) = client.receive(server.data_to_send())
    assert isinstance(event, ErrorReceived)
    assert "cannot travel" in event.message
    assert "object" in event.message


@pytest.mark.parametrize("pair", [insecure, secure])
def test_a_message_over_the_packet_limit_is_refused_before_it_is_sent(pair: Any) -> None:
    client, _ = pair(limits=Limits(packet=100))
    overhead = 40 if client.secure else 0
    room = 100 - overhead - len('(request 0 "")')
    with pytest.raises(WriteError, match=r"needs a packet of 101 bytes; the limit is 100"):
        client.request("x" * (room + 1))
    assert client.request("x" * room) == 0
    assert len(client.data_to_send()) == 104


def test_an_answer_that_fails_while_it_is_written_leaves_its_request_to_be_answered() -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError

    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    with pytest.raises(ZeroDivisionError):
        server.respond(id, Broken([1]))
    assert server.data_to_send() == b""
    assert server.unanswered == 1
    server.fail(id, "broken")
    assert client.receive(server.data_to_send()) == [ErrorReceived(id, "broken")]


def test_what_is_not_sent_yet_is_counted_however_often_that_is_asked() -> None:
    client, _ = insecure()
    sizes = []
    for _ in range(3):
        client.request("x")
        sizes.append(client.unsent)
    assert sizes == [len(framed(b'(request 0 "x")')) * n for n in (1, 2, 3)]
    assert client.unsent == len(client.data_to_send())
    assert client.unsent == 0
    client.request("xyz")
    assert client.unsent == len(framed(b'(request 3 "xyz")'))


def test_an_answer_over_the_packet_limit_becomes_an_error() -> None:
    client, server = insecure(limits=Limits(packet=100))
    id = client.request("x")
    server.receive(client.data_to_send())
    assert isinstance(server.respond(id, "x" * 100), WriteError)
    (event,) = client.receive(server.data_to_send())
    assert isinstance(event, ErrorReceived)


def test_an_error_that_is_too_long_is_cut() -> None:
    client, server = insecure(limits=Limits(packet=1000))
    id = client.request("x")
    server.receive(client.data_to_send())
    server.fail(id, "\x01€" * 1000)
    data = server.data_to_send()
    assert len(data) <= 1004
    (event,) = client.receive(data)
    assert isinstance(event, ErrorReceived)
    assert event.message.startswith("\x01€\x01€")
    assert event.message.endswith("(cut)")


def test_an_error_may_hold_what_no_string_can() -> None:
    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    server.fail(id, "lone \ud800, byte \udcff")
    (event,) = client.receive(server.data_to_send())
    assert isinstance(event, ErrorReceived)
    assert event.message.startswith("lone ?, byte ")


def test_a_request_is_answered_once() -> None:
    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    server.respond(id, 1)
    with pytest.raises(LocalProtocolError, match="request 0 does not wait for an answer"):
        server.respond(id, 1)
    with pytest.raises(LocalProtocolError, match="request 5 does not wait for an answer"):
        server.fail(5, "x")


def test_answers_may_come_in_another_order() -> None:
    client, server = insecure()
    first, second = client.request(1), client.request(2)
    server.receive(client.data_to_send())
    server.respond(second, "b")
    server.respond(first, "a")
    assert client.receive(server.data_to_send()) == [ResponseReceived(second, "b"), ResponseReceived(first, "a")]


# What comes, and what the receiver does. The recorded sessions have one example of each rule; here are the details.


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"42", "the message is a datum of type integer; expected a list of three"),
        (b"#(request 0 x)", "the message is a datum of type vector; expected a list of three"),
        (b"(request 0 . x)", "the message is a datum of type dotted; expected a list of three"),
        (b"(request 0 x) (request 1 y)", "18 bytes after the message|1[0-9] bytes after the message"),
        (b"(request 0 x) #|", "after the message: .*byte 14"),
        (b"", "a message does not read as a datum"),
        (b"()", "the message is the empty list"),
        (b"(reqest 0 x)", "the message's tag is 'reqest'; expected one of request, response, error"),
        (b'("request" 0 x)', "the message's tag is a datum of type string; expected"),
        (b"(request 0)", "the message is a list of 2; expected three"),
        (b"(request)", "the ID of a request is nothing; expected a fixnum from 0 up"),
        (b"(request 0 x y)", "the message is a list of 4; expected three"),
        (b"(request -1 x)", "the ID of a request is -1; expected a fixnum from 0 up"),
        (b"(request 0.0 x)", "is a datum of type flonum; expected a fixnum"),
        (b"(request #t x)", "is a datum of type boolean; expected a fixnum"),
        (b"(request 4611686018427387904 x)", "the ID of a request is 4611686018427387904; expected a fixnum from 0 up"),
        (b"(error 0 oops)", "the message of a failed request is a datum of type symbol; expected a string"),
        (b"(response 0 x)", "an answer to request 0, which does not wait for one"),
        (b"(request 0 #<x>", "a message does not read as a datum"),
        (b"[request 0 #<x>]", "a message does not read as a datum"),
        (b"(reqest 0 #<x>)", "the message's tag is 'reqest'"),
    ],
)
def test_a_message_against_the_rules_closes_the_connection_and_says_why(body: bytes, reason: str) -> None:
    _, server = insecure()
    assert re.search(reason, refused(server, framed(body)))


def test_what_came_before_a_fault_is_not_lost() -> None:
    _, server = insecure()
    events = server.receive(framed(b"(request 0 x)") + framed(b"nonsense") + framed(b"(request 1 x)"))
    assert [type(event) for event in events] == [RequestReceived, Closed]


@pytest.mark.parametrize("body", [b"(request 0 #<procedure>)", b"(request 0 (a)", b"(request 0 (a . )) \n"])
def test_a_request_that_does_not_read_is_answered_with_an_error(body: bytes) -> None:
    client, server = insecure()
    (event,) = server.receive(framed(body))
    assert isinstance(event, RequestUnreadable)
    client.request("x")
    client.data_to_send()
    (answer,) = client.receive(server.data_to_send())
    assert isinstance(answer, ErrorReceived)
    assert answer.message.startswith("the request cannot be read: ")
    assert server.state == "open"
    assert server.unanswered == 0


@pytest.mark.parametrize("body", [b"(response 0 #<procedure>)", b"(error 0 #<procedure>)", b"(response 0 (a)"])
def test_an_answer_that_does_not_read_fails_its_request_alone(body: bytes) -> None:
    client, _ = insecure()
    client.request("x")
    other = client.request("y")
    (event,) = client.receive(framed(body))
    assert isinstance(event, AnswerUnreadable)
    assert client.receive(framed(b"(response 1 z)")) == [ResponseReceived(other, Symbol("z"))]


def test_a_datum_at_the_depth_limit_passes_and_one_beyond_fails_its_request() -> None:
    _, server = insecure(limits=Limits(depth=50))
    deep = b"(" * 50 + b")" * 50
    (event,) = server.receive(framed(b"(request 0 %b)" % deep))
    assert isinstance(event, RequestReceived)
    (event,) = server.receive(framed(b" (request 1 %b)" % deep))  # the same, the long way round
    assert isinstance(event, RequestReceived)
    (event,) = server.receive(framed(b"(request 2 (%b))" % deep))
    assert isinstance(event, RequestUnreadable)


def test_the_unspecified_value_is_read_anywhere() -> None:
    _, server = insecure()
    (event,) = server.receive(framed(b"(request 0 (1 #<unspecified>))"))
    assert event == RequestReceived(0, [1, None])


def test_a_packet_over_the_limit_closes() -> None:
    _, server = insecure(limits=Limits(packet=20))
    assert "21 bytes is announced, over the limit of 20" in refused(server, struct.pack(">I", 21))


# The hello.


def test_a_server_looks_the_user_up_only_when_the_hello_is_whole() -> None:
    client = Connection("client", user="me", key=KEY)
    server = Connection("server", secure=True)
    data = client.data_to_send()
    assert server.receive(data[:-1]) == []
    assert server.state == "hello"
    assert server.user is None
    assert server.receive(data[-1:]) == [HelloReceived("me")]
    assert server.state == "lookup"
    assert server.user is None  # not before it is proved
    server.authenticate(KEY)
    assert server.user == "me"


@pytest.mark.parametrize("key", [None, passphrase_to_key("another")])
def test_an_unknown_user_and_a_wrong_key_end_alike(key: Key | None) -> None:
    client = Connection("client", user="me", key=KEY)
    client.request("early")
    server = Connection("server", secure=True)
    (event,) = hello(client, server, key)
    assert isinstance(event, Closed)
    assert event.error.reason.startswith("the hello does not open")
    assert server.data_to_send() == b""
    assert server.user is None


def test_before_the_hello_has_opened_the_limits_are_what_it_needs() -> None:
    assert "256 bytes is announced, over the limit of 255" in refused(
        Connection("server", secure=True), struct.pack(">I", 256)
    )
    assert "73 bytes is announced, over the limit of 72" in refused(
        Connection("server", secure=True), framed(b"me") + struct.pack(">I", 73)
    )


def test_the_second_packet_has_exactly_72_bytes() -> None:
    reason = refused(Connection("server", secure=True), framed(b"me") + framed(bytes(71)))
    assert reason.startswith("the hello's packet 2 has 71 bytes; expected 72 (<key: raw>)")


@pytest.mark.parametrize("user", [b"me", b"you"])
def test_a_replayed_hello_is_refused_under_any_name(user: bytes) -> None:
    hellos = HelloMemory()
    data = Connection("client", user="me", key=KEY).data_to_send()
    events = []
    for name in (b"me", user):
        server = Connection("server", secure=True, hellos=hellos)
        server.receive(framed(name) + data[6:])
        events += server.authenticate(KEY)
    assert events[0] == Opened("me")
    assert isinstance(events[1], Closed)
    assert "hello_replay" in events[1].error.reason


def test_a_hello_that_does_not_open_is_not_remembered() -> None:
    hellos = HelloMemory()
    data = Connection("client", user="me", key=KEY).data_to_send()
    for key, kind in ((passphrase_to_key("another"), Closed), (KEY, Opened), (KEY, Closed)):
        server = Connection("server", secure=True, hellos=hellos)
        server.receive(data)
        (event,) = server.authenticate(key)
        assert isinstance(event, kind)


def test_a_replayed_hello_is_served_with_the_guard_off() -> None:
    hellos = HelloMemory()
    data = Connection("client", user="me", key=KEY).data_to_send()
    for _ in range(2):
        server = Connection("server", secure=True, hellos=hellos, guards=Guards(hello_replay=False))
        server.receive(data)
        assert server.authenticate(KEY) == [Opened("me")]


ROTATING = Limits(keys_per_user=3)


def keyed(keys: Key | list[Key] | None, profile: Profile = INFERRED_1) -> tuple[Connection, Connection, list[Event]]:
    """A client with `KEY`, and a server whose users have up to three keys. Returns the result for these keys."""
    client = Connection("client", user="me", key=KEY, profile=profile)
    server = Connection("server", secure=True, profile=profile, limits=ROTATING)
    server.receive(client.data_to_send())
    return client, server, server.authenticate(keys)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    "nonces",
    [
        INFERRED_1.nonces,
        Counted("key", client=0, server=1, step=2, key="front"),
        Counted("key", client=1, server_base="first", key="front"),
        Counted("zero", client=0, server=1, step=2, key="front"),
    ],
)
def test_of_several_keys_any_opens_and_the_nonces_go_on_as_with_one(place: int, nonces: Any) -> None:
    profile = replace(INFERRED_1, name="test", nonces=nonces)
    others = [passphrase_to_key(name) for name in ("one", "two", "three")]
    others[place] = KEY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client, server, events = keyed(others, profile)
    assert events == [Opened("me")]
    for _ in range(2):
        id = client.request("x")
        assert server.receive(client.data_to_send()) == [RequestReceived(id, "x")]
        server.respond(id, "y")
        assert client.receive(server.data_to_send()) == [ResponseReceived(id, "y")]


@pytest.mark.parametrize("keys", [None, [], KEY, [KEY], [KEY] * 3, [passphrase_to_key("no")], passphrase_to_key("no")])
def test_whoever_says_hello_the_same_number_of_keys_is_tried(monkeypatch: pytest.MonkeyPatch, keys: Any) -> None:
    tried: list[bytes] = []
    opener = SentMaker.key_opener

    def key_opener(self: Any, key: bytes) -> Any:
        tried.append(key)
        return opener(self, key)

    monkeypatch.setattr(SentMaker, "key_opener", key_opener)
    keyed(keys)
    assert len(tried) == 3
    assert len(set(tried)) == 3, "the one that fits is tried once; nobody's keys stand in for the others"


def test_nobody_else_gets_in_by_several_keys() -> None:
    for keys in (None, [], [passphrase_to_key("a"), passphrase_to_key("b")]):
        _, _, events = keyed(keys)
        assert isinstance(events[0], Closed)


def test_more_keys_than_are_tried_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 3 keys at most \(the limit keys_per_user\); got 4"):
        keyed([KEY] * 4)


def held(hellos: HelloMemory | None = None) -> tuple[Connection, Connection, bytes]:
    """A client, a server at which the hello has opened and waits to be admitted, and the hello's digest."""
    client = Connection("client", user="me", key=KEY)
    server = Connection("server", secure=True, hellos=hellos, confirm_hellos=True)
    client.request("early")
    server.receive(client.data_to_send())
    (event,) = server.authenticate(KEY)
    assert isinstance(event, HelloOpened)
    assert event.user == "me"
    return client, server, event.digest


def test_a_hello_that_others_remember_waits_until_it_is_admitted() -> None:
    client, server, _ = held()
    assert server.state == "lookup"
    client.request("later")
    assert server.receive(client.data_to_send()) == []
    assert server.admit() == [Opened("me"), RequestReceived(0, "early"), RequestReceived(1, "later")]
    assert server.user == "me"


def test_a_hello_that_is_not_admitted_is_refused_like_any_other() -> None:
    _, server, _ = held()
    (event,) = server.admit(REPLAYED_HELLO)
    assert isinstance(event, Closed)
    assert "hello_replay" in str(event.error)
    assert server.data_to_send() == b""
    assert server.user is None


def test_the_digest_of_a_hello_is_that_of_its_box_alone() -> None:
    (_, _, one), (_, _, other) = held(), held()
    assert len(one) == len(other) == 32
    assert one != other


def test_a_hello_that_does_not_open_or_is_known_here_is_not_asked_for() -> None:
    hellos = HelloMemory()
    data = Connection("client", user="me", key=KEY).data_to_send()
    for key, kind in ((passphrase_to_key("another"), Closed), (KEY, HelloOpened), (KEY, Closed)):
        server = Connection("server", secure=True, hellos=hellos, confirm_hellos=True)
        server.receive(data)
        (event,) = server.authenticate(key)
        assert isinstance(event, kind)


def test_a_hello_is_admitted_once_and_behind_its_opening() -> None:
    with pytest.raises(LocalProtocolError, match="no hello waits to be admitted"):
        Connection("server", secure=True, confirm_hellos=True).admit()
    _, server, _ = held()
    with pytest.raises(LocalProtocolError, match="no hello waits for its key"):
        server.authenticate(KEY)
    server.admit()
    with pytest.raises(LocalProtocolError, match="no hello waits to be admitted"):
        server.admit()


def test_only_a_hello_is_answered_with_a_key() -> None:
    with pytest.raises(LocalProtocolError, match="no hello waits"):
        Connection("server", secure=True).authenticate(KEY)


def test_a_server_cannot_ask_before_the_hello() -> None:
    with pytest.raises(LocalProtocolError, match="before the client's hello has opened"):
        Connection("server", secure=True).request("x")


def test_two_connections_never_share_a_nonce_or_a_session_key() -> None:
    one, another = (Connection("client", user="me", key=KEY).data_to_send() for _ in range(2))
    assert one[:6] == another[:6]
    assert one[10:26] != another[10:26]
    assert one[26:34] == another[26:34] == bytes(8)
    assert one[34:] != another[34:]


# Guards on messages.


def test_a_replayed_request_is_refused() -> None:
    client, server = secure()
    client.request("x")
    data = client.data_to_send()
    assert isinstance(server.receive(data)[0], RequestReceived)
    assert refused(server, data) == "request 0 was used before"


def test_a_replayed_request_is_served_with_the_guard_off_and_answered_each_time() -> None:
    client, server = secure(guards=Guards(request_replay="off"))
    id = client.request("x")
    data = client.data_to_send()
    assert server.receive(data + data) == [RequestReceived(id, "x")] * 2
    server.respond(id, 1)
    server.respond(id, 2)
    with pytest.raises(LocalProtocolError):
        server.respond(id, 3)


def test_a_dropped_request_shows_in_strict_succession() -> None:
    client, server = secure(guards=Guards(request_replay="strict"))
    client.request("dropped")
    client.data_to_send()
    client.request("x")
    assert refused(server, client.data_to_send()) == "request 1 out of succession, expected 0"


def test_gaps_pass_in_the_window() -> None:
    client, server = secure()
    client.request("dropped")
    client.data_to_send()
    id = client.request("x")
    assert server.receive(client.data_to_send()) == [RequestReceived(id, "x")]


@pytest.mark.parametrize("from_server", [False, True])
def test_a_reflected_packet_is_refused(from_server: bool) -> None:
    client, server = secure()
    side = server if from_server else client
    side.request("x")
    assert refused(side, side.data_to_send()) == "a packet of this side's own was sent back to it (a reflection)"


def test_a_reflected_packet_is_taken_with_the_guard_off() -> None:
    client, _ = secure(guards=Guards(reflection=False))
    id = client.request("x")
    assert client.receive(client.data_to_send()) == [RequestReceived(id, "x")]


def test_an_answer_is_taken_once() -> None:
    client, server = secure()
    id = client.request("x")
    server.receive(client.data_to_send())
    server.respond(id, 1)
    data = server.data_to_send()
    assert client.receive(data) == [ResponseReceived(id, 1)]
    assert refused(client, data).startswith("an answer to request 0, which does not wait for one")


# The end.


def test_at_an_end_of_file_answers_can_still_be_sent_but_no_requests() -> None:
    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    server.request("y")
    server.data_to_send()
    (event,) = server.receive_eof()
    assert isinstance(event, PeerFinished)
    assert server.state == "peer-finished"
    with pytest.raises(ConnectionClosed, match="the other end closed the connection"):
        server.request("z")
    server.respond(id, "answer")
    assert client.receive(server.data_to_send()) == [ResponseReceived(id, "answer")]


def test_a_client_that_never_heard_anything_is_told_what_that_most_likely_means() -> None:
    client = Connection("client", user="me", key=KEY)
    (event,) = client.receive_eof()
    assert isinstance(event, PeerFinished)
    assert "the key is wrong" in event.error.reason
    assert client.error is event.error


def test_an_insecure_client_that_asked_and_heard_nothing_is_told_so_as_well() -> None:
    client, _ = insecure()
    client.request("x")
    (event,) = client.receive_eof()
    assert isinstance(event, PeerFinished)
    assert "the server is secure" in event.error.reason


def test_an_insecure_client_that_asked_nothing_is_told_no_more_than_the_end() -> None:
    client, _ = insecure()
    (event,) = client.receive_eof()
    assert isinstance(event, PeerFinished)
    assert event.error.reason == "the other end closed the connection"


def test_an_end_inside_a_packet_is_told() -> None:
    client, _ = insecure()
    client.receive(b"\0\0\0\5ab")
    (event,) = client.receive_eof()
    assert isinstance(event, PeerFinished)
    assert event.error.reason.endswith("closed the connection in the middle of a packet: 2 of a packet's 5 bytes")


@pytest.mark.parametrize("whole", [False, True])
def test_an_end_before_the_hello_has_opened_closes(whole: bool) -> None:
    server = Connection("server", secure=True)
    data = Connection("client", user="me", key=KEY).data_to_send()
    server.receive(data if whole else data[:-1])
    (event,) = server.receive_eof()
    assert isinstance(event, Closed)
    assert "before its hello had opened" in event.error.reason


def test_after_the_end_nothing_more_is_taken_in_or_sent() -> None:
    client, server = insecure()
    id = client.request("x")
    server.receive(client.data_to_send())
    server.close("enough")
    assert server.receive(framed(b"(request 1 x)")) == []
    assert server.receive_eof() == []
    for attempt in (lambda: server.request("x"), lambda: server.respond(id, 1), lambda: server.fail(id, "x")):
        with pytest.raises(ConnectionClosed, match="enough"):
            attempt()


def test_the_first_reason_stays() -> None:
    client, _ = insecure()
    client.close("first")
    client.close("second")
    assert client.lost("third").reason == "first"


def test_a_broken_transport_is_the_reason() -> None:
    client, _ = insecure()
    assert client.lost("connection reset by peer").reason == "connection reset by peer"


def test_a_reset_in_the_place_of_a_refusal_is_explained_as_well() -> None:
    client = Connection("client", user="me", key=KEY)
    reason = client.lost("connection reset by peer").reason
    assert reason.startswith("connection reset by peer: ")
    assert "the key is wrong" in reason
