"""How to cut the streams of a recording into packets: the possibilities in groups, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator

from bokbok_traffic.recording import Recorded

from ..clock import Clock
from .behind import Suiting, behind_hellos, behind_preambles
from .cut import Cut, all_cuts

__all__ = ["cuts_in"]


def cuts_in(recorded: list[Recorded], user: bytes, clock: Clock) -> Iterator[tuple[str, list[Cut]]]:
    """The possible cuts of all streams, in groups, the likeliest first.

    Args:
        recorded: the connections.
        user: the username that may be in a hello; empty if there is none.
        clock: says when to give up.

    Yields:
        What the cuts of a group have in common, in words; and the cuts.
    """
    cuts = all_cuts(recorded, clock)
    yield "cut the streams to the last byte", [cut for cut in cuts if not cut.left]
    suiting = Suiting(recorded)
    for found in behind_preambles(recorded, user, suiting, clock):
        yield f"cut the streams behind {found[0].preamble!r} of the client's", found
    yield "cut the streams behind a hello that is framed otherwise", behind_hellos(recorded, suiting, clock)
    # A wrong framing fails early.
    yield "cut the streams, except for a rest", sorted((cut for cut in cuts if cut.left), key=lambda cut: cut.left)
