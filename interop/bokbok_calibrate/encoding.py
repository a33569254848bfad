"""Windows: the parts of a packet that may be encoded bytes.

What this module knows: how blobs, u8vectors, strings, hexadecimal digits and base64 look.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bokbok.errors import RemoteProtocolError
from bokbok.wire.encoding import ENCODINGS

__all__ = ["Seen", "texts_in", "value_at"]

_BASE64 = ("base64", "base64-unpadded", "base64url", "base64url-unpadded")
_DELIMITED = [
    (re.compile(rb"#\$\{[0-9a-fA-F \n\t]*\}"), ("blob", "blob-upper")),
    (re.compile(rb"#u8\([0-9 \n\t]*\)"), ("u8vector",)),
    (re.compile(rb'"[0-9a-f]{32,}"'), ("quoted-hex",)),
    (re.compile(rb'"[0-9A-F]{32,}"'), ("quoted-hex-upper",)),
    (re.compile(rb'"[A-Za-z0-9+/_-]{22,}={0,2}"'), tuple(f"quoted-{name}" for name in _BASE64)),
    (
        re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL),
        ("string", "string-hex-high", "string-hex-controls", "string-hex"),
    ),
]
_BARE = [
    (re.compile(rb"[0-9a-f]{32,}"), ("hex",)),
    (re.compile(rb"[0-9A-F]{32,}"), ("hex-upper",)),
    (re.compile(rb"[A-Za-z0-9+/_-]{22,}={0,2}"), _BASE64),
]
_SHORTEST = 16
"""A bare text with fewer bytes (those of a tag) is not searched."""
_MOST_STARTS = 64
"""Where in a run of digits or letters a bare text may begin: what precedes it may look like a part of it."""


@dataclass(frozen=True)
class Seen:
    """A part of a packet that may be encoded bytes."""

    start: int
    end: int
    encoding: str
    value: bytes


def value_at(packet: bytes, start: int, end: int, encoding: str) -> bytes | None:
    """The bytes that a part of a packet encodes; `None` unless encoding them again gives the same part."""
    text, form = packet[start:end], ENCODINGS[encoding]
    try:
        value = form.decode(text)
        return value if form.encode(value) == text else None
    except (RemoteProtocolError, ValueError):
        return None


@functools.lru_cache(maxsize=2048)
def texts_in(packet: bytes) -> tuple[Seen, ...]:
    """The parts of a packet that are bytes in a text form, and that encoding again reproduces."""
    return tuple(_delimited_in(packet)) + tuple(_bare_in(packet))


def _delimited_in(packet: bytes) -> Iterator[Seen]:
    for pattern, names in _DELIMITED:
        for match in pattern.finditer(packet):
            for name in names:
                value = value_at(packet, match.start(), match.end(), name)
                if value is not None:
                    yield Seen(match.start(), match.end(), name, value)


def _bare_in(packet: bytes) -> Iterator[Seen]:
    for pattern, names in _BARE:
        for match in pattern.finditer(packet):
            for start in range(match.start(), min(match.end(), match.start() + _MOST_STARTS)):
                for name in names:
                    value = value_at(packet, start, match.end(), name)
                    if value is not None and len(value) >= _SHORTEST:
                        yield Seen(start, match.end(), name, value)
