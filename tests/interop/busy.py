"""The busy-machine proof: plays cases that depend on order, clocks and ends, under load, again and again.

    python -m tests.interop.busy                           8 busy processes; the cases and the mutants 20 times
    python -m tests.interop.busy --times 1 --only cases    the cases once
    python -m tests.interop.busy --matrix 2                the whole matrix twice, too
    python -m tests.interop.busy --turns                   each time few pairs, others from time to time

It prints a table of what was played, with the results. Each failed cell, and each mutant that was missed, is a separate
line, and makes the exit status 1. The load consists of processes of this script, which end with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bokbok_interop.cases import PREFLIGHT, all_cases
from bokbok_interop.matrix import Group, Selection, build
from bokbok_interop.model import RUNNER, Outcome, Result
from bokbok_interop.peers.base import Peer
from bokbok_interop.peers.known import known_peers
from bokbok_interop.runner import Runner, Settings

ABOUT = (
    *("request.out-of-order", "request.reversed-order", "request.*-at-once", "request.*wait-for-one-another"),
    *("request.slow-*", "request.blocks-*", "request.stalled-network", "request.large-both-ways"),
    *("errors.while-others-wait", "errors.each-its-own", "errors.error-answer-*", "errors.network-error-*"),
    *(
        "errors.close-inside-handler",
        "errors.request-after-close",
        "symmetry.ids-do-not-clash",
        "symmetry.client-serves-*",
    ),
    *("lifecycle.*", "secure.refus*", "hostile.hello*", "hostile.length-over-limit-before-hello"),
    *("hostile.*half-close*", "hostile.*lingers", "hostile.*protocol-error*", "hostile.*no-reset", "hostile.*-error-*"),
    *(
        "hostile.*just-in-time",
        "hostile.*slow*",
        "hostile.server-sends-slowly",
        "hostile.*beside-others",
        "hostile.vanishes",
    ),
    *("hostile.stop-*", "hostile.wait-*", "hostile.*limit", "hostile.*queue", "hostile.*fills*", "hostile.never-*"),
    *("hostile.server-never-*", "hostile.turned-away-*", "hostile.used-id", "preflight.*"),
)
"""Cases of order, clocks and ends."""
PEERS = "python-sync,python-asyncio,minimal"


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Run so many processes that only count, while the block lasts."""
    # Each ends by itself, too, if this process is killed.
    words = f"import os\nparent = {os.getpid()}\nwhile os.getppid() == parent:\n    for _ in range(1 << 22): pass"
    started = [subprocess.Popen([sys.executable, "-c", words]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
        for each in started:
            each.wait()


class Tally:
    """What was played, with the results."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, str, float]] = []
        self.wrong = 0

    def add(self, what: str, played: int, came_out: str, seconds: float) -> None:
        self.rows.append((what, played, came_out, seconds))
        print(f"{what}: {played} in {seconds:.0f} s: {came_out} (load {os.getloadavg()[0]:.0f})", flush=True)

    def blame(self, line: str) -> None:
        self.wrong += 1
        print(f"✗ {line}", flush=True)

    def show(self) -> None:
        print("\n| what | played | came out | minutes |\n|---|---|---|---|")
        for what, played, came_out, seconds in self.rows:
            print(f"| {what} | {played:,} | {came_out} | {seconds / 60:.0f} |")


def chosen(cases: Any) -> list[Any]:
    """The cases about order, clocks and ends, without long ones."""
    return [one for one in cases if not one.long and any(fnmatch.fnmatchcase(one.id, glob) for glob in ABOUT)]


async def _play(peers: dict[str, Peer], groups: list[Group]) -> list[Result]:
    return await Runner(peers, Settings(timeout=10.0, jobs=32)).run(groups)


def in_turn(groups: list[Group], turn: int) -> list[Group]:
    """Those of one transport, and one pair of each kind: two peers, the runner with a server, a client with the runner.

    So each case is played once in each turn, in secure and in insecure mode, if it has both. From turn to turn the
    transport and the pairs change.
    """
    transports = sorted({group.transport for group in groups})
    kinds: dict[tuple[bool, bool], list[tuple[str, str]]] = {}
    for group in groups:
        pairs = kinds.setdefault((group.client == RUNNER, group.server == RUNNER), [])
        if (pair := (group.client, group.server)) not in pairs:
            pairs.append(pair)
    now = {pairs[(turn + turn // len(transports)) % len(pairs)] for pairs in kinds.values()}
    transport = transports[turn % len(transports)]
    return [group for group in groups if group.transport == transport and (group.client, group.server) in now]


def cells(tally: Tally, names: str, cases: list[Any], what: str, turn: int | None = None) -> None:
    """Play these cases for all ordered pairs of these peers, or only those of one turn."""
    known = known_peers()
    peers = {name: known[name] for name in names.split(",")}
    preflight = [case for case in cases if case.chapter == PREFLIGHT]
    groups = build(list(peers), [case for case in cases if case not in preflight], Selection())
    groups += build(list(peers), preflight, Selection())
    if turn is not None:
        groups = in_turn(groups, turn)
    start = time.monotonic()
    results = asyncio.run(_play(peers, groups))
    for result in results:
        if result.outcome is Outcome.FAILED:
            tally.blame(f"{result.cell}: {result.reason} {result.actual}"[:400])
    counts = Counter(result.outcome.value for result in results)
    again = sum(result.attempts > 1 for result in results)
    words = [f"{count:,} {outcome}" for outcome, count in counts.most_common()] + [f"{again} played again"]
    tally.add(what, len(results), ", ".join(words), time.monotonic() - start)


def mutants(tally: Tally, jobs: int) -> None:
    """Check that each mutant that these cases can catch is caught."""
    from tests.interop import test_mutants as listed

    wanted = {case.id for case in chosen(all_cases())}
    pairs = [(mutant, case) for mutant, case in listed._pairs() if case in wanted]

    async def play() -> list[Result]:
        gate = asyncio.Semaphore(jobs)
        return await asyncio.gather(*(listed._catch(mutant, case, gate) for mutant, case in pairs))

    start = time.monotonic()
    caught = 0
    for (mutant, case), result in zip(pairs, asyncio.run(play()), strict=True):
        if result.outcome is Outcome.FAILED and "does not start" not in result.reason:
            caught += 1
        else:
            tally.blame(f"{mutant['name']} is not noticed by {case}: {result.outcome.value} {result.reason}"[:400])
    tally.add("mutants of these cases", len(pairs), f"{caught:,} caught", time.monotonic() - start)


def main() -> None:
    """Play. The exit status is 1 if a good peer failed or a broken one passed."""
    parser = argparse.ArgumentParser(description="The busy-machine proof.")
    parser.add_argument("--load", type=int, default=8, help="processes that keep the processors busy (8)")
    parser.add_argument("--times", type=int, default=20, help="how often the cases, and the mutants, are played (20)")
    parser.add_argument("--only", choices=["cases", "mutants"], help="one of the two")
    parser.add_argument("--matrix", type=int, default=0, help="how often the whole matrix is played (0)")
    parser.add_argument("--turns", action="store_true", help="each time one transport and few pairs, in turn")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="the number of the first round (1)")
    parser.add_argument("--peers", default=PEERS, help=f"of the cases and the matrix ({PEERS})")
    parser.add_argument("--jobs", type=int, default=16, help="mutants that are played at once (16)")
    given = parser.parse_args()
    os.chdir(Path(__file__).parents[2])
    tally = Tally()
    with load(given.load):
        for number in range(given.first, given.first + given.times):
            if given.only != "mutants":
                what = f"cases of order, clocks and ends, round {number}"
                cells(tally, given.peers, chosen(all_cases()), what, number - 1 if given.turns else None)
            if given.only != "cases":
                mutants(tally, given.jobs)
        for number in range(given.matrix):
            everything = [case for case in all_cases() if not case.long]
            cells(tally, given.peers, everything, f"the whole matrix, round {number + 1}")
    tally.show()
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
