"""Live foreign peers: over TCP and Unix sockets, both sides asking, and what happens when they do not understand."""

from __future__ import annotations

import pathlib
import socket
import threading
from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.foreign.conversing import wrong
from tests.support.foreign import (
    CONFORMANCE,
    DEMO,
    INFERRED_1,
    INFERRED_1_INSECURE,
    SEGMENTATIONS,
    Behaviour,
    ForeignClient,
    ForeignServer,
    Format,
    PeerError,
    RemoteFailure,
    foreign_format,
    interesting_formats,
    may_occur_format,
    random_format,
)
from tests.support.foreign.live import Address, format_address, parse_address

TCP = ("tcp", "127.0.0.1", 0)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("foreign")]
    assert left == []


def talk(fmt: Format, address: Address | str, segmentation: str | None = None) -> None:
    """Plays a whole conversation, in which both sides ask."""
    with ForeignServer(fmt, address, segmentation=segmentation) as server:
        with ForeignClient(fmt, server.address, segmentation=segmentation) as client:
            played = client.play([*CONFORMANCE, *DEMO])
            assert [wrong(exchange) for exchange in played if wrong(exchange)] == [], fmt.text()
            other_side = server.wait_for_connection()
            assert other_side.wait_idle()
            assert other_side.request(["ping", "1"]) == ["pong", "1"]
        assert other_side.wait_closed()


@pytest.mark.parametrize("name", list(interesting_formats()))
def test_interesting_formats_live(name: str) -> None:
    talk(interesting_formats()[name], TCP)


@pytest.mark.parametrize("draw", [random_format, may_occur_format, foreign_format])
def test_drawn_formats_live(draw: Callable[[Random], Format], tmp_path: pathlib.Path) -> None:
    for seed in range(12):
        talk(draw(Random(seed)), TCP if seed % 2 else str(tmp_path / f"s{seed}"))


@pytest.mark.parametrize("segmentation", list(SEGMENTATIONS))
def test_every_way_of_cutting_live(segmentation: str) -> None:
    talk(INFERRED_1, TCP, segmentation)


def test_a_unix_socket_is_gone_when_its_server_is(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    talk(INFERRED_1, str(path))
    assert not path.exists()


def test_many_requests_at_once_are_answered_in_any_order() -> None:
    busy = Behaviour(window=20, shuffle=0.5)
    script = [["echo", number] for number in range(200)]
    with (
        ForeignServer(INFERRED_1, behaviour=busy) as server,
        ForeignClient(INFERRED_1, server.address, script=script, behaviour=busy) as client,
    ):
        assert client.wait_idle()
        exchanges = client.party.exchanges
    assert [exchange.answer.value for exchange in exchanges if exchange.answer] == list(range(200))


def test_several_clients_at_once() -> None:
    with ForeignServer(INFERRED_1) as server:
        clients = [ForeignClient(INFERRED_1, server.address) for _ in range(5)]
        assert [client.request(["count", "n"]) for client in clients] == [1, 2, 3, 4, 5]
        for client in clients:
            client.close()


def test_a_failed_request_raises_its_message() -> None:
    with (
        ForeignServer(INFERRED_1) as server,
        ForeignClient(INFERRED_1, server.address) as client,
        pytest.raises(RemoteFailure, match="oh no"),
    ):
        client.request(["fail", "oh no"])


def test_a_server_closes_on_a_wrong_passphrase() -> None:
    with ForeignServer(INFERRED_1) as server:
        with ForeignClient(INFERRED_1, server.address, passphrase="another") as client, pytest.raises(PeerError):
            client.request(["ping", "1"])
        assert "does not open" in str(server.wait_for_connection().party.failure)


def test_a_server_closes_on_an_unknown_user() -> None:
    with (
        ForeignServer(INFERRED_1, users={"somebody": "mypassphrase"}) as server,
        ForeignClient(INFERRED_1, server.address) as client,
        pytest.raises(PeerError),
    ):
        client.request(["ping", "1"])


def test_a_server_may_hang_where_another_closes() -> None:
    with ForeignServer(INFERRED_1, hangs=True) as server:
        with ForeignClient(INFERRED_1, server.address, passphrase="another") as client, pytest.raises(TimeoutError):
            client.request(["ping", "1"], timeout=0.2)
        assert server.wait_for_connection().wait_closed()


def test_secure_and_insecure_do_not_understand_each_other() -> None:
    for one, other in ((INFERRED_1, INFERRED_1_INSECURE), (INFERRED_1_INSECURE, INFERRED_1)):
        with (
            ForeignServer(one, hangs=False) as server,
            ForeignClient(other, server.address) as client,
            pytest.raises((PeerError, TimeoutError)),
        ):
            client.request(["ping", "1"], timeout=0.3)


def test_requests_that_wait_are_lost_when_the_connection_is() -> None:
    with ForeignServer(INFERRED_1) as server, ForeignClient(INFERRED_1, server.address) as client:
        with pytest.raises(PeerError, match="lost"):
            client.request(["close"])
        with pytest.raises(PeerError, match="lost"):
            client.request(["ping", "too late"])


def test_a_client_that_finds_nobody_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ForeignClient(INFERRED_1, str(tmp_path / "nobody"))


def test_a_server_survives_garbage_and_serves_the_next() -> None:
    with ForeignServer(INFERRED_1) as server:
        with socket.create_connection(server.address[1:]) as sock:
            sock.sendall(b"\xff" * 100)
            assert sock.recv(1) == b""
        with ForeignClient(INFERRED_1, server.address) as client:
            assert client.request(["ping", "1"]) == ["pong", "1"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("tcp", "127.0.0.1", 80)),
        ("[::1]:80", ("tcp", "::1", 80)),
        ("path/to:1", ("unix", "path/to:1")),
        ("path", ("unix", "path")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(format_address(address).replace("::1:", "[::1]:")) == address
