"""How much one end holds for the other, and how long it waits, seen from the other end."""

from __future__ import annotations

import contextlib
import queue
import select
import threading
import time
from typing import Any

import pytest

from bokbok import Limits
from bokbok._front.budget import Account
from bokbok.errors import ConnectionClosed, RemoteError
from tests.front.test_limits import send_all
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, framed

MIB = 1024 * 1024


def ends(peer: Any) -> bool:
    """Whether the other end closes, before anything else comes."""
    try:
        peer.receive()
    except (EOFError, ConnectionError):
        return True
    return False


def readable(peer: Any) -> bool:
    """Whether something has come."""
    return bool(select.select([peer.sock], [], [], 0)[0])


# Memory.


def test_requests_are_refused_while_those_that_are_handled_take_too_much_memory(serve: Any, raw: Any) -> None:
    held = Held("done")
    peer = raw(serve(held, limits=Limits(memory=300_000)))
    peer.send_message(*(b'(request %d "%b")' % (id, b"x" * 100_000) for id in range(4)))
    refusals = [peer.receive(), peer.receive()]
    assert [text[:8] for text in refusals] == [b"(error 2", b"(error 3"]
    assert b"too much at once" in refusals[0]
    held.may_answer.set()
    assert {peer.receive() for _ in range(2)} == {b'(response 0 "done")', b'(response 1 "done")'}
    peer.send_message(b'(request 4 "%b")' % (b"x" * 100_000))
    assert peer.receive() == b'(response 4 "done")'


def test_what_a_message_takes_in_memory_counts_and_not_its_bytes(serve: Any, raw: Any) -> None:
    held = Held("done")
    peer = raw(serve(held, limits=Limits(memory=1_000_000)))
    peer.send_message(b"(request 0 (%b))" % (b"() " * 5_000))
    held.started.get(timeout=SOON)
    peer.send_message(b'(request 1 "%b")' % (b"x" * 200_000))
    assert peer.receive().startswith(b"(error 1 ")
    held.may_answer.set()
    assert peer.receive() == b'(response 0 "done")'


def test_a_request_that_was_answered_holds_nothing_any_more(serve: Any, raw: Any) -> None:
    def handler(connection: Any, message: Any) -> Any:
        if message[0] == 3:
            raise ValueError
        return object() if message[0] == 2 else message

    peer = raw(serve(handler, limits=Limits(memory=100_000)))
    for id in range(0, 2000, 20):
        peer.send_message(*(b'(request %d (%d "%b"))' % (n, n % 4, b"x" * 100) for n in range(id, id + 20)))
        for _ in range(20):
            assert b"too much" not in peer.receive()


def test_a_server_refuses_whoever_holds_most_and_serves_the_others(serve: Any, raw: Any) -> None:
    held = Held("done")
    server = serve(held, limits=Limits(server_memory=3_000_000))
    heavy, light = raw(server), raw(server)
    id = 0
    while True:  # one after the other, until one is refused
        heavy.send_message(b'(request %d "%b")' % (id, b"x" * 100_000))
        eventually(lambda n=id: held.started.qsize() > n or readable(heavy), "it is handled, or refused")  # type: ignore[misc]
        if readable(heavy):
            break
        id += 1
    assert id > 10
    assert b"too much at once" in heavy.receive()
    light.send_message(b'(request 0 "%b")' % (b"x" * 100_000))
    eventually(lambda: held.started.qsize() > id, "it is handled")
    held.may_answer.set()
    assert light.receive() == b'(response 0 "done")'


def test_a_server_tells_how_much_memory_it_holds_and_how_much_of_it_for_one_connection(serve: Any, raw: Any) -> None:
    held = Held("done")
    server = serve(held)
    peers = [raw(server) for _ in range(3)]
    for peer, count in zip(peers, (1, 3, 1), strict=True):
        peer.send_message(*(b'(request %d "%b")' % (id, b"x" * 100_000) for id in range(count)))
    held.begun(5)
    statistics = server.statistics()
    assert 500_000 < statistics.held < 600_000
    assert 300_000 < statistics.heaviest < 350_000
    held.may_answer.set()
    for peer, count in zip(peers, (1, 3, 1), strict=True):
        for _ in range(count):
            peer.receive()
    eventually(lambda: server.statistics().heaviest == 0, "nothing is held any more")
    assert server.statistics().held == 0


def answered_and_unread(serve: Any, raw: Any, count: int) -> tuple[Any, Any]:
    """A server that has answered so many requests with a megabyte each, five of which it may hold; and the peer that
    asked, which has not read an answer."""
    held = Held("x" * 1_000_000)
    server = serve(held, limits=Limits(memory=5_000_000))
    peer = raw(server)
    peer.send_message(*(b"(request %d x)" % id for id in range(count)))
    held.begun(count)
    held.may_answer.set()
    eventually(lambda: server.statistics().running == 0, "all have answered")
    return server, peer


