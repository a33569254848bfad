"""What threads do for connections: how many there are, and that one peer's bytes do not hold up others."""

from __future__ import annotations

import itertools
import queue
import struct
import threading
import time
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import ConnectionClosed, RequestTimeout
from bokbok.sync import Connection, poller
from bokbok.sync.handling import Handling
from bokbok.sync.handover import CALLER, PARKED, WORKER
from bokbok.sync.turns import Turns
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, framed

DEEP = b"(request 0 " + b"(a . " * 9_000 + b"(" + b"b " * 1_000_000 + b")" + b")" * 9_000 + b")"
"""A packet that takes longer to read than any test here waits for."""


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("bokbok-")}


def test_a_servers_handlers_have_so_many_threads_however_many_connections_ask(serve: Any, raw: Any) -> None:
    before = len(threads())
    held = Held()
    server = serve(held, at="127.0.0.1:0", limits=Limits(server_running=5))
    peers = [raw(server) for _ in range(150)]
    for peer in peers:
        peer.send_message(*requests(10))
    eventually(lambda: server.statistics().waiting == 150, "every connection is in line")
    assert server.statistics().running == 5
    # In addition to the handlers: one accepts, one waits for all, two read, some stay with a connection for a moment.
    # On a busy machine more of them are at it for a moment, but not one for each connection.
    assert len(threads()) - before <= 100
    held.may_answer.set()
    for peer in peers:
        assert {peer.receive() for _ in range(10)} == {b"(response %d %d)" % (i, i) for i in range(10)}
    assert held.most == 5


def in_line(serve: Any, raw: Any, behind: list[bytes]) -> tuple[Held, Any, Any, Any]:
    """A handler that has the server's only slot, its peer, another one whose requests wait for that slot, and the
    server's connection with that one."""
    held = Held()
    server = serve(held, limits=Limits(server_running=1))
    first, second = raw(server), raw(server)
    first.send_message(*requests(1))
    held.begun(1)
    second.send_message(*behind)
    eventually(lambda: server.statistics().waiting == 1, "the second one is in line")
    (waiting,) = (each for each in server._roster.connections if each._admission.share.waiting)
    return held, first, second, waiting


def test_no_worker_is_called_for_a_request_that_has_no_slot(serve: Any, raw: Any) -> None:
    held, first, second, waiting = in_line(serve, raw, requests(1))
    with waiting._lock:
        waiting._admission.share.leave()  # as it is before anybody has looked whether there is a slot
        assert waiting._admission.ready
        assert not waiting._call_worker()
        assert waiting._admission.share.waiting
    held.may_answer.set()
    assert first.receive() == second.receive() == b"(response 0 0)"


