"""Which case broke a puppet that several used, if none of them does so alone: one that had just passed, or all of them.

What a crowd's cells did before it is for `pinning`.
"""

from __future__ import annotations

import asyncio

from ..cases import Case
from ..matrix import Group
from ..model import BROKE, OUT_OF_TIME, Outcome, Result
from ..slots import Slots
from .cells import Cells
from .crowd import Crowd
from .late import LateCells
from .pinning import Pinning
from .puppets import Puppets
from .results import Results
from .shared import Shared

__all__ = ["Culprits"]


class Culprits:
    """Finds out which case broke a puppet.

    Args:
        cells: plays cells.
        puppets: has puppets for a crowd that is played again.
        results: those that may change.
        slots: one is taken for each cell that is played.
        late: the suspects that are to be played again.
        pinning: takes the crowds of which no case has done it.
    """

    def __init__(
        self,
        cells: Cells,
        puppets: Puppets,
        results: Results,
        slots: Slots,
        late: LateCells,
        pinning: Pinning,
    ) -> None:
        self._cells = cells
        self._puppets = puppets
        self._results = results
        self._slots = slots
        self._late = late
        self._pinning = pinning
        self._crowds: list[Crowd] = []

    async def blame(self, crowd: Crowd) -> None:
        """If no suspect has broken the puppet again alone, find out which case did.

        If the puppet was only slow, while the machine was slow, this waits until the crowd has been played again.
        """
        late = {result.cell: result for _, _, result in self._late.waiting}
        replayed = [result for _, result in crowd.counted(self._results)]
        replayed += [late[first.cell] for _, first in crowd.suspects if first.cell in late]
        if any(result.outcome is Outcome.FAILED for result in replayed):
            return
        if all(first.again for _, first in crowd.suspects):
            self._crowds.append(crowd)
        else:
            await self._find_culprit(crowd)

    async def _find_culprit(self, crowd: Crowd) -> None:
        """Find out which case broke a puppet, although none of those that used it then does so alone.

        A case may have passed before its effect broke the puppet, so those that had just passed are played again. If
        none of them breaks it either, the crowd does: then all suspects have failed, unless it can be pinned down.
        """
        if self._pinning.like_another(crowd):
            return
        for case, result in reversed(list(crowd.before.items())):
            async with self._slots.taken():
                again = await self._cells.alone(crowd.group, case)
            if again.outcome is Outcome.FAILED:
                result.outcome, result.attempts, result.again = Outcome.FAILED, 2, BROKE
                result.reason, result.expected, result.actual = again.reason, again.expected, again.actual
                result.sentence, result.evidence, result.crash = again.sentence, again.evidence, again.crash
                self._results.correct(result)
                return
        self._pinning.explain(crowd)

    async def gather_again(self) -> None:
        """Play each crowd again whose puppet did not answer in time, while nothing else is played, before it counts.

        Each of its cells has passed alone. A puppet that hangs because so many cells use it will hang again.
        """
        while self._crowds and not self._results.stopping:
            crowd = self._crowds.pop()
            self._results.note(f"{len(crowd.suspects)} cells are played again, all at once: {OUT_OF_TIME}")
            async with self._puppets.own() as shared:

                async def one(case: Case, group: Group = crowd.group, shared: Shared = shared) -> Result:
                    async with self._slots.taken():
                        return await self._cells.play(group, case, shared, alone=False, again=True)

                again = await asyncio.gather(*map(one, [*crowd.before, *(case for case, _ in crowd.suspects)]))
            if any(result.evidence.pop("suspect", False) for result in again):
                await self._find_culprit(crowd)
                continue
            for first, result in crowd.counted(self._results):
                result.again, result.attempts = first.again, result.attempts + 1
                self._results.correct(result)

    def finish(self) -> None:
        """Crowds that were not played again are blamed."""
        for crowd in self._crowds:
            crowd.blame(self._results)
        self._crowds.clear()

    def drop(self) -> None:
        """Crowds that were not played again do not count: another failure has ended the run."""
        self._crowds.clear()
