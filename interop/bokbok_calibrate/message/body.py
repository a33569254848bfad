"""Plaintexts, and messages that may explain them: the common part of all fitting of messages.

What this module knows: how requests are numbered, whether messages can be decoded correctly, and whether answers suit
the questions.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import BokbokError, WriteError
from bokbok.sexpr import DIALECTS, Dialect
from bokbok.wire.messages import ERROR, REQUEST, RESPONSE, Messages

from .reading import written

__all__ = ["Body", "Fit", "Slot", "finished", "numbering", "other_side", "progression"]


@dataclass(frozen=True)
class Body:
    """One plaintext.

    Attributes:
        conn: number of the connection.
        source: `client` or `server`.
        data: its bytes.
        prefix: the literal bytes in front of its box, or in front of itself.
        made_up: whether the calibrator sent it: then its numbers, types and spelling are not evidence about a peer.
    """

    conn: int
    source: str
    data: bytes
    prefix: bytes = b""
    made_up: bool = False


@dataclass
class Fit:
    """Messages that explain all plaintexts.

    Attributes:
        messages: the strategy.
        kinds: the kind of each plaintext, in order: request, response or error.
        dialects: those that write all datums as they are, or the nearest ones.
        spelt: how many plaintexts of a peer are not written like this in any dialect.
        seen: the kinds that were seen.
        notes: notes for the report.
        score: how well it fits; more is better.
        doubts: what makes it unlikely, however well it fits.
        said: which kinds of message each side sent.
        hits: known requests that are read as such.
        guessed: whether nothing proves it: there are no boxes, and no known request.
        swappable: whether responses might be errors: all are texts, and no question shows which is which.
        unfailing: whether a request that must fail was answered as if it had not failed.
    """

    messages: Messages
    kinds: list[int]
    dialects: list[Dialect]
    spelt: int
    seen: set[int]
    notes: list[str] = field(default_factory=list)
    score: float = 0
    doubts: list[str] = field(default_factory=list)
    said: set[tuple[str, int]] = field(default_factory=set)
    hits: int = 0
    guessed: bool = False
    swappable: bool = False
    unfailing: bool = False


Slot = tuple[int, str]
"""A connection and a direction of it."""


def other_side(source: str) -> str:
    """The other direction."""
    return "server" if source == "client" else "client"


def progression(ids: Sequence[int]) -> int | None:
    """The step of a rising arithmetic progression; 0 for a single number."""
    if len(ids) < 2:
        return 0
    step = ids[1] - ids[0]
    if step < 1 or any(b - a != step for a, b in itertools.pairwise(ids)):
        return None
    return step


def numbering(ids: list[tuple[int, str, int]], *, shown: bool = True) -> tuple[int, int, int, list[str]]:
    """How requests are numbered.

    Args:
        ids: connection, direction and ID of each request.
        shown: whether requests of a server would have been recorded; if not, its IDs may begin anywhere.

    Returns:
        The first ID of the client and of the server, the step, and notes if the IDs do not follow them.
    """
    lists: dict[Slot, list[int]] = defaultdict(list)
    for conn, source, number in ids:
        lists[conn, source].append(number)
    steps = {step for numbers in lists.values() if (step := progression(numbers))}
    step = steps.pop() if len(steps) == 1 else 1
    notes = []
    firsts: dict[str, int] = {}
    starts: dict[str, set[int]] = {}
    for source in ("client", "server"):
        found = starts[source] = {numbers[0] for (_, side), numbers in lists.items() if side == source}
        irregular = any(progression(n) is None for (_, side), n in lists.items() if side == source)
        if len(found) > 1 or (irregular and source == "server"):
            found = {0}  # whatever its next IDs are, they were not used before
        if len(starts[source]) > 1:
            notes.append(f"the {source}'s IDs begin differently in each connection: a peer that takes any is assumed")
        if found:
            firsts[source] = min(found)
    if len(steps) > 1 or any(progression(numbers) is None for numbers in lists.values()):
        notes.append("the IDs of requests do not count up by one step: a peer that takes any is assumed")
    first = firsts.get("client", firsts.get("server", 0))
    if "server" not in firsts:
        notes.append("no request of the server's was seen: where its IDs begin is assumed")
    assumed = first if step != 2 else first + 1 if shown else first - first % 2
    return first, firsts.get("server", assumed), step, notes


def finished(
    messages: Messages, bodies: Sequence[Body], kinds: list[int], seen: set[int], notes: list[str]
) -> Fit | None:
    """The dialects that write the datums as they came; `None` if the messages cannot be decoded correctly."""
    exact: dict[str, int] = {}
    sense = 0.0
    swappable = unfailing = False
    for dialect in DIALECTS.values():
        codec = messages.bind(dialect, 100_000)
        same = 0
        said: list[tuple[int, int, Any]] = []
        for body, kind in zip(bodies, kinds, strict=True):
            try:
                found, id, datum = codec.decode(body.data)
            except BokbokError:
                return None
            if found != kind:
                return None
            said.append((found, id, datum))
            if hasattr(datum, "problem"):
                continue
            try:
                again = (codec.request, codec.response, codec.error)[found](id, datum)
            except WriteError:
                continue
            same += again == body.data and not body.made_up
        answered = _answered(bodies, said)
        judged = _judged(answered)
        sense = max(sense, sum(judged))
        unfailing = any(kind == RESPONSE and _is_to_fail(question) for question, kind, _ in answered)
        answers = [datum for found, _, datum in said if found == RESPONSE]
        swappable = not judged and bool(answers) and all(type(datum) is str for datum in answers)
        exact[dialect.name] = same
    most = max(exact.values())
    dialects = [dialect for name, dialect in DIALECTS.items() if exact[name] == most]
    evidence = sum(not body.made_up for body in bodies)
    fit = Fit(messages, kinds, dialects, evidence - most, seen, notes, score=most + 4 * sense)
    fit.swappable, fit.unfailing = swappable, unfailing
    return fit


def _is_to_fail(question: Any) -> bool:
    return isinstance(question, list) and len(question) == 2 and question[0] == "fail" and type(question[0]) is str


_FAILING = ("fail", "raise", "unwritable", "unknown", "nonsense")


def _answered(bodies: Sequence[Body], said: Sequence[tuple[int, int, Any]]) -> list[tuple[Any, int, Any]]:
    """For each answer: the request (`None` if it was not seen), whether it is an error, and its content."""
    asked: dict[tuple[int, str, int], Any] = {}
    for body, (kind, id, datum) in zip(bodies, said, strict=True):
        if kind == REQUEST:
            asked[body.conn, body.source, id] = datum
    return [
        (asked.get((body.conn, other_side(body.source), id)), kind, datum)
        for body, (kind, id, datum) in zip(bodies, said, strict=True)
        if kind != REQUEST
    ]


def _judged(answered: Sequence[tuple[Any, int, Any]]) -> list[int]:
    """Whether answers suit the questions: an echo has what was sent, a failure has the text that was sent; 1 or -1."""
    points: list[int] = []
    for question, kind, datum in answered:
        if not isinstance(question, list) or not question or type(question[0]) is not str:
            continue
        name, what = question[0], question[1] if len(question) > 1 else None
        if name in ("echo", "ping") and len(question) == 2:
            expected = what if name == "echo" else ["pong", what]
            points.append(1 if kind == RESPONSE and written(datum) == written(expected) else -1)
        elif name in _FAILING:
            points.append(1 if kind == ERROR and (name != "fail" or str(what) in str(datum)) else -1)
    return points
