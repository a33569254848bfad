"""From open to closed: the open handler, the close handler, and every way to end."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import ConnectionClosed, NetworkError, RemoteError, RemoteProtocolError
from bokbok.wire import passphrase_to_key
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, RawListener, framed, hello


class Calls:
    """Handlers that note their calls, and wait if they are told to."""

    def __init__(self) -> None:
        self.log: queue.Queue[str] = queue.Queue()
        self.connections: list[Any] = []
        self.may_open = threading.Event()
        self.may_answer = threading.Event()
        self.may_open.set()
        self.may_answer.set()

    def on_open(self, connection: Any) -> None:
        self.connections.append(connection)
        self.log.put("opening")
        assert self.may_open.wait(SOON)
        self.log.put("opened")

    def on_request(self, connection: Any, message: Any) -> Any:
        self.log.put(f"asked {message}")
        assert self.may_answer.wait(SOON)
        self.log.put(f"answered {message}")
        return message

    def on_close(self, connection: Any) -> None:
        self.log.put(f"closed: {connection.close_reason}")

    def next(self) -> str:
        return self.log.get(timeout=SOON)

    @property
    def more(self) -> list[str]:
        """The calls that were not checked yet."""
        return [self.log.get() for _ in range(self.log.qsize())]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watched(serve: Any, calls: Calls) -> Any:
    """A server whose handlers note their calls."""

    def start(**options: Any) -> Any:
        return serve(calls.on_request, on_open=calls.on_open, on_close=calls.on_close, **options)

    return start


# The open handler.


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_the_open_handler_runs_once_for_each_connection(
    watched: Any, calls: Calls, connect: Any, secure: bool, address: Any
) -> None:
    server = watched(at=address, user_to_key=USERS.get if secure else None)
    for _ in range(3):
        connection = connect(server, secure=secure)
        assert [calls.next(), calls.next()] == ["opening", "opened"]
        assert calls.connections[-1].user == connection.user
        assert not calls.connections[-1].closed
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []
    assert len(set(calls.connections)) == 3


def test_the_open_handler_has_returned_before_the_first_request_handler_starts(
    watched: Any, calls: Calls, connect: Any, spawn: Any
) -> None:
    calls.may_open.clear()
    connection = connect(watched())
    asking = [spawn(connection.request, i) for i in range(3)]
    assert calls.next() == "opening"
    with pytest.raises(TimeoutError):
        connection.request("one more", timeout=0.02)  # which is there by now, and so are the others
    assert calls.more == []
    calls.may_open.set()
    assert calls.next() == "opened"
    assert sorted(one.result(SOON) for one in asking) == [0, 1, 2]


def test_requests_of_the_open_handler_are_answered_meanwhile(serve: Any, connect: Any) -> None:
    greeting: list[Any] = []

    def on_open(connection: Any) -> None:
        greeting.append(connection.request("who are you?"))

    server = serve(lambda connection, message: greeting[0], on_open=on_open)
    assert connect(server, on_request=lambda connection, message: "me").request("who am I?") == "me"


@pytest.mark.parametrize("kind", ["error", "exit"])
def test_an_open_handler_that_fails_closes_the_connection(
    front: Any, serve: Any, connect: Any, calls: Calls, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    error = ValueError("not you") if kind == "error" else front.deadly("not you")

    def on_open(connection: Any) -> None:
        raise error

    server = serve(calls.on_request, on_open=on_open, on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        connect(server).request("x")
    assert calls.next() == f"closed: the open handler failed: {type(error).__name__}: not you"
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []
    assert "the open handler failed" in caplog.text
    assert "not you" in caplog.text


def test_an_open_handler_may_close_the_connection(serve: Any, connect: Any, calls: Calls) -> None:
    server = serve(calls.on_request, on_open=lambda connection: connection.close(), on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        connect(server).request("x")
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_a_slow_open_handler_holds_up_no_other_connection(watched: Any, calls: Calls, connect: Any) -> None:
    server = watched()
    calls.may_open.clear()
    connect(server)
    assert calls.next() == "opening"
    held = calls.may_open
    calls.may_open = threading.Event()
    calls.may_open.set()
    assert connect(server).request("x") == "x"
    held.set()


def test_who_is_refused_is_not_told_to_the_open_handler(watched: Any, calls: Calls, raw: Any) -> None:
    server = watched(user_to_key=USERS.get)
    for data in (hello("myuser", passphrase_to_key("wrong"), bytes(32)), hello("nobody", KEY, bytes(32)), b"\xff" * 99):
        peer = raw(server)
        peer.send(data)
        assert peer.read_to_end() == b""
        peer.close()
    raw(server).close()  # without sending anything
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


# The close handler.


def test_the_close_handler_runs_once_when_the_other_end_closes(
    watched: Any, calls: Calls, connect: Any, address: Any
) -> None:
    server = watched(at=address)
    connect(server).close()
    assert [calls.next() for _ in range(3)] == ["opening", "opened", "closed: the other end closed the connection"]
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_a_clients_close_handler_runs_once_when_the_server_closes(
    calls: Calls, connect: Any, serve: Any, address: Any
) -> None:
    server = serve(lambda connection, message: connection.close(), at=address)
    connection = connect(server, on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        connection.request("x")
    assert calls.next().startswith("closed: ")
    connection.close()
    assert calls.more == []


def test_a_clients_close_handler_runs_when_the_server_stops(serve: Any, connect: Any, calls: Calls) -> None:
    server = serve()
    connect(server, on_close=calls.on_close).request("x")
    server.stop()
    assert calls.next() == "closed: the other end closed the connection"


def test_the_close_handler_runs_when_the_other_end_is_killed(watched: Any, calls: Calls, raw: Any) -> None:
    server = watched(at="127.0.0.1:0")
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    peer.receive()
    peer.kill()
    called = [calls.next() for _ in range(5)]
    assert called[-1] == "closed: connection reset by peer"
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_the_close_handler_runs_when_the_other_end_breaks_the_rules(watched: Any, calls: Calls, raw: Any) -> None:
    server = watched()
    peer = raw(server)
    assert [calls.next(), calls.next()] == ["opening", "opened"]
    peer.send_message(b"(response 5 x)")
    assert calls.next().startswith("closed: an answer to request 5, which does not wait for one")
    peer.close()
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_the_close_handler_does_not_run_when_this_end_closes(
    serve: Any, connect: Any, calls: Calls, spawn: Any, secure: bool
) -> None:
    server = serve(user_to_key=USERS.get if secure else None)
    connection = connect(server, on_close=calls.on_close, secure=secure)
    assert connection.request("x") == "x"
    connection.close()
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_the_close_handler_does_not_run_when_this_end_closes_from_a_handler(
    serve: Any, connect: Any, calls: Calls
) -> None:
    server = serve(lambda connection, message: connection.close(), on_close=calls.on_close)
    with pytest.raises(ConnectionClosed, match=r"the other end closed the connection|before it had sent anything"):
        connect(server).request("x")
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_the_close_handler_does_not_run_when_the_server_stops(watched: Any, calls: Calls, connect: Any) -> None:
    server = watched()
    connect(server).request("x")
    assert [calls.next() for _ in range(4)] == ["opening", "opened", "asked x", "answered x"]
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_a_refused_hello_runs_the_clients_close_handler(serve: Any, connect: Any, calls: Calls) -> None:
    connect(serve(user_to_key=USERS.get), "nobody", KEY, on_close=calls.on_close)
    assert "the key is wrong" in calls.next()
    assert calls.more == []


def test_a_client_whose_first_words_find_the_end_has_its_close_handler_run(
    listener: Any, calls: Calls, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutOff(socket.socket):
        def connect(self, place: Any) -> None:
            super().connect(place)
            listener.accept().close()

    monkeypatch.setattr(socket, "socket", CutOff)
    connection = connect(listener.address, "myuser", KEY, on_close=calls.on_close)
    assert calls.next().startswith("closed: ")
    with pytest.raises(ConnectionClosed):
        connection.request("x")
    assert calls.more == []


def test_the_close_handler_starts_at_once_while_request_handlers_go_on_and_their_answers_arrive(
    watched: Any, calls: Calls, raw: Any, address: Any
) -> None:
    calls.may_answer.clear()
    peer = raw(watched(at=address))
    peer.send_message(b"(request 0 x)", b"(request 1 y)")
    assert {calls.next() for _ in range(4)} == {"opening", "opened", "asked x", "asked y"}
    peer.finish()
    assert calls.next() == "closed: the other end closed the connection"
    calls.may_answer.set()
    assert {peer.receive(), peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}
    assert peer.read_to_end() == b""
    assert {calls.next(), calls.next()} == {"answered x", "answered y"}


def test_a_client_answers_after_the_servers_end_too(met: Any, calls: Calls) -> None:
    calls.may_answer.clear()
    _connection, peer = met(on_request=calls.on_request, on_close=calls.on_close)
    peer.send_message(b"(request 0 x)")
    assert calls.next() == "asked x"
    peer.finish()
    assert calls.next() == "closed: the other end closed the connection"
    calls.may_answer.set()
    assert peer.receive() == b"(response 0 x)"
    assert peer.read_to_end() == b""


def test_requests_that_wait_their_turn_at_the_other_ends_end_are_still_answered(
    watched: Any, calls: Calls, raw: Any
) -> None:
    calls.may_answer.clear()
    peer = raw(watched(limits=Limits(running=1)))
    peer.send_message(*[b"(request %d %d)" % (i, i) for i in range(5)])
    peer.finish()
    while not calls.next().startswith("closed"):
        pass
    calls.may_answer.set()
    assert [peer.receive() for _ in range(5)] == [b"(response %d %d)" % (i, i) for i in range(5)]
    assert peer.read_to_end() == b""


def test_at_the_other_ends_end_everything_that_is_still_to_be_sent_is_sent(serve: Any, raw: Any, address: Any) -> None:
    peer = raw(serve(None, at=address))
    count = 30_000  # whose answers do not fit into what the system holds for a peer that does not read yet
    peer.send_message(*[b"(request %d x)" % i for i in range(count)])
    peer.finish()
    answers = peer.read_to_end()
    assert answers.count(b"(error ") == count


def test_the_close_handler_runs_after_the_open_handler_has_returned(watched: Any, calls: Calls, raw: Any) -> None:
    calls.may_open.clear()
    server = watched()
    peer = raw(server)
    assert calls.next() == "opening"
    peer.close()
    eventually(lambda: calls.connections[0].closed, "the end is noticed")
    assert calls.more == []
    calls.may_open.set()
    assert calls.next() == "opened"
    assert calls.next() == "closed: the other end closed the connection"
    server.stop()
    assert server.wait(SOON)
    assert calls.more == []


def test_the_close_handler_runs_although_this_end_closed_later(serve: Any, raw: Any, calls: Calls) -> None:
    def on_open(connection: Any) -> None:
        calls.log.put("opening")
        eventually(lambda: connection.closed, "the end is noticed")
        connection.close()

    peer = raw(serve(on_open=on_open, on_close=calls.on_close))
    assert calls.next() == "opening"
    peer.close()
    assert calls.next() == "closed: the other end closed the connection"


def test_a_close_handler_may_take_its_time_and_closes_once_more(serve: Any, connect: Any, calls: Calls) -> None:
    def on_close(connection: Any) -> None:
        connection.close()
        with pytest.raises(ConnectionClosed):
            connection.request("x")
        calls.on_close(connection)

    server = serve(on_close=on_close)
    connect(server).close()
    assert calls.next() == "closed: the other end closed the connection"


def test_a_close_handler_that_fails_is_logged(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    def on_close(connection: Any) -> None:
        raise ValueError("on purpose")

    server = serve(on_close=on_close)
    connect(server).close()
    eventually(lambda: "the close handler failed" in caplog.text, "the failure is logged")
    assert "on purpose" in caplog.text
    assert connect(server).request("x") == "x"


# Closing.


def test_closing_twice_does_nothing(serve: Any, connect: Any, address: Any) -> None:
    connection = connect(serve(at=address))
    connection.close()
    connection.close()
    assert connection.closed


def test_many_threads_may_close_at_once(serve: Any, connect: Any, spawn: Any) -> None:
    connection = connect(serve())
    for closing in [spawn(connection.close) for _ in range(10)]:
        closing.result(SOON)
    assert connection.closed


def test_a_connection_closes_itself_at_the_end_of_a_with_statement(front: Any, serve: Any) -> None:
    server = serve()
    with front.open_connection(server.address) as connection:
        assert not connection.closed
        assert connection.close_reason is None
        assert connection.request("x") == "x"
    assert connection.closed
    with pytest.raises(ZeroDivisionError), front.open_connection(server.address) as connection:
        raise ZeroDivisionError
    assert connection.closed


def test_requests_that_wait_when_this_end_closes_fail_with_the_reason(
    watched: Any, calls: Calls, connect: Any, spawn: Any
) -> None:
    calls.may_answer.clear()
    connection = connect(watched())
    asking = [spawn(connection.request, i) for i in range(5)]
    for _ in range(7):
        calls.next()
    connection.close()
    for one in asking:
        with pytest.raises(ConnectionClosed) as raised:
            one.result(SOON)
        assert raised.value.reason == "closed by this end"
    assert connection.close_reason == "closed by this end"
    calls.may_answer.set()


def test_requests_that_wait_when_the_other_end_closes_fail_with_the_reason(met: Any, spawn: Any) -> None:
    connection, peer = met()
    asking = [spawn(connection.request, i) for i in range(5)]
    for _ in asking:
        peer.receive()
    peer.send_message(b"(response 0 x)")
    peer.close()
    reasons = []
    for one in asking:
        try:
            one.result(SOON)
        except ConnectionClosed as error:
            reasons.append(error.reason)
    assert reasons == ["the other end closed the connection"] * 4
    assert connection.close_reason == "the other end closed the connection"


def test_an_answer_that_came_before_the_end_is_not_lost_to_a_request_that_finds_it(
    listener: Any, connect: Any, spawn: Any
) -> None:
    """Sending fails at once if the other end has closed a Unix socket, and an answer may not have been read yet."""
    for _ in range(50):
        connection = connect(listener.address)
        peer = listener.accept()
        first = spawn(connection.request, "first")
        peer.receive()
        others = [spawn(connection.request, "other") for _ in range(3)]
        peer.send_message(b'(response 0 "answer")')
        peer.close()
        assert first.result(SOON) == "answer"
        for other in others:
            with pytest.raises(ConnectionClosed, match=r"the other end closed|broken pipe|reset"):
                other.result(SOON)
        connection.close()


def test_a_packet_that_is_cut_off_by_the_end_is_told(met: Any, spawn: Any) -> None:
    connection, peer = met()
    asking = spawn(connection.request, "x")
    peer.receive()
    peer.send(b"\0\0\0\x09(resp")
    peer.close()
    with pytest.raises(ConnectionClosed, match="in the middle of a packet: 5 of a packet's 9 bytes"):
        asking.result(SOON)


def test_a_killed_server_is_a_connection_error(connect: Any, spawn: Any) -> None:
    listening = RawListener(("tcp", "127.0.0.1", 0))
    connection = connect(listening.address)
    peer = listening.accept()
    asking = spawn(connection.request, "x")
    peer.receive()
    peer.kill()
    with pytest.raises(ConnectionClosed, match="reset by peer") as raised:
        asking.result(SOON)
    assert isinstance(raised.value, NetworkError)
    assert isinstance(raised.value, ConnectionError)
    listening.close()


def test_after_the_end_requests_are_refused_with_its_reason(serve: Any, connect: Any) -> None:
    connection = connect(serve())
    connection.close()
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match=r"^closed by this end$"):
            connection.request("x")


def test_an_answer_that_comes_too_late_for_the_connection_is_dropped(
    watched: Any, calls: Calls, connect: Any, spawn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls.may_answer.clear()
    server = watched()
    connection = connect(server)
    asking = spawn(connection.request, "x")
    assert [calls.next() for _ in range(3)] == ["opening", "opened", "asked x"]
    calls.connections[0].close()
    with pytest.raises(ConnectionClosed):
        asking.result(SOON)
    calls.may_answer.set()
    assert calls.next() == "answered x"
    server.stop()
    assert server.wait(SOON)
    assert caplog.text == ""


def test_a_handlers_error_is_dropped_too_where_its_connection_is_over(serve: Any, connect: Any) -> None:
    def on_request(connection: Any, message: Any) -> Any:
        connection.close()
        raise ValueError("on purpose")

    server = serve(on_request)
    with pytest.raises(ConnectionClosed):
        connect(server).request("x")
    assert connect(server).closed is False


def test_closing_does_not_wait_for_a_peer_that_does_not_read(
    front: Any, met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"bokbok.{front.name}.connection.LINGER_SECONDS", 0.01)  # for what is being sent
    connection, peer = met()
    asking = spawn(connection.request, "x" * 8_000_000)
    assert peer.receive_some(1) == 1  # it is being sent
    connection.close()
    with pytest.raises(ConnectionClosed):
        asking.result(SOON)


def test_a_connection_may_be_closed_while_both_ends_are_busy(serve: Any, connect: Any, spawn: Any) -> None:
    server = serve(lambda connection, message: connection.request(message))
    for _ in range(20):
        connection = connect(server, on_request=lambda connection, message: message)

        def ask(connection: Any = connection) -> None:
            while True:
                connection.request("x")

        asking = [spawn(ask) for _ in range(4)]
        connection.request("x")
        connection.close()
        for one in asking:
            # Either this end's own words, or the other's, whose own request was cut off.
            with pytest.raises((ConnectionClosed, RemoteError)):
                one.result(SOON)


def test_the_error_of_a_broken_rule_is_a_protocol_error_for_every_request(met: Any, spawn: Any) -> None:
    connection, peer = met()
    first, second = spawn(connection.request, 1), spawn(connection.request, 2)
    peer.receive(), peer.receive()
    peer.send_message(b"(oops 0 x)")
    errors = []
    for one in (first, second):
        with pytest.raises(RemoteProtocolError) as raised:
            one.result(SOON)
        errors.append(raised.value)
    assert errors[0] is not errors[1]  # each thread has an exception of its own, with its own traceback


@pytest.mark.parametrize("how", ["kill", "close"])
def test_a_server_that_vanishes_in_the_middle_of_a_lively_conversation_is_a_connection_error(
    connect: Any, spawn: Any, how: str
) -> None:
    listening = RawListener(("tcp", "127.0.0.1", 0))
    for _ in range(5):
        connection = connect(listening.address)
        peer = listening.accept()

        def answer(peer: Any = peer) -> None:
            for i in range(20):
                assert peer.receive() == b"(request %d %d)" % (i, i)
                peer.send_message(b"(response %d %d)" % (i, i))
            peer.receive()
            getattr(peer, how)()

        answering = spawn(answer)
        assert [connection.request(i) for i in range(20)] == list(range(20))
        with pytest.raises(ConnectionClosed, match=r"reset by peer|the other end closed the connection"):
            connection.request(20)
        answering.result(SOON)
    listening.close()


@pytest.mark.parametrize("what", ["reading", "the end of a file"])
def test_a_fault_of_this_library_ends_the_connection_and_leaves_nobody_waiting(
    front: Any, met: Any, spawn: Any, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    connection, peer = met()

    def faulty(*data: bytes, **options: Any) -> Any:
        raise ZeroDivisionError("on purpose")

    if what == "reading":
        getattr(connection, "inner", connection)._read_alone = faulty
    else:
        connection._wire.receive_eof = faulty
    asking = spawn(connection.request, "x")
    peer.receive()
    if what == "reading":
        peer.send_message(b"(response 0 y)")
    else:
        peer.finish()
    with pytest.raises(ConnectionClosed, match="an internal error: ZeroDivisionError"):
        asking.result(SOON)
    assert "on purpose" in caplog.text


@pytest.mark.parametrize("end", ["its close", "a protocol error"])
def test_what_was_being_written_at_an_end_still_arrives(serve: Any, raw: Any, end: str) -> None:
    answer = "x" * 8_000_000
    connections: list[Any] = []
    peer = raw(serve(lambda connection, message: answer, on_open=connections.append))
    peer.send_message(b"(request 0 x)")
    expected = framed(b'(response 0 "%b")' % answer.encode())
    got = peer.receive_the_rest(4)
    # In a thread: closing waits until the other end has taken what was written.
    closing = threading.Thread(
        target=connections[0].close if end == "its close" else lambda: peer.send_message(b"nonsense")
    )
    closing.start()
    eventually(lambda: connections[0].closed, f"the connection is over by {end}")
    got += peer.receive_the_rest(len(expected) - len(got))
    assert got == expected
    assert peer.ended_within(SOON)
    closing.join(SOON)
