"""XSalsa20-Poly1305 with as little as possible between libsodium and a connection.

What this module knows: how to call libsodium's secretbox.

PyNaCl's own functions check every argument, allocate twice and copy twice for each box, which for a small message
costs more than the cipher. So its compiled module, which is the same libsodium, is called directly if it looks as we
expect it; otherwise PyNaCl's public functions are used. The check is needed because the module (`nacl._sodium`) is
private to PyNaCl.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["KEY_BYTES", "NONCE_BYTES", "TAG_BYTES", "SealBehind", "opener", "sealer"]

KEY_BYTES = 32
"""Bytes of a key (NaCl: `crypto_secretbox_KEYBYTES`)."""
NONCE_BYTES = 24
"""Bytes of a nonce (NaCl: `crypto_secretbox_NONCEBYTES`)."""
TAG_BYTES = 16
"""Bytes of a tag (NaCl: `crypto_secretbox_MACBYTES`)."""

_SCRATCH = 256
"""Bytes of a body for which a function gets memory of its own, once it makes or opens a box."""
_MOST_SCRATCH = 64 * 1024
"""Bytes for which it gets more, and keeps that, once a body needs it. A longer one has its own each time."""

SealBehind = Callable[[bytes, bytes, bytes], bytes]
Open = Callable[[bytes], bytes | None]


def _look_for_sodium() -> Any:
    """PyNaCl's compiled module; `None` if it is not as we know it.

    It is looked for when the first box is made: an insecure connection needs none. And not by way of `nacl.bindings`,
    which imports all that libsodium can do, and takes longer than a request.
    """
    try:
        from nacl import _sodium
    except ImportError:
        return None
    lib: Any = getattr(_sodium, "lib", None)
    usable = all(hasattr(lib, name) for name in ("sodium_init", "crypto_secretbox_easy", "crypto_secretbox_open_easy"))
    # It chooses the fastest code for this processor; twice does no harm.
    return _sodium if usable and hasattr(_sodium, "ffi") and lib.sodium_init() >= 0 else None


_find_sodium = functools.cache(_look_for_sodium)


def _check_key(key: bytes) -> None:
    # The C functions read this many bytes without a check.
    if type(key) is not bytes or len(key) != KEY_BYTES:
        raise ValueError(f"a secretbox key has {KEY_BYTES} bytes")


def _room(size: int) -> int:
    """The next power of two: a connection whose messages grow slowly does not get more each time."""
    return max(_SCRATCH, 1 << (size - 1).bit_length())


def _fresh(ffi: Any) -> Callable[[int], tuple[bytes, Any]]:
    """What makes a `bytes` of so many bytes, more than one, and the pointer by which it is filled, once, before anybody
    else has it.

    Extensions in C fill a fresh `bytes` so (`PyBytes_FromStringAndSize`). The plain version is memory of cffi's own and
    a copy of it: of a long message that is as much again as the cipher.
    """
    from_buffer = ffi.from_buffer

    def fresh(size: int) -> tuple[bytes, Any]:
        whole = bytes(size)  # zeros, which the system has ready: nothing is written yet
        return whole, from_buffer(whole)

    return fresh


def sealer(key: bytes) -> SealBehind:
    """Bind a key to a function: `(front, body, nonce)` to `front || tag || ciphertext`.

    Args:
        key: 32 bytes.

    The nonce must never have been used with this key. One thread at a time may call the function.
    """
    _check_key(key)
    sodium = _find_sodium()
    if sodium is None:
        from nacl.bindings import crypto_secretbox_easy

        return lambda front, body, nonce: front + crypto_secretbox_easy(body, nonce, key)
    return _bound(sodium)[0](key)


def opener(key: bytes) -> Open:
    """Bind a key to a function: `nonce || tag || ciphertext` to the body, or `None` if it does not open.

    Args:
        key: 32 bytes.

    One thread at a time may call the function.
    """
    _check_key(key)
    nonce_bytes, tag = NONCE_BYTES, TAG_BYTES
    sodium = _find_sodium()
    if sodium is not None:
        return _bound(sodium)[1](key)
    from nacl.bindings import crypto_secretbox_open_easy
    from nacl.exceptions import CryptoError

    def open_slowly(box: bytes) -> bytes | None:
        if len(box) < nonce_bytes + tag:
            return None
        try:
            return crypto_secretbox_open_easy(box[nonce_bytes:], box[:nonce_bytes], key)
        except CryptoError:
            return None

    return open_slowly


@functools.cache
def _bound(sodium: Any) -> tuple[Callable[[bytes], SealBehind], Callable[[bytes], Open]]:
    """What binds a key to libsodium's functions.

    The names of all keys' functions are here, once. The plain version is a nested function for each key, which keeps
    each of a dozen names in an object of its own: the garbage collector looks at those of all connections in one go.
    """
    ffi = sodium.ffi
    seal_easy, open_easy = sodium.lib.crypto_secretbox_easy, sodium.lib.crypto_secretbox_open_easy
    allocate, buffer, from_buffer = ffi.new_allocator(should_clear_after_alloc=False), ffi.buffer, ffi.from_buffer
    memmove, fresh = ffi.memmove, _fresh(ffi)
    nonce_bytes, tag, most = NONCE_BYTES, TAG_BYTES, _MOST_SCRATCH

    class Sealer:
        __slots__ = ("key", "room", "scratch", "sealed")

        def __init__(self, key: bytes) -> None:
            self.key = key
            self.room = -1
            self.scratch: Any = None
            self.sealed: Any = None

        def seal_behind(self, front: bytes, body: bytes, nonce: bytes) -> bytes:
            if len(nonce) != nonce_bytes:
                raise ValueError(f"a secretbox nonce has {nonce_bytes} bytes, not {len(nonce)}")
            size = len(body)
            if self.room < size <= most:
                self.room = room = _room(size)
                self.scratch = allocate("unsigned char[]", room + tag)
                self.sealed = buffer(self.scratch)
            # A small box is made in memory that is kept, and copied out with what goes in front of it: an allocation
            # for each box costs more than that copy. A long one is made where it stays, behind `front`: there the copy
            # costs.
            if size <= self.room:
                seal_easy(self.scratch, body, size, nonce, self.key)
                return front + self.sealed[: size + tag]  # type: ignore[no-any-return]  # cffi has no types
            skip = len(front)
            whole, place = fresh(skip + tag + size)
            memmove(place, front, skip)
            seal_easy(place + skip, body, size, nonce, self.key)
            return whole

    class Opener:
        __slots__ = ("key", "opened", "room", "scratch")

        def __init__(self, key: bytes) -> None:
            self.key = key
            self.room = -1
            self.scratch: Any = None
            self.opened: Any = None

        def open(self, box: bytes) -> bytes | None:
            size = len(box) - nonce_bytes
            body = size - tag
            if self.room < body <= most:
                self.room = room = _room(body)
                self.scratch = allocate("unsigned char[]", room)
                self.opened = buffer(self.scratch)
            if body <= self.room:
                if body < 0 or open_easy(self.scratch, box[nonce_bytes:], size, box, self.key):
                    return None
                return self.opened[:body]  # type: ignore[no-any-return]  # cffi has no types
            opened_now, place = fresh(body)
            return None if open_easy(place, from_buffer(box) + nonce_bytes, size, box, self.key) else opened_now

    return lambda key: Sealer(key).seal_behind, lambda key: Opener(key).open
