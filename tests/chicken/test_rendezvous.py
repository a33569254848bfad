"""The rendezvous of a puppet: a handler waits until the runner releases it by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chicken.driving import Puppet


@pytest.fixture
def pair(puppets: Callable[[], Puppet]) -> Puppet:
    """A puppet with a connection to itself, whose handle is 2."""
    puppet = puppets()
    host, port = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    assert puppet.command(f'connect 2 (tcp "{host}" {port}) #f #f') == "ok"
    return puppet


def test_a_puppet_claims_it(pair: Puppet) -> None:
    assert " rendezvous " in pair.command("hello")


def test_a_signal_releases_all_who_wait_for_its_name(pair: Puppet) -> None:
    waiting = [pair.start('request 2 ("await" "a")') for _ in range(3)]
    other = pair.start('request 2 ("await" "b")')
    for _ in waiting:
        pair.event('awaiting "a"')
    pair.event('awaiting "b"')
    assert pair.command('signal "a"') == "ok 3"
    assert [pair.answer(number) for number in waiting] == ['response "a"'] * 3
    assert pair.command('signal "b"') == "ok 1"
    assert pair.answer(other) == 'response "b"'


def test_a_signal_counts_for_those_who_come_later(pair: Puppet) -> None:
    assert pair.command('signal "a"') == "ok 0"
    assert pair.command('request 2 ("await" "a")') == 'response "a"'
    pair.event('awaiting "a"')
    assert pair.command('signal "a"') == "ok 1"


def test_other_requests_go_on_meanwhile(pair: Puppet) -> None:
    held = pair.start('request 2 ("await" "a")')
    pair.event('awaiting "a"')
    assert pair.command('request 2 ("ping" "1")') == 'response ("pong" "1")'
    pair.command('signal "a"')
    assert pair.answer(held) == 'response "a"'
