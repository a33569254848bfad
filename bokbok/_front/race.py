"""In which order, and when, the addresses of a name are tried: "happy eyeballs", as RFC 8305 has it.

What this module knows: addresses and points in time that it is told. It does not know sockets or clocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["ATTEMPT_DELAY", "Candidate", "Race"]

ATTEMPT_DELAY = 0.25
"""Seconds that an address has for itself before the next one is tried beside it (RFC 8305, section 5)."""

Candidate = tuple[int, Any]
"""A family of addresses, and an address of it."""


class Race:
    """Says which address to try next: one at once, another whenever one has failed or has had its time for itself.

    Args:
        candidates: in the system's order of preference. Families take turns (RFC 8305, section 4), since it is mostly a
            whole one that does not get through.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._left = _interleaved(candidates)
        self._next = float("-inf")

    def start(self, now: float) -> Candidate | None:
        """The address to try now, beside those that are being tried; `None` where it is not time for another."""
        if not self._left or now < self._next:
            return None
        self._next = now + ATTEMPT_DELAY
        return self._left.pop(0)

    def failed(self) -> None:
        """An attempt has failed: the next one need not wait."""
        self._next = float("-inf")

    def wait(self, now: float) -> float | None:
        """Seconds until it is time for another address; `None` where there is none left."""
        return max(0.0, self._next - now) if self._left else None


def _interleaved(candidates: Iterable[Candidate]) -> list[Candidate]:
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate[0], []).append(candidate)
    queues = list(families.values())
    return [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
