"""The nouns of the suite: outcome, kind of case, cell, result.

What this module knows: what a result consists of.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BEHIND",
    "BROKE",
    "OUT_OF_TIME",
    "RUNNER",
    "Behind",
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

BEHIND = "it failed behind other cells in the same process"
"""Why a cell is played again alone, if its failure may not be its own."""
BROKE = "a puppet broke while several cells used it"
"""Why a cell is played again alone, if its puppet broke."""
OUT_OF_TIME = "a time limit ran out while the machine was short of processor time"
"""Why a cell is played again alone, if a clock decided. The measurement follows in parentheses."""
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


@dataclass(frozen=True)
class Behind:
    """A failure that is only shown behind other cells in the same process: alone, its cell passes.

    Attributes:
        cases: the ids of the cells behind which it was shown again, in their order; empty if it was not.
        of: how many cells the process had been given before, when it failed first.
        connections: how many connections the process had when it was shown again.
        by_number: whether the number of connections counts, and not whose they are.
        complete: whether there was time to play the order again, and to halve it until nothing could be left out at its
            end.
        failed: how many cells failed like this at first.
    """

    cases: tuple[str, ...]
    of: int
    connections: int = 0
    by_number: bool = False
    complete: bool = True
    failed: int = 1

    def __str__(self) -> str:
        only = "fails only behind other cells: alone it passes; shown again"
        if not self.cases and not self.complete:
            return f"failed behind {self.of} cells of the same process; alone it passes (no time to play these again)"
        if not self.cases:
            return (
                f"failed behind {self.of} cells of the same process; alone, and behind the same ones again, it passes"
            )
        if self.by_number:
            return f"{only} after {self.connections} connections of the same process, whoever makes them"
        order = self.cases[0] + ", one" if len(self.cases) == 1 else str(len(self.cases))
        many = f" ({self.connections} connections)" if len(self.cases) > 1 and self.connections else ""
        rest = "" if self.complete else ", and perhaps behind fewer (there was no time to look)"
        return f"{only} behind {order} of the {self.of} that the same process had been given{many}{rest}"


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
        behind: behind which cells it fails, if it does not fail alone.
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
    behind: Behind | None = None
    round: int = 1
    evidence: dict[str, Any] = field(default_factory=dict)
