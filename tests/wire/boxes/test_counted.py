"""`bokbok.wire.boxes.Counted`: nonces that do not travel with each message."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bokbok.errors import RemoteProtocolError
from bokbok.wire.boxes import Counted
from tests.support.nonce_contract import KEY, SESSION, NonceContract, two_sides, zeros_stand_in_front_of_every_tag
from tests.support.strategy_tests import refuses


class TestContract(NonceContract):
    schemes: ClassVar[list[Any]] = [
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


@pytest.mark.parametrize("scheme", TestContract.schemes, ids=repr)
def test_a_box_out_of_turn_does_not_open(scheme: Any) -> None:
    client, server = two_sides(scheme)
    server.key_opener(KEY)(client.key_sealer(KEY)(SESSION))
    seal, open_box = client.sealer(SESSION), server.opener(SESSION, refuse_own=True)
    first, second, third = seal(b"1"), seal(b"2"), seal(b"3")
    assert open_box(first) == b"1"
    with pytest.raises(RemoteProtocolError, match="does not open"):
        open_box(third)
    del second


def test_counted_nonces_go_round_within_their_bytes() -> None:
    nonces = Counted(at=1, width=1, key="front").nonces(b"a\xfeb" + bytes(21), 1)
    assert [next(nonces)[:3] for _ in range(3)] == [b"a\xffb", b"a\x00b", b"a\x01b"]
    little = Counted(order="little", at=0, width=2, step=3).nonces(b"\xfe\0" + bytes(22), 0)
    assert [next(little)[:2] for _ in range(2)] == [b"\xfe\0", b"\1\1"]


test_a_scheme_that_cannot_be_is_refused = refuses(
    (lambda: Counted("x"), "base: expected one of zero, hello, key, first; got 'x'"),
    (lambda: Counted(order="x"), "order: expected one of big, little; got 'x'"),
    (lambda: Counted(at=20, width=5), "at is 20 and width 5: expected a counter within the 24 bytes of a nonce"),
    (lambda: Counted(width=0), "width: expected an integer from 1 to 24; got 0"),
    (lambda: Counted(key="x"), "key: expected one of front, .*; got 'x'"),
    (lambda: Counted("key"), "expected a nonce that travels with the session key's box"),
    (lambda: Counted(server_base="x"), "server-base: expected one of same, zero, first; got 'x'"),
    (lambda: Counted(step=0), "step: expected an integer from 1 to .*; got 0"),
)


@pytest.mark.parametrize(
    "scheme",
    [
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
    zeros_stand_in_front_of_every_tag(scheme)
