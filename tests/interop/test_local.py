"""`bokbok_interop.peers.local`: what puppets of this machine are given."""

from __future__ import annotations

import socket
import sys

import pytest

from bokbok_interop.peers import local


def drawn(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Have these ports be drawn, in this order."""
    rest = iter(ports)
    monkeypatch.setattr(local.secrets, "randbelow", lambda most: next(rest) - local._PORTS.start)


def test_a_port_that_somebody_has_bound_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = local.free_port()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", first))
        other = local.free_port()
        drawn(monkeypatch, first, first, other)
        assert local.free_port() == other


def test_a_port_is_none_that_the_system_gives_out() -> None:
    given = set()
    for _ in range(20):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            given.add(sock.getsockname()[1])
    assert not given & set(local._PORTS)
    assert local.free_port() in local._PORTS


def test_at_a_host_that_is_not_of_this_machine_any_port_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="assign requested address"):
        sock.bind(("192.0.2.1", 0))
    drawn(monkeypatch, 20_007)
    assert local.free_port("192.0.2.1") == 20_007


def test_the_environment_of_a_puppet_can_be_set() -> None:
    peer = local.LocalPeer("x", [sys.executable], environment={"A": "b"})
    assert peer.environment == {"A": "b"}
    assert peer.describe()["command"] == sys.executable
