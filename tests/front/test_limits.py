"""The most that one end may demand of the other, and that other connections do not suffer if it demands more."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import ConnectionClosed, RemoteError, RequestTimeout
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import SOON, USERS, framed

# Handlers and requests that wait for one.


def test_so_many_handlers_run_and_so_many_requests_wait_and_the_next_is_an_error_at_once(serve: Any, raw: Any) -> None:
    held = Held()
    peer = raw(serve(held, limits=Limits(running=2, waiting=3)))
    peer.send_message(*requests(7))
    refusals = [peer.receive(), peer.receive()]
    assert refusals == [
        b'(error %d "too many requests: 2 handlers are running and 3 requests waiting")' % i for i in (5, 6)
    ]
    assert {held.started.get(timeout=SOON) for _ in range(2)} == {0, 1}
    assert held.started.empty()
    held.may_answer.set()
    assert {peer.receive() for _ in range(5)} == {b"(response %d %d)" % (i, i) for i in range(5)}
    assert held.most == 2


def test_there_is_room_again_when_handlers_have_finished(serve: Any, raw: Any) -> None:
    held = Held()
    held.may_answer.set()
    peer = raw(serve(held, limits=Limits(running=1, waiting=1)))
    for i in range(0, 20, 2):
        peer.send_message(*requests(2, i))
        assert {peer.receive(), peer.receive()} == {b"(response %d %d)" % (n, n) for n in (i, i + 1)}
    assert held.most == 1


def test_nothing_waits_where_nothing_may(serve: Any, raw: Any) -> None:
    held = Held()
    peer = raw(serve(held, limits=Limits(running=1, waiting=0)))
    peer.send_message(*requests(2))
    assert peer.receive().startswith(b"(error 1 ")
    held.may_answer.set()
    assert peer.receive() == b"(response 0 0)"


def test_requests_that_wait_are_taken_in_their_order(serve: Any, raw: Any) -> None:
    held = Held()
    peer = raw(serve(held, limits=Limits(running=1)))
    peer.send_message(*requests(100))
    held.may_answer.set()
    assert [peer.receive() for _ in range(100)] == [b"(response %d %d)" % (i, i) for i in range(100)]
    assert [held.started.get() for _ in range(100)] == list(range(100))


def test_requests_that_come_before_the_open_handler_has_returned_wait_like_others(serve: Any, raw: Any) -> None:
    may_open = threading.Event()
    server = serve(on_open=lambda connection: may_open.wait(SOON), limits=Limits(running=2, waiting=3))
    peer = raw(server)
    peer.send_message(*requests(5))
    assert [peer.receive()[:9] for _ in range(2)] == [b"(error 3 ", b"(error 4 "]
    may_open.set()
    assert {peer.receive() for _ in range(3)} == {b"(response %d %d)" % (i, i) for i in range(3)}


def test_the_limits_hold_for_each_connection_of_its_own(serve: Any, raw: Any, connect: Any) -> None:
    held = Held()

    def on_request(connection: Any, message: Any) -> Any:
        return held(connection, message) if message == 0 else message

    server = serve(on_request, limits=Limits(running=1, waiting=0))
    raw(server).send_message(*requests(1))
    assert held.started.get(timeout=SOON) == 0
    assert connect(server).request("x") == "x"
    held.may_answer.set()


def test_the_limits_of_a_client_hold_for_its_server(met: Any) -> None:
    held = Held()
    _connection, peer = met(on_request=held, limits=Limits(running=1, waiting=1))
    peer.send_message(*requests(3))
    assert peer.receive() == b'(error 2 "too many requests: 1 handlers are running and 1 requests waiting")'
    held.may_answer.set()
    assert [peer.receive(), peer.receive()] == [b"(response 0 0)", b"(response 1 1)"]


def test_reading_goes_on_while_every_handler_waits_for_an_answer(serve: Any, connect: Any, spawn: Any) -> None:
    may_answer = threading.Event()

    def slow(connection: Any, message: Any) -> Any:
        assert may_answer.wait(SOON)
        return message

    server = serve(lambda connection, message: connection.request(message), limits=Limits(running=2, waiting=100))
    connection = connect(server, on_request=slow)
    asking = [spawn(connection.request, i) for i in range(20)]
    may_answer.set()
    assert [one.result(SOON) for one in asking] == list(range(20))


def test_an_answer_is_taken_while_every_handler_is_stuck(serve: Any, connect: Any) -> None:
    held = Held()
    opened: queue.Queue[Any] = queue.Queue()
    server = serve(held, on_open=opened.put, limits=Limits(running=1, waiting=1))
    connection = connect(server, on_request=lambda connection, message: message)
    for i in range(2):
        with pytest.raises(RequestTimeout):
            connection.request(i, timeout=0)
    assert held.started.get(timeout=SOON) == 0
    assert opened.get(timeout=SOON).request("x", timeout=SOON) == "x"
    held.may_answer.set()


# A peer that does not read.


def test_handlers_wait_for_a_peer_that_does_not_read_and_their_number_has_a_bound(
    serve: Any, raw: Any, connect: Any, address: Any
) -> None:
    ran: list[int] = []
    large = "x" * 1_000_000

    def on_request(connection: Any, message: Any) -> Any:
        if message == "x":
            return message
        ran.append(message)
        return large

    server = serve(on_request, at=address, limits=Limits(running=4, waiting=200))
    peer = raw(server)
    peer.send_message(*requests(100))
    assert connect(server).request("x") == "x"  # no other connection is held up
    eventually(lambda: ran, "handlers ran until nothing could be sent")
    for _ in range(20):
        assert connect(server).request("x") == "x"
    # What the system takes (a few megabytes on the way out), and four on top.
    assert len(ran) < 30
    answers = {peer.receive()[:13] for _ in range(100)}
    assert len(answers) == 100
    assert len(ran) == 100


def test_answers_that_nobody_waits_to_send_pile_up_to_a_bound_and_then_end_the_connection(
    serve: Any, raw: Any, connect: Any, address: Any
) -> None:
    closed: queue.Queue[str] = queue.Queue()
    server = serve(
        None,
        at=address,
        on_close=lambda connection: closed.put(connection.close_reason),
        limits=Limits(unsent=100_000),
    )
    peer = raw(server)
    data = b"".join(map(peer.packet, requests(200_000)))
    sender = threading.Thread(target=send_all, args=(peer, data))
    sender.start()
    reason = closed.get(timeout=SOON)
    sender.join(SOON)
    match = re.fullmatch(r"the other end sends requests and does not read its answers: (\d+) bytes wait, .*", reason)
    assert match is not None
    # At most what one reading of 256 KiB can ask for, on top.
    assert 100_000 < int(match[1]) < 3_000_000
    with pytest.raises(RemoteError):
        connect(server).request("x")


def send_all(peer: Any, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the connection is ended, as it should be
        peer.send(data)


def test_a_peer_that_reads_slowly_gets_every_answer(serve: Any, raw: Any) -> None:
    peer = raw(serve(lambda connection, message: "x" * 100_000, limits=Limits(running=3)))
    peer.send_message(*requests(50))
    got, size = 0, sum(len(peer.packet(b'(response %d "%b")' % (i, b"x" * 100_000))) for i in range(50))
    while got < size:
        got += peer.receive_some(10_000)
    assert got == size
    assert peer.silent()


def test_a_peer_that_takes_nothing_at_all_is_given_up_after_a_while(serve: Any, raw: Any, address: Any) -> None:
    closed: queue.Queue[str] = queue.Queue()
    server = serve(
        lambda connection, message: "x" * 10_000_000,
        at=address,
        on_close=lambda connection: closed.put(connection.close_reason),
        limits=Limits(send_timeout=0.05),
    )
    raw(server).send_message(b"(request 0 x)")
    assert closed.get(timeout=SOON) == "the other end took nothing for 0.05 s of what was sent to it"


def test_a_request_to_a_peer_that_takes_nothing_fails_after_a_while(met: Any, address: Any) -> None:
    connection, _peer = met(limits=Limits(send_timeout=0.05))
    with pytest.raises(ConnectionClosed, match=r"took nothing for 0\.05 s"):
        connection.request("x" * 10_000_000)


def test_a_request_to_a_peer_that_takes_nothing_may_time_out_before(met: Any) -> None:
    connection, _peer = met()
    with pytest.raises(RequestTimeout):
        connection.request("x" * 10_000_000, timeout=0.01)


def test_sending_may_take_forever_where_the_limit_says_so(serve: Any, raw: Any) -> None:
    peer = raw(serve(lambda connection, message: "x" * 5_000_000, limits=Limits(send_timeout=float("inf"))))
    peer.send_message(b"(request 0 x)")
    assert len(peer.receive()) == 5_000_000 + len('(response 0 "")')


def test_a_hello_may_take_forever_where_the_limit_says_so(serve: Any, connect: Any) -> None:
    server = serve(user_to_key=USERS.get, limits=Limits(hello_timeout=float("inf")))
    assert connect(server, secure=True).request("x") == "x"


def test_a_peer_that_takes_a_little_now_and_then_is_not_given_up(serve: Any, raw: Any) -> None:
    answer = "x" * 15_000_000
    peer = raw(serve(lambda connection, message: answer, limits=Limits(send_timeout=1.0)))
    peer.send_message(b"(request 0 x)")
    got = 0
    until = time.monotonic() + 1.3  # longer than the limit, which starts again with each little bit
    while time.monotonic() < until:
        got += peer.receive_some(1_000_000)
        assert not peer.ended_within(0.3)
    got += len(peer.receive_the_rest(len(framed(b'(response 0 "%b")' % answer.encode())) - got))
    assert got == len(framed(b'(response 0 "%b")' % answer.encode()))


def test_what_a_refused_peer_goes_on_sending_is_dropped_for_a_while(serve: Any, raw: Any, connect: Any) -> None:
    server = serve()
    peer = raw(server)
    peer.send_message(b"nonsense")

    def pour() -> None:
        while True:
            peer.send(bytes(1_000_000))

    started = time.monotonic()
    with pytest.raises(ConnectionError):
        pour()
    assert time.monotonic() - started > 1
    assert connect(server).request("x") == "x"


def test_a_refused_peer_that_does_not_close_is_closed_after_a_while(
    front: Any, serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"bokbok.{front.name}.connection.LINGER_SECONDS", 0.05)
    server = serve()
    peer = raw(server)
    peer.send_message(b"nonsense")
    assert peer.read_to_end() == b""
    server.stop()
    assert server.wait(SOON)


def test_a_peer_that_breaks_the_rules_and_vanishes_is_forgotten(serve: Any, raw: Any, connect: Any) -> None:
    server = serve(at="127.0.0.1:0")
    for _ in range(10):
        peer = raw(server)
        peer.send_message(b"nonsense")
        peer.kill()
    assert connect(server).request("x") == "x"
    server.stop()
    assert server.wait(SOON)


# Connections.


def test_connections_beyond_the_limit_wait_until_another_is_over(serve: Any, connect: Any, spawn: Any) -> None:
    server = serve(limits=Limits(connections=2))
    first, second = connect(server), connect(server)
    assert first.request("x") == second.request("x") == "x"
    third = connect(server)
    asking = spawn(third.request, "x")
    assert second.request("y") == "y"
    assert not asking.done()
    first.close()
    assert asking.result(SOON) == "x"


def test_a_server_that_is_full_can_be_stopped(front: Any, serve: Any, connect: Any) -> None:
    server = serve(limits=Limits(connections=1))
    connect(server).request("x")
    front.open_connection(server.address).close()  # waits in the backlog
    server.stop()
    assert server.wait(SOON)
