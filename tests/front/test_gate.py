"""Which connections are admitted: connections and hellos by source and user, and penalties.

Sources are addresses of 127.0.0.0/8. They belong to this machine, so limits hold for them only because they are set.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bokbok import Key, Limits
from bokbok._native import description
from bokbok.errors import ConnectionClosed
from bokbok.wire import passphrase_to_key
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, RawPeer, hello

AT = ("tcp", "127.0.0.1", 0)
WRONG = passphrase_to_key("a wrong passphrase")


@pytest.fixture
def come(serve: Any) -> Iterator[Callable[..., RawPeer]]:
    """A client that comes from its own source address, and sends any bytes."""
    peers: list[RawPeer] = []

    def connect(server: Any, source: str = "127.0.0.1") -> RawPeer:
        sock = socket.create_connection(server.address[1:], SOON, (source, 0))
        peers.append(RawPeer(sock))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


def is_closed(peer: RawPeer) -> bool:
    """Whether the server's end of file comes, or a reset."""
    try:
        return peer.read_to_end() == b""
    except ConnectionResetError:
        return True


def greet(peer: RawPeer, user: str, key: Key) -> None:
    session_key = os.urandom(32)
    peer.send(hello(user, key, session_key))
    peer.begin(session_key)


def is_served(peer: RawPeer) -> bool:
    peer.send_message(b"(request 0 x)")
    return peer.receive() == b"(response 0 x)"


