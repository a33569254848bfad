"""Hostile peers: each costs at most its own connection, and a good neighbour is served afterwards."""

from __future__ import annotations

import random
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chicken.driving import Peer, Puppet

Connect = Callable[[tuple[str, int] | str], Peer]
USERS = '(("user" . "secret") ("barred" . #f))'


def good(peer: Peer, number: int = 0) -> bool:
    return peer.ask(number, b'("ping" 1)') == b'(response %d ("pong" 1))' % number


@pytest.mark.parametrize(
    ("user", "passphrase"), [(b"user", b"wrong"), (b"nobody", b"secret"), (b"barred", b"secret"), (b"", b"")]
)
def test_a_refused_hello_is_a_bare_close_after_its_second_packet(
    puppet: Puppet, peers: Connect, user: bytes, passphrase: bytes
) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    peer = peers(where)
    peer.hello(user, passphrase)
    peer.raw(b"early data" * 1000)  # left unread, it would turn the close into a reset
    assert peer.at_end()
    neighbour = peers(where)
    neighbour.hello(b"user", b"secret")
    assert good(neighbour)


def test_the_second_packet_decides_and_not_the_first(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    for user in (b"user", b"nobody"):
        peer = peers(where)
        peer.packet(user)
        peer.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.socket.recv(1)


def test_a_hello_that_was_seen_is_refused_under_any_name(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', '(("user" . "secret") ("twin" . "secret"))')
    first = peers(where)
    said = first.hello(b"user", b"secret")
    assert good(first)
    for replay in (said, said.replace(b"user", b"twin")):
        peer = peers(where)
        peer.raw(replay)
        assert peer.at_end()
    assert good(first, 1)
    assert puppet.logged("replayed-hello")


def test_a_client_with_the_wrong_key_is_told_what_that_most_likely_means(puppet: Puppet) -> None:
    _, port = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    assert puppet.command(f'connect 2 "127.0.0.1:{port}" "user" "wrong"') == "ok"
    answer = puppet.command('request 2 ("ping" 1)')
    assert answer.startswith("network-error ")
    assert "passphrase is wrong" in answer
    assert puppet.event("closed 2")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"x",
        b"x" * 39,
        b"x" * 40,
        b"\xff" * 100,
    ],
)
def test_a_packet_that_is_no_box_closes_the_connection(puppet: Puppet, peers: Connect, packet: bytes) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    peer = peers(where)
    peer.hello(b"user", b"secret")
    assert good(peer)
    peer.packet(packet)
    assert peer.at_end()
    assert puppet.event("closed -1")


