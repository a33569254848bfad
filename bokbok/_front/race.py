"""In which order, and when, to try the addresses of a name: "happy eyeballs" (RFC 8305).

What this module knows: addresses, and points in time that its callers tell it. There are no sockets or clocks in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["ATTEMPT_DELAY", "Candidate", "Race"]

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried as well (RFC 8305, section 5)."""

Candidate = tuple[int, Any]
"""A family of addresses, and an address of it."""


class Race:
    """Says which address to try next: the first at once, another whenever one has failed or has had `DELAY` seconds.

    Args:
        candidates: in the system's order of preference. Families take turns (RFC 8305, section 4), since usually a
            whole family does not get through.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._left = _interleaved(candidates)
        self._next = float("-inf")

    def start(self, now: float) -> Candidate | None:
        """The address to try now, in addition to those under way; `None` if it is not time for another one yet."""
        if not self._left or now < self._next:
            return None
        self._next = now + ATTEMPT_DELAY
        return self._left.pop(0)

    def failed(self) -> None:
        """An attempt has failed: the next one does not have to wait."""
        self._next = float("-inf")

    def wait(self, now: float) -> float | None:
        """Seconds until it is time for another address; `None` if none is left."""
        return max(0.0, self._next - now) if self._left else None


def _interleaved(candidates: Iterable[Candidate]) -> list[Candidate]:
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate[0], []).append(candidate)
    queues = list(families.values())
    return [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