def test_answers_that_are_not_read_do_not_pile_up(
    front: Any, serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"bokbok.{front.name}.sending._PATIENCE", 0.01)
    _, peer = answered_and_unread(serve, raw, 50)
    answers = [peer.receive() for _ in range(50)]
    refused = [text for text in answers if text.startswith(b"(error ")]
    assert len(refused) > 30
    assert all(b"is not sent" in text for text in refused)
    peer.send_message(b"(request 50 x)")
    assert len(peer.receive()) > 1_000_000


def test_answers_that_wait_for_room_are_not_written_without_bound(
    front: Any, serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each would be written while it waits, and a thousand handlers may finish at the same moment."""
    most = [0]
    keep = Account.keep

    def kept(account: Account, size: int) -> bool:
        done = keep(account, size)
        most[0] = max(most[0], account.kept)
        return done

    monkeypatch.setattr(Account, "keep", kept)
    monkeypatch.setattr(f"bokbok.{front.name}.sending._PATIENCE", 0.2)
    server, peer = answered_and_unread(serve, raw, 60)
    assert most[0] <= 5_000_000
    answers = [peer.receive() for _ in range(60)]
    assert sum(text.startswith(b"(error ") for text in answers) > 40
    eventually(lambda: server.statistics().held == 0, "nothing is held any more")


def test_refusals_that_nobody_reads_end_the_connection_after_a_while(serve: Any, raw: Any) -> None:
    closed: queue.Queue[str] = queue.Queue()
    server = serve(
        None,
        on_close=lambda connection: closed.put(connection.close_reason),
        limits=Limits(send_timeout=0.1, unsent=1 << 40),
    )
    peer = raw(server)
    sender = threading.Thread(target=send_all, args=(peer, b"".join(map(peer.packet, requests(200_000)))))
    sender.start()
    assert "took nothing for 0.1 s" in closed.get(timeout=SOON)
    sender.join(SOON)


def test_who_reads_gets_answers_that_had_no_room_at_first(front: Any, serve: Any, raw: Any) -> None:
    async def handler(connection: Any, message: Any) -> str:
        return "x" * 1_000_000

    blocking = front.name == "sync"
    peer = raw(
        serve((lambda connection, message: "x" * 1_000_000) if blocking else handler, limits=Limits(memory=5_000_000))
    )
    peer.send_message(*(b"(request %d x)" % id for id in range(9)))
    answers = [peer.receive() for _ in range(9)]
    assert [text[:200] for text in answers if len(text) < 1_000_000] == []


def test_reading_stops_while_a_packet_takes_more_memory_than_a_connection_may(serve: Any, raw: Any) -> None:
    server = serve(limits=Limits(memory=500_000, packet_timeout=3600))
    peer = raw(server)
    packet = framed(b'(request 0 "%b")' % (b"x" * 8_000_000))
    sent = peer.send_what_fits(packet)
    # As much again and again: on a busy machine little of it may fit at first.
    eventually(lambda: peer.send_what_fits(b"x" * 100_000) == 0, "the other end reads no more")
    assert sent < 5_000_000


def test_parts_of_packets_do_not_hold_a_servers_memory_for_ever(
    serve: Any, raw: Any, connect: Any, caplog: Any
) -> None:
    """Each waits for the others to give memory back. What has come of a packet gives it hours here."""
    server = serve(limits=Limits(server_memory=300_000, packet_timeout=0.2, packet_rate=1))
    peers = [raw(server) for _ in range(4)]
    packet = framed(b'(request 0 "%b")' % (b"x" * 8_000_000))
    for peer in peers:
        peer.send_what_fits(packet)
    eventually(lambda: any(peer.readable_within(0) and ends(peer) for peer in peers), "one of them is ended")
    eventually(lambda: "too much memory is held for other ends to read on: a packet" in caplog.text, "that is told")

    def served() -> bool:
        try:
            return bool(connect(server).request("x" * 20_000) == "x" * 20_000)
        except (RemoteError, ConnectionClosed):  # too much is held still
            return False

    eventually(served, "others are served")


def test_reading_goes_on_once_memory_was_freed(serve: Any, raw: Any) -> None:
    held = Held("done")
    server = serve(held, limits=Limits(server_memory=300_000))
    other, peer = raw(server), raw(server)
    other.send_message(b'(request 0 "%b")' % (b"x" * 200_000))
    held.started.get(timeout=SOON)
    packet = framed(b'(request 0 "%b")' % (b"y" * 150_000))
    peer.send(packet[:120_000])
    eventually(lambda: server.statistics().held > 250_000, "nothing more is read")
    held.may_answer.set()
    assert other.receive() == b'(response 0 "done")'
    eventually(lambda: server.statistics().held < 200_000, "memory was freed")
    peer.send(packet[120_000:])
    assert peer.receive() == b'(response 0 "done")'


def test_many_that_send_parts_of_packets_at_once_hold_no_more_than_the_server_may(
    serve: Any, raw: Any, connect: Any
) -> None:
    server = serve(limits=Limits(server_memory=16 * MIB))
    # More than all of it. What a connection receives at once, 16 KiB, counts only when it is here.
    part = framed(b"x" * (8 * MIB))[: 200 * 1024]
    peers = [raw(server) for _ in range(100)]
    for peer in peers:
        peer.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            peer.sock.send(part)
    most = 16 * MIB - 16 * MIB // 8
    eventually(lambda: server.statistics().held > most * 3 // 4, "nearly all that may be is held")
    assert connect(server).request("x") == "x"
    assert server._shared.budget.peak <= 16 * MIB


def test_reading_goes_on_while_an_answer_is_to_come(serve: Any, raw: Any) -> None:
    got: queue.Queue[Any] = queue.Queue()
    server = serve(
        lambda connection, message: got.put(len(connection.request("and you?"))), limits=Limits(memory=500_000)
    )
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    assert peer.receive() == b'(request 0 "and you?")'
    peer.send_message(b'(response 0 "%b")' % (b"x" * 8_000_000))
    assert got.get(timeout=SOON) == 8_000_000


def test_requests_wait_while_the_other_end_does_not_take_them(met: Any, spawn: Any) -> None:
    connection, peer = met(limits=Limits(unsent=MIB))
    asking = [spawn(connection.request, "x" * MIB) for _ in range(10)]
    seen: set[bytes] = set()
    wire = connection._connection._wire if hasattr(connection, "_connection") else connection._wire
    eventually(lambda: wire.unsent > 0 or connection._sending.full, "the transport is full")
    assert wire.outstanding < 10
    for _ in range(10):
        id = peer.receive().split()[1]
        seen.add(id)
        peer.send_message(b'(response %b "y")' % id)
    assert len(seen) == 10
    assert [one.result(SOON) for one in asking] == ["y"] * 10


# Time.


def test_a_packet_that_takes_too_long_ends_the_connection(serve: Any, raw: Any, caplog: Any) -> None:
    peer = raw(serve(limits=Limits(packet_timeout=0.1, packet_rate=1_000_000)))
    peer.send(framed(b"(request 0 x)")[:10])
    assert ends(peer)
    assert "a packet of which 10 bytes came takes too long" in caplog.text


def test_a_packet_that_comes_slowly_but_steadily_is_served(serve: Any, raw: Any) -> None:
    peer = raw(serve(lambda connection, message: message, limits=Limits(packet_timeout=0.05, packet_rate=1)))
    data = framed(b'(request 0 "xyz")')
    peer.send(data[:10])  # which give it ten seconds more
    time.sleep(0.2)  # four times packet_timeout: it would have ended
    peer.send(data[10:])
    assert peer.receive() == b'(response 0 "xyz")'


def test_between_packets_there_is_time_without_end(serve: Any, raw: Any) -> None:
    peer = raw(serve(lambda connection, message: message, limits=Limits(packet_timeout=0.05, packet_rate=1_000_000)))
    data = framed(b"(request 0 x)") + framed(b"(request 1 y)")
    peer.send(data[:5])
    peer.send(data[5:])
    assert {peer.receive(), peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}
    time.sleep(0.2)  # four times packet_timeout
    peer.send_message(b"(request 2 z)")
    assert peer.receive() == b"(response 2 z)"


def test_a_connection_on_which_nothing_happens_ends_where_that_is_asked_for(serve: Any, raw: Any, connect: Any) -> None:
    server = serve(limits=Limits(idle_timeout=0.1))
    assert ends(raw(server))
    connection = connect(server)
    eventually(lambda: connection.closed, "the connection has ended")
    with pytest.raises(ConnectionClosed):
        connection.request("x")


def test_a_connection_is_not_idle_while_a_request_is_handled(serve: Any, raw: Any) -> None:
    held = Held("done")
    peer = raw(serve(held, limits=Limits(idle_timeout=0.05)))
    peer.send_message(b"(request 0 x)")
    held.started.get(timeout=SOON)
    time.sleep(0.2)  # four times idle_timeout
    held.may_answer.set()
    assert peer.receive() == b'(response 0 "done")'
    assert ends(peer)


def test_the_look_up_of_a_user_is_part_of_the_time_of_a_hello(serve: Any, raw: Any, caplog: Any) -> None:
    looked_up = threading.Event()

    def user_to_key(user: str) -> Any:
        looked_up.wait(SOON)
        return KEY

    peer = raw(serve(user_to_key=user_to_key, limits=Limits(hello_timeout=0.2)))
    peer.say_hello("myuser", KEY)
    try:
        assert ends(peer)
    finally:
        looked_up.set()
    assert "the look-up of the user (user_to_key) took longer" in caplog.text


def test_who_reads_slowly_is_not_cut_off(serve: Any, raw: Any) -> None:
    peer = raw(serve(lambda connection, message: "x" * 4_000_000, limits=Limits(send_timeout=0.5)))
    peer.send_message(b"(request 0 x)")
    taken = 0
    for _ in range(20):  # longer than that in all
        taken += len(peer.sock.recv(10_000))
        time.sleep(0.05)  # a slow reader is what this is about
    while taken < 4_000_000:
        data = peer.sock.recv(1_000_000)
        assert data
        taken += len(data)
