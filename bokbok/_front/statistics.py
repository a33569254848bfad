"""A server's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["REFUSALS", "Statistics"]

REFUSALS = {
    "accept": "No connection could be accepted, for want of descriptors or memory.",
    "connections": "The server was found full; further connections wait in the backlog.",
    "connections_per_address": "A connection was one too many of its source.",
    "connections_per_user": "A connection was one too many of its user.",
    "hello": "A hello did not open: an unknown user, a wrong key, a replay, or something else than a hello.",
    "hello_timeout": "A hello did not come in time.",
    "hellos": "A connection was refused since many hellos were under way.",
    "hellos_per_address": "A connection was refused since many hellos of its source were under way.",
    "left": "A connection ended before its hello had opened.",
    "penalty": "A connection came from a source that was refused too often.",
    "protocol": "A connection broke the rules of the protocol.",
    "proxy": "A connection of a trusted proxy did not begin with the PROXY protocol's header.",
    "unreadable": "A request did not read, and was answered with an error.",
}
"""The kinds of refusal that `Statistics.refused` counts, and what each means."""


@dataclass(frozen=True)
class Statistics:
    """What a server does at one moment, and has done since it was started: `Server.statistics()`.

    Attributes:
        connections: how many are there now, including those of which only a handler is left.
        hellos: how many of them have not said who they are yet.
        penalised: sources whose refusals are remembered.
        running: handlers that run.
        parked: handlers that wait for answers to requests of their own.
        waiting: connections whose requests wait for the server to have a slot for a handler.
        held: bytes of memory that are held for all other ends, by the estimate of `Limits.memory`; what holds some
            kilobytes alone is left out.
        heaviest: bytes of them that are held for the connection which holds most.
        accepted: connections that were let in, ever.
        handled: requests whose handler was started, ever.
        refused: what was refused, ever, by its kind. `REFUSALS` says what each is.
        processes: how many processes there are; with `bokbok.processes`, including those that retire.
        died: how many of them have died, ever, and were replaced.
        codec: which implementation of codec and packets runs: `native 0.1.0`, or `pure Python (…)` with the reason.
    """

    connections: int
    hellos: int
    penalised: int
    running: int
    parked: int
    waiting: int
    held: int
    heaviest: int
    accepted: int
    handled: int
    refused: Mapping[str, int]
    codec: str
    processes: int = 1
    died: int = 0
