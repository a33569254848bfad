"""The peer to meet: images, puppets and addresses are told apart."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from bokbok_interop.peers.docker import DockerPeer
from bokbok_interop.peers.local import LocalPeer
from bokbok_meet.target import TargetError, find_target


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bokbok/chicken4-egg", "chicken4-egg"),
        ("docker:bokbok/chicken4-egg:latest", "chicken4-egg"),
        ("registry.test:5000/me/egg:2", "egg"),
    ],
)
def test_an_image(text: str, name: str) -> None:
    target = find_target(text, None)
    assert target.name == name
    assert isinstance(target.peer(), DockerPeer)


def test_the_command_of_a_puppet() -> None:
    target = find_target(f"{sys.executable} -m some.puppet", "mine")
    assert target.name == "mine"
    assert isinstance(target.peer(), LocalPeer)


def test_an_address() -> None:
    assert find_target("localhost:4444", None).address == ("tcp", "localhost", 4444)
    assert find_target("[::1]:4444", None).address == ("tcp", "::1", 4444)


def test_a_socket_is_an_address(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert find_target(path, None).address == ("unix", path)


@pytest.mark.parametrize(("text", "name"), [("", None), ("  ", None), ("bokbok/egg", "a name"), ("host:99999", None)])
def test_what_names_nothing_is_an_error(text: str, name: str | None) -> None:
    with pytest.raises(TargetError):
        find_target(text, name)
