"""Insecure connections: there is no oracle; only framing and messages give evidence.

What this module knows: how to remove an announcement and types from packets, so that messages are left.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from bokbok.errors import BokbokError, ReadError
from bokbok.sexpr import loads
from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.hello import TemplateHello
from bokbok.wire.messages import BinaryHeader

from ..encoding import value_at
from ..framing.cut import Cut, common_prefix
from ..message.body import Body, Fit
from ..message.fit import fit_messages
from ..nonce import Opened
from ..packet_type import packet_form
from .findings import Trail
from .given import Given

__all__ = ["InsecureSearch"]

_MOST_CUTS = 16
_MOST_FITS = 2
_MOST_ANNOUNCED = 2
"""Packets by which a client may announce that it is insecure."""
_MOST_PREFIX = 40
"""Bytes of type before a message."""
_MOST_PAIRS = 16
_MOST_LESS = 9
"""Bytes that packets may have in common although they are not a type: the tag, and the first bytes of an ID."""
_MOST_TYPES = 3
"""Types of one side: of a request, a response and an error."""
_MOST_ENCODED = 4
_SAMPLE = 6
_SIDES = ("client", "server")

Packets = tuple[tuple[tuple[bytes, ...], ...], ...]
"""The packets of a cut: those of each connection's client, then those of the servers."""
Said = list[tuple[int, str, list[bytes]]]
"""For each connection and direction its packets."""


@dataclass(frozen=True)
class Reading:
    """One way in which packets may contain messages.

    Attributes:
        encoding: of the messages.
        bodies: the messages.
        flat: the same, with what is in front of each.
    """

    encoding: str
    bodies: tuple[Body, ...]
    flat: list[Opened]


