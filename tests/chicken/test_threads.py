"""Threads: what the API reference says about a handler's thread, and that no thread holds up another."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chicken.driving import PATIENCE, Peer, Puppet

Connect = Callable[[tuple[str, int] | str], Peer]
USERS = '(("user" . "secret"))'


@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix"])
def test_200_requests_in_flight_from_20_threads_answered_out_of_order(
    program: Callable[[str], Path], tmp_path: Path, where: str
) -> None:
    address = str(tmp_path / "s") if where == "unix" else where
    done = subprocess.run(
        [program("load"), "20", "10", address], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "right 200 wrong 0 in-flight 200 in-order #f\n"


def test_100_connections_at_once(puppets: Callable[[], Puppet]) -> None:
    server, client = puppets(), puppets()
    _, port = server.listen(1, '(tcp "127.0.0.1" 0)', USERS, backlog=100)
    started = [client.start(f'connect {i} "127.0.0.1:{port}" "user" "secret"') for i in range(1, 101)]
    assert [client.answer(number) for number in started] == ["ok"] * 100
    started = [client.start(f'request {i} ("callback" 2 {i})') for i in range(1, 101)]
    assert [client.answer(n) for n in started] == [f"response ((0 {i}) (1 {i}))" for i in range(1, 101)]


@pytest.mark.parametrize("backlog", [1, 10])
def test_100_connections_at_once_wait_for_room_in_a_small_backlog(
    puppets: Callable[[], Puppet], tmp_path: Path, backlog: int
) -> None:
    """A non-blocking connect to a Unix socket does not wait by itself, and the program has other threads."""
    server, client = puppets(), puppets()
    path = server.listen(1, f'(unix "{tmp_path / "s"}")', backlog=backlog)
    for end in (client, server):
        started = [end.start(f'connect {i} "{path}" #f #f') for i in range(2, 102)]
        assert [end.answer(number) for number in started] == ["ok"] * 100
        assert end.command('request 101 ("ping" 1)') == 'response ("pong" 1)'


@pytest.mark.parametrize("users", ["#f", USERS])
def test_callbacks_nest_five_deep_from_either_side(puppets: Callable[[], Puppet], users: str) -> None:
    server, client = puppets(), puppets()
    _, port = server.listen(1, '(tcp "127.0.0.1" 0)', users)
    identity = "#f #f" if users == "#f" else '"user" "secret"'
    assert client.command(f'connect 1 "127.0.0.1:{port}" {identity}') == "ok"
    opened = re.match(r"\(event opened 1 (-\d+) ", server.event("opened 1"))
    assert opened is not None
    from_client = client.start('request 1 ("relay" 10 x)')
    from_server = server.start(f'request {opened[1]} ("relay" 10 y)')
    assert client.answer(from_client) == "response x"
    assert server.answer(from_server) == "response y"


def test_a_handler_that_sleeps_holds_up_neither_another_nor_the_close_handler(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b'(request 0 ("sleep" 60000 x))')
    assert peer.ask(1, b'("ping" 1)') == b'(response 1 ("pong" 1))'
    peer.close()
    assert puppet.event("closed -1")


def test_a_command_that_waits_holds_up_no_other(puppet: Puppet) -> None:
    _, port = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    waiting = puppet.start("wait 1")
    assert puppet.command(f'connect 2 "127.0.0.1:{port}" #f #f') == "ok"
    sleeping = puppet.start('request 2 ("sleep" 300 x)')
    assert puppet.command('request 2 ("ping" 1)') == 'response ("pong" 1)'
    assert puppet.answer(sleeping) == "response x"
    assert puppet.command("stop 1") == "ok"
    assert puppet.answer(waiting) == "ok"


def test_a_peer_that_never_reads_holds_up_only_itself(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    deaf = peers(where)
    for number in range(8):
        deaf.message(b'(request %d ("echo" "%s"))' % (number, b"x" * 1_000_000))
    neighbour = peers(where)
    for number in range(20):
        assert neighbour.ask(number, b'("ping" 1)') == b'(response %d ("pong" 1))' % number


def test_a_peer_that_asks_and_never_reads_is_cut_off(puppet: Puppet, peers: Connect) -> None:
    """Unsent answers are bounded: handlers wait for room, then requests are refused, then the connection closes."""
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    deaf = peers(where)
    for number in range(200):
        deaf.message(b'(request %d ("echo" "%s"))' % (number, b"x" * 60_000))

    def asks_for_ever() -> None:
        """Handlers are soon all waiting for room, and from then on each request costs an error's few bytes."""
        for first in range(200, 3_000_200, 1000):
            bodies = (b'(request %d ("ping" 1))' % number for number in range(first, first + 1000))
            deaf.raw(b"".join(len(body).to_bytes(4, "big") + body for body in bodies))

    with pytest.raises(ConnectionError):
        asks_for_ever()
    assert puppet.event("closed -1")
    neighbour = peers(where)
    assert neighbour.ask(0, b'("ping" 1)') == b'(response 0 ("pong" 1))'


def test_a_large_answer_does_not_delay_a_small_one_on_another_connection(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    large, small = peers(where), peers(where)
    large.message(b'(request 0 ("echo" "%s"))' % (b"y" * 8_000_000))
    started = time.monotonic()
    assert small.ask(0, b'("ping" 1)') == b'(response 0 ("pong" 1))'
    assert time.monotonic() - started < PATIENCE / 3
    assert len(large.take()) == 8_000_000 + len("(response 0 )") + 2


def test_requests_over_the_limits_are_answered_with_errors_and_the_rest_served(puppet: Puppet, peers: Connect) -> None:
    """1,024 handlers run, 4,096 requests wait, and reading goes on."""
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    count = 1024 + 4096 + 100
    peer.raw(
        b"".join(
            len(body).to_bytes(4, "big") + body
            for body in (b'(request %d ("sleep" 700 %d))' % (i, i) for i in range(count))
        )
    )
    answers = [peer.take() for _ in range(count)]
    refused = [answer for answer in answers if b"too many requests" in answer]
    assert len(refused) == 100
    assert len({answer for answer in answers if answer.startswith(b"(response ")}) == count - 100


def test_no_two_connections_draw_the_same_nonces(puppet: Puppet, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    seen = set()
    for i in range(20):
        assert puppet.command(f'connect {i + 1} "127.0.0.1:{port}" "user" "secret"') == "ok"
        accepted, _ = listener.accept()
        with accepted:
            peer = Peer(accepted)
            assert peer.take_packet() == b"user"
            seen.add(peer.take_packet()[:16])
    assert len(seen) == 20
