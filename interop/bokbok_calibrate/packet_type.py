"""The type of a packet: the bytes around a box, which are the same for each direction and kind of message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokbok.wire.packets import PacketForm

from .nonce import Opened

__all__ = ["packet_form"]


def packet_form(
    opened: list[Opened],
    sources: list[str],
    kinds: Sequence[int],
    encoding: str,
    *,
    plain: bool = False,
    made_up: str | None = None,
) -> PacketForm | None:
    """The bytes around boxes, which are the same for each direction and kind of message.

    Args:
        opened: the messages.
        sources: the sender of each.
        kinds: the kind of each.
        encoding: the encoding of the boxes.
        plain: whether messages of an insecure connection are encoded, too.
        made_up: the side that the calibrator played. It is assumed to do as the other side does.
    """
    known = [(one, side, kind) for one, side, kind in zip(opened, sources, kinds, strict=True) if side != made_up]
    opened, sources, kinds = [k[0] for k in known], [k[1] for k in known], [k[2] for k in known]
    prefixes: dict[str, Any] = {"client": b"", "server": b""}
    suffixes = {"client": b"", "server": b""}
    for source in prefixes:
        mine = [(one, kind) for one, side, kind in zip(opened, sources, kinds, strict=True) if side == source]
        ends = {one.suffix for one, _ in mine}
        if len(ends) > 1:
            return None
        if ends:
            suffixes[source] = ends.pop()
        by_kind: list[bytes | None] = [None, None, None]
        for kind in range(3):
            found = {one.prefix for one, k in mine if k == kind}
            if len(found) > 1:
                return None
            by_kind[kind] = found.pop() if found else None
        given = [prefix for prefix in by_kind if prefix is not None]
        if len(set(given)) == 1:
            prefixes[source] = given[0]
        elif given:
            fill = by_kind[1] if by_kind[1] is not None else given[0]
            prefixes[source] = tuple(prefix if prefix is not None else fill for prefix in by_kind)
        else:
            prefixes[source] = None
    for source, other in (("client", "server"), ("server", "client")):
        if prefixes[source] is None:
            prefixes[source], suffixes[source] = prefixes[other] or b"", suffixes[other]
        mine, theirs = prefixes[source], prefixes[other]
        # If one side never used a kind, it is assumed to write it as the other side does.
        if isinstance(mine, tuple) and isinstance(theirs, tuple):
            seen = {k for s, k in zip(sources, kinds, strict=True) if s == source}
            prefixes[source] = tuple(mine[k] if k in seen else theirs[k] for k in range(3))
    return PacketForm(encoding, prefixes["client"], prefixes["server"], suffixes["client"], suffixes["server"], plain)
