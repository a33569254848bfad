"""Cuts: all streams of a recording, divided into packets by one framing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bokbok.errors import BokbokError
from bokbok.wire.framing import Datums, Framing
from bokbok.wire.transcript import Stream
from bokbok_traffic.recording import Recorded

from ..clock import Clock
from .candidates import framings

__all__ = ["MOST_PACKETS", "Cut", "all_cuts", "common_prefix", "ends", "shortened", "split", "written"]


def split(framing: Framing, data: bytes) -> tuple[list[bytes], int] | None:
    """The packets of a stream, and the bytes of an incomplete one; `None` if the framing does not fit."""
    stream = Stream(framing)
    stream.feed(data)
    packets: list[bytes] = []
    while (found := stream.next()) is not None:
        packets.append(found[1])
        if len(packets) == 64 and not any(packets):
            return None  # a stream of empty packets
    return None if stream.problem else (packets, stream.left())


def written(framing: Framing, packets: list[bytes]) -> bytes:
    """Packets as a framing writes them, as far as it can."""
    out: list[bytes] = []
    write = framing.writer()
    with contextlib.suppress(BokbokError):  # it may receive a packet that it could not send
        for packet in packets:
            write(out, packet)
    return b"".join(out)


MOST_PACKETS = 400
"""The most packets of a direction that a search looks at. The script makes some sixty. The proof reads all."""


@dataclass
class Cut:
    """All streams of a recording, cut by one framing.

    Attributes:
        framing: the framing.
        client: the client's packets, for each connection.
        server: the server's packets.
        left: bytes of incomplete last packets.
        preamble: what the client sends before its first packet.
        hello_framing: the framing of the client's first packets, if it differs.
        hello: how many packets have that framing; 0 if it does not differ.
        whole: whether these are all packets that were sent; else there are more after them.
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
            found = split(framing, stream)
            if found is None:
                return None
            packets, rest = found
            if source in one.more:
                rest = 0  # the packet goes on beyond the bytes that the search looks at
            elif rest and (source in one.ended or not _plausible(packets, rest)):
                return None  # a direction with an end of file is complete
            out.append(packets)
            left += rest
    if not any(client):
        return None
    return shortened(Cut(framing, client, server, left, preamble), recorded)


def shortened(cut: Cut, recorded: list[Recorded]) -> Cut:
    """The same, with only so many packets of each direction as a search looks at."""
    lists = [*cut.client, *cut.server]
    whole = not cut.left and not any(one.more for one in recorded) and max(map(len, lists)) <= MOST_PACKETS
    client, server = ([packets[:MOST_PACKETS] for packets in side] for side in (cut.client, cut.server))
    return replace(cut, client=client, server=server, whole=whole)


def ends(cut: Cut, one: Recorded, source: str) -> Iterator[int]:
    """Where the packets of a connection's direction end in its stream."""
    client = source == "client"
    start = len(cut.preamble) if client else 0
    stream = Stream(cut.hello_framing if client and cut.hello_framing is not None else cut.framing)
    stream.feed(one.stream(source)[start:])
    number = 0
    while stream.next() is not None:
        yield start + stream.at
        number += 1
        if client and number == cut.hello:
            stream.split(cut.framing)


_LONG = 4096
_LONGEST = 1 << 17
"""The most bytes of a packet that is cut off: the script's longest message, in the longest encoding."""
_SEVERAL = 4


def _plausible(packets: list[bytes], rest: int) -> bool:
    """Whether a stream that is not cut to its last byte may still be cut correctly: conversations begin with little."""
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
                    again = written(framing, lists[index])
                    stream = one.stream(source)[len(cut.preamble) if source == "client" else 0 :]
                    cut_off = len(again) > len(stream) and source not in one.ended
                    if cut_off and place == "after" and again.startswith(stream):
                        continue  # it ends just before the separator
                    if not stream.startswith(again):
                        good = False
            if good:
                out.append(replace(cut, framing=framing))
    return out[:2]


def common_prefix(several: Sequence[bytes]) -> int:
    """How many bytes at the beginning all have in common."""
    first, last = min(several), max(several)  # these share what all share
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def all_cuts(
    recorded: list[Recorded], clock: Clock, preamble: bytes = b"", among: Iterable[Framing] | None = None
) -> list[Cut]:
    """The cuts that these framings make, without framings that do not fit."""
    cuts: list[Cut] = []
    for framing in among if among is not None else framings(recorded, preamble):
        clock.check()
        cut = _cut(framing, recorded, preamble)
        if cut is not None:
            cuts += _separated(cut, recorded) if isinstance(framing, Datums) else [cut]
    return cuts
