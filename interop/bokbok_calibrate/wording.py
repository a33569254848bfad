"""Describes in words how the boxes of messages open, for a report. Strategies describe themselves."""

from __future__ import annotations

from .nonce import Way

__all__ = ["way_text"]


def way_text(way: Way) -> str:
    """How the boxes of messages open, in words."""
    if way.nonce in ("front", "behind"):
        return f"{way.encoding}, the nonce {'in front' if way.nonce == 'front' else 'behind'}"
    order, at, width = way.layout
    place = "" if (at, width) == (0, 24) else f", {width} bytes at byte {at}"
    base = {
        "zero": "from zeros", "hello": "from a base in the hello", "key": "from the session-key box's nonce",
        "content": "from a base in the session key's box", "lead": "from a base in front of the session key's box",
        "tail": "from a base behind the session key's box", "first": "from the first box's nonce",
    }[way.base.split()[0]]  # fmt: skip
    return f"{way.encoding}, nonces counted {order}-endian {base}, first +{way.start}, by {way.step}{place}"
