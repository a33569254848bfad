"""Cuts: the ways in which all streams of a recording fall into packets.

What this module knows: the framings of the table, and which of them cut given streams, to the last byte or with a rest.
What it refuses to know: keys, boxes, and what a packet holds.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bokbok.errors import BokbokError
from bokbok.wire.framing import Datums, Framing, IntegerLength, Lines, TextLength
from bokbok_traffic.capture import CLIENT, SERVER
from bokbok_traffic.recording import Recorded

from ..clock import Clock

__all__ = ["Cut", "common_prefix", "cuts_in", "ends", "is_text"]

LIMIT = 64 << 20


def _split(framing: Framing, data: bytes) -> tuple[list[bytes], int] | None:
    splitter = framing.splitter(LIMIT)
    splitter.feed(data)
    packets: list[bytes] = []
    try:
        while (packet := splitter.next()) is not None:
            packets.append(packet)
            if len(packets) == 64 and not any(packets):
                return None  # a stream of empty packets
    except BokbokError:
        return None
    return packets, len(splitter.rest())


def _binary_framings() -> Iterator[IntegerLength]:
    integers = ("u32-be", "u16-be", "u64-be", "u32-le", "u16-le", "u64-le", "u8", "leb128")
    for after, own in itertools.product((0, 1), (False, True)):
        for integer in integers:
            for counts in (0, 1) if after else (0, -24, -16, -40):
                yield IntegerLength(integer, own=own, counts=counts, after=after)
    for integer in integers:
        yield IntegerLength(integer, after=24)  # behind the nonce


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
"""What ends digits that stand alone."""


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


def _framings(recorded: list[Recorded], preamble: bytes = b"") -> Iterator[Framing]:
    """Every framing worth trying, the likelier first."""
    yield from _without_heads(recorded, preamble)
    yield from _with_heads(recorded, preamble)


def _without_heads(recorded: list[Recorded], preamble: bytes = b"") -> Iterator[Framing]:
    first = next((r.client for r in recorded if r.client), b"")[len(preamble) :]
    seen = set()
    # The default first; those that count oddly last.
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


def _written(framing: Framing, packets: list[bytes]) -> bytes:
    """Packets as a framing writes them; as far as it can."""
    out: list[bytes] = []
    write = framing.writer()
    with contextlib.suppress(BokbokError):  # a packet may come in that it could not send
        for packet in packets:
            write(out, packet)
    return b"".join(out)


@dataclass
class Cut:
    """All streams of a recording, cut by one framing.

    Attributes:
        framing: which.
        client: for each connection the client's packets.
        server: the server's.
        left: bytes of last packets that are not whole.
        preamble: what the client sends before its first packet.
        hello_framing: what cuts the first packets of the client's, where that is another one.
        hello: how many packets that cuts; 0 where it is the same framing.
        whole: whether the packets are all that were sent.
    """

    framing: Framing
    client: list[list[bytes]]
    server: list[list[bytes]]
    left: int
    preamble: bytes = b""
    hello_framing: Framing | None = None
    hello: int = 0
    whole: bool = True


def _cut(framing: Framing, recorded: list[Recorded], preamble: bytes = b"") -> Cut | None:
    client: list[list[bytes]] = []
    server: list[list[bytes]] = []
    left = 0
    for one in recorded:
        for source, out in (("client", client), ("server", server)):
            stream = one.stream(source)
            if source == "client":
                stream = stream[len(preamble) :]
            found = _split(framing, stream)
            if found is None:
                return None
            packets, rest = found
            if source in one.more:
                rest = 0  # the packet goes on in bytes that are not looked at
            elif rest and (source in one.ended or not _plausible(packets, rest)):
                return None  # what has an end is whole
            out.append(packets)
            left += rest
    if not any(client):
        return None
    return Cut(framing, client, server, left, preamble, whole=not left and not any(one.more for one in recorded))


def ends(cut: Cut, index: int, source: str) -> list[int]:
    """Where the packets of a connection's direction end in its stream; as far as they are written again the same."""
    packets = (cut.client if source == "client" else cut.server)[index]
    out: list[int] = []
    at = len(cut.preamble) if source == "client" else 0
    write = cut.framing.writer()
    write_hello = cut.hello_framing.writer() if cut.hello_framing is not None else write
    for number, packet in enumerate(packets):
        pieces: list[bytes] = []
        try:
            (write_hello if source == "client" and number < cut.hello else write)(pieces, packet)
        except BokbokError:
            break
        at += sum(map(len, pieces))
        out.append(at)
    return out


