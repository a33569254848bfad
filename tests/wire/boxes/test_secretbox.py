"""`bokbok.wire.boxes._secretbox`: its use of libsodium's secretbox gives the same as PyNaCl's, in both directions."""

from __future__ import annotations

import os
import sys
import types

import pytest
from nacl.bindings import crypto_secretbox_easy

from bokbok.wire.boxes import _secretbox as secretbox

KEY, NONCE = bytes(range(32)), bytes(range(100, 124))
SIZES = [0, 1, 1023, 1024, 1025, 65_535, 65_536, 65_537, 100_000]


@pytest.fixture(params=["libsodium", "PyNaCl's public functions"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "libsodium":
        assert secretbox._find_sodium() is not None, "the compiled module of PyNaCl is not as we know it"
    else:
        monkeypatch.setattr(secretbox, "_find_sodium", lambda: None)


@pytest.mark.parametrize("size", SIZES)
def test_sealing_gives_what_pynacl_gives_behind_the_front(size: int) -> None:
    body = os.urandom(size)
    sealed = secretbox.sealer(KEY)(b"front", body, NONCE)
    assert type(sealed) is bytes
    assert sealed == b"front" + crypto_secretbox_easy(body, NONCE, KEY)


@pytest.mark.parametrize("size", SIZES)
def test_what_pynacl_has_sealed_opens(size: int) -> None:
    body = os.urandom(size)
    opened = secretbox.opener(KEY)(NONCE + crypto_secretbox_easy(body, NONCE, KEY))
    assert type(opened) is bytes
    assert opened == body


def test_one_function_does_for_many_boxes_of_any_length() -> None:
    seal, open_box = secretbox.sealer(KEY), secretbox.opener(KEY)
    bodies = [os.urandom(size) for size in (1000, 10, 5000, 1024, 70_000, 60_000, 1025, 0)]
    boxes = [seal(NONCE, body, NONCE) for body in bodies]
    assert [open_box(box) for box in boxes] == bodies


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", [0, 24, 39, -1])
def test_what_was_changed_anywhere_does_not_open(size: int, where: int) -> None:
    box = bytearray(NONCE + crypto_secretbox_easy(os.urandom(size), NONCE, KEY))
    box[where] ^= 1
    assert secretbox.opener(KEY)(bytes(box)) is None


@pytest.mark.parametrize("size", [0, 1, 23, 24, 39])
def test_what_is_too_short_to_be_a_box_does_not_open(size: int) -> None:
    assert secretbox.opener(KEY)(bytes(size)) is None


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytearray(32)])
def test_a_key_of_another_length_or_type_reaches_no_c_function(key: bytes) -> None:
    for bind in (secretbox.sealer, secretbox.opener):
        with pytest.raises(ValueError, match="a secretbox key has 32 bytes"):
            bind(key)


@pytest.mark.parametrize("size", [0, 23, 25])
def test_a_nonce_of_another_length_reaches_no_c_function(size: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        secretbox.sealer(KEY)(b"", b"body", bytes(size))


@pytest.mark.parametrize("inside", [types.SimpleNamespace(), types.SimpleNamespace(lib=object(), ffi=object()), None])
def test_a_pynacl_that_is_other_inside_is_used_by_its_public_functions(
    monkeypatch: pytest.MonkeyPatch, inside: object
) -> None:
    monkeypatch.setitem(sys.modules, "nacl._sodium", inside)
    if inside is not None:
        monkeypatch.setattr("nacl._sodium", inside)
    else:
        monkeypatch.delattr("nacl._sodium")
    assert secretbox._look_for_sodium() is None
