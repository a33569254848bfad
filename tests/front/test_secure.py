"""Secure connections: who gets in, who does not, and what outsiders can see of that."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import pytest

from bokbok import Guards, Limits
from bokbok.errors import ConnectionClosed, RemoteProtocolError
from bokbok.wire import passphrase_to_key
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, framed, hello

WRONG = passphrase_to_key("no, not this")


def whoami(connection: Any, message: Any) -> Any:
    return connection.user


# Who gets in.


def test_the_right_key_opens_and_both_ends_know_the_user(serve: Any, connect: Any, address: Any) -> None:
    server = serve(whoami, at=address, user_to_key=USERS.get)
    connection = connect(server, "myuser", KEY)
    assert connection.user == "myuser"
    assert connection.request("who am I?") == "myuser"


def test_each_user_has_a_key_of_its_own(serve: Any, connect: Any) -> None:
    server = serve(whoami, user_to_key=USERS.get)
    assert connect(server, "another", USERS["another"]).request("who am I?") == "another"
    with pytest.raises(ConnectionClosed):
        connect(server, "another", KEY).request("who am I?")


def test_an_insecure_connection_has_no_user(serve: Any, connect: Any) -> None:
    connection = connect(serve(lambda connection, message: connection.user is None))
    assert connection.user is None
    assert connection.request("have I none?") is True


@pytest.mark.parametrize(
    "user", ["", "ä€", "\udcff\udc80", "a\nb\0c\x1b[31m", "x" * 255, "my user", "(request 0 x)"], ids=ascii
)
def test_a_username_may_hold_any_bytes(serve: Any, connect: Any, user: str) -> None:
    server = serve(whoami, user_to_key={user: KEY}.get)
    connection = connect(server, user, KEY)
    assert connection.request("who am I?") == user


def test_the_key_is_not_confirmed_when_connecting(serve: Any, connect: Any) -> None:
    server = serve(user_to_key=USERS.get)
    assert connect(server, "myuser", WRONG).user == "myuser"


@pytest.mark.parametrize(("user", "key"), [("myuser", WRONG), ("nobody", KEY)], ids=["wrong key", "unknown user"])
def test_who_is_refused_is_told_what_that_most_likely_means(
    serve: Any, connect: Any, address: Any, user: str, key: Any
) -> None:
    server = serve(at=address, user_to_key=USERS.get)
    with pytest.raises(
        ConnectionClosed, match="possible causes: the key is wrong for this user, the user is unknown there"
    ):
        connect(server, user, key).request("x")


def test_a_wrong_key_and_an_unknown_user_look_the_same_to_the_client(serve: Any, connect: Any, address: Any) -> None:
    server = serve(at=address, user_to_key=USERS.get)
    reasons = set()
    for user, key in (("myuser", WRONG), ("nobody", KEY)):
        for _ in range(10):
            connection = connect(server, user, key)
            with pytest.raises(ConnectionClosed) as raised:
                connection.request("x" * 100_000)  # sent right after the hello, before anything can be known
            reasons.add(raised.value.reason)
            assert connection.close_reason == raised.value.reason
    assert len(reasons) == 1


@pytest.mark.parametrize("early", [0, 300_000], ids=["bare", "with early requests"])
@pytest.mark.parametrize(("user", "key"), [("myuser", WRONG), ("nobody", KEY)], ids=["wrong key", "unknown user"])
def test_a_refusal_is_an_end_of_file_without_a_byte(
    serve: Any, raw: Any, address: Any, user: str, key: Any, early: int
) -> None:
    peer = raw(serve(at=address, user_to_key=USERS.get))
    peer.send(hello(user, key, bytes(32)) + framed(bytes(early)))
    assert peer.read_to_end() == b""  # a reset would raise


def test_while_a_key_is_replaced_a_user_has_both(serve: Any, connect: Any) -> None:
    new, old = KEY, WRONG
    server = serve(whoami, user_to_key=lambda user: [new, old], limits=Limits(keys_per_user=2))
    for key in (new, old):
        assert connect(server, "myuser", key).request("x") == "myuser"
    with pytest.raises(ConnectionClosed, match="the key is wrong"):
        connect(server, "myuser", USERS["another"]).request("x")


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([KEY, WRONG], "user_to_key returned 2 keys; the limit keys_per_user is 1"),
        ([KEY, "a passphrase"], "user_to_key returned a list, expected a Key, a list of keys, or None"),
    ],
)
def test_keys_that_cannot_be_tried_refuse_the_user_and_are_logged(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture, found: Any, problem: str
) -> None:
    with pytest.raises(ConnectionClosed, match="the key is wrong"):
        connect(serve(user_to_key=lambda user: found), secure=True).request("x")
    eventually(lambda: problem in caplog.text, "it is logged")
    assert "a passphrase" not in caplog.text


def test_nobody_is_looked_up_or_refused_before_the_whole_hello_is_there(serve: Any, raw: Any, connect: Any) -> None:
    looked_up: queue.Queue[str] = queue.Queue()

    def user_to_key(user: str) -> Any:
        looked_up.put(user)
        return USERS.get(user)

    server = serve(user_to_key=user_to_key)
    peer = raw(server)
    data = hello("nobody", KEY, bytes(32))
    peer.send(data[:-1])
    assert connect(server, "myuser", KEY).request("x") == "x"  # meanwhile
    assert peer.silent()
    peer.send(data[-1:])
    assert peer.read_to_end() == b""
    assert [looked_up.get(timeout=SOON) for _ in range(2)] == ["myuser", "nobody"]


def test_a_lookup_that_fails_refuses_the_user_and_is_logged(
    front: Any, serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def user_to_key(user: str) -> Any:
        raise LookupError("the database is gone")

    with pytest.raises(ConnectionClosed, match="the key is wrong"):
        connect(serve(user_to_key=user_to_key), secure=True).request("x")
    eventually(lambda: "the database is gone" in caplog.text, "the failure is logged")
    assert {record.name for record in caplog.records} == {f"bokbok.{front.name}"}


def test_a_lookup_that_fails_is_logged_only_once_the_connection_is_closed(serve: Any, raw: Any) -> None:
    """The time that writing the log takes would tell a stranger that it was not an ordinary refusal."""

    def user_to_key(user: str) -> Any:
        raise LookupError("the database is gone")

    class AfterTheEnd(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "user_to_key failed" in record.getMessage():
                seen.put(peer.ended_within(SOON))

    seen: queue.Queue[bool] = queue.Queue()
    log, handler = logging.getLogger("bokbok"), AfterTheEnd()
    peer = raw(serve(user_to_key=user_to_key))
    log.addHandler(handler)
    try:
        peer.say_hello("myuser", KEY)
        assert seen.get(timeout=2 * SOON)
    finally:
        log.removeHandler(handler)


def test_a_lookup_that_gives_up_altogether_refuses_the_user(serve: Any, connect: Any) -> None:
    class GivesUp(BaseException):
        pass

    def user_to_key(user: str) -> Any:
        raise GivesUp

    with pytest.raises(ConnectionClosed, match="the key is wrong"):
        connect(serve(user_to_key=user_to_key), secure=True).request("x")


@pytest.mark.parametrize("found", ["mypassphrase", KEY.to_bytes(), True, 42], ids=["str", "bytes", "bool", "int"])
def test_a_lookup_that_returns_no_key_refuses_the_user_and_the_log_does_not_show_what_it_was(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture, found: Any
) -> None:
    with pytest.raises(ConnectionClosed, match="the key is wrong"):
        connect(serve(user_to_key=lambda user: found), secure=True).request("x")
    eventually(lambda: "the user is refused" in caplog.text, "the failure is logged")
    assert f"user_to_key returned a {type(found).__name__}, expected a Key, a list of keys, or None" in caplog.text
    assert "mypassphrase" not in caplog.text


def test_a_slow_lookup_holds_up_nobody_else(serve: Any, connect: Any, spawn: Any) -> None:
    looking, found = threading.Event(), threading.Event()

    def user_to_key(user: str) -> Any:
        if user == "another":
            looking.set()
            assert found.wait(SOON)
        return USERS.get(user)

    server = serve(user_to_key=user_to_key)
    slow = spawn(connect(server, "another", USERS["another"]).request, "slow")
    assert looking.wait(SOON)
    assert connect(server, secure=True).request("x") == "x"
    assert not slow.done()
    found.set()
    assert slow.result(SOON) == "slow"


# One side secure, the other not.


def test_a_secure_client_at_an_insecure_server_is_told_what_that_most_likely_means(
    serve: Any, connect: Any, address: Any
) -> None:
    with pytest.raises(ConnectionClosed, match=r"possible causes: .*the server is insecure"):
        connect(serve(at=address), secure=True).request("x")


def test_an_insecure_client_at_a_secure_server_is_told_what_that_most_likely_means(
    serve: Any, connect: Any, address: Any
) -> None:
    server = serve(at=address, user_to_key=USERS.get, limits=Limits(hello_timeout=0.05))
    with pytest.raises(ConnectionClosed, match="the server is secure and expects a user and a key"):
        connect(server).request("x")  # which reads as a username, and a hello has two packets


def test_an_insecure_client_whose_second_request_is_no_hello_is_refused_at_once(serve: Any, raw: Any) -> None:
    peer = raw(serve(user_to_key=USERS.get))
    peer.send_message(b"(request 0 x)", b"(request 1 y)")
    assert peer.read_to_end() == b""


# Hellos that do not come as they should.


def test_a_silent_client_is_closed_when_its_time_is_over(serve: Any, raw: Any, address: Any) -> None:
    peer = raw(serve(at=address, user_to_key=USERS.get, limits=Limits(hello_timeout=0.05)))
    assert peer.read_to_end() == b""


def test_a_hello_in_single_bytes_has_no_more_time_in_total(
    serve: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = raw(serve(user_to_key=USERS.get, limits=Limits(hello_timeout=0.2)))
    data = hello("myuser", KEY, bytes(32))
    taken = 0
    # Each byte long before a time-out that began anew with each would be over, all of them long after this one's.
    while taken < len(data) - 1 and not peer.readable_within(0.01):
        taken += peer.send_what_fits(data[taken : taken + 1])
    assert peer.read_to_end() == b""
    assert "no hello came within 0.2 s" in caplog.text


def test_a_hello_may_come_in_pieces(serve: Any, raw: Any, address: Any) -> None:
    peer = raw(serve(whoami, at=address, user_to_key=USERS.get))
    data = hello("myuser", KEY, bytes(range(32)))
    for start in range(0, len(data), 7):
        peer.send(data[start : start + 7])
    peer.begin(bytes(range(32)))
    peer.send_message(b"(request 0 x)")
    assert peer.receive() == b'(response 0 "myuser")'


def test_a_username_that_is_too_long_is_refused(serve: Any, raw: Any) -> None:
    peer = raw(serve(user_to_key=USERS.get))
    peer.send(hello(b"x" * 256, KEY, bytes(32)))
    assert peer.read_to_end() == b""


@pytest.mark.parametrize("size", [71, 73])
def test_a_boxed_session_key_of_another_size_is_refused(serve: Any, raw: Any, size: int) -> None:
    peer = raw(serve(user_to_key=USERS.get))
    peer.send(framed(b"myuser") + framed(bytes(size)))
    assert peer.read_to_end() == b""


@pytest.mark.parametrize("size", [0, 3, 50])
def test_a_client_that_vanishes_in_the_middle_of_its_hello_is_forgotten(
    serve: Any, raw: Any, connect: Any, size: int
) -> None:
    server = serve(at="127.0.0.1:0", user_to_key=USERS.get)
    peer = raw(server)
    peer.send(hello("myuser", KEY, bytes(32))[:size])
    peer.kill()
    assert (connect(server, secure=True)).request("x") == "x"
    server.stop()
    assert server.wait(SOON)


# Guards.


def test_a_replayed_hello_is_refused_on_another_connection(serve: Any, raw: Any, caplog: Any) -> None:
    server = serve(user_to_key=USERS.get)
    first, second = raw(server), raw(server)
    data = first.say_hello("myuser", KEY)
    early = first.packet(b'(request 0 "once")')
    first.send(early)
    assert first.receive() == b'(response 0 "once")'
    second.send(data + early)
    assert second.read_to_end() == b""
    assert "hello_replay" in caplog.text


def test_of_copies_of_a_hello_that_come_at_once_one_passes(serve: Any, raw: Any) -> None:
    served: queue.Queue[Any] = queue.Queue()
    server = serve(lambda connection, message: served.put(message), user_to_key=USERS.get)
    peers = [raw(server) for _ in range(10)]
    peers[0].begin(bytes(32))
    data = hello("myuser", KEY, bytes(32)) + peers[0].packet(b'(request 0 "once")')
    start = threading.Barrier(len(peers))

    def replay(peer: Any) -> None:
        start.wait()
        peer.send(data)

    threads = [threading.Thread(target=replay, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for peer in peers:
        peer.finish()
    answers = [peer.read_to_end() for peer in peers]
    assert sum(map(bool, answers)) == 1
    assert served.get(timeout=SOON) == "once"
    assert served.empty()


def test_a_replayed_hello_is_served_with_the_guard_off(serve: Any, raw: Any) -> None:
    server = serve(user_to_key=USERS.get, guards=Guards(hello_replay=False))
    data = hello("myuser", KEY, bytes(32))
    for _ in range(2):
        peer = raw(server)
        peer.begin(bytes(32))
        peer.send(data + peer.packet(b"(request 0 x)"))
        assert peer.receive() == b"(response 0 x)"


def test_a_replayed_request_ends_the_connection(serve: Any, raw: Any, caplog: Any) -> None:
    peer = raw(serve(user_to_key=USERS.get))
    peer.say_hello("myuser", KEY)
    peer.send(2 * peer.packet(b"(request 0 x)"))
    peer.read_to_end()
    assert "request 0 was used before" in caplog.text


def test_a_reflected_packet_ends_the_connection(met: Any, spawn: Any) -> None:
    connection, peer = met(secure=True)
    asking = spawn(connection.request, "x")
    peer.send(framed(peer.receive_closed()))
    with pytest.raises(RemoteProtocolError, match="a packet of this side's own was sent back to it"):
        asking.result(SOON)


def test_a_changed_packet_ends_the_connection(met: Any, spawn: Any) -> None:
    connection, peer = met(secure=True)
    asking = spawn(connection.request, "x")
    assert peer.receive() == b'(request 0 "x")'
    data = bytearray(peer.packet(b'(response 0 "x")'))
    data[-1] ^= 1
    peer.send(bytes(data))
    with pytest.raises(RemoteProtocolError, match="does not open"):
        asking.result(SOON)