class InsecureSearch:
    """Looks for profiles of insecure connections, cut by cut.

    Args:
        given: what it is given.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._settled: dict[Packets, Fit] = {}
        self._fits: dict[tuple[tuple[Body, ...], bool], list[Fit]] = {}

    def promising(self, cuts: list[Cut]) -> list[Cut]:
        """The cuts that are worth looking at."""
        return cuts[:_MOST_CUTS]

    def settle(self, cut: Cut, fit: Fit) -> None:
        """Packets that are understood are not searched again, even if another framing cuts out the same ones."""
        self._settled[_packets_of(cut)] = fit

    def profiles(self, cut: Cut, trail: Trail) -> Iterator[tuple[Profile, Fit]]:
        """Profiles that may explain a cut, with how their messages fit."""
        settled = self._settled.get(_packets_of(cut))
        for skip in [cut.hello] if cut.hello else range(_MOST_ANNOUNCED + 1):
            announced = {tuple(packets[:skip]) for packets in cut.client}
            if len(announced) != 1:
                continue
            said: Said = [(i, "client", packets[skip:]) for i, packets in enumerate(cut.client)]
            said += [(i, "server", packets) for i, packets in enumerate(cut.server)]
            if not any(packets for _, _, packets in said):
                continue
            with contextlib.closing(self._fitted(cut, said)) as fitted:
                for reading, fits in fitted:
                    for profile, fit in self._profiles(cut, reading, fits, next(iter(announced))):
                        if settled is not None and fit is not settled:
                            continue
                        trail.say("messages", f"the packets read as messages: {fit.messages.words()}", "likely")
                        yield profile, fit
                        if settled is not None:
                            return

    def _fitted(self, cut: Cut, said: Said) -> Generator[tuple[Reading, list[Fit]], None, None]:
        """How packets may contain messages, with the messages that fit each reading."""
        readings, ahead = itertools.tee(filter(None, map(functools.partial(self._read, said), _readings(said))))
        # Several framings may cut out the same packets.
        asked = set[tuple[Body, ...]]()

        def calls() -> Iterator[tuple[Any, ...]]:
            for one in ahead:
                if (one.bodies, cut.whole) not in self._fits and one.bodies not in asked:
                    asked.add(one.bodies)
                    yield one.bodies, self._given.known

        work = functools.partial(fit_messages, whole=cut.whole)
        with contextlib.closing(self._given.hands.ahead(work, calls(), self._given.clock)) as found:
            for one in readings:
                same = one.bodies, cut.whole
                if same not in self._fits:
                    self._fits[same] = next(found)[:_MOST_FITS]
                yield one, self._fits[same]

    def _read(self, said: Said, how: tuple[dict[str, int], str]) -> Reading | None:
        self._given.clock.check()
        sizes, encoding = how
        bodies: list[Body] = []
        flat: list[Opened] = []
        for index, source, packets in said:
            for packet in packets:
                prefix, body = packet[: sizes[source]], packet[sizes[source] :]
                if encoding != "raw":
                    try:
                        body = ENCODINGS[encoding].decode(body)
                    except (BokbokError, ValueError):
                        return None
                flat.append(Opened(prefix, b"", body))
                bodies.append(Body(index, source, body, prefix, source == self._given.made_up))
        return Reading(encoding, tuple(bodies), flat)

    def _profiles(
        self, cut: Cut, reading: Reading, fits: list[Fit], announced: tuple[bytes, ...]
    ) -> Iterator[tuple[Profile, Fit]]:
        encoding = reading.encoding
        for fit in fits:
            if not fit.hits:
                # Known datums are the only proof here. Many bytes look like a header with a number.
                if isinstance(fit.messages, BinaryHeader):
                    continue
                fit.guessed = True
            form = packet_form(
                reading.flat, [body.source for body in reading.bodies], fit.kinds, encoding,
                plain=encoding != "raw", made_up=self._given.made_up,
            )  # fmt: skip
            if form is None:
                continue
            base: Any = INFERRED_1.hello
            hello = TemplateHello(base.packets, base.content, announced, insecure_preamble=cut.preamble)
            yield (
                Profile(
                    "calibrated", framing=cut.framing, hello=hello, packets=form, messages=fit.messages,
                    dialect=fit.dialects[0], hello_framing=cut.hello_framing,
                ),
                fit,
            )  # fmt: skip


def _packets_of(cut: Cut) -> Packets:
    return tuple(tuple(map(tuple, side)) for side in (cut.client, cut.server))


def _readings(said: Said) -> Iterator[tuple[dict[str, int], str]]:
    """How packets may contain messages: how many bytes of type come first, for each side, and the encoding."""
    sides = [[packet for _, side, found in said if side == source for packet in found] for source in _SIDES]
    # A packet that is encoded as a whole is not a message by itself: not a list, and not a header before a datum.
    for encoding in ENCODINGS:
        if encoding != "raw":
            starts = [_encoded_from(encoding, packets) for packets in sides]
            for client, server in itertools.islice(itertools.product(*starts), _MOST_ENCODED):
                yield {"client": client, "server": server}, encoding
    yield {"client": 0, "server": 0}, "raw"
    texts, common = [], []
    for mine in sides:
        common.append(min(common_prefix(mine), _MOST_PREFIX) if len(mine) > 1 else 0)
        sizes = [size for size in range(_MOST_PREFIX + 1) if len({packet[:size] for packet in mine}) <= _MOST_TYPES]
        texts.append([size for size in sizes if all(_is_datum(packet[size:]) for packet in mine[:_SAMPLE])])
    pairs = sorted(itertools.product(*texts), key=lambda pair: (pair[0] != pair[1], sum(pair)))[:_MOST_PAIRS]
    # Several datums, or a binary header, come after what all packets of a direction begin with: up to a white space, or
    # all of it, or a little less (what messages have in common), or the same for both directions.
    words = []
    for packets, size in zip(sides, common, strict=True):
        first = packets[0] if packets else b""
        words.append([at + 1 for at in range(size) if first[at : at + 1].isspace()] or [0])
    pairs += list(itertools.product(*words))[:_MOST_PAIRS]
    pairs += [(common[0] - less, common[1] - less) for less in range(_MOST_LESS)]
    pairs += [(size, size) for size in range(1, min(common) + 1)]
    for client, server in dict.fromkeys(pairs):
        if client >= 0 and server >= 0 and (client or server):
            yield {"client": client, "server": server}, "raw"


def _is_datum(body: bytes) -> bool:
    """Whether it is exactly what `write` prints for one datum."""
    if body[:1].isspace():
        return False
    try:
        loads(body)
    except (ReadError, ValueError):
        return False
    return True


def _encoded_from(encoding: str, packets: list[bytes]) -> list[int]:
    """After how many bytes of type the rest of every packet is an encoded text."""
    if not packets:
        return [0]
    out = []
    for size in range(_MOST_PREFIX + 1):
        if len({packet[:size] for packet in packets}) > _MOST_TYPES:
            break
        if all(
            value_at(packet, size, len(packet), encoding) for some in (packets[:_SAMPLE], packets) for packet in some
        ):
            out.append(size)
    return out
