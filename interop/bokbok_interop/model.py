"""The nouns of the suite: outcome, kind of case, cell, result.

What this module knows: what a result consists of.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BROKE",
    "RUNNER",
    "Cell",
    "Crash",
    "Failure",
    "Kind",
    "Late",
    "Missing",
    "Outcome",
    "Result",
    "by_clock",
    "is_given_up",
    "is_stuck",
]

BROKE = "a puppet broke while several cells used it"
"""Why a cell is played again alone, if its puppet broke."""
RUNNER = "runner"
"""The peer name of the runner, when it plays a side itself."""


class Outcome(str, enum.Enum):
    """The outcome of a cell. There are no others: a cell is never silently missing."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    """The peer itself says that it lacks a feature, or does not claim this kind of case."""
    ABSENT = "absent"
    """The peer is not available here; the reason says why."""

    @property
    def symbol(self) -> str:
        """One character that shows the outcome without colour."""
        return {"passed": "✓", "failed": "✗", "unsupported": "–", "absent": "○"}[self.value]


class Kind(str, enum.Enum):
    """Why a case binds a peer."""

    REFERENCE = "reference"
    """Quotes the egg's API reference: binds every peer."""
    PROFILE = "profile"
    """Quotes the default profile's bytes: binds peers that claim to speak it."""
    HARDENING = "hardening"
    """Quotes the guards: binds peers that claim to have them."""


def is_stuck(reason: str) -> bool:
    """Whether a cell failed because its puppet was given up or did not start, whatever the case is about."""
    return is_given_up(reason) or "its puppet does not start" in reason


def is_given_up(reason: str) -> bool:
    """Whether a cell failed because its puppet had been given up for what it did in other cells."""
    return " was given up: " in reason and "its puppet does not start" not in reason


@dataclass(frozen=True)
class Cell:
    """One square of the matrix: a case, played by an ordered pair.

    Attributes:
        client: name of the peer that connects; `runner` if the runner plays it.
        server: name of the peer that listens, or `runner`.
        transport: `tcp` or `unix`.
        security: `secure` or `insecure`.
        case: the case's id, `chapter.name`.
    """

    client: str
    server: str
    transport: str
    security: str
    case: str

    def __str__(self) -> str:
        return f"{self.case} [{self.client} → {self.server}, {self.transport}, {self.security}]"


class Failure(Exception):
    """A requirement that was not met, with what was expected and what came.

    Attributes:
        problem: what is wrong, in one line.
        expected, actual: what was expected and what came, or empty.
        sentence: the name of the broken sentence, if it is known better than by the case as a whole. For example, a
            close handler that does not run breaks its own sentence, whatever the case is about.
    """

    def __init__(self, problem: str, *, expected: str = "", actual: str = "", sentence: str = "") -> None:
        self.problem = problem
        self.expected = expected
        self.actual = actual
        self.sentence = sentence
        parts = [problem]
        if expected:
            parts.append(f"expected {expected}")
        if actual:
            parts.append(f"got {actual}")
        super().__init__("; ".join(parts))


class Late(Failure):
    """A time limit that ran out, or a clock that showed too much: on a busy machine this may not be the peer's
    fault."""


class Missing(Late):
    """Something that must happen by itself has not happened in all the time that the runner waits for it. The other
    side's clock had nothing to do with it, so it is not tried again in the same cell."""


def by_clock(error: BaseException | None) -> bool:
    """Whether an error was caused by a time limit that ran out, directly or not."""
    while error is not None:
        if isinstance(error, Late | TimeoutError | asyncio.TimeoutError) or getattr(error, "kind", "") == "hung":
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True)
class Crash:
    """A puppet's process ended by itself.

    Attributes:
        peer: whose.
        how: its status or its signal, and the last line of its log.
    """

    peer: str
    how: str


@dataclass
class Result:
    """The result of one cell.

    Attributes:
        cell: the cell.
        outcome: its outcome.
        reason: why, in one line; empty for a plain pass.
        seconds: how long it took.
        expected, actual: what a failed requirement expected and what came, if that can be said.
        sentence: the name of the broken sentence; empty: the first one that the case quotes.
        shown: the roles of puppets whose bytes were seen, and are those of the profile under test.
        attempts: how often it was played.
        again: why it was played again, alone (the cause, with the measurement in parentheses); or empty.
        crash: how the process of a puppet of this cell ended, if it did.
        evidence: for people: datums exchanged, logs, the annotated dump. See `report.json`.
    """

    cell: Cell
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    expected: str = ""
    actual: str = ""
    sentence: str = ""
    shown: frozenset[str] = frozenset()
    attempts: int = 1
    again: str = ""
    crash: Crash | None = None
    round: int = 1
    evidence: dict[str, Any] = field(default_factory=dict)
