"""Who does the long parts of a search: this process, or the workers of a scheduler.

What this module knows: how a part is done elsewhere. A part is a function of a module whose last argument is a clock,
and whose result depends on nothing but its other arguments. So a search comes to the same answer, whoever does its
parts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from .clock import Clock

if TYPE_CHECKING:
    from bokbok_workers.workers import Workers  # imports Dask, which is an extra

__all__ = ["PACKAGES", "Away", "Hands"]

_T = TypeVar("_T")

PACKAGES = ("bokbok", "bokbok_calibrate", "bokbok_traffic", "bokbok_workers")
"""What a worker must have in the same version."""


class Hands:
    """This process does it, each part when its result is asked for.

    Attributes:
        away: whether others do it, so that it is worth giving them something to do ahead of time.
    """

    away = False

    def ahead(
        self, work: Callable[..., _T], calls: Iterable[tuple[Any, ...]], clock: Clock
    ) -> Generator[_T, None, None]:
        """The results of some parts, in order.

        Args:
            work: a function of a module, whose last positional argument is a clock.
            calls: the other arguments of each part.
            clock: says when to give up.
        """
        for arguments in calls:
            yield work(*arguments, clock)


class Away(Hands):
    """Workers do it, some parts ahead of what is asked for.

    Args:
        workers: the workers.
    """

    away = True

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def ahead(
        self, work: Callable[..., _T], calls: Iterable[tuple[Any, ...]], clock: Clock
    ) -> Generator[_T, None, None]:
        """See `Hands.ahead`."""
        timed = ((work, clock.left, arguments) for arguments in calls)
        return self.workers.ahead(_there, timed, clock.check)


def _there(work: Callable[..., _T], seconds: float, arguments: tuple[Any, ...]) -> _T:
    """A part of a search, on a worker."""
    return work(*arguments, Clock(seconds, alone=False))
