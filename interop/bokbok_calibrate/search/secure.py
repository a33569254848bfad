"""Secure connections: from the box of the session key to whole profiles.

What this module knows: the encryption is an oracle. What opens under a key from the passphrase is the box of the
session key, whatever surrounds it. Its content opens everything that follows. What is left of the hello when username,
key and nonces are taken out is literal.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokbok.errors import BokbokError
from bokbok.wire import Profile
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.derivation import Derivation
from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.framing import Datums
from bokbok.wire.hello import Field, Template, TemplateHello

from ..encoding import texts_in
from ..framing.cut import Cut, ends
from ..hello import Places, base_in, contents_of, literal_template, user_templates, value_of, with_base
from ..message.body import Body, Fit
from ..message.fit import fit_messages
from ..nonce import SAMPLE, Opened, Way, apply, ways_in
from ..packet_type import packet_form
from ..session_key import ANYWHERE, HELLO_PACKETS, MOST_ATTEMPTS, PHASES, ZERO, KeyBox, Oracle, Place, first_that_opens
from ..wording import way_text
from .findings import MOST_PLAINTEXTS, Trail
from .given import Given

__all__ = ["SecureSearch"]

_MOST_CUTS = 40
_MOST_WIDE_CUTS = 6
_MOST_PAIRS = 64
_MOST_HELLOS = 24
_MOST_FITS = 3

_NONCES = {
    "front": "its nonce in front", "behind": "its nonce behind", "zero": "a nonce of zeros that is not sent",
    "zero-front": "a nonce of zeros that is not sent, and 24 bytes in front",
    "zero-behind": "a nonce of zeros that is not sent, and 24 bytes behind",
    "counter": "a counted nonce that is not sent", "base": "a nonce that the hello carries elsewhere",
}  # fmt: skip


@dataclass(frozen=True)
class Session:
    """How what follows the hello opens.

    Attributes:
        content: the template of the content of the session key's box.
        inner: the same, with the base of nonces if it is there.
        keys: the session key of each connection.
        skip: how many packets of the client are the hello.
        client: how the client's boxes open.
        server: how the server's boxes open; `None` if it sent nothing.
        base: where the hello carries the base of counted nonces; `None` if it does not carry one.
    """

    content: Template
    inner: Template
    keys: list[bytes]
    skip: int
    client: Way
    server: Way | None
    base: Place | None


@dataclass(frozen=True)
class Asked:
    """What must open under a session key, in one direction.

    Attributes:
        source: the direction.
        packets: its packets.
        key: the session key.
        bases: what nonces may be counted from, by name.
        places: where the hello carries each of them.
    """

    source: str
    packets: list[bytes]
    key: bytes
    bases: dict[str, bytes]
    places: dict[str, Place]


class SecureSearch:
    """Looks for profiles of secure connections, cut by cut.

    Args:
        given: what it is given.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self.user = given.secrets.user or b""
        self._beyond = given.secrets.keys(beyond=True)
        self.oracle = Oracle(given.secrets.keys(), given.clock)
        self._boxes: list[tuple[Cut, list[KeyBox]]] = []

    def promising(self, cuts: list[Cut]) -> list[Cut]:
        """The cuts in which the session key's box is found, in the same way in every connection."""
        for phase in range(PHASES):
            self._boxes = []
            self.oracle.left = MOST_ATTEMPTS
            looked = cuts[: _MOST_WIDE_CUTS if phase >= 3 else _MOST_CUTS]
            first = self._first_that_opens(self.oracle, [cut.client[0] for cut in looked], phase)
            if first is None:
                continue
            for number, cut in enumerate(looked):
                boxes: list[KeyBox] = []
                for packets in cut.client:
                    shut = 0 if boxes or number > first[0] else first[1] if number == first[0] else math.inf
                    found = self.oracle.find(packets, self.user, phase, shut=shut)
                    if found is None:
                        break
                    boxes.append(found)
                else:
                    self._boxes.append((cut, boxes))
            if self._boxes:
                return [cut for cut, _ in self._boxes]
        return []

    def _first_that_opens(self, oracle: Oracle, clients: Iterable[list[bytes]], phase: int) -> tuple[int, float] | None:
        """Where this process must begin to look, since others have seen that nothing opens before.

        What they say has no other effect, so that a search goes the same way without them.

        Returns:
            The number of the packets, and of the look in them; `None` if nothing opens in any of them.
        """
        if not self._given.hands.away:
            return 0, 0
        shares = (
            (number, (oracle.keys, tuple(packets[:HELLO_PACKETS]), self.user, phase, share))
            for number, packets in enumerate(clients)
            for share in oracle.shares(packets, self.user, phase)
        )
        first = list(itertools.islice(shares, 2))
        if len(first) < 2:  # one share alone is not worth sending
            oracle.take_back()
            return 0, 0
        numbers, again = itertools.tee(itertools.chain(first, shares))
        calls = (call for _, call in again)
        with contextlib.closing(self._given.hands.ahead(first_that_opens, calls, self._given.clock)) as found:
            for number, _ in numbers:
                look = next(found)
                if look is not None:
                    oracle.take_back()
                    return number, look
        oracle.keep()
        return None

    def profiles(self, cut: Cut, trail: Trail) -> Iterator[tuple[Profile, Fit]]:
        """Profiles that may explain a cut that is promising, with how their messages fit."""
        boxes = next(boxes for one, boxes in self._boxes if one is cut)
        self._say_box(cut, boxes, trail)
        if len({(b.packet, b.nonce, b.count, len(b.lead), len(b.tail)) for b in boxes}) > 1:
            trail.say("boxes", "the session key's box is not at the same place in each connection", "failed")
            return
        for session in self._sessions(cut, boxes, trail):
            yield from self._messages(cut, boxes, session, trail)

    def _say_box(self, cut: Cut, boxes: list[KeyBox], trail: Trail) -> None:
        box = boxes[0]
        made = f"made by {box.derivation}" if box.derivation else "given"
        trail.say("keys", f"the user's key is {made}: it opens a box in packet {box.packet + 1} of the client's")
        count = f" ({box.count})" if box.nonce == "counter" else ""
        trail.say(
            "boxes",
            f"the session key's box: {box.encoding}, {_NONCES[box.nonce]}{count}, {len(box.content)} bytes inside",
        )
        for one, found, packets in zip(self._given.recorded, boxes, cut.client, strict=True):
            for source in ("client", "server"):
                begin = len(cut.preamble) if source == "client" else 0
                if begin:
                    trail.mark(one.conn, source, 0, begin, "before the first packet")
                for number, end in enumerate(itertools.islice(ends(cut, one, source), MOST_PLAINTEXTS), 1):
                    trail.mark(one.conn, source, begin, end, f"packet {number}")
                    begin = end
            start = _find(one.client, packets[found.packet][found.start : found.end], len(cut.preamble))
            trail.mark(one.conn, "client", start, start + found.end - found.start, "session key's box")

    # The content of the session key's box, and how it opens what follows.

    def _sessions(self, cut: Cut, boxes: list[KeyBox], trail: Trail) -> Iterator[Session]:
        """The ways in which what follows the hello opens, the likely ones first. All those of the first group that
        opens."""
        contents = list(contents_of([box.content for box in boxes], self.user))
        head = boxes[0].packet + 1
        skips = [skip for skip in (head, head + 1) if skip >= cut.hello] or [cut.hello]
        one_side = ""
        for everywhere, wide, most in ((False, False, None), (False, True, 2), (True, False, 4)):
            tries = [(content, keys, skip) for content, keys in contents[:most] for skip in skips]
            every = (self._asked(cut, boxes, content, keys, skip, wide=wide) for content, keys, skip in tries)
            asked, again = itertools.tee(every)
            calls = ((one.packets[:SAMPLE], one.key, one.bases) for some in again for one in some)
            work = functools.partial(ways_in, everywhere=everywhere)
            with contextlib.closing(self._given.hands.ahead(work, calls, self._given.clock)) as found:
                for (content, keys, skip), some in zip(tries, asked, strict=True):
                    sessions, opened = self._opening(content, keys, skip, some, [next(found) for _ in some])
                    if sessions:
                        yield from sessions
                        return
                    if opened and not one_side:
                        one_side = next(iter(opened))
                        self._mark_opened(cut, opened, keys, skip, trail)
        if one_side:
            other = "server" if one_side == "client" else "client"
            trail.say("boxes", f"the boxes of the {one_side} open")
            trail.say("boxes", f"the boxes of the {other} do not open in any known way", "failed")
            return
        if not any(len(packets) > head for packets in cut.client) and not any(cut.server):
            trail.say("boxes", "nothing follows the hello", "failed")
            return
        trail.say("boxes", "no 32 bytes of what is in the session key's box open what follows", "failed")

    def _asked(
        self, cut: Cut, boxes: list[KeyBox], content: Template, keys: list[bytes], skip: int, *, wide: bool
    ) -> list[Asked]:
        """What must open under a session key, for each direction that has packets. With `wide`, any 24 bytes of the
        hello may be a base."""
        spoken = next((i for i, packets in enumerate(cut.client) if len(packets) > skip), 0)
        heard = next((i for i, packets in enumerate(cut.server) if packets), 0)
        out = []
        for source, index, packets in (
            ("client", spoken, cut.client[spoken][skip:]), ("server", heard, cut.server[heard]),
        ):  # fmt: skip
            if packets:
                bases, places = self._bases(cut, boxes, content, index, skip, wide=wide)
                out.append(Asked(source, packets, keys[index], bases, places))
        return out

    @staticmethod
    def _opening(
        content: Template, keys: list[bytes], skip: int, asked: Sequence[Asked], found: Sequence[list[Way]]
    ) -> tuple[list[Session], dict[str, tuple[list[Way], dict[str, bytes]]]]:
        """What opens under a session key; if only one direction opens, that one."""
        ways = {one.source: some for one, some in zip(asked, found, strict=True)}
        opened = {one.source: (some, one.bases) for one, some in zip(asked, found, strict=True) if some}
        if not ways or not all(ways.values()):
            return [], opened
        places = asked[-1].places
        out = []
        pairs = itertools.product(ways.get("client", ways.get("server", [])), ways.get("server", [None]))
        for mine, theirs in itertools.islice(pairs, _MOST_PAIRS):
            if theirs is None or theirs.encoding == mine.encoding:
                base = _base_of(mine, theirs)
                inner = list(with_base(content))[int(base.split()[1])] if base.startswith("content ") else content
                out.append(Session(content, inner, keys, skip, mine, theirs, places.get(base)))
        return out, {}

    def _mark_opened(
        self,
        cut: Cut,
        opened: Mapping[str, tuple[list[Way], dict[str, bytes]]],
        keys: list[bytes],
        skip: int,
        trail: Trail,
    ) -> None:
        """The messages of one direction, for a report of how far the search got."""
        for source, (ways, bases) in opened.items():
            index, packets = next(
                (i, found[skip:] if source == "client" else found)
                for i, found in enumerate(cut.client if source == "client" else cut.server)
                if len(found) > (skip if source == "client" else 0)
            )
            messages = apply(ways[0], packets, keys[index], bases, self._given.clock, MOST_PLAINTEXTS)
            if messages:
                self._mark(trail, index, source, packets, messages)

    def _mark(self, trail: Trail, index: int, source: str, packets: Sequence[bytes], opened: Sequence[Opened]) -> None:
        one = self._given.recorded[index]
        at = 0
        for packet, message in itertools.islice(zip(packets, opened, strict=False), MOST_PLAINTEXTS):
            box = packet[len(message.prefix) : len(packet) - len(message.suffix)]
            at = _find(one.stream(source), box, at)
            if at < 0:
                return
            trail.mark(one.conn, source, at, at + len(box), f"box that opens: {message.body[:40]!r}")
            if len(trail.opened) < MOST_PLAINTEXTS:
                trail.opened.append((one.conn, source, message.body))
            at += len(box)

    def _bases(
        self, cut: Cut, boxes: list[KeyBox], content: Template, index: int, skip: int, *, wide: bool
    ) -> tuple[dict[str, bytes], dict[str, Place]]:
        """The possible bases of nonces in a connection, by name, and where the hello carries each.

        With `wide`, any 24 bytes of the hello; else only likely ones.
        """
        box = boxes[index]
        out = {"zero": ZERO}
        if box.nonce.endswith(("front", "behind")):
            out["key"] = box.used
        out |= {name: value for name, value in (("lead", box.lead), ("tail", box.tail)) if value}
        for number, inner in enumerate(with_base(content)):
            value = base_in(inner, box.content)
            if value is not None:
                out[f"content {number}"] = value
        places = [boxes[0].base] if boxes[0].base is not None else list(self._places(cut, boxes[0], skip, wide=wide))
        named: dict[str, Place] = {}
        for number, place in enumerate(places):
            found = self._base_at(cut, boxes, place, index)
            if found is not None:
                out[f"hello {number}"] = found[1]
                named[f"hello {number}"] = place
        return out, named

    @staticmethod
    def _places(cut: Cut, box: KeyBox, skip: int, *, wide: bool) -> Iterator[Place]:
        """Where the first connection's hello may carry a base."""
        hello = cut.client[0][:skip]
        for number, packet in enumerate(hello):
            for part in texts_in(packet):
                if len(part.value) == 24:
                    yield number, part.start, part.end, part.encoding
        for number, packet in enumerate(hello):
            if number != box.packet and 24 <= len(packet) <= 40:
                yield number, len(packet) - 24, len(packet), "raw"
            if number == box.packet and box.encoding == "raw":
                for start in (box.start - 24, box.end):
                    if start >= 0 and start + 24 <= len(packet):
                        yield number, start, start + 24, "raw"
        if wide:
            for number, packet in enumerate(hello):
                for start in range(min(len(packet), 256) - 23):
                    if number != box.packet or start + 24 <= box.start or start >= box.end:
                        yield number, start, start + 24, "raw"

    @staticmethod
    def _base_at(cut: Cut, boxes: list[KeyBox], place: Place, index: int) -> tuple[Place, bytes] | None:
        """The base of a connection, at the place where the first one has it. What precedes it may vary in size."""
        number, start, end, encoding = place
        if encoding == "raw":
            packet, mine, first = cut.client[index][number], boxes[index], boxes[0]
            shift = mine.end - first.end if number == first.packet and start >= first.end else 0
            here = packet[start + shift : end + shift]
            return ((number, start + shift, end + shift, encoding), here) if len(here) == 24 else None
        order = [part.start for part in texts_in(cut.client[0][number]) if part.encoding == encoding].index(start)
        parts = [part for part in texts_in(cut.client[index][number]) if part.encoding == encoding]
        if order >= len(parts) or len(parts[order].value) != 24:
            return None
        part = parts[order]
        return (number, part.start, part.end, encoding), part.value

    # Messages.

    def _messages(self, cut: Cut, boxes: list[KeyBox], session: Session, trail: Trail) -> Iterator[tuple[Profile, Fit]]:
        opened: dict[tuple[int, str], list[Opened]] = {}
        for index, one in enumerate(self._given.recorded):
            bases, _ = self._bases(cut, boxes, session.content, index, session.skip, wide=True)
            for source, way, packets in (
                ("client", session.client, cut.client[index][session.skip :]),
                ("server", session.server or session.client, cut.server[index]),
            ):
                done = apply(way, packets, session.keys[index], bases, self._given.clock)
                if done is None:
                    trail.say("boxes", f"connection {one.conn}: a later box of the {source}'s does not open", "failed")
                    return
                opened[index, source] = done
                if index == 0:
                    self._mark(trail, index, source, packets, done)
        count = sum(map(len, opened.values()))
        trail.say("boxes", f"the session key opens all {count} packets behind the hello: {way_text(session.client)}")
        bodies = [
            Body(index, source, one.body, one.prefix, source == self._given.made_up)
            for (index, source), ones in opened.items()
            for one in ones
        ]
        fits = fit_messages(bodies, self._given.known, self._given.clock, whole=cut.whole)
        if not fits:
            trail.say(
                "messages", f"the plaintexts fit no form of messages; the first: {bodies[0].data[:60]!r}", "failed"
            )
            return
        flat = [one for ones in opened.values() for one in ones]
        sources = [source for (_, source), ones in opened.items() for _ in ones]
        for fit in fits[:_MOST_FITS]:
            forms = packet_form(flat, sources, fit.kinds, session.client.encoding, made_up=self._given.made_up)
            if forms is None:
                trail.say("packet type", "the bytes in front of the boxes change from packet to packet", "failed")
                continue
            for hello in self._hellos(cut, boxes, session, trail):
                for scheme in _schemes(boxes[0], session.client, session.server):
                    yield (
                        Profile(
                            "calibrated", framing=cut.framing, hello=hello, nonces=scheme, messages=fit.messages,
                            dialect=fit.dialects[0], packets=forms, hello_framing=cut.hello_framing,
                            hello_framed=cut.hello if cut.hello < session.skip else 0,
                            key_derivation=Derivation(boxes[0].derivation or "sha512-first-32"),
                        ),
                        fit,
                    )  # fmt: skip

    # The hello.

    def _hellos(self, cut: Cut, boxes: list[KeyBox], session: Session, trail: Trail) -> Iterator[TemplateHello]:
        """Templates of the hello's packets. What is left when username, key and base are taken out is literal."""
        form = _form_of_key(cut, boxes, session.client.encoding)
        place = boxes[0].base or session.base
        based = [self._base_at(cut, boxes, place, i) for i in range(len(boxes))] if place is not None else []
        places = [found[0] for found in based if found is not None]
        base_form = _form_of_base(cut, places, session.client.encoding)
        textual = isinstance(cut.hello_framing or cut.framing, Datums)
        literal: list[Template | None] = []
        named: list[tuple[float, int, Template]] = []
        for number in range(session.skip):
            alike: set[Template] | None = None
            ranked: dict[Template, float] | None = None
            for index, box in enumerate(boxes):
                fields: Places = []
                if number == box.packet:
                    fields.append((box.start, box.end, Field("key", form)))
                if places and places[index][0] == number:
                    fields.append((places[index][1], places[index][2], Field("nonce", base_form)))
                packet = cut.client[index][number]
                found = {t: rank for rank, t in user_templates(packet, self.user, fields, textual=textual)}
                plain = {literal_template(packet, fields)}
                alike = plain if alike is None else alike & plain
                ranked = found if ranked is None else {t: rank for t, rank in ranked.items() if t in found}
            literal.append(next(iter(alike or ()), None))
            named += [(rank, number, template) for template, rank in (ranked or {}).items()]
            if not alike and not ranked:
                trail.say(
                    "hello",
                    f"packet {number + 1} of the hello changes from connection to connection in bytes that are neither "
                    "username, key nor nonce",
                    "failed",
                )
                return
        if not named:
            shown = "; ".join(one.words() for one in literal if one is not None)
            trail.say("hello", f"the username is not in the hello, which is: {shown}", "failed")
        for _, number, template in sorted(named, key=lambda item: item[:2])[:_MOST_HELLOS]:
            packets = [*literal[:number], template, *literal[number + 1 :]]
            whole = tuple(packet for packet in packets if packet is not None)
            if len(whole) < session.skip:
                continue  # the username is in two packets that change
            try:
                hello = TemplateHello(
                    whole, session.inner, preamble=cut.preamble, key_field=_key_field(boxes[0], session)
                )
            except BokbokError:
                continue
            trail.say("hello", f"{session.skip} packets: " + "; ".join(one.words() for one in whole), "likely")
            yield hello

    # If no cut helps.

    def last_resort(self, trail: Trail) -> None:
        """Every offset of the first 4 kB of a direction, for boxes of the sizes that a session key gives."""
        one = next(one for one in self._given.recorded if one.client)
        data = one.client[:_FIRST]
        self.oracle.left = MOST_ATTEMPTS
        found = self._anywhere(self.oracle, data)
        if found is not None:
            made = f"under {found.derivation}" if found.derivation else "under the given key"
            trail.say(
                "boxes",
                f"the session key's box is at bytes {found.start} to {found.end} of the client's, {made} "
                f"({_NONCES[found.nonce]}); no known framing explains what is around it",
            )
            trail.mark(one.conn, "client", found.start, found.end, "session key's box")
            return
        found = self._anywhere(Oracle(self._beyond, self._given.clock), data) if self._beyond else None
        if found is not None:
            trail.say(
                "keys",
                f"no derivation of the table opens a box, {found.derivation} opens one at byte {found.start} "
                "of the client's: name it in a profile, make the key by that (bokbok key --profile), give --key-file",
                "failed",
            )
            return
        keys = "the given key" if set(self.oracle.keys) == {""} else "any key derived from this passphrase"
        trail.say(
            "boxes", f"no box opens under {keys}, at any of the first {len(data)} bytes of the client's", "failed"
        )

    def _anywhere(self, oracle: Oracle, data: bytes) -> KeyBox | None:
        first = self._first_that_opens(oracle, [[data]], ANYWHERE)
        return None if first is None else oracle.find([data], self.user, ANYWHERE, shut=first[1])


