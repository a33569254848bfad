"""Cells that used a puppet when it broke: one of them did it, or all of them together, or one that had just passed.

Which it was is for `culprits` and `pinning`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..cases import Case
from ..matrix import Group
from ..model import Outcome, Result
from .results import Results

__all__ = ["Crowd"]


@dataclass
class Crowd:
    """Cells that used a puppet when it broke.

    Attributes:
        group: their group.
        suspects: each case, with its result at that time.
        before: the cases that had just passed.
        order: all that the puppet was given, in the order in which they began.
        kinds: how it broke, as `PuppetFault.kind`.
    """

    group: Group
    suspects: list[tuple[Case, Result]]
    before: dict[Case, Result]
    order: tuple[Case, ...]
    kinds: set[str]

    def same(self, other: Crowd) -> bool:
        """Whether the other one's puppet broke in the same way."""
        crashes, others = ({first.crash for _, first in crowd.suspects} - {None} for crowd in (self, other))
        return bool(crashes & others)

    def counted(self, results: Results) -> Iterator[tuple[Result, Result]]:
        """The suspects' first results, each with the result that counts so far."""
        firsts = {first.cell: first for _, first in self.suspects}
        for result in results.this_round():
            if result.cell in firsts:
                yield firsts[result.cell], result

    def blame(self, results: Results) -> None:
        """Each of these cells passed alone, but together they break a puppet: all of them get their first result."""
        for first, result in self.counted(results):
            result.outcome = Outcome.FAILED
            result.reason = f"{first.reason} (while {len(self.suspects)} cases ran at once; alone, none does it)"
            result.evidence, result.crash = first.evidence, first.crash
            results.correct(result)
