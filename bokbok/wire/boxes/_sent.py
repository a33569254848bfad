"""Nonces that travel with their boxes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..strategy import Choice, Integer, Span
from ..strategy import key as strategy_key
from ._box import BOX_OVERHEAD, NONCE_BYTES, TAG_BYTES, Draw, Head, Open, PrefixCounter, Seal, box_opener, box_sealer
from ._strategy import BoxMaker, NonceScheme, Role
from ._wrappers import (
    MOST_ZEROS,
    USER_KEY_LEAK,
    Behind,
    box_spans,
    implied_opener,
    implied_sealer,
    with_head,
    with_zeros,
    without_zeros,
)

__all__ = [
    "Sent",
    "SentMaker",
]


@dataclass(frozen=True)
class Sent(NonceScheme):
    """Each box travels with its nonce. A receiver takes any nonce.

    Attributes:
        place: `front` or `behind` the box.
        key: where the nonce of the session-key box is: `front`, `behind`, or `zero`: 24 zero bytes that are not sent.
        zeros: zero bytes in front of each tag: NaCl's own C functions leave 16 there.
        choose: how this side picks its own (16 random bytes and a counter); only tests give another.
    """

    strategy: ClassVar[str] = "sent"
    place: Literal["front", "behind"] = strategy_key("front", Choice("front", "behind"), always=True)
    key: Literal["front", "behind", "zero"] = strategy_key("front", Choice("front", "behind", "zero"), always=True)
    zeros: int = strategy_key(0, Integer(0, MOST_ZEROS))
    choose: PrefixCounter = strategy_key(PrefixCounter(), hidden=True)

    @property
    def leaks(self) -> str | None:
        """See `NonceScheme.leaks`."""
        return USER_KEY_LEAK if self.key == "zero" else None

    def spans(self, role: Role, size: int, *, first: bool) -> list[Span]:
        """See `NonceScheme.spans`."""
        return box_spans(size, self.place, self.zeros)

    def key_spans(self, size: int) -> list[Span]:
        """See `NonceScheme.key_spans`."""
        return box_spans(size, self.key, self.zeros)

    def start(self, role: Role, draw: Draw) -> BoxMaker:
        """See `NonceScheme.start`."""
        return SentMaker(self, draw)


class SentMaker:
    __slots__ = (
        "_draw",
        "_key_tag_at",
        "_next_nonce",
        "_own",
        "_scheme",
        "_tag_at",
        "base",
        "key_overhead",
        "overhead",
    )
    base_size = 0

    def __init__(self, scheme: Sent, draw: Draw) -> None:
        self._scheme, self._draw = scheme, draw
        self.base = b""
        self._next_nonce: Callable[[], bytes] | None = None
        self._own: bytes | None = None  # what all nonces of this side begin with
        self.key_overhead = (TAG_BYTES if scheme.key == "zero" else BOX_OVERHEAD) + scheme.zeros
        self.overhead = BOX_OVERHEAD + scheme.zeros
        self._tag_at = NONCE_BYTES if scheme.place == "front" else 0
        self._key_tag_at = NONCE_BYTES if scheme.key == "front" else 0

    def _begin(self) -> tuple[Callable[[], bytes], bytes | None]:
        # Not before it is needed: a server draws nothing for a hello that does not open.
        if self._next_nonce is None:
            self._next_nonce, self._own = self._scheme.choose.start(self._draw)
        return self._next_nonce, self._own

    def in_front(self) -> tuple[Callable[[], bytes], bytes | None] | None:
        """Where each box is its nonce, tag and ciphertext, and nothing else: what makes this side's nonces, and what
        they all begin with, if they do. `None` for any other form of boxes."""
        return self._begin() if self._scheme.place == "front" and not self._scheme.zeros else None

    def key_sealer(self, key: bytes) -> Seal:
        if self._scheme.key == "zero":
            seal = implied_sealer(key, itertools.repeat(bytes(NONCE_BYTES)))
        else:
            seal = (box_sealer if self._scheme.key == "front" else Behind.sealer)(key, self._begin()[0])
        return with_zeros(seal, self._scheme.zeros, self._key_tag_at)

    def key_opener(self, key: bytes) -> Open:
        if self._scheme.key == "zero":
            opened = implied_opener(key, itertools.repeat(bytes(NONCE_BYTES)), "the hello")
        else:
            opened = (box_opener if self._scheme.key == "front" else Behind.opener)(key, "the hello")
        return without_zeros(opened, self._scheme.zeros, self._key_tag_at, "the hello's box")

    def sealer(self, key: bytes, head: Head | None = None) -> Seal:
        if self._scheme.place == "front" and not self._scheme.zeros:
            return box_sealer(key, self._begin()[0], head)
        seal = (box_sealer if self._scheme.place == "front" else Behind.sealer)(key, self._begin()[0])
        return with_head(with_zeros(seal, self._scheme.zeros, self._tag_at), head)

    def opener(self, key: bytes, *, refuse_own: bool) -> Open:
        own = self._begin()[1] if refuse_own else None
        opened = (box_opener if self._scheme.place == "front" else Behind.opener)(key, "the packet", own)
        return without_zeros(opened, self._scheme.zeros, self._tag_at, "the packet")
