"""`bokbok.wire.boxes`: NaCl's own test vector, and boxes that must not open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.errors import RemoteProtocolError
from bokbok.wire.boxes import BOX_OVERHEAD, PrefixCounter, box_opener, box_sealer

# NaCl, tests/secretbox.c and tests/secretbox.out: key, nonce, message and box.
KEY = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
MESSAGE = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4"
    "1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52"
    "f0a089bc76897040e082f937763848645e0705"
)
BOX = bytes.fromhex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b"
    "4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da"
    "99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)
OTHER_KEY = bytes(32)


def test_a_box_is_the_nonce_and_what_nacl_makes() -> None:
    assert box_sealer(KEY, lambda: NONCE)(MESSAGE) == NONCE + BOX


def test_nacls_box_opens() -> None:
    assert box_opener(KEY)(NONCE + BOX) == MESSAGE


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_what_is_sealed_opens_and_is_40_bytes_longer(body: bytes, key: bytes) -> None:
    next_nonce, _ = PrefixCounter().start(lambda size: bytes(size))
    box = box_sealer(key, next_nonce)(body)
    assert len(box) == len(body) + BOX_OVERHEAD == len(body) + 40
    assert box_opener(key)(box) == body


@given(st.integers(0, 8 * len(NONCE + BOX) - 1))
def test_a_box_with_one_bit_changed_does_not_open(bit: int) -> None:
    box = bytearray(NONCE + BOX)
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError, match="the packet does not open"):
        box_opener(KEY)(bytes(box))


def test_another_key_does_not_open_and_the_error_quotes_no_key() -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        box_opener(OTHER_KEY, "the hello")(NONCE + BOX)
    assert str(raised.value).startswith("the hello does not open")
    assert raised.value.__context__ is None


@pytest.mark.parametrize("size", [0, 1, 23, 24, 39])
def test_what_is_shorter_than_nonce_and_tag_is_no_box(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"the packet has {size} bytes; expected a box, of 40 bytes or more"):
        box_opener(KEY)(bytes(size))


def test_40_bytes_may_be_the_box_of_nothing() -> None:
    empty = box_sealer(KEY, lambda: NONCE)(b"")
    assert len(empty) == 40
    assert box_opener(KEY)(empty) == b""


def test_nonces_are_16_random_bytes_and_a_counter() -> None:
    next_nonce, own = PrefixCounter().start(lambda size: b"r" * size)
    assert [next_nonce() for _ in range(3)] == [b"r" * 16 + bytes(7) + bytes((i,)) for i in range(3)]
    assert own == b"r" * 16


def test_a_box_whose_nonce_is_of_this_sides_own_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="a packet of this side's own was sent back to it"):
        box_opener(KEY, own=NONCE[:16])(NONCE + BOX)
    assert box_opener(KEY, own=NONCE[:15] + b"!")(NONCE + BOX) == MESSAGE


def test_a_head_stands_in_front_of_the_box_and_is_made_of_its_length() -> None:
    assert box_sealer(KEY, lambda: NONCE, lambda size: b"%d:" % size)(MESSAGE) == b"171:" + NONCE + BOX
