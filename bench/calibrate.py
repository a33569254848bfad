"""How many formats calibration identifies, whether its claims are true, and how long it takes.

    python bench/calibrate.py                              everything: some minutes
    python bench/calibrate.py secure insecure              only these groups; --count, --first choose the seeds
    python bench/calibrate.py secure --seed 17 --show      one format, with the report

Each format is recorded once with the default script, and calibrated. The claimed profile is then spoken in a new
conversation, in both roles, with live peers of the true format (except for `own`, which only our own peers speak).
Groups: `secure`, `insecure` (random formats of the table, from the independent generator in tests/support/foreign),
`secure-plain`, `insecure-plain` (the same without unusual readings of the table), `outside` (formats that are not in
the table: nothing may be claimed), `may-occur` (the table's third column), `own` (the project's own strategies). With
`--scheduler` the workers of a Dask scheduler do it: tcp://HOST:PORT on this machine, tls://HOST:PORT anywhere (each has
this repository, and starts in its root), or local:N for N processes. Run it from the repository's root. The exit status
is 1 if anything was claimed wrongly.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "interop")]

from bokbok_calibrate.conversation import record  # noqa: E402
from bokbok_calibrate.derivation import Secrets  # noqa: E402 - the path is set above
from bokbok_calibrate.hands import PACKAGES  # noqa: E402
from bokbok_calibrate.report import as_text  # noqa: E402
from bokbok_calibrate.script import known_datums  # noqa: E402
from bokbok_calibrate.search.answer import Answer  # noqa: E402
from bokbok_calibrate.search.solve import solve  # noqa: E402
from bokbok_traffic.recording import Recorded  # noqa: E402 - the path is set above
from bokbok_workers.where import Where, WorkersError  # noqa: E402
from tests.support import foreign  # noqa: E402
from tests.support.fresh import fresh_problems, recorded_foreign  # noqa: E402
from tests.support.profiles import random_profile  # noqa: E402

COUNTS = {
    "secure": 200, "secure-plain": 200, "insecure": 200, "insecure-plain": 200, "outside": 50, "may-occur": 50,
    "own": 50,
}  # fmt: skip
GIVE_UP = 240
"""Seconds: a format that takes longer counts as a hang."""


@dataclasses.dataclass
class Case:
    """One format, with its result."""

    seed: int
    status: int
    seconds: float
    text: str
    problems: list[str]
    secure: bool
    report: str = ""

    @property
    def wrong(self) -> bool:
        return self.status == 0 and bool(self.problems)


def draw(group: str, seed: int) -> foreign.Format:
    rng = random.Random(seed)
    if group == "outside":
        return foreign.foreign_format(rng)
    if group == "may-occur":
        return foreign.may_occur_format(rng)
    return foreign.random_format(rng, secure=group.startswith("secure"), readings=not group.endswith("-plain"))


def calibrate(recorded: list[Recorded], secure: bool, passphrase: str = "mypassphrase") -> tuple[Answer, float]:
    """The result for a recording, and the processor time that it took, since others may run at the same time."""
    secrets = Secrets(b"myuser", passphrase.encode()) if secure else Secrets()
    begin = time.process_time()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(GIVE_UP)
    try:
        answer = solve(recorded, secrets, known_datums())
    finally:
        signal.alarm(0)
    return answer, time.process_time() - begin


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"over {GIVE_UP} seconds")


def play(group: str, seed: int) -> Case:
    """Draw, record, calibrate, verify."""
    logging.getLogger("bokbok").setLevel(logging.CRITICAL)  # handlers fail on purpose
    rng = random.Random(seed)
    if group == "own":
        profile = random_profile(rng)
        recorded, secure, text = record(profile), True, repr(profile)
        answer, seconds = calibrate(recorded, secure)
        problems = []
    else:
        fmt = draw(group, seed)
        recorded, secure, text = recorded_foreign(fmt, rng), fmt.secure, fmt.text()
        try:
            answer, seconds = calibrate(recorded, secure, fmt.derivation.example)
        except Exception as error:
            return Case(seed, -1, GIVE_UP, text, [f"{type(error).__name__}: {error}"], secure)
        problems = fresh_problems(answer.profiles[0], fmt) if answer.profiles else []
    return Case(seed, answer.status, seconds, text, problems, secure, as_text(answer, recorded, secure=secure))


def apart(group: str, seed: int) -> dict[str, Any]:
    """`play` in a process of its own, from the repository's root: its alarm needs a main thread, which a task does not
    have."""
    done = subprocess.run(
        [sys.executable, "bench/calibrate.py", group, "--seed", str(seed), "--as-json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"{group}, seed {seed}: {done.stderr.strip()[-500:] or done.stdout[-500:]}")
    case: dict[str, Any] = json.loads(done.stdout)
    return case


@contextlib.contextmanager
def workers(where: Where) -> Iterator[Callable[[str, range], list[Case]]]:
    """A function that plays a group by the workers of a scheduler. If a worker is lost, another one plays its seed
    again."""
    from bokbok_workers.workers import Workers

    with contextlib.closing(Workers(where, PACKAGES)) as hands:

        def played(group: str, seeds: range) -> list[Case]:
            return [Case(**found) for found in hands.ahead(apart, ((group, seed) for seed in seeds))]

        yield played


def in_processes(jobs: int) -> Callable[[str, range], list[Case]]:
    def played(group: str, seeds: range) -> list[Case]:
        with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
            return list(pool.map(play, [group] * len(seeds), seeds))

    return played


def here(group: str, seeds: range) -> list[Case]:
    return [play(group, seed) for seed in seeds]


def measure(group: str, seeds: range, played: Callable[[str, range], list[Case]], show: bool) -> bool:
    """Play a group, and print its figures. Returns whether nothing was claimed wrongly."""
    cases = played(group, seeds)
    statuses = collections.Counter(case.status for case in cases)
    outside = group == "outside"
    good = [c for c in cases if (c.status == 4 if outside else c.status == 0 and not c.problems)]
    wrong = [c for c in cases if c.wrong or (outside and c.status == 0)]
    times = [case.seconds for case in cases]
    what = "nothing claimed" if outside else "identified and verified"
    print(
        f"{group}: {len(cases)} formats, {what}: {len(good)} ({len(good) / len(cases):.1%}), several: {statuses[3]}, "
        f"none: {statuses[4]}, wrong: {len(wrong)}, hung or broken: {statuses[-1]}; seconds: median "
        f"{statistics.median(times):.2f}, 95 in 100 under {sorted(times)[int(len(times) * 0.95)]:.2f}, "
        f"longest {max(times):.2f}",
        flush=True,
    )
    for case in cases:
        if case not in good or show:
            print(f"  seed {case.seed}: status {case.status}, {case.seconds:.1f} s {json.dumps(case.problems[:3])}")
        if show:
            print(case.text, case.report, sep="\n")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of: {', '.join(COUNTS)}")
    parser.add_argument("--count", type=int, help="formats of each group")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this seed")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--jobs", type=int, default=1, help="processes")
    how.add_argument("--scheduler", metavar="WHERE", type=Where.parse, help="the workers of a Dask scheduler play")
    how.add_argument("--as-json", action="store_true", help="with --seed and one group: the result, for programs")
    parser.add_argument("--show", action="store_true", help="print formats and reports")
    options = parser.parse_args()
    for group in options.groups:
        if group not in COUNTS:
            parser.error(f"no group is called {group!r}; known: {', '.join(COUNTS)}")
    if options.as_json:
        if options.seed is None or len(options.groups) != 1:
            parser.error("--as-json is for one --seed of one group")
        print(json.dumps(dataclasses.asdict(play(options.groups[0], options.seed))))
        return 0
    good = True
    with contextlib.ExitStack() as stack:
        played = here if options.jobs == 1 else in_processes(options.jobs)
        if options.scheduler is not None:
            try:
                played = stack.enter_context(workers(options.scheduler))
            except (ImportError, WorkersError) as error:
                parser.error(f"--scheduler: {error}")
        for group in options.groups or COUNTS:
            seeds = range(options.first, options.first + (options.count or COUNTS[group]))
            if options.seed is not None:
                seeds = range(options.seed, options.seed + 1)
            try:
                good &= measure(group, seeds, played, options.show)
            except WorkersError as error:
                parser.error(f"--scheduler: {error}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
