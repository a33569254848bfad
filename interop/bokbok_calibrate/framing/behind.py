"""Cuts after something that the framing does not explain: a preamble, or a hello with another framing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bokbok.wire.framing import Datums, Framing, Lines
from bokbok.wire.transcript import Stream
from bokbok_traffic.capture import CLIENT, SERVER
from bokbok_traffic.recording import Recorded

from ..clock import Clock
from .candidates import framings, with_heads, without_heads
from .cut import Cut, all_cuts, common_prefix, shortened, split, written

__all__ = ["Suiting", "behind_hellos", "behind_preambles"]


_LONGEST_PREAMBLE = 64


def _preambles(recorded: list[Recorded], user: bytes) -> Iterator[bytes]:
    """What may come before a client's first packet: it is the same in every connection, and ends before the username.

    Those that end like a line or a word come first, and among them the longest: they leave least to be explained.
    """
    clients = [one.client for one in recorded if one.client]
    common = clients[0][: common_prefix(clients)]
    if user and user in clients[0]:
        common = common[: clients[0].find(user)]
    sizes = range(1, min(len(common), _LONGEST_PREAMBLE) + 1)
    yield from (common[:size] for size in sorted(sizes, key=lambda size: (common[size - 1] not in b"\n\0 )", -size)))


class Suiting:
    """The framings that cut everything that the servers sent, to the last byte."""

    def __init__(self, recorded: list[Recorded]) -> None:
        self._streams = [(one.server, SERVER in one.more) for one in recorded if one.server]
        self._known: dict[Framing, bool] = {}

    def __call__(self, framing: Framing) -> bool:
        """Whether this one does."""
        if framing not in self._known:
            found = ((split(framing, stream), more) for stream, more in self._streams)
            self._known[framing] = all(one is not None and one[0] and (more or not one[1]) for one, more in found)
        return self._known[framing]


def behind_preambles(recorded: list[Recorded], user: bytes, suits: Suiting, clock: Clock) -> Iterator[list[Cut]]:
    """Cuts after something before the client's first packet, as far as they do not leave a rest."""
    # Nothing comes before the server's first packet, so the framing of its streams does not depend on the preamble.
    heard = [_turned(one) for one in recorded if one.server]
    suiting = list(filter(suits, without_heads(heard))) if heard else None
    for preamble in _preambles(recorded, user):
        plain = suiting if suiting is not None else without_heads(recorded, preamble)
        among = itertools.chain(plain, filter(suits, with_heads(recorded, preamble)))
        cuts = all_cuts(recorded, clock, preamble, among)
        exact = [cut for cut in cuts if not cut.left and not isinstance(cut.framing, Lines)]
        if exact:
            yield exact


_LONGEST_HELLO = 2048
_MOSTLY = 4096
"""Bytes in which most packets end."""
_MOST_STARTS = 24
_MOST_HELLO_PACKETS = 5


def behind_hellos(recorded: list[Recorded], suits: Suiting, clock: Clock) -> list[Cut]:
    """Cuts after packets of the client that have another framing."""
    if not any(one.server for one in recorded):
        return []
    outer_ones = list(framings(recorded))
    inner = [*outer_ones, *(f for f in framings([_turned(one) for one in recorded]) if f not in outer_ones)]
    out: list[Cut] = []
    for framing in filter(suits, inner):
        if isinstance(framing, (Datums, Lines)):
            continue
        starts = [_starts(framing, one.client, CLIENT in one.more, clock) for one in recorded if one.client]
        if not all(starts):
            continue
        for outer in outer_ones:
            clock.check()
            if outer == framing:
                continue
            cut = _behind(outer, framing, recorded, starts)
            if cut is not None:
                out.append(cut)
    return out


def _turned(one: Recorded) -> Recorded:
    turned = {CLIENT: SERVER, SERVER: CLIENT}
    return Recorded(one.conn, one.server, one.client, more={turned[source] for source in one.more})


def _behind(outer: Framing, framing: Framing, recorded: list[Recorded], starts: list[list[int]]) -> Cut | None:
    """The cut in which one framing cuts the first packets of the client, and another one all others."""
    client: list[list[bytes]] = []
    counts: set[int] = set()
    found = iter(starts)
    for one in recorded:
        if not one.client:
            client.append([])
            continue
        for start in next(found):
            cut = split(outer, one.client[:start])
            if cut is None or cut[1] or not 0 < len(cut[0]) <= _MOST_HELLO_PACKETS:
                continue
            if written(outer, cut[0]) != one.client[:start]:
                continue
            rest = split(framing, one.client[start:])
            assert rest is not None
            client.append(cut[0] + rest[0])
            counts.add(len(cut[0]))
            break
        else:
            return None
    if len(counts) != 1:
        return None
    server = [(split(framing, one.server) or ([], 0))[0] for one in recorded]
    return shortened(Cut(framing, client, server, 0, b"", outer, counts.pop()), recorded)


def _starts(framing: Framing, data: bytes, more: bool, clock: Clock) -> list[int]:
    """The offsets from which a framing cuts a stream to its last byte, except the stream's beginning and end."""
    good, bad = {len(data)}, set[int]()
    out = []
    for start in range(1, min(len(data), _LONGEST_HELLO)):
        clock.check()
        way = []
        at = start
        while at not in good and at not in bad:
            way.append(at)
            end = _end_of_packet(framing, data, at, more)
            if end is None:
                bad.add(at)
                break
            at = end
        (good if at in good else bad).update(way)
        if start in good:
            out.append(start)
            if len(out) == _MOST_STARTS:
                break
    return out


def _end_of_packet(framing: Framing, data: bytes, at: int, more: bool) -> int | None:
    """Where a packet ends; `None` if it is not a packet, or not complete (unless the search does not look further)."""
    stream = Stream(framing)
    fed = at
    for end in (at + _MOSTLY, len(data)):
        stream.feed(data[fed:end])
        fed = end
        if stream.next() is not None:
            return at + stream.at
    return len(data) if more and not stream.problem else None