def test_connections_of_one_source_beyond_its_limit_are_closed_and_others_are_served(
    serve: Any, come: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(at=AT, limits=Limits(connections_per_address=3))
    first = [come(server, "127.0.0.2") for _ in range(3)]
    assert all(map(is_served, first))
    assert is_closed(come(server, "127.0.0.2"))
    assert is_served(come(server, "127.0.0.3"))
    assert "a connection from 127.0.0.2 is refused: 3 connections of this source are there already" in caplog.text
    first.pop().close()
    eventually(lambda: server.statistics().connections == 3, "the connection is over")
    assert is_served(come(server, "127.0.0.2"))
    assert server.statistics().refused == {"connections_per_address": 1}
    assert server.statistics().codec == description()


def test_connections_of_one_user_beyond_its_limit_are_closed(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(user_to_key={**USERS, "other": KEY}.get, limits=Limits(connections_per_user=2))
    first = [connect(server, secure=True) for _ in range(2)]
    assert [one.request("x") for one in first] == ["x", "x"]
    with pytest.raises(ConnectionClosed):
        connect(server, secure=True).request("x", timeout=SOON)
    assert connect(server, "other", KEY).request("x") == "x"
    assert "as 'myuser'" in caplog.text
    assert "2 connections of this user are there already" in caplog.text
    first[0].close()
    eventually(lambda: server.statistics().connections == 2, "connections are over")
    assert connect(server, secure=True).request("x") == "x"


def test_one_user_cannot_take_all_connections(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(user_to_key={**USERS, "other": KEY}.get, limits=Limits(connections=18))
    for _ in range(16):
        assert connect(server, secure=True).request("x") == "x"
    with pytest.raises(ConnectionClosed):
        connect(server, secure=True).request("x", timeout=SOON)
    assert "16 connections of this user are there already" in caplog.text
    assert connect(server, "other", KEY).request("x") == "x"


def test_a_user_is_not_kept_out_by_who_only_claims_to_be_that_user(serve: Any, connect: Any) -> None:
    server = serve(user_to_key=USERS.get, limits=Limits(connections_per_user=1))
    for _ in range(3):
        with pytest.raises(ConnectionClosed):
            connect(server, "myuser", WRONG).request("x")
    assert connect(server, secure=True).request("x") == "x"


def test_hellos_under_way_leave_room_for_the_hellos_of_others(serve: Any, come: Any) -> None:
    server = serve(at=AT, user_to_key=USERS.get, limits=Limits(hellos_per_address=2))
    silent = [come(server, "127.0.0.2") for _ in range(2)]
    eventually(lambda: server.statistics().hellos == 2, "both have arrived")
    assert is_closed(come(server, "127.0.0.2"))
    peer = come(server, "127.0.0.3")
    greet(peer, "myuser", KEY)
    assert is_served(peer)
    assert server.statistics().hellos == 2
    greet(silent[0], "myuser", KEY)
    assert is_served(silent[0])
    assert server.statistics().hellos == 1


def test_where_too_many_hellos_are_under_way_new_connections_are_closed(
    serve: Any, come: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(at=AT, user_to_key=USERS.get, limits=Limits(hellos=1, hellos_drop=100, hellos_full=2))
    silent = come(server)
    eventually(lambda: server.statistics().hellos == 1, "it has arrived")
    assert is_closed(come(server))
    assert "1 hellos are under way already, so 100 % are refused" in caplog.text
    silent.close()
    eventually(lambda: server.statistics().hellos == 0, "it is over")
    peer = come(server)
    greet(peer, "myuser", KEY)
    assert is_served(peer)


def test_a_source_that_was_refused_too_often_is_shut_out_and_others_are_not(
    serve: Any, come: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(at=AT, user_to_key=USERS.get, limits=Limits(penalty=10, penalty_from=25))
    for _ in range(3):
        peer = come(server, "127.0.0.2")
        greet(peer, "myuser", WRONG)
        assert is_closed(peer)
    eventually(lambda: server.statistics().refused["hello"] == 3, "all were refused")
    assert is_closed(come(server, "127.0.0.2"))
    assert "127.0.0.2 is refused: this source was refused too often; another" in caplog.text
    peer = come(server, "127.0.0.3")
    greet(peer, "myuser", KEY)
    assert is_served(peer)
    assert server.statistics().refused == {"hello": 3, "penalty": 1}
    assert server.statistics().penalised == 1


def test_who_only_looks_whether_somebody_is_there_is_not_penalised(serve: Any, come: Any) -> None:
    server = serve(at=AT, user_to_key=USERS.get, limits=Limits(penalty=10, penalty_from=10))
    for _ in range(5):
        come(server).close()
    eventually(lambda: server.statistics().refused.get("left") == 5, "all have left")
    peer = come(server)
    greet(peer, "myuser", KEY)
    assert is_served(peer)


def test_what_one_source_causes_is_told_once(serve: Any, come: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(at=AT)
    for _ in range(20):
        peer = come(server, "127.0.0.2")
        peer.send_message(b"nonsense")
        assert is_closed(peer)
    peer = come(server, "127.0.0.3")
    peer.send_message(b"nonsense")
    assert is_closed(peer)
    eventually(lambda: server.statistics().refused["protocol"] == 21, "all were refused")
    first, second = (record.getMessage() for record in caplog.records)
    assert "127.0.0.2" in first
    assert "(19 more of this kind were not told)" in second


def test_a_hello_that_is_refused_is_logged_with_the_user_that_it_names_escaped_and_bounded(
    serve: Any, come: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(at=AT, user_to_key=USERS.get)
    peer = come(server)
    greet(peer, "\x1b[31m\n" * 40, WRONG)
    assert is_closed(peer)
    eventually(lambda: caplog.records, "it is logged")
    line = caplog.records[0].getMessage()
    assert r"it says that it is '\x1b[31m\n\x1b[31m\n" in line
    assert line.isprintable()
    assert len(line) < 600


def test_a_server_that_is_full_says_so_once(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(limits=Limits(connections=1))
    first = connect(server)
    assert first.request("x") == "x"
    second = connect(server)
    eventually(lambda: caplog.records, "it is told")
    assert "1 connections are there; further ones wait in the backlog" in caplog.text
    first.close()
    assert second.request("x") == "x"


def test_statistics_are_a_value(serve: Any, connect: Any) -> None:
    server = serve()
    before = server.statistics()
    connection = connect(server)
    for _ in range(3):
        connection.request("x")
    after = server.statistics()
    assert (before.accepted, before.handled, before.connections) == (0, 0, 0)
    assert (after.accepted, after.handled, after.connections) == (1, 3, 1)
    with pytest.raises(AttributeError):
        after.connections = 5
    with pytest.raises(TypeError):
        after.refused["hello"] = 1


def test_other_limits_hold_for_the_server_at_once_and_for_connections_that_are_new(serve: Any, come: Any) -> None:
    server = serve(at=AT)
    before = come(server)
    assert is_served(before)
    server.change_limits(Limits(packet=100, connections_per_address=2))
    after = come(server)
    assert is_served(after)
    assert is_closed(come(server))  # the third of its source
    before.send_message(b'(request 1 "%b")' % (b"x" * 200))
    assert len(before.receive()) > 200
    after.send_message(b'(request 1 "%b")' % (b"x" * 200))
    assert is_closed(after)


# The end.


def test_a_stop_does_not_wait_for_ever_for_an_answer_that_does_not_come(front: Any, serve: Any, raw: Any) -> None:
    server = serve(lambda connection, message: connection.request(message), limits=Limits(drain_timeout=0.05))
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    assert peer.receive() == b"(request 0 x)"  # and never answers
    server.stop()
    assert server.wait(SOON)
    assert server.unfinished == ()


def test_a_handler_that_goes_on_after_that_is_named(
    front: Any, serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"bokbok.{front.name}.server.LINGER_SECONDS", 0.05)
    held = Held()
    server = serve(held, limits=Limits(drain_timeout=0.05))
    peer = raw(server)
    peer.send_message(*requests(2))
    held.begun(2)
    server.stop()
    assert not server.wait()
    (unfinished,) = server.unfinished
    assert unfinished.endswith("closed>: 2 handlers")
    assert peer.read_to_end() == b""
    held.may_answer.set()
    eventually(lambda: server.unfinished == (), "they have returned")
    eventually(lambda: server.wait(0), "it has stopped")