_FIRST = 4096


def _find(data: bytes, part: bytes, start: int) -> int:
    return data.find(part, max(0, start)) if part else -1


def _form_of_key(cut: Cut, boxes: list[KeyBox], preferred: str) -> str:
    """The encoding of the session key's box: that of the messages, if it fits in every connection, else another that
    fits."""
    texts = [cut.client[index][box.packet][box.start : box.end] for index, box in enumerate(boxes)]
    return _form_of(texts, [box.encoding for box in boxes], preferred)


def _form_of_base(cut: Cut, places: list[Place], preferred: str) -> str:
    texts = [cut.client[index][number][start:end] for index, (number, start, end, _) in enumerate(places)]
    return _form_of(texts, [place[3] for place in places], preferred) if places else "raw"


def _form_of(texts: list[bytes], found: list[str], preferred: str) -> str:
    """The encoding that all texts share; each text is known to fit at least one."""
    if "raw" in found:
        return "raw"
    values = [value_of(text, name) for text, name in zip(texts, found, strict=True)]
    for name in (preferred, *found, *ENCODINGS):
        if name != "raw" and all(
            value is not None and ENCODINGS[name].encode(value) == text
            for value, text in zip(values, texts, strict=True)
        ):
            return name
    return found[0]


_TRAVELLING = ("hello", "content", "lead", "tail")
"""The place in the hello where a base of nonces is a field."""


