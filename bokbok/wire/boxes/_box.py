"""A box: a nonce, a tag and a ciphertext."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..._native import NATIVE
from ...errors import RemoteProtocolError
from ._secretbox import KEY_BYTES, NONCE_BYTES, TAG_BYTES, SealBehind, opener, sealer

__all__ = [
    "BOX_OVERHEAD",
    "KEY_BYTES",
    "NONCE_BYTES",
    "TAG_BYTES",
    "Draw",
    "Head",
    "Open",
    "PrefixCounter",
    "Seal",
    "box_opener",
    "box_sealer",
]

BOX_OVERHEAD = NONCE_BYTES + TAG_BYTES
"""How much longer than its body a box is, with its nonce: 40 bytes."""

Draw = Callable[[int], bytes]
"""A source of randomness: how many bytes to those bytes. `os.urandom`, except for tests that replay a session."""


_pack = struct.Struct(">16sQ").pack


@dataclass(frozen=True)
class PrefixCounter:
    """`inferred-1`: 16 random bytes per connection and side, then a u64 big-endian counter from 0."""

    name: str = "prefix-counter"

    def start(self, draw: Draw) -> tuple[Callable[[], bytes], bytes | None]:
        """Begin one side of one connection.

        Returns:
            A function that returns the next nonce of this side, 24 bytes, never the same twice; and what all of them
            begin with, by which a box that was sent back (a reflection) is recognised; `None` if they have no common
            beginning.
        """
        prefix = draw(16)
        if NATIVE is not None:
            return NATIVE.Nonces(prefix), prefix
        # `lambda: pack(prefix, count())`, with half as many objects for the garbage collector to look at, and steps.
        return map(_pack, itertools.repeat(prefix), itertools.count()).__next__, prefix


Seal = Callable[[bytes], bytes]
Open = Callable[[bytes], bytes]
Head = Callable[[int], bytes]
"""What a framing puts in front of a packet of so many bytes."""


def not_opened(what: str, size: int, least: int) -> RemoteProtocolError:
    """What is raised for a box that does not open. Which of the causes it was cannot be known.

    Args:
        what: was being opened.
        size: its bytes.
        least: bytes of the shortest box: its tag, and its nonce where that travels.
    """
    if size < least:
        return RemoteProtocolError(f"{what} has {size} bytes; expected a box, of {least} bytes or more")
    return RemoteProtocolError(
        f"{what} does not open: another key or nonce made it, it was changed on the way, or it is not a box"
    )


def box_sealer(key: bytes, next_nonce: Callable[[], bytes], head: Head | None = None) -> Seal:
    """Bind a key and a side's nonces to a function: body to `nonce || tag || ciphertext`.

    Args:
        key: 32 bytes.
        next_nonce: returns a nonce, 24 bytes, never the same twice.
        head: what goes in front of a box of so many bytes, where that is to be made in one piece.
    """
    boxes = _Sealing(sealer(key), next_nonce, head)
    return boxes.seal if head is None else boxes.seal_packet


def box_opener(key: bytes, what: str = "the packet", own: bytes | None = None) -> Open:
    """Bind a key to a function: `nonce || tag || ciphertext` to body.

    Args:
        key: 32 bytes.
        what: what is being opened, for the error.
        own: what this side's own nonces begin with, where a box of its own is to be refused.

    The function raises `RemoteProtocolError` for what does not open: too short, made under another key, or changed on
    the way. Which of these it was cannot be known.
    """
    return _Opening(opener(key), what, own).open


# Classes rather than nested functions: of those, each name would be an object for the garbage collector.


class _Sealing:
    __slots__ = ("_head", "_next_nonce", "_seal_behind")

    def __init__(self, seal_behind: SealBehind, next_nonce: Callable[[], bytes], head: Head | None) -> None:
        self._seal_behind = seal_behind
        self._next_nonce = next_nonce
        self._head: Any = head

    def seal(self, body: bytes) -> bytes:
        nonce = self._next_nonce()
        return self._seal_behind(nonce, body, nonce)

    def seal_packet(self, body: bytes) -> bytes:
        nonce = self._next_nonce()
        return self._seal_behind(self._head(len(body) + BOX_OVERHEAD) + nonce, body, nonce)


class _Opening:
    __slots__ = ("_open_or_none", "_own", "_what")

    def __init__(self, open_or_none: Callable[[bytes], bytes | None], what: str, own: bytes | None) -> None:
        self._open_or_none = open_or_none
        self._what = what
        self._own = own

    def open(self, box: bytes) -> bytes:
        own = self._own
        if own is not None and box.startswith(own):
            raise RemoteProtocolError("a packet of this side's own was sent back to it (a reflection)")
        body = self._open_or_none(box)
        if body is not None:
            return body
        raise not_opened(self._what, len(box), BOX_OVERHEAD)
