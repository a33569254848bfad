"""The nouns of the suite: outcome, kind, cell, result.

What this module knows: what a result is made of, and what is told apart.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "RUNNER",
    "Cell",
    "Failure",
    "Kind",
    "Late",
    "Outcome",
    "Result",
    "by_clock",
    "is_given_up",
    "is_stuck",
]

RUNNER = "runner"
"""The name of the peer that the runner itself is, where it plays a side."""


class Outcome(str, enum.Enum):
    """How a cell came out. There are only these: a cell is never silently missing."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    """By the peer's own word: a feature that it lacks, a kind of case that it does not claim."""
    ABSENT = "absent"
    """The peer is not available here; the reason says why."""

    @property
    def symbol(self) -> str:
        """One character that tells the outcome without colour."""
        return {"passed": "✓", "failed": "✗", "unsupported": "–", "absent": "○"}[self.value]


class Kind(str, enum.Enum):
    """What binds a peer to a case."""

    REFERENCE = "reference"
    """Quotes the egg's API reference: binds every peer."""
    PROFILE = "profile"
    """Quotes the default profile's bytes: binds peers that claim to speak it."""
    HARDENING = "hardening"
    """Quotes the guards: binds peers that claim to have them."""


def is_stuck(reason: str) -> bool:
    """Whether a cell failed since its puppet could not be played any more, or never, whatever the case is about."""
    return is_given_up(reason) or "its puppet does not start" in reason


def is_given_up(reason: str) -> bool:
    """Whether a cell failed since its puppet was given up for what it did in others."""
    return " was given up: " in reason and "its puppet does not start" not in reason


@dataclass(frozen=True)
class Cell:
    """One square of the matrix: a case, played by an ordered pair.

    Attributes:
        client: name of the peer that connects, `runner` where the runner plays it.
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
    """A requirement that was not met, with what was expected and what came instead.

    Attributes:
        problem: what is wrong, in one line.
        expected, actual: what was wanted and what came, or empty.
        sentence: the name of the sentence that was broken, where what failed says it better than the case does as a
            whole: a close handler that does not run is about that, whatever the case is about.
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
    """A time limit that ran out, or a clock that told too much: on a busy machine it may not be the peer's fault."""


def by_clock(error: BaseException | None) -> bool:
    """Whether an error comes from a time limit that ran out, at whatever distance."""
    while error is not None:
        if isinstance(error, Late | TimeoutError | asyncio.TimeoutError) or getattr(error, "kind", "") == "hung":
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass
class Result:
    """What became of one cell.

    Attributes:
        cell: which.
        outcome: how it came out.
        reason: why, in one line; empty for a plain pass.
        seconds: how long it took.
        expected, actual: what a failed requirement wanted and got, where that can be said.
        sentence: the name of the sentence that was broken, or empty: the first that the case quotes.
        shown: the roles of puppets whose bytes were seen, and are those of the profile under test.
        attempts: how often it was played.
        again: why it was played again, alone, or empty: the cause, and in parentheses what was measured.
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
    round: int = 1
    evidence: dict[str, Any] = field(default_factory=dict)
