"""Measures whether this machine is short of processor time: how late the runner's own event loop is, and what the
kernel says about programs that wait for a processor (`/proc/pressure/cpu`, if there is one)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

__all__ = ["STEP", "Machine"]

STEP = 0.1
"""Seconds between two measurements."""
KEPT = 900.0
"""Seconds for which measurements are kept: longer than any case takes."""
LATE = 0.25
"""Seconds by which the event loop is late on a machine that is short of processor time. On an idle machine it is a few
milliseconds late, or some tens when the runner has much to read."""
WAITED = 0.5
"""The share of time in which some program waited for a processor, on a machine that is short of processor time."""
PRESSURE = Path("/proc/pressure/cpu")


def _waited() -> float | None:
    """Seconds since the system's start in which some program waited for a processor; `None` if the system does not
    count them."""
    try:
        return int(PRESSURE.read_text().split("total=", 1)[1].split(None, 1)[0]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


class Machine:
    """Takes measurements while `watch` runs.

    Args:
        waited: reads the kernel's figure.
    """

    def __init__(self, waited: Callable[[], float | None] = _waited) -> None:
        self._read = waited
        self._measured: deque[tuple[float, float, float | None]] = deque(maxlen=int(KEPT / STEP))

    async def watch(self) -> None:
        """Measure, until it is cancelled."""
        while True:
            before = time.monotonic()
            self._measured.append((before, 0.0, self._read()))
            await asyncio.sleep(STEP)
            now = time.monotonic()
            self._measured[-1] = (now, now - before - STEP, self._measured[-1][2])

    def shortage(self, since: float) -> str:
        """How short of processor time the machine was, in words; empty if it was not.

        Args:
            since: look at the time from then on (`time.monotonic`).
        """
        if not self._measured:
            return ""
        found = list(itertools.takewhile(lambda each: each[0] >= since, reversed(self._measured)))[::-1]
        # The last one has only begun. After a long pause of the event loop somebody may ask before it ends.
        late = max([time.monotonic() - self._measured[-1][0] - STEP, *(lag for _, lag, _ in found)])
        words = []
        if late >= LATE:
            words.append(f"the runner's event loop was up to {late:.2f} s late")
        figures = [(when, waited) for when, _, waited in found if waited is not None]
        if len(figures) > 1:
            (start, first), (end, last) = figures[0], figures[-1]
            if end > start and (share := (last - first) / (end - start)) >= WAITED:
                words.append(f"programs waited for a processor in {min(share, 1.0):.0%} of the time")
        return ", ".join(words)
