"""Nonces that are counted and do not travel, except for a base."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ...errors import ProfileError
from ..strategy import Integer, Span
from ..strategy import key as strategy_key
from ._box import BOX_OVERHEAD, NONCE_BYTES, TAG_BYTES, Draw, Head, Open, Seal, box_opener, box_sealer
from ._secretbox import sealer as secretbox_sealer
from ._strategy import BoxMaker, NonceScheme, Role
from ._wrappers import (
    MOST_ZEROS,
    SESSION_LEAK,
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
    "Counted",
]

_NEVER_REACHED = 1 << 64
"""More messages than any connection sends: counters this far apart do not meet."""

KeyNonce = Literal["front", "behind", "zero", "counter", "base", "zero-front", "zero-behind"]


_MOST = (1 << 8 * NONCE_BYTES) - 1
"""What may be added to a nonce."""


@dataclass(frozen=True)
class Counted(NonceScheme):
    """Nonces are counted and do not travel, except for a base.

    Attributes:
        base: what is counted up from: `zero`; `hello` (24 random bytes, the hello's field `nonce`); `key` (the 24
            bytes that travel with the session-key box); `first` (each direction's first box has its nonce in front,
            the others count on from it).
        order: `big` or `little`: in which order the counter's bytes stand.
        at: where in the 24 bytes the counter begins.
        width: how many of them it is; the others stay as the base has them.
        client: what is added to the base for the client's first message.
        server: the same for the server's first one.
        step: what is added from one message to the next.
        key: the nonce of the session-key box: `front`, `behind` (it travels), `zero`, `counter` (the base and
            `key_count`), `base` (the same as `counter`, of a base that travels), `zero-front`, `zero-behind` (zeros;
            what travels with the box is the base alone).
        key_count: see `key`.
        client_base: what the client counts from: `same` (the base) or `zero`.
        server_base: what the server counts from: `same`, `zero`, or `first` (its first box brings a base of its own).
        first: where a base that comes with the first box stands: `front` or `behind`.
        zeros: zero bytes in front of each tag: NaCl's own C functions leave 16 there.
    """

    strategy: ClassVar[str] = "counted"
    base: Literal["zero", "hello", "key", "first"] = strategy_key("zero", always=True)
    order: Literal["big", "little"] = strategy_key("big", always=True)
    at: int = strategy_key(0, Integer(0, NONCE_BYTES - 1))
    width: int = strategy_key(NONCE_BYTES, Integer(1, NONCE_BYTES))
    client: int = strategy_key(0, Integer(0, _MOST), always=True)
    server: int = strategy_key(0, Integer(0, _MOST), always=True)
    step: int = strategy_key(1, Integer(1, _MOST))
    key: KeyNonce = strategy_key("counter", always=True)
    key_count: int = strategy_key(0, Integer(0, _MOST))
    client_base: Literal["same", "zero"] = "same"
    server_base: Literal["same", "zero", "first"] = "same"
    first: Literal["front", "behind"] = "front"
    zeros: int = strategy_key(0, Integer(0, MOST_ZEROS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at + self.width > NONCE_BYTES:
            raise ProfileError(
                f"at is {self.at} and width {self.width}: expected a counter within the {NONCE_BYTES} bytes of a nonce"
            )
        if self.base == "key" and not self._beside():
            raise ProfileError(
                f"base is 'key' and key is {self.key!r}: expected a nonce that travels with the session key's box"
            )

    def _beside(self) -> str:
        """Where 24 bytes travel with the session-key box: `front`, `behind`, or empty."""
        place = self.key.removeprefix("zero-")
        return place if place in ("front", "behind") else ""

    @property
    def leaks(self) -> str | None:
        """See `NonceScheme.leaks`."""
        out = []
        if self.key.startswith("zero") or (self.key in ("counter", "base") and self.base in ("zero", "first")):
            out.append(USER_KEY_LEAK)
        apart = abs(self.client - self.server)
        meet = apart % self.step == 0 and apart < _NEVER_REACHED
        if self._base_of("client") == self._base_of("server") != "first" and meet:
            out.append(SESSION_LEAK)
        return "; ".join(out) or None

    def spans(self, role: Role, size: int, *, first: bool) -> list[Span]:
        """See `NonceScheme.spans`."""
        return box_spans(size, self.first if first and self.has_own_base(role) else "", self.zeros)

    def counted(self, role: Role, number: int) -> str:
        """See `NonceScheme.counted`."""
        own = self.has_own_base(role)
        count = number * self.step + (0 if own else self.client if role == "client" else self.server)
        base = "the base of this direction's first box" if own else _BASES[self.base]
        return f"{base} + {count}"

    def key_spans(self, size: int) -> list[Span]:
        """See `NonceScheme.key_spans`."""
        return box_spans(size, self._beside(), self.zeros)

    def _base_of(self, role: Role) -> str:
        """What a side counts from, by name."""
        own = self.client_base if role == "client" else self.server_base
        return self.base if own == "same" or self.base == "first" else own

    def has_own_base(self, role: Role) -> bool:
        """Whether that side's first box brings the base of its nonces."""
        return self._base_of(role) == "first"

    def messages(self, role: Role, base: bytes) -> Iterator[bytes]:
        """The nonces of a side's messages, given the base that has travelled."""
        start = bytes(NONCE_BYTES) if self._base_of(role) == "zero" else base
        return self.nonces(start, self.client if role == "client" else self.server)

    def nonces(self, base: bytes, count: int) -> Iterator[bytes]:
        """The nonces from a base on, the first of them `count` beyond it."""
        at, end, order = self.at, self.at + self.width, self.order
        front, back = base[:at], base[end:]
        start = int.from_bytes(base[at:end], order)
        modulus = 1 << (8 * self.width)
        for number in itertools.count(start + count, self.step):
            yield front + (number % modulus).to_bytes(self.width, order) + back

    def start(self, role: Role, draw: Draw) -> BoxMaker:
        """See `NonceScheme.start`."""
        return _CountedMaker(self, role, draw)