def _base_of(mine: Way, theirs: Way | None) -> str:
    """The base of nonces, by name. The server may count from it while the client counts from zeros."""
    shared = theirs is not None and theirs.nonce == "counted" and mine.base == "zero"
    return theirs.base if shared and theirs is not None else mine.base


def _key_field(box: KeyBox, session: Session) -> Template:
    """The parts that are encoded together with the session key's box: 24 bytes beside it are a base of nonces, or
    unknown."""
    base = _base_of(session.client, session.server)
    parts = [Field("key")]
    for name, value, at in (("lead", box.lead, 0), ("tail", box.tail, 1)):
        if value:
            counts = base == name or box.nonce == "base"
            parts.insert(at, Field("nonce") if counts else Field("any", "raw", len(value)))
    return Template(tuple(parts))


def _schemes(box: KeyBox, mine: Way, theirs: Way | None) -> Iterator[Sent | Counted]:
    """The nonce schemes that agree with how the session key's box and both directions opened."""
    other = theirs or mine
    if not box.zeros == mine.zeros == other.zeros:
        return
    if mine.nonce in ("front", "behind"):
        if other.nonce == mine.nonce and box.nonce in ("front", "behind", "zero"):
            yield Sent(mine.nonce, box.nonce, mine.zeros)  # type: ignore[arg-type]
        return
    order, at, width = mine.layout
    key: Any = box.nonce
    places: dict[str, Any] = {"first": "front", "first-behind": "behind"}
    common: dict[str, Any] = {"order": order, "at": at, "width": width, "step": mine.step, "zeros": mine.zeros}
    if mine.nonce in places:
        if other.nonce == mine.nonce and other.layout == mine.layout:
            yield Counted("first", key=key, key_count=box.count, first=places[mine.nonce], **common)
        return
    base_name = _base_of(mine, theirs)
    base: Any = "hello" if base_name.split()[0] in _TRAVELLING else base_name
    own = other.nonce in places
    if not own and ((other.layout, other.step) != (mine.layout, mine.step) or other.base not in ("zero", base_name)):
        return
    server = 0 if own else other.start
    if theirs is None:
        # A server's counter usually begins where the client's did: with the session key's box, or with a message.
        before = (
            mine.start - mine.step if key in ("counter", "base") and box.count <= mine.start - mine.step else mine.start
        )
        server = max(0, before) if mine.step == 1 else max(0, before) + 1
    common |= {
        "client": mine.start, "server": server, "first": places.get(other.nonce, "front"),
        "client_base": "zero" if mine.base != base_name else "same",
        "server_base": "first" if own else "zero" if other.base != base_name else "same",
    }  # fmt: skip
    if key == "zero" and base == "zero":
        # A counter that begins at 0 is the same thing.
        yield Counted(base, key="counter", key_count=0, **common)
    yield Counted(base, key=key, key_count=box.count, **common)
