"""Addresses, as in the API reference: where the egg connects, where it listens, which addresses it reports."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chicken.driving import Peer, Puppet
from tests.support.network import needs_ipv6

Connect = Callable[[tuple[str, int] | str], Peer]


@pytest.mark.parametrize("form", ['"127.0.0.1:{port}"', '(tcp "127.0.0.1" {port})', '"localhost:{port}"'])
def test_connects_to_tcp_by_every_form(puppet: Puppet, form: str) -> None:
    _, port = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    assert puppet.command(f"connect 2 {form.format(port=port)} #f #f") == "ok"
    assert puppet.command('request 2 ("ping" 1)') == 'response ("pong" 1)'
    assert puppet.command("info 2") == f'ok #f (tcp "127.0.0.1" {port})'


@pytest.mark.parametrize("form", ['"{path}"', '(unix "{path}")'])
def test_connects_to_unix_by_every_form(puppet: Puppet, tmp_path: Path, form: str) -> None:
    path = puppet.listen(1, f'(unix "{tmp_path / "s"}")')
    assert puppet.command(f"connect 2 {form.format(path=path)} #f #f") == "ok"
    assert puppet.command('request 2 ("ping" 1)') == 'response ("pong" 1)'
    assert puppet.command("info 2") == f'ok #f (unix "{path}")'
    assert re.fullmatch(rf'\(event opened 1 -\d+ #f \(unix "{path}"\)\)', puppet.event("opened 1"))


def test_the_server_sees_the_numeric_address_and_port_of_its_client(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    port = peer.socket.getsockname()[1]
    assert puppet.event("opened 1") == f'(event opened 1 -1 #f (tcp "127.0.0.1" {port}))'


@needs_ipv6
def test_all_addresses_are_ipv4_and_ipv6_and_ipv4_is_shown_as_such(puppet: Puppet, peers: Connect) -> None:
    _, port = puppet.listen(1, "(tcp #f 0)")
    peers(("127.0.0.1", port))
    assert ' (tcp "127.0.0.1" ' in puppet.event("opened 1")
    peers(("::1", port))
    assert ' (tcp "::1" ' in puppet.event("opened 1")
    assert puppet.command(f'connect 2 "[::1]:{port}" #f #f') == "ok"
    assert puppet.command("info 2") == f'ok #f (tcp "::1" {port})'


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ('"::1:80"', "brackets"),
        ('"host:99999"', "65535"),
        ('(tcp "host" 0)', "port 0"),
        ("(tcp #f 80)", "host"),
        ('(tcp "" 80)', "empty"),
        ('""', "empty"),
        ("(unix 5)", "string"),
        ('(unix "' + "x" * 108 + '")', "107"),
        ('"a\\x00b"', "NUL"),
        ("(udp 1 2)", "expected"),
        ("80", "expected"),
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_tried(puppet: Puppet, address: str, word: str) -> None:
    answer = puppet.command(f"connect 1 {address} #f #f")
    assert answer.startswith("invalid ")
    assert word in answer


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ('"127.0.0.1:1"', "refused"),
        (f'"127.0.0.1:{"0" * 5000}1"', "refused"),
        ('"/no/such/socket"', "No such file"),
        ('"no-such-host.invalid:80"', "cannot connect to no-such-host.invalid:80"),
    ],
)
def test_nobody_there_is_a_network_error_that_names_the_address(puppet: Puppet, address: str, word: str) -> None:
    answer = puppet.command(f"connect 1 {address} #f #f")
    assert answer.startswith('network-error "cannot connect to ')
    assert word in answer


@pytest.mark.parametrize("arguments", ['"user" #f', '#f "passphrase"', f'"{"u" * 256}" "p"'])
def test_half_an_identity_or_a_long_name_is_refused(puppet: Puppet, arguments: str) -> None:
    assert puppet.command(f'connect 1 "127.0.0.1:1" {arguments}').startswith("invalid ")


def test_the_file_of_a_unix_socket_is_removed_by_stop(puppet: Puppet, tmp_path: Path) -> None:
    path = Path(str(puppet.listen(1, f'(unix "{tmp_path / "s"}")')))
    assert path.is_socket()
    assert puppet.command("stop 1") == "ok"
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_behind_is_replaced(
    puppets: Callable[[], Puppet], tmp_path: Path, peers: Connect
) -> None:
    path = tmp_path / "s"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    puppet = puppets()
    assert puppet.listen(1, f'(unix "{path}")') == str(path)
    assert peers(str(path)).ask(0, b'("ping" 1)') == b'(response 0 ("pong" 1))'


def test_a_socket_in_use_and_a_file_that_is_none_are_left_alone(puppet: Puppet, tmp_path: Path) -> None:
    used = puppet.listen(1, f'(unix "{tmp_path / "used"}")')
    assert puppet.command(f'listen 2 (unix "{used}") 10 #f').startswith('network-error "cannot listen at ')
    assert puppet.command(f'connect 3 "{used}" #f #f') == "ok"
    plain = tmp_path / "plain"
    plain.write_text("mine")
    assert puppet.command(f'listen 4 (unix "{plain}") 10 #f').startswith('network-error "cannot listen at ')
    assert plain.read_text() == "mine"


def test_another_servers_file_at_the_same_path_is_not_removed_by_stop(puppet: Puppet, tmp_path: Path) -> None:
    path = Path(str(puppet.listen(1, f'(unix "{tmp_path / "s"}")')))
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        assert puppet.command("stop 1") == "ok"
        assert path.is_socket()
