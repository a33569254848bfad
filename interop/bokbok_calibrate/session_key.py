"""The oracle: where the box of the session key is, and under which key it opens.

What this module knows: windows, nonces and keys, and that whatever authenticates is a box.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import nacl.exceptions
from nacl.bindings import crypto_secretbox_open_easy

from .clock import Clock
from .encoding import Seen, texts_in

__all__ = [
    "ANYWHERE",
    "DIRECTIONS",
    "HELLO_PACKETS",
    "LAYOUTS",
    "MOST_ATTEMPTS",
    "PHASES",
    "TAG_ZEROS",
    "ZERO",
    "KeyBox",
    "Oracle",
    "Place",
    "counted",
    "first_that_opens",
    "open_box",
]


TAG_ZEROS = bytes(16)
"""The zeros that NaCl's own C functions leave in front of a tag. A tag is never all zeros."""


def open_box(box: bytes, nonce: bytes, key: bytes) -> bytes | None:
    """The content of a box, with zeros in front of its tag or not; `None` if it does not open."""
    if len(box) < 16 or len(nonce) != 24:
        return None
    if box.startswith(TAG_ZEROS):
        box = box[len(TAG_ZEROS) :]
    try:
        return crypto_secretbox_open_easy(box, nonce, key)
    except nacl.exceptions.CryptoError:
        return None


LAYOUTS: tuple[tuple[str, int, int], ...] = (
    ("big", 0, 24), ("little", 0, 24), ("big", 0, 8), ("little", 16, 8), ("big", 0, 4), ("little", 20, 4),
    ("big", 0, 16), ("little", 8, 16),
)  # fmt: skip


def counted(base: bytes, layout: tuple[str, int, int], number: int) -> bytes:
    """The nonce at this distance from a base."""
    order, at, width = layout
    end = at + width
    value = (int.from_bytes(base[at:end], order) + number) % (1 << (8 * width))  # type: ignore[arg-type]
    return base[:at] + value.to_bytes(width, order) + base[end:]  # type: ignore[arg-type]


ZERO = bytes(24)


@dataclass(frozen=True)
class KeyBox:
    """The session key's box.

    Attributes:
        packet: the index of the packet that contains it.
        start: where its encoded form begins in the packet.
        end: where it ends.
        encoding: the encoding.
        nonce: `front`, `behind`, `zero`, `counter`, `base`, `zero-front`, `zero-behind`.
        used: the nonce, or the 24 bytes that travel with the box.
        layout: the layout of a counted nonce.
        count: the number in a counted nonce.
        derivation: how the key is derived from the passphrase.
        key: the user's key.
        content: the plaintext.
        zeros: zero bytes in front of its tag.
        base: the place of the nonces' base in the hello: packet, start, end, encoding; `None` if there is none.
        lead: 24 bytes in front of it and its nonce, within the same encoded bytes; usually empty.
        tail: 24 bytes after it, likewise.
    """

    packet: int
    start: int
    end: int
    encoding: str
    nonce: str
    used: bytes
    layout: tuple[str, int, int] | None
    count: int
    derivation: str
    key: bytes = field(repr=False)
    content: bytes = field(repr=False)
    zeros: int = 0
    base: Place | None = None
    lead: bytes = b""
    tail: bytes = b""


MOST_ATTEMPTS = 400_000
"""The most windows that a search tries under each key: some two seconds."""

PHASES = 5
"""The phases of the search, from likely to far-fetched: see `Oracle.find`."""

ANYWHERE = -1
"""A phase of its own: any place in some bytes, where no framing helps."""
_SIZES = (72, 48, 88, 96, 104, 136)
"""Sizes of a session key's box that are looked for anywhere: with a nonce or without, and with some bytes after the
key."""
_BARE_SIZES = (48, 64, 72)

_SHARE = 20_000
"""Attempts that are one part of a search if others do it: a tenth of a second."""

