"""In words: framings, nonces, templates and messages as a report says them.

What this module knows: how to say it. What it refuses to know: how it was found.
"""

from __future__ import annotations

from typing import Any

from bokbok.wire.framing import Datums, Framing, IntegerLength, Lines, TextLength
from bokbok.wire.hello import Template

from .message.body import Fit
from .nonce import Way

__all__ = ["framing_text", "messages_text", "shapes_text", "template_text", "way_text"]


def framing_text(framing: Framing) -> str:
    """How packets are told apart."""
    if isinstance(framing, IntegerLength):
        parts = [framing.integer]
        if framing.own:
            parts.append("that counts itself too")
        if framing.counts:
            parts.append(f"and {framing.counts:+d} bytes")
        if framing.after:
            parts.append(f"behind {framing.after} byte of type")
        if framing.heads:
            parts.append(f"behind a type: {', '.join(map(repr, framing.heads))}")
        return " ".join(parts)
    if isinstance(framing, TextLength):
        base = "decimal" if framing.base == 10 else "hexadecimal"
        width = f" of {framing.width} digits" if framing.width else ""
        end = f", then {framing.ending!r}" if framing.ending else ""
        tail = f", {framing.trailer!r} behind each packet" if framing.trailer else ""
        return f"{base} length{width} behind {framing.before!r}{end}{tail}"
    if isinstance(framing, Datums):
        count = f", {framing.count} to a packet" if framing.count > 1 else ""
        return f"one datum after another{count}, {framing.separator!r} {framing.place}"
    if isinstance(framing, Lines):
        return f"lines ended by {framing.ending!r}"
    return framing.name if hasattr(framing, "name") else type(framing).__name__


def way_text(way: Way) -> str:
    """How the boxes of messages open."""
    if way.nonce in ("front", "behind"):
        return f"{way.encoding}, the nonce {'in front' if way.nonce == 'front' else 'behind'}"
    order, at, width = way.layout
    place = "" if (at, width) == (0, 24) else f", {width} bytes at byte {at}"
    base = {
        "zero": "from zeros", "hello": "from a base in the hello", "key": "from the session-key box's nonce",
        "content": "from a base in the session key's box", "first": "from the first box's nonce",
    }[way.base.split()[0]]  # fmt: skip
    return f"{way.encoding}, nonces counted {order}-endian {base}, first +{way.start}, by {way.step}{place}"


def template_text(template: Template) -> str:
    """A packet of the hello."""
    return " ".join(
        repr(part) if isinstance(part, bytes) else f"<{part.name}: {part.encoding}>" for part in template.parts
    )


def messages_text(fit: Fit) -> str:
    """The form of messages that fit."""
    return shapes_text(fit.messages)


def shapes_text(messages: Any) -> str:
    """The form of messages."""
    if hasattr(messages, "name") and messages.name == "tagged-list":
        return f"({messages.request} ID DATUM), ({messages.response} ID DATUM), ({messages.error} ID MESSAGE)"
    if hasattr(messages, "integer"):
        tags = f"{messages.request!r}, {messages.response!r}, {messages.error!r}"
        return f"binary header, {messages.order}: tags {tags}, IDs {messages.integer}"
    form = "" if messages.id == "fixnum" else f", ID as {messages.id}"
    nested = "" if messages.payload == "datum" else ", the payload as text in a string"
    return f"{messages.request}, {messages.response}, {messages.error}{form}{nested}"