def test_one_thread_comes_for_slots_however_many_are_kept_before_it_looks(
    serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else hundreds wait for a connection's lock, one for each handler that ends meanwhile elsewhere."""
    held, first, second, waiting = in_line(serve, raw, requests(3))
    came: queue.Queue[None] = queue.Queue()
    come = Handling._come_for_slot

    def counted(handling: Handling) -> None:
        came.put(None)
        come(handling)

    monkeypatch.setattr(Handling, "_come_for_slot", counted)
    with waiting._lock:
        for _ in range(50):
            waiting._slot_kept()
    came.get(timeout=SOON)
    held.may_answer.set()
    assert first.receive() == b"(response 0 0)"
    assert {second.receive() for _ in range(3)} == {b"(response %d %d)" % (i, i) for i in range(3)}
    assert came.qsize() < 5


def test_idle_connections_cost_no_thread(serve: Any, connect: Any) -> None:
    server = serve(user_to_key=USERS.get)
    connections = [connect(server, secure=True) for _ in range(50)]
    for connection in connections:
        assert connection.request("x") == "x"
    # One accepts, one waits for all; the others end when they have been idle for a while.
    eventually(lambda: all(each._role.state == "parked" for each in connections), "nobody reads any more")
    eventually(
        lambda: not any(each._handling.tasks for each in (*connections, *server._roster.connections)),
        "no worker is left",
    )
    for connection in connections:
        assert connection.request("y") == "y"


def test_many_connections_that_send_a_little_all_the_time_take_few_threads(serve: Any, raw: Any) -> None:
    server = serve()
    peers = [raw(server) for _ in range(100)]
    before = threads()
    most = 0
    for i in range(20):
        for peer in peers:
            peer.send_message(*requests(1, i))
        most = max(most, len(threads() - before))
        for peer in peers:
            peer.receive()
    # Those whose turn it is (2), those that stay for a moment (32), handlers: on a busy machine some twenty more.
    assert most <= 80


@pytest.mark.parametrize("ending", ["stop", "close"])
def test_an_end_is_not_held_up_by_a_packet_that_takes_long_to_read(serve: Any, raw: Any, ending: str) -> None:
    opened: queue.Queue[Any] = queue.Queue()
    server = serve(on_open=opened.put, limits=Limits(message_memory=10**12, drain_timeout=0.01))
    peer = raw(server)
    peer.send_message(DEEP)
    connection = opened.get(timeout=SOON)
    eventually(lambda: connection._wire.more, "the packet is being read")
    if ending == "stop":
        server.stop()
        assert server.wait(SOON)
    else:
        connection.close()
    assert connection._socket_closed.is_set


def test_a_request_times_out_while_a_packet_is_read_that_takes_long(met: Any) -> None:
    connection, peer = met(on_request=lambda connection, message: None, limits=Limits(message_memory=10**12))
    with pytest.raises(RequestTimeout):
        connection.request("x", timeout=0.01)
    peer.receive()
    peer.send_message(DEEP)
    eventually(lambda: connection._wire.more, "the packet is being read")
    started = time.monotonic()
    with pytest.raises(RequestTimeout):
        connection.request("y", timeout=0.05)
    assert connection._wire.more  # … and still is
    assert time.monotonic() - started < SOON


def test_a_caller_that_reads_gives_the_role_back_in_the_middle_of_a_packet(met: Any, spawn: Any) -> None:
    connection, peer = met(on_request=lambda connection, message: None, limits=Limits(message_memory=10**12))
    asking = spawn(connection.request, "x", timeout=0.3)
    peer.receive()
    peer.send_message(DEEP)
    with pytest.raises(RequestTimeout):
        asking.result(SOON)
    # Another thread reads it to its end.
    assert peer.receive().startswith(b"(")


def test_neighbours_get_their_answers_while_a_packet_is_read_that_takes_long(
    serve: Any, raw: Any, connect: Any
) -> None:
    server = serve(limits=Limits(message_memory=10**12))
    hostile = [raw(server) for _ in range(4)]
    good = connect(server)
    for peer in hostile:
        peer.send_message(DEEP)
    eventually(lambda: sum(each._wire.more for each in server._roster.connections) >= 2, "packets are being read")
    for number in range(20):
        assert good.request(number, timeout=SOON) == number


def test_few_long_messages_of_a_user_are_read_at_once(serve: Any, raw: Any) -> None:
    begun: list[int] = []

    def handler(connection: Connection, message: Any) -> None:
        begun.append(sum(each._wire.begun for each in connections))

    server = serve(handler, limits=Limits(message_memory=10**12))
    peers = [raw(server) for _ in range(20)]
    eventually(lambda: len(server._roster.connections) == 20, "they are connected")
    connections = list(server._roster.connections)
    for connection in connections:
        connection._life.party = "one user"
    for peer in peers:
        peer.send_message(DEEP)
    for peer in peers:
        peer.receive()
    assert len(begun) == 20
    assert max(begun) <= 6  # two turns, and a few that came while nobody stood in the line


def test_a_packet_that_came_in_two_pieces_is_not_late_once_it_is_served(serve: Any, raw: Any) -> None:
    server = serve(lambda connection, message: message)
    peer = raw(server)
    data = framed(b"(request 0 x)")
    peer.send(data[:5])
    eventually(lambda: any(each._account.partial for each in server._roster.connections), "its first bytes are read")
    (connection,) = server._roster.connections
    assert connection._packet_clock.left(time.monotonic()) is not None
    peer.send(data[5:])
    assert peer.receive() == b"(response 0 x)"
    assert connection._packet_clock.left(time.monotonic()) is None
    assert not connection._account.partial


def test_a_connection_that_lingers_keeps_nothing_of_what_was_not_read(serve: Any, raw: Any) -> None:
    server = serve()
    peer = raw(server)
    peer.send(framed(b"x" * 1_000_000)[:500_000])
    (connection,) = server._roster.connections
    eventually(lambda: connection._wire.held > 490_000, "it has come")
    connection._end(ConnectionClosed("on purpose"), linger=True)
    assert not connection._socket_closed.is_set  # the peer has not closed its side
    eventually(lambda: not connection._wire.held, "nothing is kept")
    assert not connection._unread


def test_a_short_message_needs_no_turn_where_nobody_waits_for_one(
    serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bokbok.sync.receiving._STAY", struct.pack("ll", 60, 0))  # the worker stays with its connection
    turns = Turns(2)
    monkeypatch.setattr("bokbok.sync.connection.reading", turns)
    server = serve()
    peer = raw(server)

    def stays(id: int) -> bool:
        """Whether the worker that has answered one more request stays; on a busy machine the poller may be faster."""
        peer.send_message(b"(request %d x)" % id)
        assert peer.receive() == b"(response %d x)" % id
        (connection,) = server._roster.connections
        eventually(lambda: connection._role.state in (WORKER, PARKED), "it has answered")
        return bool(connection._role.state == WORKER)

    last = next(id for id in itertools.count() if stays(id))
    assert turns.try_to_enter()
    assert turns.try_to_enter()
    peer.send_message(b"(request %d y)" % (last + 1))
    assert peer.receive() == b"(response %d y)" % (last + 1)
    peer.send_message(b'(request %d "%b")' % (last + 2, b"x" * 2000))
    eventually(lambda: turns.waiting, "a longer one has to wait")
    turns.leave()
    assert b"xxx" in peer.receive()
    turns.leave()


@pytest.mark.parametrize("reader", ["a worker", "a caller"])
def test_memory_that_is_short_while_reading_ends_the_connection_and_leaves_nobody_waiting(
    met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    closed: queue.Queue[Any] = queue.Queue()
    connection, peer = met(on_close=closed.put)

    def short(*args: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(connection._wire, "read", short)
    monkeypatch.setattr(connection, "_read_alone", short)
    monkeypatch.setattr("bokbok.sync.handling._log.error", short)  # as it was seen: the log needs memory as well
    if reader == "a caller":
        asking = spawn(connection.request, "x")
        peer.receive()
    peer.send_message(b"(request 0 x)")
    assert closed.get(timeout=SOON) is connection
    if reader == "a caller":
        with pytest.raises(ConnectionClosed, match="an internal error: MemoryError"):
            asking.result(SOON)
    assert connection._socket_closed.wait(SOON)
    assert connection.close_reason.startswith("an internal error: MemoryError")


def test_a_handler_that_sleeps_holds_nobody_up_where_the_poller_is_always_late(
    serve: Any, connect: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_LATE_SECONDS", -1.0)
    woken = threading.Event()

    def handle(connection: Any, message: Any) -> Any:
        return woken.wait(SOON) if message == "sleep" else message

    connection = connect(serve(handle))
    for number in range(20):
        assert connection.request(number) == number
    sleeping = spawn(connection.request, "sleep")
    assert spawn(connection.request, "x").result(SOON) == "x"
    woken.set()
    assert sleeping.result(SOON) is True


def test_an_answer_that_waits_for_the_next_one_is_sent_where_that_takes_long(serve: Any, raw: Any) -> None:
    may_answer = threading.Event()

    def handle(connection: Any, message: Any) -> Any:
        return may_answer.wait(SOON) if message == 1 else message

    peer = raw(serve(handle))
    for i in (2, 3):  # the poller looks after the connection from here on
        peer.send_message(b"(request %d x)" % i)
        peer.receive()
    peer.send_message(b"(request 4 0)", b"(request 5 1)")
    assert peer.receive() == b"(response 4 0)"
    may_answer.set()
    assert peer.receive() == b"(response 5 #t)"


def test_answers_that_nobody_takes_pile_up_neither_threads_nor_memory(serve: Any, raw: Any, connect: Any) -> None:
    ran: list[Any] = []
    answer = "x" * 1_000_000

    def handle(connection: Any, message: Any) -> Any:
        ran.append(message)
        return answer if message != "good" else message

    server = serve(handle, user_to_key=lambda user: KEY)
    peer = raw(server)
    peer.say_hello("myuser", KEY)
    before = threads()
    peer.send_message(*requests(1_000))
    eventually(lambda: ran, "a handler has run")
    (deaf,) = server._roster.connections
    good = connect(server, secure=True)
    for _ in range(20):
        assert good.request("good") == "good"
    eventually(lambda: deaf._admission.congested, "its answers are not taken")
    assert len(ran) - 20 < 100
    assert deaf._wire.unsent + len(deaf._sending._rest) < 30_000_000
    assert len(threads() - before) < 20


class Breaking:
    """A socket whose sending waits, and then fails; the end of reading that this causes is noticed at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sock = connection._socket
        self.sends, self.may_fail = threading.Event(), threading.Event()

    def send(self, data: Any, flags: int = 0) -> int:
        self.sends.set()
        assert self.may_fail.wait(SOON)
        raise BrokenPipeError("Broken pipe")

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)
        eventually(lambda: self._connection._wire.state != "open", "whoever reads has found the end")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_a_connection_ends_where_sending_fails_while_other_answers_wait_for_it(serve: Any, raw: Any) -> None:
    """It stayed for ever, and with it its server's `wait`, since what waited still counted."""
    held = Held()
    server = serve(held, limits=Limits(drain_timeout=3600))
    peer = raw(server)
    peer.send_message(*requests(2))
    held.begun(2)
    (connection,) = server._roster.connections
    connection._socket = connection._sending._socket = breaking = Breaking(connection)
    held.may_answer.set()
    assert breaking.sends.wait(SOON)
    eventually(lambda: connection._sending.bunch == 1, "the other answer waits")
    server.stop()
    breaking.may_fail.set()
    assert server.wait(SOON)


def test_a_connection_that_gets_no_thread_ends_with_that_reason(
    met: Any, connect: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, peer = met(on_request=lambda connection, message: message)

    def no_more(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bokbok.sync.handling.run_in_thread", no_more)
    peer.send_message(b"(request 0 x)")
    eventually(lambda: connection.closed, "the connection is over")
    monkeypatch.undo()
    assert connection.close_reason == "cannot start a thread: can't start new thread"
    assert connect(serve()).request("x") == "x"


def test_a_slow_peer_for_whom_there_is_no_thread_ends_the_connection(
    met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, peer = met()
    asking = spawn(connection.request, "x" * 10_000_000)
    eventually(lambda: len(connection._sending._rest), "the poller waits for room")

    def no_more(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bokbok.sync.handling.run_in_thread", no_more)
    peer.receive_some(5_000_000)
    with pytest.raises(ConnectionClosed, match="cannot start a thread"):
        asking.result(SOON)


def test_who_reads_for_an_answer_before_a_connection_has_begun_has_requests_answered(
    serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Connection._begin
    begun = threading.Event()

    def begin_late(connection: Connection) -> None:
        if connection._life.visit is not None:  # the server's
            eventually(lambda: connection._role.state == CALLER, "the open handler reads for its answer")
        begin(connection)
        begun.set()

    monkeypatch.setattr(Connection, "_begin", begin_late)
    answers: queue.Queue[Any] = queue.Queue()

    def on_open(connection: Connection) -> None:
        thread = threading.Thread(target=lambda: answers.put(connection.request("a", timeout=SOON)), daemon=True)
        thread.start()

    peer = raw(serve(lambda connection, message: message, on_open=on_open))
    assert peer.receive() == b'(request 0 "a")'
    assert begun.wait(SOON)
    peer.send_message(b"(request 0 b)")
    assert peer.receive() == b"(response 0 b)"
    peer.send_message(b'(response 0 "c")')
    assert answers.get(timeout=SOON) == "c"
