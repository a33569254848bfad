"""Finds out behind which other cells a cell fails that passes alone: the same order is played again, and halved.

What this module knows: which tries to make, and what they show. `Runner` plays them, each with new puppets.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from .cases import Case
from .model import Behind

__all__ = ["WIDTH", "Tried", "Try", "pin_down"]

WIDTH = 4
"""How many cells of a try are played at the same time: few, so that their order is nearly the same each time."""
LONG = 3.0
"""How many times as long as usual a case takes that is left out at first."""
MOST_REPEATED = 400
"""How often a case is repeated at the most, to make as many connections as others did."""


@dataclasses.dataclass(frozen=True)
class Tried:
    """What one try showed.

    Attributes:
        failed: whether the cell failed again, or the process broke.
        connections: how many connections the puppets had by then.
    """

    failed: bool
    connections: int


Try = Callable[[Sequence[Case], int, int], Awaitable[Tried]]
"""Plays these cases in one process, so many at once, only until there are so many connections (0: all of them), and
then the cell that is looked at."""


async def pin_down(
    order: Sequence[Case],
    took: Callable[[Case], float],
    play: Try,
    until: float,
    failed: int,
    repeat: Case,
    known: Iterable[Behind] = (),
) -> Behind:
    """Find out behind which cells it fails.

    Args:
        order: what the process had been given before, in this order.
        took: how many seconds a case took there. Those that took long are only played if it is not shown without them.
        play: makes a try.
        until: after this time (`time.monotonic`) no try is begun.
        failed: how many cells failed like this.
        repeat: a case that is good for making many connections, again and again.
        known: what was found for others, which is tried first.
    """
    if time.monotonic() >= until:
        return Behind((), len(order), complete=False, failed=failed)
    for like in known:
        again, width = [case for case in order if (case.id,) == like.cases], 1
        if like.by_number:
            again, width = [repeat] * MOST_REPEATED, WIDTH
        if again and (tried := await play(again, width, like.connections * like.by_number)).failed:
            return dataclasses.replace(like, of=len(order), connections=tried.connections, failed=failed)
    usual = statistics.median(map(took, order))
    cases, width = [case for case in order if took(case) <= LONG * usual], WIDTH
    whole = await play(cases, width, 0)
    if not whole.failed:
        cases, width = list(order), len(order)  # all at once: perhaps it is not their order
        if time.monotonic() >= until or not (whole := await play(cases, width, 0)).failed:
            return Behind((), len(order), failed=failed)
    passes, fails, connections = 0, len(cases), whole.connections
    while fails - passes > 1 and time.monotonic() < until:
        middle = (passes + fails) // 2
        tried = await play(cases[:middle], width, 0)
        if tried.failed:
            fails, connections = middle, tried.connections
        else:
            passes = middle
    needed, by_number = cases[:fails], False
    if fails - passes == 1 and fails > 1 and time.monotonic() < until:
        if (await play(needed[-1:], 1, 0)).failed:
            needed = needed[-1:]
        elif connections:
            by_number = (await play([repeat] * MOST_REPEATED, WIDTH, connections)).failed
    complete = fails - passes == 1
    names = tuple(case.id for case in needed)
    return Behind(names, len(order), connections, by_number=by_number, complete=complete, failed=failed)
