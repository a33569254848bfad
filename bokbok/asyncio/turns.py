"""The turns of the connections on one event loop: one in each turn of the loop, so that input comes in between."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Hashable
from time import perf_counter

from .._front.turns import Step, Turns

__all__ = ["line_up"]


class _LoopTurns:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._turns = Turns(perf_counter)

    def join(self, party: Hashable, step: Step) -> None:
        idle = not self._turns
        self._turns.join(party, step)
        if idle:
            self._call_soon()

    def _call_soon(self) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon(self._take)

    def _take(self) -> None:
        try:
            self._turns.take()
        finally:
            if self._turns:
                self._call_soon()


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopTurns] = weakref.WeakKeyDictionary()


def line_up(party: Hashable, step: Step) -> None:
    """Have something done in turns on the running event loop; see `Turns.join`."""
    loop = asyncio.get_running_loop()
    turns = _of_loops.get(loop)
    if turns is None:
        turns = _of_loops[loop] = _LoopTurns(loop)
    turns.join(party, step)
