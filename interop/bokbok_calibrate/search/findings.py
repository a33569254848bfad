"""The trail: what was found on one path of the search, in the order in which it was found.

What this module knows: how to write it down, and which of two trails got further.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Region", "Step", "Trail"]

Region = tuple[int, str, int, int, str]
"""Connection, direction, start, end, and what the bytes are."""

MOST_PLAINTEXTS = 12
"""Opened messages that a report shows if no profile was found."""


@dataclass(frozen=True)
class Step:
    """One step of the reasoning, for the report.

    Attributes:
        topic: what it is about.
        text: what was found, and why it is believed.
        sure: `proven`, `likely`, `assumed`, or `failed`.
    """

    topic: str
    text: str
    sure: str = "proven"


@dataclass
class Trail:
    """What was found on one path.

    Attributes:
        steps: the reasoning.
        regions: what is known about which bytes.
        opened: the first messages that were opened: connection, direction, plaintext.
    """

    steps: list[Step] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    opened: list[tuple[int, str, bytes]] = field(default_factory=list)

    def say(self, topic: str, text: str, sure: str = "proven") -> None:
        """Add a step, once."""
        step = Step(topic, text, sure)
        if step not in self.steps:
            self.steps.append(step)

    def mark(self, conn: int, source: str, start: int, end: int, label: str) -> None:
        """Add a region."""
        region = (conn, source, start, end, label)
        if start >= 0 and region not in self.regions:
            self.regions.append(region)

    def branch(self) -> Trail:
        """A trail that continues this one."""
        return Trail(list(self.steps), list(self.regions), list(self.opened))

    @property
    def reach(self) -> tuple[int, int, int]:
        """How far it got: greater is further."""
        proven = sum(step.sure == "proven" for step in self.steps)
        return proven, len(self.opened), len(self.steps)