_LONG = 4096
_LONGEST = 1 << 17
"""Bytes of a packet that may be cut off: the script's longest message, in the longest of encodings."""
_SEVERAL = 4


def _plausible(packets: list[bytes], rest: int) -> bool:
    """Whether a stream that is not cut to its last byte may still be cut rightly: no conversation begins with much."""
    most = _LONGEST if len(packets) >= _SEVERAL else _LONG + 2 * sum(map(len, packets))
    return all(len(packet) <= _LONG for packet in packets[:2]) and rest <= most


def _separated(cut: Cut, recorded: list[Recorded]) -> list[Cut]:
    """For datums: which separator writes the streams again."""
    assert isinstance(cut.framing, Datums)
    out = []
    for separator in (b"\n", b"", b" ", b"\r\n", b"\n\n", b"\t"):
        for place in ("after", "between") if separator else ("after",):
            framing = Datums(separator, place, cut.framing.count)
            good = True
            for index, one in enumerate(recorded):
                for source, lists in (("client", cut.client), ("server", cut.server)):
                    again = _written(framing, lists[index])
                    stream = one.stream(source)[len(cut.preamble) if source == "client" else 0 :]
                    cut_off = len(again) > len(stream) and source not in one.ended
                    if cut_off and place == "after" and again.startswith(stream):
                        continue  # just before the separator
                    if not stream.startswith(again):
                        good = False
            if good:
                out.append(replace(cut, framing=framing))
    return out[:2]


# A symbol as a type before the length, with white space or a colon behind it, or of letters alone.
_HEADS = (
    re.compile(rb"[A-Za-z!$%&*/<=>?^_~+-][A-Za-z0-9!$%&*/<=>?^_~+.-]*[ \n:]"),
    re.compile(rb"[A-Za-z][A-Za-z-]*"),
)
_MOST_HEADS = 10


def _heads(framing: Framing, pattern: re.Pattern[bytes], streams: list[bytes]) -> tuple[bytes, ...]:
    """The types that stand before the lengths of all streams; none if there are not."""
    heads: dict[bytes, None] = {}
    for data in streams:
        at = 0
        while at < len(data):
            head = pattern.match(data, at)
            if head is None:
                if at and len(data) - at < 4:
                    break  # cut off
                return ()
            splitter = framing.splitter(LIMIT)
            rest = data[head.end() :]
            splitter.feed(rest)
            try:
                if splitter.next() is None:
                    if not at:
                        return ()
                    break
            except BokbokError:
                return ()
            heads[head[0]] = None
            if len(heads) > _MOST_HEADS:
                return ()
            at = len(data) - len(splitter.rest())
    return tuple(heads)


def _with_heads(recorded: list[Recorded], preamble: bytes) -> Iterator[Framing]:
    """Framings in which a type of no fixed size stands before the length."""
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


_LONGEST_PREAMBLE = 64


def common_prefix(several: Sequence[bytes]) -> int:
    """How many first bytes all have in common."""
    first, last = min(several), max(several)  # these share what all share
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _preambles(recorded: list[Recorded], user: bytes) -> Iterator[bytes]:
    """What may stand before a client's first packet: the same in every connection, and before the username.

    What ends as a line or a word does comes first, and the longest: less is left that would have to be explained.
    """
    clients = [one.client for one in recorded if one.client]
    common = clients[0][: common_prefix(clients)]
    if user and user in clients[0]:
        common = common[: clients[0].find(user)]
    sizes = range(1, min(len(common), _LONGEST_PREAMBLE) + 1)
    yield from (common[:size] for size in sorted(sizes, key=lambda size: (common[size - 1] not in b"\n\0 )", -size)))


def cuts_in(recorded: list[Recorded], user: bytes, clock: Clock) -> Iterator[tuple[str, list[Cut]]]:
    """The ways to cut all streams into packets, in groups, the likeliest first.

    Args:
        recorded: the connections.
        user: the username that may stand in a hello; empty if there is none.
        clock: says when to give up.

    Yields:
        What the cuts of a group have in common, in words, and the cuts.
    """
    cuts = _all_cuts(recorded, clock)
    yield "cut the streams to the last byte", [cut for cut in cuts if not cut.left]
    suiting = _Suiting(recorded)
    for found in _behind_preambles(recorded, user, suiting, clock):
        yield f"cut the streams behind {found[0].preamble!r} of the client's", found
    yield "cut the streams behind a hello that is framed otherwise", _behind_hellos(recorded, suiting, clock)
    # A framing that is not the right one loses its way early.
    yield "cut the streams, but for a rest", sorted((cut for cut in cuts if cut.left), key=lambda cut: cut.left)


