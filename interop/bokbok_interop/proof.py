"""Whether peers speak the profile that their results are about: their bytes show it, in each cell that has some.

A transcript of the profile under test reads what the puppets wrote, up to the runner's own first fault: the first
packet of the runner that cannot be read is the one that it spoiled on purpose. Each message must be, byte for byte,
what the profile writes for it in the dialect that the puppet states. The time is linear in the bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError
from bokbok.sexpr import Dialect
from bokbok.wire import Profile
from bokbok.wire.transcript import Packet, Secrets, Transcript
from bokbok_traffic.capture import Capture, Chunk

from .play import readable

__all__ = ["Proof", "prove"]

_DEPTH = 20_000
_SHOWN = 24
"""Bytes of a difference that are shown."""


@dataclass
class Proof:
    """What the bytes of one cell show.

    Attributes:
        shown: the roles whose bytes can be read with the profile.
        problem: where a puppet wrote something else, and what; empty if none did.
        sentence: the name of the sentence that says how to write it.
    """

    shown: set[str] = field(default_factory=set)
    problem: str = ""
    sentence: str = ""


def prove(
    recorded: Iterable[tuple[Capture, Collection[str]]],
    profile: Profile,
    secrets: Secrets,
    dialects: Mapping[str, Dialect | None],
) -> Proof:
    """Read what puppets wrote.

    Args:
        recorded: the recordings of the cell, each with the roles that are puppets in it.
        profile: the profile under test.
        secrets: all secrets with which the runner told a client to say hello, right or wrong.
        dialects: the dialects that the puppets state, by role.
    """
    proof = Proof()
    spellers = {role: _speller(profile, dialect) for role, dialect in dialects.items()}
    for capture, roles in recorded:
        spell = {role: speller for role, speller in spellers.items() if role in roles}
        readers: dict[int, _Reader] = {}
        for chunk in capture.chunks:
            reader = readers.get(chunk.conn)
            if reader is None:
                reader = readers[chunk.conn] = _Reader(Transcript(profile, secrets), spell)
            if problem := reader.take(chunk):
                proof.problem, proof.sentence = f"connection {chunk.conn}, {problem}", reader.sentence
                return proof
        proof.shown.update(*(reader.shown for reader in readers.values()))
    return proof


Spell = Callable[[str, int, Any], bytes]


def _speller(profile: Profile, dialect: Dialect | None) -> Spell | None:
    if dialect is None:
        return None  # its dialect is not known, so there is nothing to compare with
    # The profile says how keywords are spelt, whatever a peer's own dialect does.
    dialect = dataclasses.replace(dialect, keyword_style=profile.dialect.keyword_style)
    codec = profile.messages.bind(dialect, _DEPTH)
    return lambda kind, id, datum: getattr(codec, kind)(id, datum)


class _Reader:
    """One connection."""

    def __init__(self, transcript: Transcript, spell: Mapping[str, Spell | None]) -> None:
        self.shown: set[str] = set()
        self._transcript = transcript
        self._spell = spell
        self._numbers = {"client": 0, "server": 0}
        self._over = False
        self.sentence = ""

    def take(self, chunk: Chunk) -> str:
        """Read on. Returns what a puppet wrote differently, and where; empty if nothing, or after the runner's first
        fault."""
        if self._over:
            return ""
        source: Any = chunk.source
        if chunk.data is not None:
            packets = self._transcript.feed(source, chunk.data, chunk.t)
        else:
            packets = [] if chunk.lost else self._transcript.end(source, chunk.t)
        for packet in packets:
            if not packet.raw or packet.cut:
                continue  # where a connection ends is not part of the format
            self._numbers[packet.source] += 1
            if packet.source not in self._spell:
                self._over = bool(packet.problem)
                if self._over:
                    break
            elif problem := self._problem(packet):
                number = self._numbers[packet.source]
                return f"packet {number} of the {packet.source}, byte {problem[0]}: {problem[1]}"
        return ""

    def _problem(self, packet: Packet) -> tuple[int, str] | None:
        if packet.message is not None:
            self.sentence = "profile.dialect"
            wrong = self._misspelt(packet)
            if wrong is None:
                self.shown.add(packet.source)
            return wrong
        if packet.unreadable:  # only its datum: the message around it is one of the profile
            self.shown.add(packet.source)
            return None
        if packet.hello:
            # The cases check which key opens it. Here every passphrase that was given is tried.
            self.sentence = "profile.hello-key"
            if packet.problem and self._transcript.session is None:
                return packet.start, packet.problem
            if self._transcript.session is not None or self._transcript.secure is False:
                self.shown.add(packet.source)
            return None
        closed = self._transcript.secure and self._transcript.session is None
        if closed and all(one.layer != "raw" for one in packet.ranges):
            return None  # a box after a hello that did not open
        self.sentence = "profile.messages" if self._transcript.session is None else "profile.boxes"
        return (packet.start, packet.problem) if packet.problem else None

    def _misspelt(self, packet: Packet) -> tuple[int, str] | None:
        assert packet.message is not None
        spell = self._spell[packet.source]
        if spell is None:
            return None
        try:
            expected = spell(*packet.message)
        except BokbokError as error:
            return packet.start, f"its datum cannot be written in the dialect that it states: {error}"
        body = packet.body
        if body == expected:
            return None
        if (at := _difference(body, expected)) is None:
            return None
        there, wanted = (data[at : at + _SHOWN] for data in (body, expected))
        return (
            packet.start,
            f"byte {at} of the message ({packet.title}) is {readable(there)}; the profile writes {readable(wanted)}",
        )


_TOKEN = re.compile(rb"[^\s()\[\]{}]+|[\s()\[\]{}]+")


def _difference(body: bytes, expected: bytes) -> int | None:
    """Where a message differs from the expected one; `None` if it is the same, except for lost digits of flonums.

    CHICKEN 5 prints 999999999999999.9 as `1e+15`, and 1e15 as `1000000000000000.0`. A reader of the former gets the
    latter value, and cannot know that `write` was given another one. So `%.15g` of the value is accepted, too.
    """
    at = 0
    for there, wanted in itertools.zip_longest(_TOKEN.findall(body), _TOKEN.findall(expected), fillvalue=b""):
        if there != wanted and not _lost_digits(there, wanted):
            unlike = (i for i, (a, b) in enumerate(zip(there, wanted, strict=False)) if a != b)
            return at + next(unlike, min(len(there), len(wanted)))
        at += len(there)
    return None


def _lost_digits(there: bytes, wanted: bytes) -> bool:
    try:
        return b"e" in there and there == b"%.15g" % float(wanted)
    except ValueError:
        return False