class _CountedMaker:
    def __init__(self, scheme: Counted, role: Role, draw: Draw) -> None:
        self._scheme, self._role, self._draw = scheme, role, draw
        self.base_size = NONCE_BYTES if scheme.base == "hello" else 0
        self.base = draw(NONCE_BYTES) if self.base_size and role == "client" else bytes(NONCE_BYTES)
        self.key_overhead = (BOX_OVERHEAD if scheme._beside() else TAG_BYTES) + scheme.zeros
        self.overhead = (BOX_OVERHEAD if "first" in (scheme.base, scheme.server_base) else TAG_BYTES) + scheme.zeros

    def _key_nonces(self) -> Iterator[bytes]:
        if self._scheme.key == "zero":
            return itertools.repeat(bytes(NONCE_BYTES))
        return self._scheme.nonces(self.base, self._scheme.key_count)

    def key_sealer(self, key: bytes) -> Seal:
        """See `BoxMaker.key_sealer`."""
        at = NONCE_BYTES if self._scheme._beside() == "front" else 0
        return with_zeros(self._key_sealer(key), self._scheme.zeros, at)

    def key_opener(self, key: bytes) -> Open:
        """See `BoxMaker.key_opener`."""
        at = NONCE_BYTES if self._scheme._beside() == "front" else 0
        return without_zeros(self._key_opener(key), self._scheme.zeros, at, "the hello's box")

    def _key_sealer(self, key: bytes) -> Seal:
        scheme = self._scheme
        place = scheme._beside()
        if not place:
            return implied_sealer(key, self._key_nonces())
        nonce = self._draw(NONCE_BYTES)
        if scheme.base == "key":
            self.base = nonce
        if place != scheme.key:
            front = place == "front"
            seal_behind = secretbox_sealer(key)

            def seal(body: bytes) -> bytes:
                box = seal_behind(b"", body, bytes(NONCE_BYTES))
                return nonce + box if front else box + nonce

            return seal
        return (box_sealer if scheme.key == "front" else Behind.sealer)(key, lambda: nonce)

    def _key_opener(self, key: bytes) -> Open:
        scheme = self._scheme
        place = scheme._beside()
        if not place:
            return implied_opener(key, self._key_nonces(), "the hello")
        front = place == "front"
        if place == scheme.key:
            opened = (box_opener if front else Behind.opener)(key, "the hello")
        else:
            inner = implied_opener(key, itertools.repeat(bytes(NONCE_BYTES)), "the hello")

            def opened(box: bytes) -> bytes:
                return inner(box[NONCE_BYTES:] if front else box[:-NONCE_BYTES])

        def open_key(box: bytes) -> bytes:
            text = opened(box)
            if scheme.base == "key":
                self.base = box[:NONCE_BYTES] if front else box[-NONCE_BYTES:]
            return text

        return open_key

    def sealer(self, key: bytes, head: Head | None = None) -> Seal:
        scheme, role = self._scheme, self._role
        if not scheme.has_own_base(role):
            # Only now is the base known: the first box asks for it.
            late = self._late(lambda: implied_sealer(key, scheme.messages(role, self.base)))
            return with_head(with_zeros(late, scheme.zeros, 0), head)
        base = self._draw(NONCE_BYTES)
        nonces = scheme.nonces(base, 0)
        rest = with_zeros(implied_sealer(key, nonces), scheme.zeros, 0)
        seal_first, zeros = secretbox_sealer(key), bytes(scheme.zeros)
        first, front = True, scheme.first == "front"

        def seal(body: bytes) -> bytes:
            nonlocal first
            if first:
                first = False
                nonce = next(nonces)
                box = zeros + seal_first(b"", body, nonce)
                return nonce + box if front else box + nonce
            return rest(body)

        return with_head(seal, head)

    def opener(self, key: bytes, *, refuse_own: bool) -> Open:
        # A box of this side's own that was sent back is out of turn, and does not open. If both sides count alike,
        # nothing shows it.
        scheme, role = self._scheme, _other(self._role)
        if not scheme.has_own_base(role):
            late = self._late(lambda: implied_opener(key, scheme.messages(role, self.base), "the packet"))
            return without_zeros(late, scheme.zeros, 0, "the packet")
        front = scheme.first == "front"
        opened = (box_opener if front else Behind.opener)(key, "the packet")
        opened = without_zeros(opened, scheme.zeros, NONCE_BYTES if front else 0, "the packet")
        rest: Open | None = None

        def open_box(box: bytes) -> bytes:
            nonlocal rest
            if rest is not None:
                return rest(box)
            text = opened(box)
            base = box[:NONCE_BYTES] if front else box[-NONCE_BYTES:]
            later = implied_opener(key, scheme.nonces(base, scheme.step), "the packet")
            rest = without_zeros(later, scheme.zeros, 0, "the packet")
            return text

        return open_box

    @staticmethod
    def _late(make: Callable[[], Callable[[bytes], bytes]]) -> Callable[[bytes], bytes]:
        bound: Callable[[bytes], bytes] | None = None

        def call(data: bytes) -> bytes:
            nonlocal bound
            if bound is None:
                bound = make()
            return bound(data)

        return call


_BASES = {
    "zero": "zero", "hello": "the base in the hello", "key": "the nonce of the session key's box",
    "first": "the base of the first box",
}  # fmt: skip


def _other(role: Role) -> Role:
    return "server" if role == "client" else "client"
