"""Framings that are worth trying on given streams, the likely ones first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from bokbok.wire.framing import Datums, Framing, IntegerLength, Lines, TextLength
from bokbok.wire.transcript import Stream
from bokbok_traffic.recording import Recorded

__all__ = ["framings", "is_text", "with_heads", "without_heads"]


def _binary_framings() -> Iterator[IntegerLength]:
    integers = ("u32-be", "u16-be", "u64-be", "u32-le", "u16-le", "u64-le", "u8", "leb128")
    for after, own in itertools.product((0, 1), (False, True)):
        for integer in integers:
            for counts in (0, 1) if after else (0, -24, -16, -40):
                yield IntegerLength(integer, own=own, counts=counts, after=after)
    for integer in integers:
        yield IntegerLength(integer, after=24)  # after the nonce


def _text_framings(data: bytes) -> Iterator[TextLength]:
    for base, digits in ((10, rb"[0-9]"), (16, rb"[0-9a-f]"), (16, rb"[0-9A-F]")):
        upper = base == 16 and b"A" in digits
        before = rb"([^0-9\x00-\x08\x0e-\x1f\x7f-\xff]{0,24}?)(" + digits + rb"{1,16})"
        for after, pattern in ((0, before), (1, rb"(?s:.)()(" + digits + rb"{1,16})"), (1, rb"(?s:.)" + before)):
            found = re.match(pattern, data)
            if found is None:
                continue
            yield from _text_lengths(
                base, found[1], found[2], data[found.end() : found.end() + _LONGEST_ENDING], upper, after
            )


_LONGEST_ENDING = 12
_BARE_ENDINGS = (b"\n", b" ", b":")
"""What may follow digits that stand alone."""


def _text_lengths(
    base: int, before: bytes, number: bytes, tail: bytes, upper: bool, after: int
) -> Iterator[TextLength]:
    """Lengths in digits that may begin so."""
    for size in range(1, _LONGEST_ENDING if before else 2):
        ending = tail[:size]
        printable = all(c in b"\t\n\r" or 32 <= c < 127 for c in ending)
        if len(ending) < size or not printable or ending[:1].isalnum():
            break
        if not before and ending not in _BARE_ENDINGS:
            continue
        width = len(number) if number[:1] == b"0" and len(number) > 1 else 0
        for trailer in (b"", b",", b"\n", b";", b" ", b"\r\n"):
            for own, counts in ((False, 0), (False, len(trailer)), (True, 0)):
                if not counts or trailer:
                    yield TextLength(
                        base, before, ending, width, upper, own=own, counts=counts, trailer=trailer, after=after
                    )
    for width in (2, 4, 6, 8, 16, 5, 10):
        if len(number) >= width:
            for own in (False, True):
                yield TextLength(base, before, b"", width, upper, own=own, after=after)


def is_text(data: bytes) -> bool:
    """Whether some bytes begin as text."""
    return bool(data) and not re.search(rb"[\x00-\x08\x0e-\x1f]", data[:200])


def framings(recorded: list[Recorded], preamble: bytes = b"") -> Iterator[Framing]:
    """Every framing that is worth trying, the likely ones first."""
    yield from without_heads(recorded, preamble)
    yield from with_heads(recorded, preamble)


def without_heads(recorded: list[Recorded], preamble: bytes = b"") -> Iterator[Framing]:
    """Framings that begin with the length, or with the datum."""
    first = next((r.client for r in recorded if r.client), b"")[len(preamble) :]
    seen = set()
    # The default comes first; framings that count in an unusual way come last.
    yield from sorted(_binary_framings(), key=lambda f: (f.counts < 0, f.after, f.own))
    for text in _text_framings(first):
        if text not in seen:
            seen.add(text)
            yield text
    if is_text(first):
        for count in (1, 2):
            yield Datums(b"\n", "after", count)
    for ending in (b"\n", b"\r\n", b"\0"):
        if ending in first:
            yield Lines(ending)


# A symbol as a type before the length, followed by white space or a colon, or only of letters.
_HEADS = (
    re.compile(rb"[A-Za-z!$%&*/<=>?^_~+-][A-Za-z0-9!$%&*/<=>?^_~+.-]*[ \n:]"),
    re.compile(rb"[A-Za-z][A-Za-z-]*"),
)
_MOST_HEADS = 10


def _heads(framing: Framing, pattern: re.Pattern[bytes], streams: list[bytes]) -> tuple[bytes, ...]:
    """The types before the lengths of all streams; empty if there are none."""
    heads: dict[bytes, None] = {}
    for data in streams:
        at = 0
        while at < len(data):
            head = pattern.match(data, at)
            if head is None:
                if at and len(data) - at < 4:
                    break  # cut off
                return ()
            stream = Stream(framing)
            stream.feed(data[head.end() :])
            if stream.next() is None:
                if stream.problem or not at:
                    return ()
                break
            heads[head[0]] = None
            if len(heads) > _MOST_HEADS:
                return ()
            at = head.end() + stream.at
    return tuple(heads)


def with_heads(recorded: list[Recorded], preamble: bytes) -> Iterator[Framing]:
    """Framings in which a type of variable size comes before the length."""
    streams = [one.client[len(preamble) :] for one in recorded] + [one.server for one in recorded]
    first = streams[0]
    for pattern in _HEADS:
        head = pattern.match(first)
        if head is None or len(head[0]) > 40 or not all(pattern.match(one.server) for one in recorded if one.server):
            continue
        likely: list[IntegerLength | TextLength] = [
            framing for framing in _binary_framings() if not framing.after and not framing.counts
        ]
        likely += [framing for framing in _text_framings(first[head.end() :]) if not framing.after]
        for framing in likely:
            heads = _heads(framing, pattern, streams)
            if heads and (len(heads) > 1 or len(heads[0]) > 1):
                yield replace(framing, heads=heads)
