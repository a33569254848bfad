"""The handlers of a whole server: how many run and wait at once, and which comes next."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import Overloaded, RemoteError
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS


def test_so_many_handlers_run_on_all_connections_together(serve: Any, raw: Any) -> None:
    held = Held()
    server = serve(held, limits=Limits(server_running=5))
    peers = [raw(server) for _ in range(10)]
    for peer in peers:
        peer.send_message(*requests(10))
    held.begun(5)
    assert held.started.empty()
    held.may_answer.set()
    for peer in peers:
        assert sorted(peer.receive() for _ in range(10)) == sorted(b"(response %d %d)" % (i, i) for i in range(10))
    assert held.most == 5


def test_who_asks_once_gets_its_turn_beside_peers_that_flood(serve: Any, raw: Any, connect: Any, spawn: Any) -> None:
    turns: queue.Queue[Any] = queue.Queue()
    may_go = threading.Semaphore(0)
    order: list[Any] = []

    def on_request(connection: Any, message: Any) -> Any:
        turns.put(message)
        assert may_go.acquire(timeout=SOON)
        order.append(message)
        return message

    server = serve(on_request, limits=Limits(server_running=1))
    flooding = [raw(server) for _ in range(8)]
    for peer in flooding:
        peer.send_message(*requests(100))
    turns.get(timeout=SOON)
    asking = spawn(connect(server).request, "good")
    # Its request is there once it has been seen to wait in line.
    eventually(lambda: server.statistics().waiting == 9, "every connection is in line")
    for _ in range(10):
        may_go.release()
    assert asking.result(SOON) == "good"
    assert order.index("good") <= 9
    may_go.release(1000)
    for peer in flooding:
        for _ in range(100):
            peer.receive()


def test_many_clients_of_one_user_leave_slots_for_another(serve: Any, connect: Any, spawn: Any) -> None:
    held = Held()

    def on_request(connection: Any, message: Any) -> Any:
        return held(connection, message) if connection.user == "myuser" else message

    users = {**USERS, "other": KEY}
    server = serve(on_request, user_to_key=users.get, limits=Limits(server_running=9))
    clients = [connect(server, secure=True) for _ in range(5)]
    asking = [spawn(client.request, (n, i)) for n, client in enumerate(clients) for i in range(5)]
    held.begun(8)
    assert connect(server, user="other", key=KEY).request("x", timeout=SOON) == "x"
    assert held.started.empty()
    held.may_answer.set()
    for one in asking:
        one.result(SOON)
    assert held.most == 8


def test_handlers_that_ask_each_other_many_levels_deep_need_one_slot(front: Any, serve: Any, connect: Any) -> None:
    one = Limits(running=1, server_running=1, parked=40)
    server = serve(front.service(), limits=one)
    connection = connect(server, on_request=front.service(), limits=one)
    assert connection.request(["relay", 50, "x"], timeout=SOON) == "x"
    assert server.statistics().parked == 0


def test_beyond_the_limit_a_handler_may_not_ask_and_who_asked_it_is_told(serve: Any, connect: Any, spawn: Any) -> None:
    waiting: queue.Queue[Any] = queue.Queue()
    may_answer = threading.Event()

    def slow(connection: Any, message: Any) -> Any:
        waiting.put(message)
        assert may_answer.wait(SOON)
        return message

    server = serve(lambda connection, message: connection.request(message), limits=Limits(parked=2))
    connection = connect(server, on_request=slow)
    asking = [spawn(connection.request, i) for i in range(2)]
    for _ in range(2):
        waiting.get(timeout=SOON)
    with pytest.raises(RemoteError, match=r"Overloaded: the request is not sent: too many handlers .* \(parked: 2,"):
        connection.request(2)
    assert server.statistics().parked == 2
    may_answer.set()
    assert [one.result(SOON) for one in asking] == [0, 1]
    assert connection.request(3) == 3


def test_a_handler_may_be_forbidden_to_ask(front: Any, serve: Any, connect: Any) -> None:
    problems: queue.Queue[Any] = queue.Queue()

    def on_request(connection: Any, message: Any) -> Any:
        try:
            connection.request("x")
        except Overloaded as error:
            problems.put(error)
        return message

    server = serve(on_request, limits=Limits(parked=0))
    assert connect(server).request("x") == "x"
    assert isinstance(problems.get(timeout=SOON), Overloaded)


def test_a_slot_that_was_kept_for_a_connection_which_ends_is_for_others(serve: Any, raw: Any, connect: Any) -> None:
    held = Held()
    server = serve(held, limits=Limits(server_running=1))
    first = raw(server)
    first.send_message(*requests(1))
    assert held.started.get(timeout=SOON) == 0
    for _ in range(20):
        peer = raw(server)
        peer.send_message(*requests(2))
        peer.kill()
    held.may_answer.set()
    assert first.receive() == b"(response 0 0)"
    assert connect(server).request("x", timeout=SOON) == "x"


def test_a_peer_that_takes_no_answers_holds_no_slot_that_another_needs(serve: Any, raw: Any, connect: Any) -> None:
    server = serve(lambda connection, message: "x" * 1_000_000, limits=Limits(server_running=2))
    deaf = [raw(server) for _ in range(5)]
    for peer in deaf:
        peer.send_message(*requests(10))
    assert len(connect(server).request("x", timeout=SOON)) == 1_000_000
    for peer in deaf:
        assert len({peer.receive()[:12] for _ in range(10)}) == 10
