"""The stand-in eggs: each serves the conformance service through our puppet, in a format of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bokbok.errors import BokbokError
from bokbok.sync import open_connection
from bokbok.wire import passphrase_to_key
from tests.chicken.conftest import find_chicken
from tests.chicken.driving import Puppet
from tests.support.stand_in_eggs import NAMES, ROOT, SOURCES, StandIn, build

SECURITIES = {
    "secure": ('(("alice" . "secret"))', '"alice" "secret"', '"alice"'),
    "insecure": ("#f", "#f #f", "#f"),
}
EXCHANGES = {
    '("echo" (a "b" #(1 -2.5) #\\x key: #${00ff}))': 'response (a "b" #(1 -2.5) #\\x key: #${00ff})',
    '("ping" "12345")': 'response ("pong" "12345")',
    '("sleep" 10 x)': "response x",
    '("fail" "a message")': 'remote-error "a message"',
    '("raise" (a list))': 'remote-error "(a list)"',
    '("callback" 3 x)': "response ((0 x) (1 x) (2 x))",
    '("relay" 5 x)': "response x",
    '("type" "s")': 'response "string"',
    '("unspecified")': "response ()",
}


@pytest.fixture(scope="module", params=["chicken5", "chicken4"])
def chicken(request: pytest.FixtureRequest) -> str | None:
    return find_chicken(request.param)


@pytest.fixture(scope="module", params=NAMES)
def egg(request: pytest.FixtureRequest, chicken: str | None) -> StandIn:
    return build(request.param, chicken)


@pytest.fixture
def puppets(egg: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Puppet, Puppet]]:
    for name, value in egg.environment.items():
        monkeypatch.setenv(name, value)
    started = [Puppet(egg.program("puppet")) for _ in range(2)]
    yield started[0], started[1]
    assert [puppet.end() for puppet in started] == [0, 0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


pytestmark = pytest.mark.timeout(600)  # the first test of an egg waits for its compilation


@pytest.mark.parametrize("security", SECURITIES)
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_stand_in_serves_the_conformance_service(
    puppets: tuple[Puppet, Puppet], transport: str, security: str, tmp_path: Path
) -> None:
    server, client = puppets
    users, credentials, user = SECURITIES[security]
    address = f'(tcp "127.0.0.1" {free_port()})' if transport == "tcp" else f'(unix "{tmp_path / "s"}")'
    server.listen(1, address, users)
    assert client.command(f"connect 1 {address} {credentials}") == "ok"
    server.event("opened 1 -1")
    for request, answer in EXCHANGES.items():
        assert client.command(f"request 1 {request}") == answer
    assert client.command('request 1 ("whoami")') == f"response {user}"
    assert server.command('request -1 ("ping" "1")') == 'response ("pong" "1")'
    assert client.command("close 1") == "ok"
    server.event("closed -1")
    assert server.command("stop 1") == "ok"
    assert server.command("wait 1") == "ok"


def test_a_held_request_does_not_hold_up_others(puppets: tuple[Puppet, Puppet]) -> None:
    server, client = puppets
    address = f'(tcp "127.0.0.1" {free_port()})'
    server.listen(1, address, '(("alice" . "secret"))')
    assert client.command(f'connect 1 {address} "alice" "secret"') == "ok"
    held = client.start('request 1 ("await" "a")')
    server.event('awaiting "a"')
    others = [client.start(f'request 1 ("echo" {i})') for i in range(50)]
    assert [client.answer(number) for number in others] == [f"response {i}" for i in range(50)]
    assert server.command('signal "a"') == "ok 1"
    assert client.answer(held) == 'response "a"'


def test_a_wrong_key_fails_the_first_request(puppets: tuple[Puppet, Puppet]) -> None:
    server, client = puppets
    address = f'(tcp "127.0.0.1" {free_port()})'
    server.listen(1, address, '(("alice" . "secret"))')
    client.command(f'connect 1 {address} "alice" "another"')
    assert client.command('request 1 ("ping" "1")').startswith("network-error")


@pytest.mark.parametrize("security", SECURITIES)
def test_the_default_profile_is_not_understood(puppets: tuple[Puppet, Puppet], security: str) -> None:
    server, _ = puppets
    port = free_port()
    server.listen(1, f'(tcp "127.0.0.1" {port})', SECURITIES[security][0])
    who: dict[str, Any] = {"user": "alice", "key": passphrase_to_key("secret")} if security == "secure" else {}
    with pytest.raises(BokbokError), open_connection(f"127.0.0.1:{port}", connect_timeout=5, **who) as connection:
        connection.request(["ping", "1"], timeout=2)


def test_the_puppet_says_that_its_egg_is_a_stand_in(puppets: tuple[Puppet, Puppet], egg: StandIn) -> None:
    assert f'"stand-in {egg.name}"' in puppets[0].command("hello")


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_says_that_its_format_is_made_up(name: str) -> None:
    beginning = (SOURCES / f"{name}.scm").read_text().splitlines()[:4]
    assert any("MADE UP FOR REHEARSAL" in line for line in beginning)


def test_nothing_of_our_egg_is_in_a_stand_in() -> None:
    ours = {path.name for path in (ROOT / "chicken-reference" / "src").iterdir()}
    for source in SOURCES.glob("*.scm"):
        assert '"src/' not in source.read_text()
        assert source.name not in ours
