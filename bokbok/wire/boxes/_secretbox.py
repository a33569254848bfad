"""XSalsa20-Poly1305 with as little as possible between libsodium and a connection.

What this module knows: how to call libsodium's secretbox.

PyNaCl's own functions check every argument, allocate twice and copy twice for each box, which for a small message
costs more than the cipher. So its compiled module, which is the same libsodium, is called directly where it is as we
know it; otherwise PyNaCl's public functions serve. It is part of PyNaCl's inside (`nacl._sodium`), hence that care.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nacl.exceptions
from nacl.bindings import (
    crypto_secretbox_easy,
    crypto_secretbox_KEYBYTES,
    crypto_secretbox_MACBYTES,
    crypto_secretbox_NONCEBYTES,
    crypto_secretbox_open_easy,
)

__all__ = ["opener", "sealer"]

_SCRATCH = 1024
"""Bytes of a body for which a function has memory of its own from the beginning."""
_MOST_SCRATCH = 64 * 1024
"""Bytes for which it gets more, and keeps that, once a body needs it. A longer one has its own each time."""

SealBehind = Callable[[bytes, bytes, bytes], bytes]
Open = Callable[[bytes], bytes | None]


def _find_sodium() -> Any:
    try:
        from nacl import _sodium
    except ImportError:
        return None
    lib = getattr(_sodium, "lib", None)
    usable = hasattr(lib, "crypto_secretbox_easy") and hasattr(lib, "crypto_secretbox_open_easy")
    return _sodium if usable and hasattr(_sodium, "ffi") else None


_sodium = _find_sodium()


def _check_key(key: bytes) -> None:
    # The C functions read so many bytes, whatever is there.
    if type(key) is not bytes or len(key) != crypto_secretbox_KEYBYTES:
        raise ValueError(f"a secretbox key has {crypto_secretbox_KEYBYTES} bytes")


def _room(size: int) -> int:
    """The next power of two: a connection whose messages grow slowly does not get more each time."""
    return 1 << (size - 1).bit_length()


def sealer(key: bytes) -> SealBehind:
    """Bind a key to a function: `(front, body, nonce)` to `front || tag || ciphertext`.

    Args:
        key: 32 bytes.

    The nonce must never have been used with this key. One thread at a time may call the function.
    """
    _check_key(key)
    if _sodium is None:
        return lambda front, body, nonce: front + crypto_secretbox_easy(body, nonce, key)
    ffi, seal_easy = _sodium.ffi, _sodium.lib.crypto_secretbox_easy
    scratch = ffi.new("unsigned char[]", _SCRATCH + crypto_secretbox_MACBYTES)
    sealed = ffi.buffer(scratch)
    allocate, buffer = ffi.new_allocator(should_clear_after_alloc=False), ffi.buffer
    tag, nonce_bytes = crypto_secretbox_MACBYTES, crypto_secretbox_NONCEBYTES

    room = _SCRATCH

    def seal_behind(front: bytes, body: bytes, nonce: bytes) -> bytes:
        nonlocal scratch, sealed, room
        if len(nonce) != nonce_bytes:
            raise ValueError(f"a secretbox nonce has {nonce_bytes} bytes, not {len(nonce)}")
        size = len(body)
        if room < size <= _MOST_SCRATCH:
            room = _room(size)
            scratch = allocate("unsigned char[]", room + tag)
            sealed = buffer(scratch)
        if size <= room:
            seal_easy(scratch, body, size, nonce, key)
            return front + sealed[: size + tag]  # type: ignore[no-any-return]
        fresh = allocate("unsigned char[]", size + tag)
        seal_easy(fresh, body, size, nonce, key)
        return b"".join((front, buffer(fresh)))

    return seal_behind


def opener(key: bytes) -> Open:
    """Bind a key to a function: `nonce || tag || ciphertext` to the body, or `None` if it does not open.

    Args:
        key: 32 bytes.

    One thread at a time may call the function.
    """
    _check_key(key)
    nonce_bytes, tag = crypto_secretbox_NONCEBYTES, crypto_secretbox_MACBYTES
    if _sodium is None:

        def open_slowly(box: bytes) -> bytes | None:
            if len(box) < nonce_bytes + tag:
                return None
            try:
                return crypto_secretbox_open_easy(box[nonce_bytes:], box[:nonce_bytes], key)
            except nacl.exceptions.CryptoError:
                return None

        return open_slowly

    ffi, open_easy = _sodium.ffi, _sodium.lib.crypto_secretbox_open_easy
    scratch = ffi.new("unsigned char[]", _SCRATCH)
    opened = ffi.buffer(scratch)
    allocate, buffer, from_buffer = ffi.new_allocator(should_clear_after_alloc=False), ffi.buffer, ffi.from_buffer

    room = _SCRATCH

    def open_box(box: bytes) -> bytes | None:
        nonlocal scratch, opened, room
        size = len(box) - nonce_bytes
        body = size - tag
        if room < body <= _MOST_SCRATCH:
            room = _room(body)
            scratch = allocate("unsigned char[]", room)
            opened = buffer(scratch)
        if body <= room:
            if body < 0 or open_easy(scratch, box[nonce_bytes:], size, box, key):
                return None
            return opened[:body]  # type: ignore[no-any-return]
        fresh = allocate("unsigned char[]", body)
        if open_easy(fresh, from_buffer(box) + nonce_bytes, size, box, key):
            return None
        return buffer(fresh)[:]  # type: ignore[no-any-return]

    return open_box