DIRECTIONS = [
    (mark << (8 * byte)) + count * (256 if byte == 0 else 1)
    for byte in (23, 0) for mark in (1, 2, 128) for count in range(3)
]  # fmt: skip
"""Bases of nonces whose first or last byte says which direction it is."""

HELLO_PACKETS = 5
"""The packets of a client that are looked at."""

Place = tuple[int, int, int, str]
"""Packet, start, end, encoding."""


class Oracle:
    """Looks for the session key's box. What did not open is not tried again.

    Attributes:
        keys: possible keys of the user, by derivation.
        left: how many attempts the current search has left.
    """

    def __init__(self, keys: dict[str, bytes], clock: Clock) -> None:
        self.keys = keys
        self.left: float = MOST_ATTEMPTS
        self._clock = clock
        self._tried: set[int] = set()
        self._blind = False
        self._assumed: list[int] = []

    def _open(self, box: bytes, nonce: bytes) -> tuple[str, bytes] | None:
        mark = hash((box, nonce))
        if mark in self._tried or self.left <= 0:
            return None
        self._clock.check()
        self.left -= len(self.keys)
        if self._blind:
            self._tried.add(mark)
            self._assumed.append(mark)
            return None
        for name, key in self.keys.items():
            content = open_box(box, nonce, key)
            if content is not None:
                return name, content
        self._tried.add(mark)
        return None

    def find(self, packets: list[bytes], user: bytes, phase: int, *, shut: float = 0) -> KeyBox | None:
        """Look in the first packets of a client.

        Args:
            packets: the client's packets.
            user: the username.
            phase: 0 looks for boxes whose nonce travels with them; 1 for nonces of zeros and nonces elsewhere in the
                hello; 2 for counted nonces; 3 at any place in a packet; 4 for nonces that say which direction it is;
                `ANYWHERE` at any place of one packet, whatever is around it.
            shut: before this look, nothing opens: others have seen that.
        """
        looks, bases = _looks(tuple(packets[:HELLO_PACKETS]), user, phase)
        found = None
        for number, (index, part, how) in enumerate(looks):
            self._blind = number < shut
            found = self.look(index, part, bases, how)
            if found is not None:
                self.keys = {found.derivation: found.key}  # the others are out
                break
        self._blind = False
        self.keep()
        return found

    def shares(self, packets: list[bytes], user: bytes, phase: int) -> Iterator[list[int]]:
        """Go through a search as if nothing opened, and open nothing.

        When it is exhausted, the oracle is as after a `find` that has found nothing. `take_back` undoes that.

        Args:
            packets: the client's packets.
            user: the username.
            phase: as of `find`.

        Yields:
            The numbers of looks, in order, as many as one share of the search: for `first_that_opens`.
        """
        looks, bases = _looks(tuple(packets[:HELLO_PACKETS]), user, phase)
        share: list[int] = []
        begin = self.left
        for number, (index, part, how) in enumerate(looks):
            before = self.left
            self._blind = True
            self.look(index, part, bases, how)
            self._blind = False
            if self.left < before:
                share.append(number)
            if begin - self.left >= _SHARE:
                yield share
                share, begin = [], self.left
        if share:
            yield share

    def keep(self) -> None:
        """What `shares` has assumed is true."""
        self._assumed = []

    def take_back(self) -> None:
        """What `shares` has assumed since the search began is not true, or not known."""
        self._tried.difference_update(self._assumed)
        self._assumed = []
        self.left = MOST_ATTEMPTS

    def first_that_opens(self, hello: tuple[bytes, ...], user: bytes, phase: int, numbers: Sequence[int]) -> int | None:
        """The first of some looks at which something opens, however many there are."""
        self.left = math.inf
        looks, bases = _looks(hello, user, phase)
        for number in numbers:
            index, part, how = looks[number]
            if self.look(index, part, bases, how) is not None:
                return number
        return None

    def look(self, index: int, part: Seen, bases: list[tuple[Place, bytes]], phase: int) -> KeyBox | None:
        """Whether a window is the box, or the box and 24 bytes more.

        Args:
            index: the index of its packet.
            part: the window.
            bases: what the nonce may be counted from, and where that is.
            phase: see `find`.
        """
        found = self._look(index, part, bases, phase)
        # Raw bytes are not taken together: there, what is beside the box is searched by itself.
        if found is not None or part.encoding == "raw":
            return found
        value = part.value
        for lead, inner, tail in ((b"", value[:-24], value[-24:]), (value[:24], value[24:], b"")):
            found = self._look(index, replace(part, value=inner), bases, phase)
            if found is None and phase == 1:
                found = self._next(index, replace(part, value=inner), lead + tail)
            if found is not None:
                return replace(found, lead=lead, tail=tail)
        return None

    def _look(self, index: int, part: Seen, bases: list[tuple[Place, bytes]], phase: int) -> KeyBox | None:
        if phase == 0:
            return self._sent(index, part)
        if len(part.value) < 48:
            return None
        if phase == 2:
            return self._counted(index, part, LAYOUTS, (1, 2))
        if phase == 4:
            return self._counted(index, part, LAYOUTS[:2], DIRECTIONS)
        return self._zero(index, part) or self._based(index, part, bases, phase)

    def _next(self, index: int, part: Seen, base: bytes) -> KeyBox | None:
        """Whether it opens with the next number after a base beside it."""
        for layout in LAYOUTS[:2] if len(part.value) >= 48 else ():
            used = counted(base, layout, 1)
            found = self._open(part.value, used)
            if found:
                return self._made(index, part, "base", used, found, layout=layout, count=1)
        return None

    def _made(self, index: int, part: Seen, nonce: str, used: bytes, found: tuple[str, bytes], **more: Any) -> KeyBox:
        name, content = found
        fields = {"layout": None, "count": 0, "base": None} | more
        plain = 16 + len(content) + (24 if nonce in ("front", "behind", "zero-front", "zero-behind") else 0)
        fields["zeros"] = len(part.value) - plain
        return KeyBox(
            index, part.start, part.end, part.encoding, nonce, used,
            derivation=name, key=self.keys[name], content=content, **fields,
        )  # fmt: skip

    def _sent(self, index: int, part: Seen) -> KeyBox | None:
        value = part.value
        if len(value) < 72:
            return None
        found = self._open(value[24:], value[:24])
        if found:
            return self._made(index, part, "front", value[:24], found)
        found = self._open(value[:-24], value[-24:])
        return self._made(index, part, "behind", value[-24:], found) if found else None

    def _counted(
        self, index: int, part: Seen, layouts: Sequence[tuple[str, int, int]], numbers: Sequence[int]
    ) -> KeyBox | None:
        for layout in layouts:
            for number in numbers:
                used = counted(ZERO, layout, number)
                found = self._open(part.value, used)
                if found:
                    return self._made(index, part, "counter", used, found, layout=layout, count=number)
        return None

    def _zero(self, index: int, part: Seen) -> KeyBox | None:
        value = part.value
        found = self._open(value, ZERO)
        if found:
            return self._made(index, part, "zero", ZERO, found)
        if len(value) >= 72 and part.encoding != "raw":
            # Raw bytes are not taken together: there, the base is searched by itself.
            for nonce, box, beside in (
                ("zero-front", value[24:], value[:24]), ("zero-behind", value[:-24], value[-24:]),
            ):  # fmt: skip
                found = self._open(box, ZERO)
                if found:
                    return self._made(index, part, nonce, beside, found)
        return None

    def _based(self, index: int, part: Seen, bases: list[tuple[Place, bytes]], phase: int) -> KeyBox | None:
        for place, base in bases:
            if place[0] == index and place[1] < part.end and part.start < place[2]:
                continue
            found = self._open(part.value, base)
            if found:
                return self._made(index, part, "base", base, found, base=place)
            beside = place[0] == index and part.encoding == "raw" and (place[2] == part.start or place[1] == part.end)
            for layout in LAYOUTS[:2] if phase == 1 or beside else ():
                used = counted(base, layout, 1)
                found = self._open(part.value, used)
                if found:
                    return self._made(index, part, "base", used, found, layout=layout, count=1, base=place)
        return None


