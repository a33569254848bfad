"""The results of a run so far: what counts as a cell's result, what was corrected since, and whether the run goes on.

How a cell gets its outcome is for `cells`, and whether it is played again before that counts for `late` and `pinning`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model import Cell, Outcome, Result
from .observer import Observer
from .settings import Settings

__all__ = ["Results", "one_line"]

MAX_REASON = 1_000


def one_line(reason: str) -> str:
    """A reason as reports have it: one line, with an end."""
    return " ".join(reason.split())[:MAX_REASON]


class Results:
    """The results of a run.

    Args:
        settings: how it is played.
        observer: is told of each result, and of each that changes.

    Attributes:
        all: the results.
        round: the number of the round that is played.
        stopping: whether no further cell begins.
    """

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self.all: list[Result] = []
        self.round = 1
        self.stopping = False

    def add(self, result: Result) -> None:
        """A cell has its outcome."""
        result.round = self.round
        result.reason = one_line(result.reason)
        self.all.append(result)
        if result.outcome is Outcome.FAILED and self._settings.ends_at_a_failure:
            self.stopping = True
        self._observer.finished(result)

    def note(self, text: str) -> None:
        """Say what will be done with some of them."""
        self._observer.note(text)

    def correct(self, result: Result) -> None:
        """One of them has changed."""
        self._observer.corrected(result)

    def replace(self, first: Result, again: Result) -> None:
        """Another result of the same cell counts."""
        again.round = first.round
        self.all = [again if result is first else result for result in self.all]
        self.correct(again)

    def this_round(self) -> Iterator[Result]:
        """The results of the round that is played."""
        return (result for result in self.all if result.round == self.round)

    def forget(self, cells: Collection[Cell]) -> None:
        """Remove the results of these cells."""
        self.all = [result for result in self.all if result.cell not in cells]
