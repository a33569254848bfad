"""`bokbok.wire.boxes`: where nonces stand, how they are counted, and what must not open."""

from __future__ import annotations

import itertools
import random
import warnings
from typing import Any

import pytest

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.wire.boxes import Counted, Sent

KEY, SESSION = bytes(range(32)), bytes(range(32, 64))
SCHEMES = [
    Sent(),
    Sent("behind", "behind"),
    Sent("behind", "front"),
    Sent(key="zero"),
    Counted(),
    Counted(order="little", at=16, width=8),
    Counted("first", key="front"),
    Counted("key", key="front"),
    Counted("key", key="behind", client=1, server=2),
    Counted("zero", client=0, server=1, step=2, key="zero"),
    Counted("zero", key="base"),
    Counted("zero", key="front", server_base="first"),
    Counted(width=1, key="front", client=250),
    Counted("key", key="front", client=1, server_base="zero"),
    Counted("key", key="front", client_base="zero", server=1),
]
every = pytest.mark.parametrize("scheme", SCHEMES, ids=repr)


def numbered() -> Any:
    """Randomness that can be told apart."""
    count = itertools.count(1)
    return lambda size: bytes((next(count),)) * size


def two_sides(scheme: Any) -> tuple[Any, Any]:
    return scheme.start("client", numbered()), scheme.start("server", lambda size: b"s" * size)


@every
def test_the_session_key_and_messages_both_ways_open(scheme: Any) -> None:
    client, server = two_sides(scheme)
    box = client.key_sealer(KEY)(SESSION)
    assert len(box) == 32 + client.key_overhead
    assert server.key_opener(KEY)(box) == SESSION
    for sender, receiver in ((client, server), (server, client)):
        seal, open_box = sender.sealer(SESSION), receiver.opener(SESSION, refuse_own=True)
        for i in range(10):
            body = b"message %d" % i
            box = seal(body)
            assert len(box) <= len(body) + sender.overhead
            assert open_box(box) == body


@every
def test_a_changed_box_does_not_open(scheme: Any) -> None:
    client, server = two_sides(scheme)
    box = bytearray(client.key_sealer(KEY)(SESSION))
    box[len(box) // 2] ^= 1
    with pytest.raises(RemoteProtocolError, match="the hello does not open"):
        server.key_opener(KEY)(bytes(box))
    box = bytearray(client.sealer(SESSION)(b"message"))
    box[len(box) // 2] ^= 1
    with pytest.raises(RemoteProtocolError, match="the packet does not open"):
        server.opener(SESSION, refuse_own=True)(bytes(box))


@every
def test_a_box_that_is_too_short_is_none(scheme: Any) -> None:
    _, server = two_sides(scheme)
    for open_box in (server.key_opener(KEY), server.opener(SESSION, refuse_own=True)):
        with pytest.raises(RemoteProtocolError, match=r"expected a box, of (16|40) bytes or more|does not open"):
            open_box(bytes(15))


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if isinstance(scheme, Counted)], ids=repr)
def test_a_box_out_of_turn_does_not_open_where_nonces_are_counted(scheme: Any) -> None:
    client, server = two_sides(scheme)
    server.key_opener(KEY)(client.key_sealer(KEY)(SESSION))
    seal, open_box = client.sealer(SESSION), server.opener(SESSION, refuse_own=True)
    first, second, third = seal(b"1"), seal(b"2"), seal(b"3")
    assert open_box(first) == b"1"
    with pytest.raises(RemoteProtocolError, match="does not open"):
        open_box(third)
    del second


@pytest.mark.parametrize("place", ["front", "behind"])
def test_a_sides_own_box_is_refused_where_nonces_travel(place: Any) -> None:
    client, _ = two_sides(Sent(place))
    box = client.sealer(SESSION)(b"mine")
    with pytest.raises(RemoteProtocolError, match="a packet of this side's own was sent back to it"):
        client.opener(SESSION, refuse_own=True)(box)
    assert client.opener(SESSION, refuse_own=False)(box) == b"mine"


