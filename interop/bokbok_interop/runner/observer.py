"""Who is told what happens in a run: the interface of progress on a terminal, in a log, of a worker's notes."""

from __future__ import annotations

from ..model import Cell, Result

__all__ = ["Observer", "Observers"]


class Observer:
    """Its methods are called when something happens. The terminal's table is one. This one does nothing."""

    def planned(self, cells: int) -> None:
        """The run begins, with so many cells."""

    def playing(self, cell: Cell) -> None:
        """A cell begins."""

    def finished(self, result: Result) -> None:
        """A cell has its outcome."""

    def corrected(self, result: Result) -> None:
        """A result that was reported has changed."""

    def note(self, text: str) -> None:
        """Something that a person may want to know: a peer is being built, a peer was given up."""


class Observers(Observer):
    """Passes everything on to several observers, which may be added until the run begins."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def add(self, *observers: Observer) -> None:
        """Tell these as well from now on."""
        self._observers += observers

    def planned(self, cells: int) -> None:
        """See `Observer.planned`."""
        for each in self._observers:
            each.planned(cells)

    def playing(self, cell: Cell) -> None:
        """See `Observer.playing`."""
        for each in self._observers:
            each.playing(cell)

    def finished(self, result: Result) -> None:
        """See `Observer.finished`."""
        for each in self._observers:
            each.finished(result)

    def corrected(self, result: Result) -> None:
        """See `Observer.corrected`."""
        for each in self._observers:
            each.corrected(result)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        for each in self._observers:
            each.note(text)