def test_a_length_over_the_limit_closes_at_once(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.raw(struct.pack(">I", 16 * 1024 * 1024 + 1))
    assert peer.at_end()


def test_a_request_that_comes_twice_and_one_that_comes_back(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    peer = peers(where)
    peer.hello(b"user", b"secret")
    assert peer.box is not None
    packet = peer.sealed(peer.box, b'(request 0 ("count" "x"))')
    peer.packet(packet)
    assert peer.take() == b"(response 0 1)"
    peer.packet(packet)
    assert peer.at_end()
    peer = peers(where)
    peer.hello(b"user", b"secret")
    peer.message(b'(request 0 ("callback" 1 x))')
    peer.packet(peer.take_packet())
    assert peer.at_end()


def test_gaps_and_a_changed_order_of_requests_pass(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    for number in (5, 3, 900, 4, 0, 1500):
        assert good(peer, number)
    peer.message(b'(request 400 ("ping" 1))')  # below the window
    assert peer.at_end()


def test_random_bytes_truncations_and_tampered_boxes_are_survived(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS)
    plain = puppet.listen(2, '(tcp "127.0.0.1" 0)')
    choice = random.Random(4)
    neighbour = peers(where)
    neighbour.hello(b"user", b"secret")
    for round_ in range(60):
        peer = Peer.to(where if round_ % 2 else plain)
        kind = choice.randrange(4)
        try:
            if kind == 0:
                peer.raw(choice.randbytes(choice.randrange(1, 300)))
            elif kind == 1:
                peer.hello(b"user", b"secret")
                assert peer.box is not None
                box = bytearray(peer.sealed(peer.box, b'(request 0 ("ping" 1))'))
                box[choice.randrange(len(box))] ^= 1 << choice.randrange(8)
                peer.packet(bytes(box))
            elif kind == 2:
                body = b'(request 0 ("echo" (1 "two" #\\3 #(4) |5 6|)))'
                broken = bytearray(body[: choice.randrange(len(body))])
                for _ in range(choice.randrange(3)):
                    broken.insert(choice.randrange(len(broken) + 1), choice.randrange(256))
                peer.packet(bytes(broken))
            else:
                said = struct.pack(">I", 500) + choice.randbytes(choice.randrange(400))
                peer.raw(said)
            if choice.randrange(2):
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except ConnectionError:
            pass
        finally:
            peer.close()
        assert good(neighbour, round_)
    assert good(peers(plain))


def test_a_million_different_symbols_cost_one_request(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    symbols = b" ".join(b"hostile-%d" % i for i in range(1_000_000))
    assert peer.ask(0, b'("echo" (%s))' % symbols).startswith(b'(error 0 "the request cannot be read: too many new sym')
    assert good(peer, 1)


def test_user_names_of_any_bytes_are_shown_and_not_sent_to_the_terminal(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS))
    peer.hello(b"evil\n\x1b[2J\x00\xff", b"secret")
    assert peer.at_end()
    line = puppet.logged("hello refused")
    assert "evil" in line
    assert "\x1b" not in line


def test_an_answer_that_cannot_be_read_fails_one_request(puppet: Puppet, listener: socket.socket) -> None:
    assert puppet.command(f'connect 1 "127.0.0.1:{listener.getsockname()[1]}" #f #f') == "ok"
    accepted, _ = listener.accept()
    peer = Peer(accepted)
    for number, answer in enumerate([b"#<procedure>", b"(a", b'"x', b"#(1 . 2)"]):
        waiting = puppet.start('request 1 ("ping" 1)')
        assert peer.take() == b'(request %d ("ping" 1))' % number
        peer.message(b"(response %d %s)" % (number, answer))
        assert "cannot be read" in puppet.answer(waiting)
    peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_connections_of_every_end_leave_nothing_behind(puppets: Callable[[], Puppet]) -> None:
    """`wait` returns only when no thread of any connection is left. Then no descriptor is left, either."""
    server, client = puppets(), puppets()

    def descriptors(puppet: Puppet) -> int:
        return len(list(Path(f"/proc/{puppet.process.pid}/fd").iterdir()))

    server.command("hello")
    client.command("hello")
    before = descriptors(server), descriptors(client)
    where = server.listen(1, '(tcp "127.0.0.1" 0)', USERS, backlog=100)
    plain = server.listen(2, '(tcp "127.0.0.1" 0)', backlog=100)

    def ends(peer: Peer, way: int) -> None:
        """Each way to end a connection, some with a request or two without a waiting caller."""
        if way % 4 == 1:
            peer.message(b'(request 0 ("sleep" 50 x))')
            peer.message(b'(request 1 ("callback" 1 x))')
        if way % 4 == 2:
            peer.raw(b"\0\0\1")  # within a packet
        if way % 4 == 3:
            peer.raw(struct.pack(">I", 500) + b"x")
        if way % 8 > 3:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    for way in range(120):
        peer = Peer.to(where if way % 3 else plain)
        if way % 3 == 1:
            peer.hello(b"user", b"secret")
        elif way % 3 == 2:
            peer.hello(b"user", b"wrong")
        ends(peer, way)
    for number in range(3, 43):
        right = "secret" if number % 2 else "wrong"
        assert client.command(f'connect {number} "127.0.0.1:{where[1]}" "user" "{right}"') == "ok"
        client.command(f'request {number} ("ping" 1)')
        client.command(f"close {number}")
    for server_number in (1, 2):
        assert server.command(f"stop {server_number}") == "ok"
        assert server.command(f"wait {server_number}") == "ok"
    for number in range(4, 43, 2):
        client.event(f"closed {number}")
    assert descriptors(server) == before[0]
    for _ in range(100):  # a client's connection has nothing to wait for
        client.command("hello")
        if descriptors(client) == before[1]:
            break
    assert descriptors(client) == before[1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits descriptors by a shell")
def test_without_free_descriptors_it_serves_whom_it_has_and_says_so_once(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    limited = tmp_path / "limited"
    limited.write_text(f"#!/bin/sh\nulimit -n 24\nexec {program('puppet')}\n")
    limited.chmod(0o755)
    puppet = Puppet(limited)
    try:
        where = puppet.listen(1, '(tcp "127.0.0.1" 0)', USERS, backlog=100)
        peers = [Peer.to(where) for _ in range(40)]
        for peer in peers:
            peer.hello(b"user", b"secret")
        for number in range(5):
            assert good(peers[0], number)
        assert puppet.command(f'connect 2 "127.0.0.1:{where[1]}" "user" "secret"').startswith("network-error ")
        assert puppet.command(f'connect 2 "localhost:{where[1]}" "user" "secret"').startswith("network-error ")
        for peer in peers[:-1]:
            peer.close()
        assert good(peers[-1])
        peers[-1].close()
    finally:
        assert puppet.end() == 0
    assert len([line for line in puppet.log if "cannot be accepted" in line]) == 1
