"""The matrix of both front ends for forty profiles of the table in `docs/profiles.md`; the tests take a sample.

    python -m tests.interop.profiles [--only 8000,8003] [--part four | two] [--chapter NAME] [--transport NAME]

The generator is `tests.support.profiles.random_profile`. The seeds are those from `SEED` on whose framing carries what
the cases send: the largest packet, and, on insecure connections without an encoding, a message as it is. A case says
itself with which profiles it is not played (`Case.only`). Each profile takes some five minutes of processor time.
`--part four`, a third of that, plays each case in each of the four ways (TCP or Unix socket, secure or insecure), with
one front end as the client and the other one as the server. They change places from way to way and from profile to
profile. `--part two`, half of that, plays each case over TCP in secure mode and over Unix sockets in insecure mode.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from bokbok.wire import DEFAULT_LIMITS, Profile
from bokbok.wire.framing import CountedFraming
from bokbok.wire.messages import BinaryHeader
from bokbok_interop.cases import all_cases
from bokbok_interop.matrix import Group, Selection, build, diagonal
from bokbok_interop.model import RUNNER, Outcome, Result
from bokbok_interop.peers.known import known_peers
from bokbok_interop.runner import Runner, Settings
from bokbok_interop.spoken import Spoken
from tests.support.profiles import random_profile

SEED = 8000
COUNT = 40
FRONTS = ("python-sync", "python-asyncio")


def profiles() -> list[Profile]:
    """All forty."""
    drawn = (random_profile(random.Random(seed), f"random-{seed}") for seed in itertools.count(SEED))
    return list(itertools.islice(filter(_fits, drawn), COUNT))


def _fits(profile: Profile) -> bool:
    if (profile.framing.most() or DEFAULT_LIMITS.packet) < DEFAULT_LIMITS.packet:
        return False
    return isinstance(profile.framing, CountedFraming) or not isinstance(profile.messages, BinaryHeader)


WAYS = (("tcp", "secure"), ("unix", "insecure"), ("tcp", "insecure"), ("unix", "secure"))
PARTS = {"four": lambda groups: groups, "two": diagonal}


def part(groups: Sequence[Group], turn: int) -> list[Group]:
    """For each way, the groups of one client and one server, which change places with each turn."""
    chosen = []
    for group in groups:
        swapped = (turn + WAYS.index((group.transport, group.security))) % 2
        client, server = FRONTS if swapped else FRONTS[::-1]
        if group.client in (client, RUNNER) and group.server in (server, RUNNER):
            chosen.append(group)
    return chosen


def play(
    profile: Profile, selection: Selection, *, jobs: int = 16, timeout: float = 20.0, only: str = "", turn: int = 0
) -> list[Result]:
    """Play both front ends against each other and the runner: all of it, or only a part, as its turn has it."""
    peers = {name: known_peers()[name] for name in FRONTS}
    settings = Settings(timeout=timeout, jobs=jobs, spoken=Spoken(profile), evidence="failures")
    groups = build(FRONTS, all_cases(), selection)
    return asyncio.run(Runner(peers, settings).run(part(PARTS[only](groups), turn) if only else groups))


def problems(profile: Profile, results: Iterable[Result]) -> list[str]:
    """What differs from what the cases say: failed ones, and those that were not played without saying so."""
    cases = {case.id: case for case in all_cases()}
    found = []
    for result in results:
        why = cases[result.cell.case].foreign_to(profile)
        if result.outcome is Outcome.FAILED or (why and result.outcome is not Outcome.UNSUPPORTED):
            found.append(f"{result.cell}: {result.outcome.value}: {result.reason}")
    return found


def main() -> None:
    """Play, and print a line for each profile and each problem. The exit status is 1 if there is a problem."""
    parser = argparse.ArgumentParser(description="The matrix of both front ends, for forty profiles.")
    parser.add_argument("--only", help="seeds, separated by commas")
    parser.add_argument("--part", choices=PARTS, default="", help="a part of the cells, every case among them")
    parser.add_argument("--chapter", action="append", default=[])
    parser.add_argument("--transport", action="append", default=[])
    given = parser.parse_args()
    wanted = {f"random-{seed}" for seed in given.only.split(",")} if given.only else None
    selection = Selection(chapters=tuple(given.chapter), transports=tuple(given.transport))
    wrong = 0
    for turn, profile in enumerate(profiles()):
        if wanted is None or profile.name in wanted:
            start = time.monotonic()
            results = play(profile, selection, only=given.part, turn=turn)
            found = problems(profile, results)
            wrong += len(found)
            counts = Counter(result.outcome.value for result in results)
            print(f"{profile.name}: {dict(counts)} in {time.monotonic() - start:.0f} s", *found, sep="\n  ", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
