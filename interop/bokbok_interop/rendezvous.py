"""Which handler goes first: handlers wait until the case lets them go on.

A puppet with the feature `rendezvous` has a request for it: `("await" S)`. It says when the handler has begun (`(event
awaiting S)`), and releases it when a command on its standard input says so (`(N signal S)`). So this works even when
servers have stopped and connections have gone. Without the feature, a handler is asked to sleep instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .model import Failure

if TYPE_CHECKING:
    from .play import Conn, Play, Side

__all__ = ["FEATURE", "SLEEPS", "Rendezvous"]

FEATURE = "rendezvous"
SLEEPS = (5_000, 15_000)
"""Milliseconds that a handler sleeps if it cannot wait: the second if the machine is too slow for the first."""
_SENTENCES = {"client": "open.request-handler", "server": "start.request-handler"}


class Rendezvous:
    """Where handlers of one puppet wait for the case. Made by `Play.rendezvous`.

    Attributes:
        request: the request that makes a handler wait.
        answer: its answer, once it goes on.
        made: whether handlers really wait, and do not sleep: then what is seen before `release` happened before it.
        seconds: how long a handler sleeps if it cannot wait.
    """

    def __init__(self, side: Side, name: str, milliseconds: int) -> None:
        self._side = side
        self._play: Play = side.play
        self.seconds = milliseconds / 1000
        self._asked = 0
        self._began = 0.0
        self.made = FEATURE in side.puppet.features
        self.answer = name
        self.request: list[Any] = ["await", name] if self.made else ["sleep", milliseconds, name]
        if self.made:
            side.expect(name)

    async def hold(self, conn: Conn) -> asyncio.Future[Any]:
        """Begin a request over a connection, and return once its handler, at the other end, has begun.

        The future is cancelled at the end of the case.

        Raises:
            Failure: the handler does not begin in time.
        """
        self._asked += 1
        self._began = time.monotonic()
        if not self.made:
            return await self._play.in_flight(conn, self.request)
        request = self._play.spawn(conn.request(self.request))
        await self.arrived(self._asked, unless=request)
        return request

    async def arrived(self, count: int, *, unless: asyncio.Future[Any] | None = None, problem: str = "") -> None:
        """Wait until so many handlers have begun. If they sleep, this cannot be known, and it returns at once.

        Args:
            count: in all.
            unless: the request of the last one. If that ends instead, its error is raised.
            problem: what is wrong if they do not begin, in words.

        Raises:
            Failure: they do not, in time.
        """
        if not self.made:
            return
        arrived, side = self._side.arrived, self._side
        try:
            await side.wait_for(
                lambda: arrived[self.answer] >= count or (unless is not None and unless.done()),
                "the request handler",
                sentence=_SENTENCES[side.role],
            )
        except Failure as failure:
            sentence = failure.sentence
            if not problem and (arrived[self.answer] or side.puppet.holds(self.answer)):
                # One handler runs and waits, perhaps that of another case. The next one does not begin because it does
                # not end.
                problem = f"a request handler of the {side.role} did not run while another one ran"
                sentence = "about.threads"
            if not problem:
                raise
            came = f"{arrived[self.answer]} did"
            wanted = f"{count} handlers that have begun"
            raise Failure(problem, expected=wanted, actual=came, sentence=sentence) from failure
        if unless is not None and arrived[self.answer] < count:
            self._play.equal(await unless, self.answer, "the answer of a handler that was to wait")
            raise Failure("a handler that was to wait did not say so", expected=f'(event awaiting "{self.answer}")')

    async def release(self) -> None:
        """Let the handlers go on. If they sleep, wait until their time is over."""
        if self.made:
            await self._side.release(self.answer)
        else:
            await asyncio.sleep(max(0.0, self._began + self.seconds + 0.1 - time.monotonic()))

    async def beside(self, work: Coroutine[Any, Any, Any], problem: str) -> None:
        """Do something while the handlers wait.

        Raises:
            Failure: it is not done, in time.
        """
        if not self.made:
            await work  # a faulty peer finishes only when the sleeper does: the case notices that
            return
        patience = self._play.patience
        try:
            await self._play.timed(work, patience)
        except asyncio.TimeoutError:
            raise Failure(
                problem, expected="the others served while a handler waits", actual=f"they are not, for {patience:g} s"
            ) from None
