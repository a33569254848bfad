"""Segments: how the bytes that a program writes arrive. It knows nothing of formats, except that text has tokens.

A program that writes a list to an unbuffered port makes a segment of every token; the kernel joins what is written
fast and cuts what is long. A segment therefore says nothing about packets, and a recording has to show that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from random import Random

MSS = 1448
"""What a segment of TCP over Ethernet holds, with timestamps."""

TOKENS = re.compile(rb"[0-9A-Za-z_+/=-]+|[^0-9A-Za-z_+/=-]", re.DOTALL)

MOST = 120
"""No packet is cut into more than about this many segments."""


def _cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(set(at)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds) if end > start]


def whole(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """A segment a write, cut only where it is too long for one."""
    return [piece for data in writes for piece in _cut(data, range(MSS, len(data), MSS))]


def coalesced(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """Everything written at once in as few segments as possible."""
    return whole([b"".join(writes)], rng)


def unbuffered(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """A segment a token, as an unbuffered `write` makes them; now and then some arrive together."""
    found: list[bytes] = []
    for data in writes:
        ends = [match.end() for match in TOKENS.finditer(data)]
        keep = min(1.0, MOST / max(1, len(ends)))
        found += _cut(data, [end for end in ends if rng.random() < keep * 0.9])
    return found


def random_cuts(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """Everything joined, then cut anywhere."""
    data = b"".join(writes)
    return _cut(data, [rng.randrange(len(data)) for _ in range(rng.randrange(1 + min(20, len(data))))])


def header_apart(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """The first few bytes of each write, then its rest."""
    return [piece for data in writes for piece in _cut(data, [min(len(data), rng.choice([1, 2, 4, 8]))])]


def bytewise(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """A byte a segment, up to a limit."""
    data = b"".join(writes)
    step = max(1, len(data) // MOST)
    return _cut(data, range(step, len(data), step))


def mixed(writes: Sequence[bytes], rng: Random) -> list[bytes]:
    """Another of the others each time."""
    return rng.choice([whole, coalesced, unbuffered, random_cuts, header_apart])(writes, rng)


Segmentation = Callable[[Sequence[bytes], Random], "list[bytes]"]

SEGMENTATIONS: dict[str, Segmentation] = {
    "whole": whole,
    "coalesced": coalesced,
    "unbuffered": unbuffered,
    "random cuts": random_cuts,
    "header apart": header_apart,
    "bytewise": bytewise,
    "mixed": mixed,
}
