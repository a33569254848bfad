"""What strategies of nonces share: nonces behind a box or not sent at all, zero bytes in front of a tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...errors import RemoteProtocolError
from ..strategy import Span
from ._box import NONCE_BYTES, TAG_BYTES, Head, Open, Seal, box_opener, not_opened
from ._secretbox import opener as secretbox_opener
from ._secretbox import sealer as secretbox_sealer

__all__ = [
    "MOST_ZEROS",
    "SESSION_LEAK",
    "USER_KEY_LEAK",
    "Behind",
    "box_spans",
    "implied_opener",
    "implied_sealer",
    "with_head",
    "with_zeros",
    "without_zeros",
]


class Behind:
    """`tag || ciphertext || nonce`."""

    @staticmethod
    def sealer(key: bytes, next_nonce: Callable[[], bytes]) -> Seal:
        seal_behind = secretbox_sealer(key)

        def seal(body: bytes) -> bytes:
            nonce = next_nonce()
            return seal_behind(b"", body, nonce) + nonce

        return seal

    @staticmethod
    def opener(key: bytes, what: str, own: bytes | None = None) -> Open:
        opened = box_opener(key, what, own)
        return lambda box: opened(box[-NONCE_BYTES:] + box[:-NONCE_BYTES])


def with_head(seal: Seal, head: Head | None) -> Seal:
    if head is None:
        return seal

    def seal_packet(body: bytes) -> bytes:
        box = seal(body)
        return head(len(box)) + box

    return seal_packet


def implied_opener(key: bytes, nonces: Iterator[bytes], what: str) -> Open:
    """Opens boxes whose nonces do not travel."""

    open_or_none = secretbox_opener(key)

    def open_box(box: bytes) -> bytes:
        # A nonce is counted for a whole box only.
        body = open_or_none(next(nonces) + box) if len(box) >= TAG_BYTES else None
        if body is None:
            raise not_opened(what, len(box), TAG_BYTES)
        return body

    return open_box


def implied_sealer(key: bytes, nonces: Iterator[bytes]) -> Seal:
    seal_behind = secretbox_sealer(key)
    return lambda body: seal_behind(b"", body, next(nonces))


USER_KEY_LEAK = (
    "the session-key box has the same nonce under the user's key in every connection: whoever records two of them "
    "learns the XOR of their session keys and can forge a hello"
)
SESSION_LEAK = (
    "both directions use the same nonces under one session key: whoever records a request and an answer with the "
    "same nonce learns the XOR of their texts and can forge messages"
)


def with_zeros(seal: Seal, count: int, at: int) -> Seal:
    """The same with so many zero bytes in front of the tag, which stands at that byte."""
    if not count:
        return seal
    zeros = bytes(count)

    def seal_with_zeros(body: bytes) -> bytes:
        box = seal(body)
        return box[:at] + zeros + box[at:]

    return seal_with_zeros


def without_zeros(opened: Open, count: int, at: int, what: str) -> Open:
    """The reverse."""
    if not count:
        return opened
    zeros = bytes(count)

    def open_without_zeros(box: bytes) -> bytes:
        if box[at : at + count] != zeros:
            raise RemoteProtocolError(
                f"{what} does not begin with zeros: byte {at} is another; expected {count} zeros in front of its tag"
            )
        return opened(box[:at] + box[at + count :])

    return open_without_zeros


def box_spans(size: int, place: str, zeros: int) -> list[Span]:
    """What the bytes of a box are whose nonce stands in `front` or `behind`, or does not travel."""
    # What is too short for a box is shown as well: each byte once.
    start = min(NONCE_BYTES, size) if place == "front" else 0
    end = max(start, size - (NONCE_BYTES if place == "behind" else 0))
    tag = min(start + zeros, end)
    body = min(tag + TAG_BYTES, end)
    spans = [
        Span("nonce", 0, start),
        Span("zeros", start, tag),
        Span("tag", tag, body),
        Span("ciphertext", body, end),
        Span("nonce", end, size),
    ]
    return [span for span in spans if span.start < span.end]


MOST_ZEROS = 1024
"""Zero bytes in front of a tag: NaCl's own C functions leave 16 there."""
