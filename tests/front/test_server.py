"""How a server accepts, and how it stops."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import ConnectFailed, ConnectionClosed, RemoteError, RequestTimeout
from tests.support.held import Held
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, hello

# Stopping.


def test_once_stopped_nobody_can_connect(front: Any, serve: Any, address: Any) -> None:
    server = serve(at=address)
    server.stop()
    with pytest.raises(ConnectFailed):
        front.open_connection(server.address)


def test_stopping_closes_connections_that_are_idle(serve: Any, connect: Any, address: Any) -> None:
    server = serve(at=address)
    connection = connect(server)
    assert connection.request("x") == "x"
    server.stop()
    assert server.wait(SOON)
    with pytest.raises(ConnectionClosed, match="the other end closed the connection"):
        connection.request("x")


def test_stopping_closes_a_connection_that_was_never_used(serve: Any, connect: Any, address: Any) -> None:
    for _ in range(5):
        server = serve(at=address)
        closed: queue.Queue[Any] = queue.Queue()
        connect(server, on_close=closed.put)
        server.stop()
        assert server.wait(SOON)
        closed.get(timeout=SOON)


def test_handlers_that_run_finish_and_their_answers_arrive(serve: Any, connect: Any, spawn: Any, address: Any) -> None:
    held = Held()
    server = serve(held, at=address)
    connections = [connect(server) for _ in range(3)]
    asking = [spawn(connection.request, i) for i, connection in enumerate(connections)]
    assert {held.started.get(timeout=SOON) for _ in asking} == {0, 1, 2}
    server.stop()
    assert not server.wait(0)
    held.may_answer.set()
    assert [one.result(SOON) for one in asking] == [0, 1, 2]
    assert server.wait(SOON)


def test_a_large_answer_arrives_whole_although_the_server_has_stopped(serve: Any, raw: Any, address: Any) -> None:
    held = Held()
    server = serve(lambda connection, message: [held(connection, message), "x" * 8_000_000][1], at=address)
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    held.started.get(timeout=SOON)
    server.stop()
    held.may_answer.set()
    assert len(peer.receive()) == 8_000_000 + len('(response 0 "")')
    assert peer.read_to_end() == b""


def test_the_end_is_no_reset_although_requests_are_on_their_way(serve: Any, raw: Any, address: Any) -> None:
    held = Held()
    server = serve(held, at=address)
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    held.started.get(timeout=SOON)
    server.stop()
    held.may_answer.set()
    sent = 1
    while peer.silent():  # until its answer, or that of another, is there
        peer.send_message(b"(request %d y)" % sent)
        sent += 1
    peer.send_message(*[b"(request %d y)" % i for i in range(sent, sent + 1000)])
    assert b"(response 0 x)" in peer.read_to_end()  # a reset would raise


def test_new_requests_are_answered_with_an_error_meanwhile(serve: Any, connect: Any, spawn: Any) -> None:
    held = Held()
    server = serve(held)
    connection = connect(server)
    asking = spawn(connection.request, "old")
    assert held.started.get(timeout=SOON) == "old"
    server.stop()
    for _ in range(2):
        with pytest.raises(RemoteError, match="the server is stopping and takes no new requests"):
            connection.request("new")
    held.may_answer.set()
    assert asking.result(SOON) == "old"


def test_requests_that_wait_for_a_handler_are_answered_with_an_error(serve: Any, raw: Any) -> None:
    held = Held()
    server = serve(held, limits=Limits(running=1, waiting=2))
    peer = raw(server)
    peer.send_message(b"(request 0 x)", b"(request 1 x)", b"(request 2 x)")
    held.started.get(timeout=SOON)
    # A connection that does not find a place shows that the two before it wait.
    peer.send_message(b"(request 3 x)")
    assert peer.receive().startswith(b'(error 3 "too many requests')
    server.stop()
    stopping = b'"the server is stopping and takes no new requests")'
    assert [peer.receive(), peer.receive()] == [b"(error 1 " + stopping, b"(error 2 " + stopping]
    held.may_answer.set()
    assert peer.receive() == b"(response 0 x)"
    assert peer.read_to_end() == b""


def test_answers_are_still_taken_meanwhile(serve: Any, connect: Any, spawn: Any) -> None:
    held = Held()

    def on_request(connection: Any, message: Any) -> Any:
        held(connection, message)
        return [connection.request(i) for i in range(3)]

    server = serve(on_request)
    asking = spawn(connect(server, on_request=lambda connection, message: message * 10).request, "x")
    held.started.get(timeout=SOON)
    server.stop()
    held.may_answer.set()
    assert asking.result(SOON) == [0, 10, 20]
    assert server.wait(SOON)


def test_an_open_handler_that_runs_finishes_before_its_connection_is_closed(serve: Any, connect: Any) -> None:
    opening, may_open = threading.Event(), threading.Event()
    answers: list[Any] = []

    def on_open(connection: Any) -> None:
        opening.set()
        assert may_open.wait(SOON)
        answers.append(connection.request("still there?"))

    server = serve(on_open=on_open)
    connection = connect(server, on_request=lambda connection, message: "yes")
    assert opening.wait(SOON)
    server.stop()
    assert not server.wait(0)
    may_open.set()
    assert server.wait(SOON)
    assert answers == ["yes"]
    eventually(lambda: connection.closed, "the connection is closed")


def test_stopping_ends_connections_whose_hello_has_not_come(serve: Any, raw: Any, address: Any) -> None:
    server = serve(at=address, user_to_key=USERS.get)
    peers = [raw(server) for _ in range(3)]
    peers[1].send(hello("myuser", KEY, bytes(32))[:50])
    raw(server).close()
    good = raw(server)
    good.say_hello("myuser", KEY)
    good.send_message(b"(request 0 x)")
    assert good.receive() == b"(response 0 x)"
    good.close()
    server.stop()
    assert server.wait(SOON / 10)  # not only when the time for a hello is over
    for peer in peers:
        assert peer.read_to_end() == b""


def test_stopping_ends_a_connection_whose_user_is_being_looked_up(serve: Any, raw: Any) -> None:
    looking, found = threading.Event(), threading.Event()
    opened: list[Any] = []

    def user_to_key(user: str) -> Any:
        looking.set()
        assert found.wait(SOON)
        return USERS.get(user)

    server = serve(user_to_key=user_to_key, on_open=opened.append)
    peer = raw(server)
    peer.say_hello("myuser", KEY)
    assert looking.wait(SOON)
    server.stop()
    assert peer.read_to_end() == b""
    assert not server.wait(0)  # the lookup runs
    found.set()
    assert server.wait(SOON)
    assert opened == []


def test_stopping_twice_does_nothing(serve: Any, connect: Any) -> None:
    server = serve()
    connect(server).request("x")
    server.stop()
    server.stop()
    assert server.wait(SOON)
    server.stop()


def test_many_threads_may_stop_at_once(serve: Any, connect: Any, spawn: Any) -> None:
    server = serve()
    connect(server).request("x")
    for stopping in [spawn(server.stop) for _ in range(10)]:
        stopping.result(SOON)
    assert server.wait(SOON)


def test_a_request_handler_may_stop_its_server_and_is_still_answered(
    front: Any, serve: Any, connect: Any, address: Any
) -> None:
    servers: list[Any] = []

    def on_request(connection: Any, message: Any) -> Any:
        servers[0].stop()
        with pytest.raises(ConnectFailed):
            front.open_connection(servers[0].address)
        return "stopped"

    servers.append(serve(on_request, at=address))
    assert connect(servers[0]).request("stop") == "stopped"
    assert servers[0].wait(SOON)


@pytest.mark.parametrize("which", ["on_open", "on_close"])
def test_an_open_or_close_handler_may_stop_its_server(serve: Any, connect: Any, which: str) -> None:
    servers: list[Any] = []
    ready = threading.Event()

    def handler(connection: Any) -> None:
        assert ready.wait(SOON)
        servers[0].stop()

    servers.append(serve(**{which: handler}))
    ready.set()
    connect(servers[0]).close()
    assert servers[0].wait(SOON)


def test_a_lookup_may_stop_its_server(serve: Any, connect: Any) -> None:
    servers: list[Any] = []

    def user_to_key(user: str) -> Any:
        servers[0].stop()
        return KEY

    servers.append(serve(user_to_key=user_to_key))
    with pytest.raises(ConnectionClosed):
        connect(servers[0], secure=True).request("x")
    assert servers[0].wait(SOON)


# Waiting.


def test_a_handler_may_wait_for_another_server(serve: Any, connect: Any) -> None:
    other = serve()
    other.stop()
    server = serve(lambda connection, message: other.wait(SOON))
    assert connect(server).request("x") is True


def test_waiting_lasts_until_the_server_is_stopped_and_the_last_handler_has_finished(
    serve: Any, connect: Any, spawn: Any
) -> None:
    held, closing, may_close = Held(), threading.Event(), threading.Event()

    def on_close(connection: Any) -> None:
        closing.set()
        assert may_close.wait(SOON)

    server = serve(held, on_close=on_close)
    waiting = spawn(server.wait)
    leaving, asking = connect(server), connect(server)
    with pytest.raises(RequestTimeout):
        asking.request("x", timeout=0)
    held.started.get(timeout=SOON)
    leaving.close()
    assert closing.wait(SOON)
    assert not server.wait(0)
    server.stop()
    assert not server.wait(0.01)  # the request handler runs
    held.may_answer.set()
    assert not server.wait(0.01)  # the close handler runs
    assert not waiting.done()
    may_close.set()
    assert waiting.result(SOON) is True


def test_waiting_may_end_before_the_server_does(serve: Any) -> None:
    assert serve().wait(0.01) is False


def test_a_server_stops_and_waits_at_the_end_of_a_with_statement(front: Any, tmp_path: Any, spawn: Any) -> None:
    held = Held()
    finished: list[Any] = []

    def on_request(connection: Any, message: Any) -> Any:
        held(connection, message)
        finished.append(message)

    with (
        front.start_server(str(tmp_path / "here"), on_request) as server,
        front.open_connection(server.address) as connection,
    ):
        asking = spawn(connection.request, "x")
        held.started.get(timeout=SOON)
        threading.Timer(0.01, held.may_answer.set).start()
        server.stop()
        assert asking.result(SOON) == []
    assert finished == ["x"]
    assert server.wait(0)


# Accepting.


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EPROTO, errno.EPERM])
def test_accepting_goes_on_after_it_has_failed(
    serve: Any,
    connect: Any,
    address: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: int,
) -> None:
    accept = socket.socket.accept
    failures = iter([OSError(error, "on purpose")] * 2)

    def failing(sock: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return accept(sock)

    server = serve(at=address)
    monkeypatch.setattr(socket.socket, "accept", failing)
    assert connect(server).request("x") == "x"
    assert caplog.text.count("cannot accept: on purpose; trying again") == 1  # the second one is only counted
    assert server.statistics().refused == {"accept": 2}


def test_a_client_that_is_gone_before_it_is_accepted_disturbs_nobody(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    failures = iter([ConnectionAbortedError(errno.ECONNABORTED, "aborted"), BlockingIOError(errno.EAGAIN, "nobody")])

    def failing(sock: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return accept(sock)

    server = serve()
    monkeypatch.setattr(socket.socket, "accept", failing)
    assert connect(server).request("x") == "x"
    assert caplog.text == ""


def test_a_server_that_cannot_accept_can_be_stopped(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(sock: socket.socket) -> Any:
        raise OSError(errno.EMFILE, "on purpose")

    server = serve()
    monkeypatch.setattr(socket.socket, "accept", failing)
    connect(server)
    eventually(lambda: "cannot accept" in caplog.text, "accepting has failed")
    server.stop()
    assert server.wait(SOON)


def test_a_burst_of_clients_is_accepted_whole(serve: Any, connect: Any, spawn: Any, address: Any) -> None:
    server = serve(at=address)
    asking = [spawn(lambda i=i: connect(server).request(i)) for i in range(100)]
    assert [one.result(SOON) for one in asking] == list(range(100))


def test_two_servers_of_one_process_do_not_share_anything(serve: Any, connect: Any) -> None:
    first = serve(lambda connection, message: "first", user_to_key=USERS.get)
    second = serve(lambda connection, message: "second", user_to_key={"myuser": USERS["another"]}.get)
    assert connect(first, secure=True).request("who?") == "first"
    assert connect(second, "myuser", USERS["another"]).request("who?") == "second"
    first.stop()
    assert first.wait(SOON)
    assert connect(second, "myuser", USERS["another"]).request("who?") == "second"


def test_a_wait_may_be_endless_but_not_without_a_number(serve: Any) -> None:
    server = serve()
    with pytest.raises(ValueError, match="timeout: expected seconds or None, got NaN"):
        server.wait(float("nan"))
    server.stop()
    assert server.wait(1e12)
