"""The turns of the connections on one event loop, and what is looked at as soon as it has come.

What this module knows: a clock, and when the loop goes round. What has come is looked at at once, which saves a turn.
But the loop tells of all connections that have something in one round, and where these are a thousand, everybody would
wait for all of them. So after a while in one round the others line up, and so do handlers that have ended or may start.
Turns, too, are given for a while in each round, so that input comes in between.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Hashable
from time import perf_counter

from .._front.turns import QUANTUM, Step, Turns

__all__ = ["LoopTurns", "turns_of"]

ROUND = 5 * QUANTUM
"""Seconds of a round of the loop in which what has come is looked at at once."""
TURNS = 2 * QUANTUM
"""Seconds of a round in which turns are given: one for each of two parties, so that whoever has little to do waits for
few others. Measured beside a crowd: with 5 ms requests took twice as long as with 2, and with 20 ms six times."""


class LoopTurns:
    """The turns of one event loop.

    Args:
        loop: it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._turns = Turns(perf_counter)
        self._since = 0.0  # about when the round began
        self._crowded = False  # this round has taken long already: what comes lines up
        self.may_begin = self._turns.may_begin

    def at_once(self) -> bool:
        """Bytes have come. Whether to look at them at once.

        Nobody tells when a round begins, and to be called in each of them would keep an idle loop from sleeping. So
        after `ROUND` the next round is waited for: until then what comes lines up, whoever came first. Where little
        comes, that is true of one connection in a while, and does not matter.
        """
        if self._crowded:
            return False
        if perf_counter() - self._since > ROUND and (loop := self._loop()) is not None:
            self._crowded = True
            loop.call_soon(self._next_round)
        return True

    def _next_round(self) -> None:
        self._crowded = False
        self._since = perf_counter()

    def join(self, party: Hashable, step: Step, rest: int) -> None:
        """Have something done in turns; see `Turns.join`."""
        idle = not self._turns
        self._turns.join(party, step, rest)
        if idle:
            self._call_soon()

    def _call_soon(self) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon(self._take)

    def _take(self) -> None:
        until = perf_counter() + TURNS
        try:
            while self._turns:
                self._turns.take()
                if perf_counter() >= until:
                    break
        finally:
            if self._turns:
                self._call_soon()


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopTurns] = weakref.WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> LoopTurns:
    """The turns of the connections on an event loop."""
    turns = _of_loops.get(loop)
    if turns is None:
        turns = _of_loops[loop] = LoopTurns(loop)
    return turns
