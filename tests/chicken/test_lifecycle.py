"""How connections and servers end: who learns of it, what fails, what is still answered."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chicken.driving import Peer, Puppet

Connect = Callable[[tuple[str, int] | str], Peer]


def test_the_close_handler_runs_once_when_the_other_end_closes(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    puppet.event("opened 1")
    peer.close()
    assert puppet.event("closed") == "(event closed -1)"
    assert puppet.command("close -1") == "ok"
    assert puppet.command("stop 1") == "ok"
    assert puppet.command("wait 1") == "ok"
    assert not [line for line in puppet.lines if "closed" in line]


def test_the_close_handler_does_not_run_for_an_end_that_this_side_asked_for(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    puppet.event("opened 1")
    assert puppet.command("close -1") == "ok"
    assert peer.at_end()
    assert puppet.command("stop 1") == "ok"
    assert puppet.command("wait 1") == "ok"
    assert not [line for line in puppet.lines if "closed" in line]


def test_at_end_of_file_handlers_that_run_go_on_and_are_answered(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b'(request 0 ("sleep" 300 x))')
    peer.message(b'(request 1 ("ping" 1))')
    peer.socket.shutdown(socket.SHUT_WR)
    assert puppet.event("closed -1")
    assert peer.take() == b'(response 1 ("pong" 1))'
    assert peer.take() == b"(response 0 x)"
    assert peer.at_end()


def test_requests_that_wait_fail_when_the_connection_ends(puppet: Puppet, listener: socket.socket) -> None:
    assert puppet.command(f'connect 1 "127.0.0.1:{listener.getsockname()[1]}" #f #f') == "ok"
    accepted, _ = listener.accept()
    waiting = [puppet.start(f'request 1 ("ping" {i})') for i in range(3)]
    peer = Peer(accepted)
    for _ in waiting:
        peer.take()
    peer.close()
    for number in waiting:
        answer = puppet.answer(number)
        assert answer.startswith('network-error "the other end closed the connection')
        assert "the server takes encrypted connections only" in answer
    assert puppet.event("closed 1")
    assert puppet.command('request 1 ("ping" 1)').startswith("network-error ")


def test_a_reset_is_a_network_error(puppet: Puppet, listener: socket.socket) -> None:
    assert puppet.command(f'connect 1 "127.0.0.1:{listener.getsockname()[1]}" #f #f') == "ok"
    accepted, _ = listener.accept()
    waiting = puppet.start('request 1 ("ping" 1)')
    Peer(accepted).take()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    assert puppet.answer(waiting).startswith("network-error ")
    assert puppet.event("closed 1")


def test_closing_from_inside_a_handler(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b'(request 0 ("close"))')
    assert peer.at_end()


def test_stop_lets_handlers_finish_and_refuses_new_requests(puppet: Puppet, peers: Connect) -> None:
    where = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    peer, idle = peers(where), peers(where)
    peer.message(b'(request 0 ("sleep" 500 x))')
    assert peer.ask(1, b'("ping" 1)') == b'(response 1 ("pong" 1))'
    assert puppet.command("stop 1") == "ok"
    waiting = puppet.start("wait 1")
    assert idle.at_end()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)
    assert peer.ask(2, b'("ping" 1)') == b'(error 2 "the server is stopping and takes no new requests")'
    assert f"({waiting} ok)" not in puppet.lines
    assert peer.take() == b"(response 0 x)"
    assert peer.at_end()
    peer.close()
    idle.close()
    assert puppet.answer(waiting) == "ok"


def test_responses_are_taken_while_the_server_stops(puppet: Puppet, peers: Connect) -> None:
    """A handler that waits for its caller's answer gets it, although stop-server! was called in the meantime."""
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b'(request 0 ("callback" 1 x))')
    assert peer.take() == b'(request 0 ("echo" (0 x)))'
    assert puppet.command("stop 1") == "ok"
    peer.message(b"(response 0 here)")
    assert peer.take() == b"(response 0 (here))"
    assert peer.at_end()


def test_the_open_handler_has_returned_before_the_first_request_is_handled(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b'(request 0 ("ping" 1))')
    peer.take()
    puppet.command("hello")  # what the puppet wrote before this answer is read by now
    assert [line for line in puppet.lines if line.startswith("(event opened 1 ")]


def test_a_second_stop_and_a_wait_after_it_return(puppet: Puppet, tmp_path: Path) -> None:
    puppet.listen(1, f'(unix "{tmp_path / "s"}")')
    assert [puppet.command(f"{verb} 1") for verb in ("stop", "stop", "wait", "wait")] == ["ok"] * 4


def test_end_of_input_ends_a_puppet_with_connections_and_servers(puppets: Callable[[], Puppet], tmp_path: Path) -> None:
    puppet = puppets()
    path = Path(str(puppet.listen(1, f'(unix "{tmp_path / "s"}")')))
    assert puppet.command(f'connect 2 "{path}" #f #f') == "ok"
    puppet.start('request 2 ("sleep" 60000 x)')
    assert puppet.end() == 0
    assert not path.exists()
