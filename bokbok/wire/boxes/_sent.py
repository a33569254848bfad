"""Nonces that travel with their boxes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...errors import BokbokError
from ._box import BOX_OVERHEAD, NONCE_BYTES, TAG_BYTES, Draw, Head, Open, PrefixCounter, Seal, box_opener, box_sealer
from ._strategy import BoxMaker, Role
from ._wrappers import (
    USER_KEY_LEAK,
    Behind,
    check_zeros,
    implied_opener,
    implied_sealer,
    with_head,
    with_zeros,
    without_zeros,
)

__all__ = [
    "Sent",
]


@dataclass(frozen=True)
class Sent:
    """Each box travels with its nonce, which a receiver takes whatever it is.

    Attributes:
        place: `front` or `behind` the box.
        key: where the nonce of the session-key box is: `front`, `behind`, or `zero`: 24 zero bytes that are not sent.
        zeros: zero bytes in front of each tag: NaCl's own C functions leave 16 there.
        choose: how this side picks its own (16 random bytes and a counter); only tests give another.
    """

    strategy: ClassVar[str] = "sent"
    place: Literal["front", "behind"] = "front"
    key: Literal["front", "behind", "zero"] = "front"
    zeros: int = 0
    choose: PrefixCounter = field(default_factory=PrefixCounter, repr=False, metadata={"hidden": True})

    def __post_init__(self) -> None:
        if self.place not in ("front", "behind"):
            raise BokbokError(f"a nonce stands in 'front' or 'behind', not {self.place!r}")
        if self.key not in ("front", "behind", "zero"):
            raise BokbokError(f"the session-key box's nonce is in 'front', 'behind' or 'zero', not {self.key!r}")
        check_zeros(self.zeros)

    @property
    def leaks(self) -> str | None:
        """See `NonceScheme.leaks`."""
        return USER_KEY_LEAK if self.key == "zero" else None

    def start(self, role: Role, draw: Draw) -> BoxMaker:
        """See `NonceScheme.start`."""
        return _SentMaker(self, draw)


class _SentMaker:
    base = b""
    base_size = 0

    def __init__(self, scheme: Sent, draw: Draw) -> None:
        self._scheme, self._draw = scheme, draw
        self._begun: tuple[Callable[[], bytes], bytes] | None = None
        self.key_overhead = (TAG_BYTES if scheme.key == "zero" else BOX_OVERHEAD) + scheme.zeros
        self.overhead = BOX_OVERHEAD + scheme.zeros
        self._tag_at = NONCE_BYTES if scheme.place == "front" else 0
        self._key_tag_at = NONCE_BYTES if scheme.key == "front" else 0

    def _begin(self) -> tuple[Callable[[], bytes], bytes]:
        # Not before it is needed: a server draws nothing for a hello that does not open.
        if self._begun is None:
            self._begun = self._scheme.choose.start(self._draw)
        return self._begun

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