Look = tuple[int, Seen, int]
"""The index of a packet, a window of it, and the phase."""


@functools.lru_cache(maxsize=2)  # the shares of a search are parts of one list
def _looks(hello: tuple[bytes, ...], user: bytes, phase: int) -> tuple[list[Look], list[tuple[Place, bytes]]]:
    """Everything that a search looks at, in order, and what nonces may be counted from."""
    if phase == ANYWHERE:
        return [(0, part, how) for part in _anywhere(hello[0]) for how in (0, 1)[: 1 + _is_bare(part)]], []
    looks = [(index, part, phase) for index, packet in enumerate(hello) for part in texts_in(packet)]
    for index, packet in enumerate(hello):
        looks += [(index, part, phase) for part in _raw(packet, user, wide=phase == 3)]
    return looks, list(_bases(hello, wide=phase == 3)) if phase in (1, 3) else []


def _raw(packet: bytes, user: bytes, *, wide: bool) -> Iterator[Seen]:
    """Windows of a packet that may be a raw box, likely ones first. With `wide`, at every offset."""
    size = len(packet)
    if size > 1024:
        return
    at = packet.find(user) if user else -1
    likely = {0, 1, size - 48, size - 72}
    if at >= 0:
        behind = at + len(user)
        likely |= {behind, behind + 1, behind + 24, behind + 25}
    starts = [start for start in sorted(likely) if start >= 0]
    starts += [start for start in range(size - 47 if wide else min(size - 47, 160)) if start not in likely]
    for start in starts:
        ends = [size, size - 24]  # a base of nonces may follow it
        if at >= start + 48:
            ends += [at, *range(at - 1, max(start + 47, at - 9), -1)]
        if wide or start in likely:
            ends += [start + 72, start + 48]
        for end in dict.fromkeys(ends):
            if start + 48 <= end <= size:
                yield Seen(start, end, "raw", packet[start:end])


