"""What a handler may return or raise, and what arrives at the other end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chicken.driving import Peer, Puppet

Connect = Callable[[tuple[str, int] | str], Peer]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b'("unspecified")', b"(response 0 ())"),
        (b'("echo" #<unspecified>)', b"(response 0 ())"),
        (b'("echo" (a #<unspecified> . #<unspecified>))', b"(response 0 (a () . ()))"),
        (b'("fail" "boo \\"hoo\\"")', b'(error 0 "boo \\"hoo\\"")'),
        (b'("raise" (1 "two" three))', b'(error 0 "(1 \\"two\\" three)")'),
        (b'("echo" foo:)', b"(response 0 foo:)"),
        (b'("echo" "\xff\x00\\n")', b'(response 0 "\xff\\x00\\n")'),
        (b'("echo" |a b|)', b"(response 0 |a b|)"),
        (b'["echo" {a [b]}] ; brackets', b"(response 0 (a (b)))"),
        (b'("echo" -i)', None),
    ],
)
def test_values_travel(puppet: Puppet, peers: Connect, request_: bytes, answer: bytes | None) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    peer.message(b"(request 0 %s\n)" % request_)
    got = peer.take()
    if answer is None:  # a symbol in both, which CHICKEN 5 writes with bars
        assert got in (b"(response 0 -i)", b"(response 0 |-i|)")
    else:
        assert got == answer


def test_a_value_that_cannot_travel_is_an_error_that_names_it(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    answer = peer.ask(0, b'("unwritable")')
    assert answer.startswith(b'(error 0 "answer cannot be sent: #<procedure')
    assert peer.ask(1, b'("ping" 1)') == b'(response 1 ("pong" 1))'


def test_an_unknown_request_is_named_in_the_error(puppet: Puppet, peers: Connect) -> None:
    peer = peers(puppet.listen(1, '(tcp "127.0.0.1" 0)'))
    assert peer.ask(0, b"(no such thing)") == b'(error 0 "unknown request: (no such thing)")'


def test_a_message_over_the_packet_limit_is_refused_before_it_is_sent(puppet: Puppet) -> None:
    _, port = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    assert puppet.command(f'connect 2 "127.0.0.1:{port}" #f #f') == "ok"
    answer = puppet.command(f'request 2 ("echo" "{"x" * 16_777_216}")', 60)
    assert answer.startswith('invalid "message cannot be sent: more than ')
    assert puppet.command('request 2 ("ping" 1)') == 'response ("pong" 1)'
