"""The matrix: which cells there are.

What this module knows: ordered pairs, transports, securities, and which case belongs to which of them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .cases import SESSIONS, Case
from .model import RUNNER, Cell

__all__ = ["SECURITIES", "TRANSPORTS", "Group", "Selection", "about", "build", "diagonal", "select_cases", "shard"]

TRANSPORTS = ("tcp", "unix")
SECURITIES = ("secure", "insecure")


@dataclass(frozen=True)
class Selection:
    """Which cells to play; an empty field means all of them.

    Attributes:
        cases: globs over case ids; one match is enough.
        chapters: names of chapters.
        kinds: `reference`, `profile`, `hardening`.
        clients, servers: names of peers in that role.
        about: names of peers; at least one side must be one of them.
        transports, securities: which.
        long: whether long cases are played.
        sessions: whether the recorded sessions are played; they are, too, if their chapter or a case of it is named.
    """

    cases: tuple[str, ...] = ()
    chapters: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    transports: tuple[str, ...] = ()
    securities: tuple[str, ...] = ()
    long: bool = False
    sessions: bool = False


@dataclass
class Group:
    """The cells of one ordered pair over one transport in one security mode. They share two puppets."""

    client: str
    server: str
    transport: str
    security: str
    cases: list[Case] = field(default_factory=list)

    def cell(self, case: Case) -> Cell:
        """The cell of a case in this group."""
        return Cell(self.client, self.server, self.transport, self.security, case.id)


def _named(selection: Selection) -> bool:
    return SESSIONS in selection.chapters or any(glob.startswith(f"{SESSIONS}.") for glob in selection.cases)


def select_cases(cases: Iterable[Case], selection: Selection) -> list[Case]:
    """The cases that a selection asks for, whatever the pair."""
    return [
        case
        for case in cases
        if (not selection.cases or any(fnmatch.fnmatchcase(case.id, glob) for glob in selection.cases))
        and (not selection.chapters or case.chapter in selection.chapters)
        and (not selection.kinds or case.kind.value in selection.kinds)
        and (selection.long or not case.long)
        and (selection.sessions or case.chapter != SESSIONS or _named(selection))
    ]


def build(peers: Sequence[str], cases: Iterable[Case], selection: Selection) -> list[Group]:
    """Every group that has a cell to play, in the order in which results are shown."""
    wanted = select_cases(cases, selection)
    pairs = [(client, server) for client in peers for server in peers]
    pairs += [(RUNNER, server) for server in peers]
    pairs += [(client, RUNNER) for client in peers]
    groups = []
    for client, server in pairs:
        if selection.clients and client not in selection.clients:
            continue
        if selection.servers and server not in selection.servers:
            continue
        if selection.about and client not in selection.about and server not in selection.about:
            continue
        role = "client" if client == RUNNER else "server" if server == RUNNER else None
        for transport in selection.transports or TRANSPORTS:
            for security in selection.securities or SECURITIES:
                chosen = [
                    case
                    for case in wanted
                    if case.opponent == role and transport in case.transports and security in case.securities
                ]
                if chosen:
                    groups.append(Group(client, server, transport, security, chosen))
    return groups


def diagonal(groups: Sequence[Group]) -> list[Group]:
    """For each case and pair, half of the cells: TCP secure and Unix insecure, or the nearest to it.

    A case with `once` is played only over Unix sockets, without encryption.
    """
    places: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for group in groups:
        for case in group.cases:
            places.setdefault((group.client, group.server, case.id), []).append((group.transport, group.security))
    both, one = {("tcp", "secure"), ("unix", "insecure")}, {("unix", "insecure")}
    out = []
    for group in groups:
        mode = (group.transport, group.security)
        cases = []
        for case in group.cases:
            found = places[group.client, group.server, case.id]
            wanted = one if case.once else both
            # A case that has only one transport, or one security mode, is played in one mode: that is enough for it.
            if mode in wanted or not wanted & set(found):
                cases.append(case)
        if cases:
            out.append(Group(group.client, group.server, group.transport, group.security, cases))
    return out


def about(groups: Sequence[Group], name: str) -> list[Group]:
    """The cells that are about one peer. Cells whose subject is the other side show nothing about it."""
    out = []
    for group in groups:
        roles = {"client": group.client, "server": group.server}
        cases = [case for case in group.cases if case.subject == "either" or roles[case.subject] == name]
        if cases:
            out.append(Group(group.client, group.server, group.transport, group.security, cases))
    return out


def shard(groups: Sequence[Group], number: int, of: int) -> list[Group]:
    """The share of one machine out of several. Cells are dealt out in turn, so that the shares are alike."""
    out = []
    index = 0
    for group in groups:
        mine = []
        for case in group.cases:
            if index % of == number - 1:
                mine.append(case)
            index += 1
        if mine:
            out.append(Group(group.client, group.server, group.transport, group.security, mine))
    return out
