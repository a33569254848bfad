"""Ways: how the boxes of messages open, once a session key is known.

What this module knows: nonces that travel, are counted, or begin with a base.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .clock import Clock
from .encoding import Seen, texts_in, value_at
from .framing.cut import common_prefix
from .session_key import DIRECTIONS, LAYOUTS, TAG_ZEROS, ZERO, counted, open_box

__all__ = ["SAMPLE", "Opened", "Way", "apply", "ways_in"]

_MOST_PREFIX = 40
"""Bytes of type before a box; a symbol and a few words."""
_MOST_SUFFIX = 4
_PLACES = [(start, end) for end in range(_MOST_SUFFIX + 1) for start in range(_MOST_PREFIX + 1)]
"""Bytes before a raw box, and after it."""
SAMPLE = 6
"""How many packets tell one way from others: `ways_in` does not look at more."""
_MOST_STARTS = 6
"""A counter may begin with a number below this: a few boxes may have been counted before, in steps of one or two."""
_FEW_BASES = 6
_LIKELY_TEXTS = 8
"""How many texts in a packet are tried if there is much else to try."""


@dataclass(frozen=True)
class Way:
    """How the boxes of one direction open.

    Attributes:
        nonce: `front`, `behind`, `counted`, `first`, `first-behind`.
        encoding: the encoding of the box.
        base: what nonces are counted from: `zero`, `hello`, `key`, `content`, `first`; empty for a nonce that travels.
        layout: the layout of the counter.
        start: what is added to the base for the first message.
        step: the step from one message to the next.
        zeros: zero bytes in front of each tag.
    """

    nonce: str
    encoding: str
    base: str = ""
    layout: tuple[str, int, int] = ("big", 0, 24)
    start: int = 0
    step: int = 1
    zeros: int = 0


@dataclass(frozen=True)
class Opened:
    """One message's packet, opened."""

    prefix: bytes
    suffix: bytes
    body: bytes


def _parts(packet: bytes, places: Sequence[tuple[int, int]], encoding: str) -> Iterator[Seen]:
    """The parts of a packet that may be its box: first those at known places."""
    size = len(packet)
    for start, end in places:
        value = packet[start : size - end] if encoding == "raw" else value_at(packet, start, size - end, encoding)
        if value is not None and start + end + 16 <= size:
            yield Seen(start, size - end, encoding, value)
    known = set(places)
    if encoding == "raw":
        for start, end in _PLACES:
            if start + end + 16 <= size and (start, end) not in known:
                yield Seen(start, size - end, "raw", packet[start : size - end])
        return
    for part in texts_in(packet):
        if part.encoding == encoding and (part.start, size - part.end) not in known:
            yield part


def _nonce_of(way: Way, value: bytes, base: bytes, index: int) -> tuple[bytes, bytes]:
    """The nonce of a direction's box, by the box's number, and the rest of the box."""
    if way.nonce == "front" or (way.nonce == "first" and index == 0):
        return value[:24], value[24:]
    if way.nonce == "behind" or (way.nonce == "first-behind" and index == 0):
        return value[-24:], value[:-24]
    return counted(base, way.layout, way.start + index * way.step), value


def apply(
    way: Way, packets: Sequence[bytes], key: bytes, bases: Mapping[str, bytes], clock: Clock, most: int | None = None
) -> list[Opened] | None:
    """Open the packets of one direction in this way; `None` if one does not."""
    out: list[Opened] = []
    places: list[tuple[int, int]] = [(0, 0)]
    base = bases.get(way.base, ZERO)
    for index, packet in enumerate(packets[:most]):
        clock.check()
        for part in _parts(packet, places, way.encoding):
            nonce, box = _nonce_of(way, part.value, base, index)
            body = open_box(box, nonce, key)
            if body is not None:
                break
        else:
            return None
        if index == 0 and way.base == "first":
            base = nonce
        place = (part.start, len(packet) - part.end)
        if place not in places:
            places.append(place)
        out.append(Opened(packet[: part.start], packet[part.end :], body))
    return out


def _first_ways(value: bytes, key: bytes, bases: Mapping[str, bytes], encoding: str) -> Iterator[Way]:
    """The ways in which the first box of a direction opens."""

    def opens(box: bytes, nonce: bytes) -> bool:
        return open_box(box, nonce, key) is not None

    zeros = {
        place: len(TAG_ZEROS) * box.startswith(TAG_ZEROS)
        for place, box in (("front", value[24:]), ("behind", value), ("", value))
    }
    for place, opened in (
        ("front", opens(value[24:], value[:24])), ("behind", opens(value[:-24], value[-24:])),
    ):  # fmt: skip
        if opened:
            yield Way(place, encoding, zeros=zeros[place])
            for layout in LAYOUTS[:4]:
                first = "first" if place == "front" else "first-behind"
                yield Way(first, encoding, "first", layout, zeros=zeros[place])
    for name, base in bases.items():
        for layout in LAYOUTS[:4] if len(bases) > _FEW_BASES else LAYOUTS:
            for start in range(_MOST_STARTS):
                if opens(value, counted(base, layout, start)):
                    yield Way("counted", encoding, name, layout, start, zeros=zeros[""])
    for layout in LAYOUTS[:2]:
        for start in DIRECTIONS:
            if opens(value, counted(ZERO, layout, start)):
                yield Way("counted", encoding, "zero", layout, start, zeros=zeros[""])


def ways_in(
    packets: Sequence[bytes], key: bytes, bases: Mapping[str, bytes], clock: Clock, *, everywhere: bool = False
) -> list[Way]:
    """The ways in which the first packets of a direction open.

    Args:
        packets: the packets of one direction, in order.
        key: the session key.
        bases: what nonces may be counted from, by name.
        clock: says when to give up.
        everywhere: whether boxes may begin at any byte, and not only after what the packets have in common.
    """
    if not packets:
        return []
    out: list[Way] = []
    places = _likely_places(packets)
    encodings = dict.fromkeys([*(part.encoding for part in texts_in(packets[0])), "raw"])
    for encoding in encodings:
        parts = _parts(packets[0], places, encoding)
        if not everywhere:
            parts = itertools.islice(parts, len(places) + (0 if encoding == "raw" else _LIKELY_TEXTS))
        for part in parts:
            clock.check()
            for way in _first_ways(part.value, key, bases, encoding):
                if way not in out and _goes_on(way, packets, key, bases, clock, out):
                    break
    return out


def _likely_places(packets: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where a box probably is: in the whole packet, or between the bytes that packets have in common."""
    sample = packets[:SAMPLE]
    starts, ends = {0: None, 1: None}, {0: None}
    for some in (sample, sample[:2]):
        if len(some) > 1:
            starts[min(common_prefix(some), _MOST_PREFIX)] = None
            ends[min(common_prefix([packet[::-1] for packet in some]), _MOST_SUFFIX)] = None
    return list(itertools.product(starts, ends))


def _goes_on(
    way: Way, packets: Sequence[bytes], key: bytes, bases: Mapping[str, bytes], clock: Clock, out: list[Way]
) -> bool:
    """Whether the next packets open in this way too, by some step; adds it to `out`."""
    if way.nonce in ("front", "behind"):
        steps = [1]
    elif len(packets) < 2:
        if way.base == "first":
            return False  # the nonce travels, and nothing contradicts that
        steps = [1]
    else:
        steps = [1, 2, 256]
    for step in steps:
        stepped = replace(way, step=step)
        if apply(stepped, packets, key, bases, clock, SAMPLE) is not None:
            out.append(stepped)
            return True
    return False