def _all_cuts(
    recorded: list[Recorded], clock: Clock, preamble: bytes = b"", among: Iterable[Framing] | None = None
) -> list[Cut]:
    cuts: list[Cut] = []
    for framing in among if among is not None else _framings(recorded, preamble):
        clock.check()
        cut = _cut(framing, recorded, preamble)
        if cut is not None:
            cuts += _separated(cut, recorded) if isinstance(framing, Datums) else [cut]
    return cuts


class _Suiting:
    """Which framings cut everything that the servers sent, to the last byte."""

    def __init__(self, recorded: list[Recorded]) -> None:
        self._streams = [(one.server, SERVER in one.more) for one in recorded if one.server]
        self._known: dict[Framing, bool] = {}

    def __call__(self, framing: Framing) -> bool:
        if framing not in self._known:
            found = ((_split(framing, stream), more) for stream, more in self._streams)
            self._known[framing] = all(one is not None and one[0] and (more or not one[1]) for one, more in found)
        return self._known[framing]


def _behind_preambles(recorded: list[Recorded], user: bytes, suits: _Suiting, clock: Clock) -> Iterator[list[Cut]]:
    """Cuts behind something that stands before the client's first packet; only such as leave no rest."""
    # Nothing stands before the server's first packet: what cuts its streams does not depend on the preamble.
    heard = [_turned(one) for one in recorded if one.server]
    suiting = list(filter(suits, _without_heads(heard))) if heard else None
    for preamble in _preambles(recorded, user):
        plain = suiting if suiting is not None else _without_heads(recorded, preamble)
        among = itertools.chain(plain, filter(suits, _with_heads(recorded, preamble)))
        cuts = _all_cuts(recorded, clock, preamble, among)
        exact = [cut for cut in cuts if not cut.left and not isinstance(cut.framing, Lines)]
        if exact:
            yield exact


_LONGEST_HELLO = 2048
_MOSTLY = 4096
"""Bytes in which most packets end."""
_MOST_STARTS = 24
_MOST_HELLO_PACKETS = 5


def _behind_hellos(recorded: list[Recorded], suits: _Suiting, clock: Clock) -> list[Cut]:
    """Cuts behind packets of the client's that another framing cuts."""
    if not any(one.server for one in recorded):
        return []
    framings = list(_framings(recorded))
    inner = [*framings, *(f for f in _framings([_turned(one) for one in recorded]) if f not in framings)]
    out: list[Cut] = []
    for framing in filter(suits, inner):
        if isinstance(framing, (Datums, Lines)):
            continue
        starts = [_starts(framing, one.client, CLIENT in one.more, clock) for one in recorded if one.client]
        if not all(starts):
            continue
        for outer in framings:
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
    """The cut in which one framing cuts the first packets of the client's, and another all others."""
    client: list[list[bytes]] = []
    counts: set[int] = set()
    found = iter(starts)
    for one in recorded:
        if not one.client:
            client.append([])
            continue
        for start in next(found):
            cut = _split(outer, one.client[:start])
            if cut is None or cut[1] or not 0 < len(cut[0]) <= _MOST_HELLO_PACKETS:
                continue
            if _written(outer, cut[0]) != one.client[:start]:
                continue
            rest = _split(framing, one.client[start:])
            assert rest is not None
            client.append(cut[0] + rest[0])
            counts.add(len(cut[0]))
            break
        else:
            return None
    if len(counts) != 1:
        return None
    server = [(_split(framing, one.server) or ([], 0))[0] for one in recorded]
    more = any(one.more for one in recorded)
    return Cut(framing, client, server, 0, b"", outer, counts.pop(), whole=not more)


def _starts(framing: Framing, data: bytes, more: bool, clock: Clock) -> list[int]:
    """The offsets from which a framing cuts a stream to its last byte; none at which everything begins or is over."""
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
    """Where a packet ends; `None` if it is none, or not whole, unless more follows that is not looked at."""
    splitter = framing.splitter(LIMIT)
    fed = at
    try:
        for end in (at + _MOSTLY, len(data)):
            splitter.feed(data[fed:end])
            fed = min(end, len(data))
            if splitter.next() is not None:
                return fed - len(splitter.rest())
    except BokbokError:
        return None
    return len(data) if more else None
