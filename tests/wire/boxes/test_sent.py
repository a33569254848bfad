"""`bokbok.wire.boxes.Sent`: a nonce that travels with each box."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bokbok.errors import RemoteProtocolError
from bokbok.wire.boxes import Sent
from tests.support.nonce_contract import SESSION, NonceContract, two_sides, zeros_stand_in_front_of_every_tag
from tests.support.strategy_tests import refuses


class TestContract(NonceContract):
    schemes: ClassVar[list[Any]] = [
        Sent(),
        Sent("behind", "behind"),
        Sent("behind", "front"),
        Sent(key="zero"),
    ]


@pytest.mark.parametrize("place", ["front", "behind"])
def test_a_sides_own_box_is_refused_where_nonces_travel(place: Any) -> None:
    client, _ = two_sides(Sent(place))
    box = client.sealer(SESSION)(b"mine")
    with pytest.raises(RemoteProtocolError, match="a packet of this side's own was sent back to it"):
        client.opener(SESSION, refuse_own=True)(box)
    assert client.opener(SESSION, refuse_own=False)(box) == b"mine"


test_a_scheme_that_cannot_be_is_refused = refuses(
    (lambda: Sent("middle"), "place: expected one of front, behind; got 'middle'"),
    (lambda: Sent(key="x"), "key: expected one of front, behind, zero; got 'x'"),
)


@pytest.mark.parametrize(
    "scheme",
    [
        Sent(zeros=16),
        Sent("behind", "behind", zeros=16),
        Sent("front", "zero", zeros=16),
    ],
    ids=repr,
)
def test_zeros_may_stand_in_front_of_every_tag(scheme: Any) -> None:
    zeros_stand_in_front_of_every_tag(scheme)