def test_counted_nonces_go_round_within_their_bytes() -> None:
    nonces = Counted(at=1, width=1, key="front").nonces(b"a\xfeb" + bytes(21), 1)
    assert [next(nonces)[:3] for _ in range(3)] == [b"a\xffb", b"a\x00b", b"a\x01b"]
    little = Counted(order="little", at=0, width=2, step=3).nonces(b"\xfe\0" + bytes(22), 0)
    assert [next(little)[:2] for _ in range(2)] == [b"\xfe\0", b"\1\1"]


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme.leaks is None], ids=repr)
def test_no_nonce_is_used_twice_under_one_key_where_nothing_is_said_to_leak(scheme: Any) -> None:
    count = 5 if getattr(scheme, "width", 24) == 1 else 200  # a counter of one byte goes round
    client, server = two_sides(scheme)
    server.key_opener(KEY)(client.key_sealer(KEY)(SESSION))
    boxes = [side.sealer(SESSION) for side in (client, server)]
    # The same text under one key: two equal boxes would be two equal nonces.
    tails = {seal(b"the same text")[-16:] for seal in boxes for _ in range(count)}
    assert len(tails) == 2 * count


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Sent("middle"), "place: expected one of front, behind; got 'middle'"),
        (lambda: Sent(key="x"), "key: expected one of front, behind, zero; got 'x'"),
        (lambda: Counted("x"), "base: expected one of zero, hello, key, first; got 'x'"),
        (lambda: Counted(order="x"), "order: expected one of big, little; got 'x'"),
        (lambda: Counted(at=20, width=5), "at is 20 and width 5: expected a counter within the 24 bytes of a nonce"),
        (lambda: Counted(width=0), "width: expected an integer from 1 to 24; got 0"),
        (lambda: Counted(key="x"), "key: expected one of front, .*; got 'x'"),
        (lambda: Counted("key"), "expected a nonce that travels with the session key's box"),
        (lambda: Counted(server_base="x"), "server-base: expected one of same, zero, first; got 'x'"),
        (lambda: Counted(step=0), "step: expected an integer from 1 to .*; got 0"),
    ],
)
def test_a_scheme_that_cannot_be_is_refused(make: Any, problem: str) -> None:
    with warnings.catch_warnings(), pytest.raises(BokbokError, match=problem):
        make()


@pytest.mark.parametrize(
    "scheme",
    [
        Sent(zeros=16),
        Sent("behind", "behind", zeros=16),
        Sent("front", "zero", zeros=16),
        Counted(zeros=16),
        Counted("key", key="front", zeros=16),
        Counted("key", key="zero-behind", zeros=16),
        Counted("first", key="front", zeros=16),
        Counted("first", key="front", first="behind", zeros=16),
        Counted("hello", key="base", client=1, zeros=16),
    ],
    ids=repr,
)
def test_zeros_may_stand_in_front_of_every_tag(scheme: Any) -> None:
    key, session = bytes(range(32)), bytes(range(1, 33))
    client, server = (
        scheme.start("client", random.Random(1).randbytes),
        scheme.start("server", random.Random(2).randbytes),
    )
    server.base = client.base
    box = client.key_sealer(key)(session)
    assert bytes(16) in box
    assert len(box) == len(session) + client.key_overhead
    assert server.key_opener(key)(box) == session
    for sender, receiver in ((client, server), (server, client)):
        seal, opened = sender.sealer(session), receiver.opener(session, refuse_own=False)
        for text in (b"one", b"", b"three"):
            box = seal(text)
            assert bytes(16) in box
            assert len(box) <= len(text) + sender.overhead
            assert opened(box) == text
        with pytest.raises(RemoteProtocolError):
            opened(seal(b"four").replace(bytes(16), b"\0" * 15 + b"\1", 1))
