"""What fails of a program's own: its handlers, its look-ups, answers that cannot be written. How much is logged of it.

What this module knows: a clock, a lock, and how many failures get a line with their traceback. To write one takes a
millisecond and more, and other threads wait for the log meanwhile. A peer can make a handler fail as often as it likes,
and when a connection ends, a thousand handlers that wait for its answers fail at the same moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .logs import ERROR, Log
from .notices import INTERVAL, Notices, write

__all__ = ["MOST_FAILURES", "Failures"]

MOST_FAILURES = 16
"""Failures of one kind and one source that are told in `INTERVAL`: as many as somebody reads."""


class Failures:
    """Writes failures to a log. Beyond `MOST_FAILURES` they are counted, and the next one that is told says how many.

    Any thread may call it.

    Args:
        clock: seconds, on a clock that only goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notices = Notices()
        self._lock = threading.Lock()

    def tell(
        self,
        log: Log,
        source: str,
        text: str,
        *args: object,
        error: BaseException | None = None,
        level: int = ERROR,
    ) -> None:
        """Something has failed.

        Do not call it with a lock held: it may write to the log.

        Args:
            log: where to.
            source: whose request it was.
            text: its kind, and the line's format.
            args: of the line.
            error: whose traceback is written as well.
            level: of the line. At the level `DEBUG` of the log everything is told.
        """
        with self._lock:
            untold = self._notices.note(text, source, self._clock(), MOST_FAILURES)
            last = untold is not None and self._notices.spent(text, source, MOST_FAILURES)
        more = f" (more of this kind are not told for up to {INTERVAL:g} s)" if last else ""
        write(log, level, untold, text, args, more, error)

    def forked(self) -> None:
        """In a forked child: the thread that held the lock does not exist."""
        self._lock = threading.Lock()