def _bases(hello: Sequence[bytes], *, wide: bool) -> Iterator[tuple[Place, bytes]]:
    """Parts of the hello that may be a base of nonces: 24 bytes in some form."""
    for index, packet in enumerate(hello):
        for part in texts_in(packet):
            if len(part.value) == 24:
                yield (index, part.start, part.end, part.encoding), part.value
        if 24 <= len(packet) <= 40:
            yield (index, len(packet) - 24, len(packet), "raw"), packet[-24:]
    for index, packet in enumerate(hello):
        if wide and 40 < len(packet) <= 200:
            for start in range(len(packet) - 23):
                yield (index, start, start + 24, "raw"), packet[start : start + 24]


def _anywhere(data: bytes) -> Iterator[Seen]:
    """Windows at every offset, of the sizes that a session key gives."""
    return itertools.chain(
        texts_in(data),
        (
            Seen(start, start + size, "raw", data[start : start + size])
            for start in range(max(0, len(data) - 47))
            for size in _SIZES
            if start + size <= len(data)
        ),
    )


def _is_bare(part: Seen) -> bool:
    """Whether it may be a box without a nonce beside it."""
    return len(part.value) in _BARE_SIZES


def first_that_opens(
    keys: dict[str, bytes], hello: tuple[bytes, ...], user: bytes, phase: int, numbers: Sequence[int], clock: Clock
) -> int | None:
    """The first of some looks of a search at which something opens: a share of `Oracle.shares`."""
    return Oracle(keys, clock).first_that_opens(hello, user, phase, numbers)
