"""What a server tells of itself in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(frozen=True)
class Statistics:
    """What a server does at one moment, and has done since it was started: `Server.statistics()`.

    Attributes:
        connections: how many are there now, those among them of which only a handler is left.
        running: handlers that run.
        parked: handlers that wait for answers to requests of their own.
        waiting: connections whose requests wait for the server to have a slot for a handler.
    """

    connections: int
    running: int
    parked: int
    waiting: int
