"""The matrix of both front ends for forty profiles of the table in `docs/profiles.md`; the tests take a sample.

    python -m tests.interop.profiles [--only 8000,8003] [--quick] [--chapter NAME] [--transport NAME]

The generator is `tests.support.profiles.random_profile`. The seeds are those from `SEED` on whose framing carries what
the cases send: the largest packet, and, on insecure connections without an encoding, a message as it is. A case says
itself with which profiles it is not played (`Case.only`). Each profile takes some five minutes of processor time.
`--quick`, a sixth of that, plays each case once over TCP in secure mode and once over Unix sockets in insecure mode,
with one front end as the client and the other one as the server; they change places from profile to profile.
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


def quick(groups: Sequence[Group], turn: int) -> list[Group]:
    """The groups of one client and one server, which change places with each turn."""
    client, server = FRONTS if turn % 2 else FRONTS[::-1]
    return [g for g in diagonal(groups) if g.client in (client, RUNNER) and g.server in (server, RUNNER)]


def play(
    profile: Profile, selection: Selection, *, jobs: int = 16, timeout: float = 20.0, turn: int | None = None
) -> list[Result]:
    """Play both front ends against each other and the runner; with a turn, only the part of `quick`."""
    peers = {name: known_peers()[name] for name in FRONTS}
    settings = Settings(timeout=timeout, jobs=jobs, spoken=Spoken(profile), evidence="failures")
    groups = build(FRONTS, all_cases(), selection)
    return asyncio.run(Runner(peers, settings).run(groups if turn is None else quick(groups, turn)))


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
    parser.add_argument("--quick", action="store_true", help="a sixth of the cells, every case among them")
    parser.add_argument("--chapter", action="append", default=[])
    parser.add_argument("--transport", action="append", default=[])
    given = parser.parse_args()
    wanted = {f"random-{seed}" for seed in given.only.split(",")} if given.only else None
    selection = Selection(chapters=tuple(given.chapter), transports=tuple(given.transport))
    wrong = 0
    for turn, profile in enumerate(profiles()):
        if wanted is None or profile.name in wanted:
            start = time.monotonic()
            results = play(profile, selection, turn=turn if given.quick else None)
            found = problems(profile, results)
            wrong += len(found)
            counts = Counter(result.outcome.value for result in results)
            print(f"{profile.name}: {dict(counts)} in {time.monotonic() - start:.0f} s", *found, sep="\n  ", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
