"""What is sent to a worker, and what comes back: plain values, which mean the same on every machine.

Cases are sent as ids and peers as names, since a worker has the same suite: `suite_digest` proves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bokbok_workers.digest import source_digest

from ..matrix import Group
from ..model import Cell, Result
from ..runner import Settings

__all__ = ["Announcement", "Plan", "Played", "Share", "shares", "suite_digest"]

CELLS = 16
"""Cells of a share. Its results appear when all of it has been played, and a lost share is played again as a whole."""
LONG = 5.0
"""A case that asks for so many seconds beyond the usual time limit is a share of its own."""
LEAD = 2
"""By how many groups cells that wait long are ahead of the others: there must be something to play while they wait."""
_PACKAGES = ("bokbok", "bokbok_interop", "bokbok_traffic", "bokbok_workers")


def suite_digest() -> str:
    """SHA-256 of the Python files of the library and the suite: machines with the same digest play the same cases."""
    return source_digest(*_PACKAGES)


@dataclass(frozen=True)
class Plan:
    """What a worker needs to know about a run before it plays anything.

    Attributes:
        run: the run's name.
        known: peers of the project, by name.
        given: peers of the command line, `NAME=COMMAND`.
        settings: how to play. Its `spoken` is the default one, since a user's own profile is sent as text.
        profile: the TOML text of the profile that all speak.
        strategies: files of the user's own strategies: names and texts.
    """

    run: str
    known: tuple[str, ...]
    given: tuple[str, ...]
    settings: Settings
    profile: str
    strategies: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Share:
    """Some cells of one group, which are played together.

    Attributes:
        number: its number in the run.
        round: the round of the run.
        client, server, transport, security: those of the group.
        cases: the ids of the cases.
    """

    number: int
    round: int
    client: str
    server: str
    transport: str
    security: str
    cases: tuple[str, ...]

    def cells(self) -> list[Cell]:
        """The cells of this share."""
        return [Cell(self.client, self.server, self.transport, self.security, case) for case in self.cases]


def shares(groups: Iterable[Group], round_: int, numbers: Iterator[int]) -> Iterator[Share]:
    """Every cell of these groups, in shares with the next numbers. Cells that wait long come first, one in each share.

    The shares of a group are close together, since a worker that has just played one still has its puppets: to start
    two puppets costs more than to play sixteen cells.
    """
    waiting: deque[tuple[Group, list[str]]] = deque()
    for group in groups:
        alone = sorted((case for case in group.cases if case.timeout >= LONG), key=lambda case: -case.timeout)
        for case in alone:
            yield _share(group, [case.id], round_, numbers)
        waiting.append((group, [case.id for case in group.cases if case.timeout < LONG]))
        if len(waiting) > LEAD:
            yield from _together(*waiting.popleft(), round_, numbers)
    for group, cases in waiting:
        yield from _together(group, cases, round_, numbers)


def _together(group: Group, cases: Sequence[str], round_: int, numbers: Iterator[int]) -> Iterator[Share]:
    for at in range(0, len(cases), CELLS):
        yield _share(group, cases[at : at + CELLS], round_, numbers)


def _share(group: Group, cases: Sequence[str], round_: int, numbers: Iterator[int]) -> Share:
    return Share(next(numbers), round_, group.client, group.server, group.transport, group.security, tuple(cases))


@dataclass(frozen=True)
class Announcement:
    """What a worker has.

    Attributes:
        suite: the digest of its suite.
        peers: the fingerprint of each peer that can be played there, by name.
        about: what each of those peers says about itself, as `Peer.describe`.
        absent: why a peer cannot be played there, by name.
    """

    suite: str
    peers: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@dataclass
class Played:
    """The outcome of a share.

    Attributes:
        share: its number.
        results: one for each of its cells.
        about: what puppets said about themselves, by peer.
        notes: what a person may want to know.
    """

    share: Share
    results: list[Result]
    about: dict[str, dict[str, Any]]
    notes: list[str]
