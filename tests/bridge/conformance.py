"""The conformance suite's `reference` cases, played through a bridge.

    python -m tests.bridge.conformance                 every play, over TCP secure and Unix insecure: half an hour
    python -m tests.bridge.conformance --thorough      both transports in both security modes: twice as long
    python -m tests.bridge.conformance --only 0,10,30  some plays

In each play one peer is behind bridges (`bokbok_interop.puppets.bridged`): it speaks one profile, the bridges speak
another one to the outside, where the other peer is. Each is client and server. There are forty plays: ten random
profiles behind bridges, met by `python-asyncio`, `python-sync` and `chicken5` on the default profile; and ten pairs of
two other profiles. A case must pass, unless it is listed here with its reason. A listed case must fail.

The profiles are `tests.support.profiles.random_profile` for seeds from `SEED` up, without those whose nonces repeat or
whose packets are shorter than messages of the cases: both fail without a bridge, too. They have the default's dialect:
the others print flonums with fewer digits before any bridge sees them. (`test_forwarding` has datums between dialects.)
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bokbok.sexpr import CHICKEN_4
from bokbok.wire import DEFAULT_LIMITS, INFERRED_1, Profile
from bokbok.wire.profile import dump_profile
from bokbok_interop.cases import all_cases
from bokbok_interop.matrix import Selection, build, diagonal
from bokbok_interop.model import Outcome, Result
from bokbok_interop.peers.base import Peer
from bokbok_interop.peers.known import known_peers
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.runner import Runner, Settings
from bokbok_interop.spoken import Spoken
from tests.support.profiles import random_profile

SEED = 7000
BRIDGED, DIRECT = "bridged", "direct"

NOT_THROUGH_A_BRIDGE = {
    "client": {
        "connect.address-of-server": "the other end of the client's connection is the bridge",
        **dict.fromkeys(
            (
                "connect.bind-tcp",
                "connect.long-path",
                "connect.no-such-path",
                "connect.refused",
                "connect.stale-path",
                "connect.unknown-host",
            ),
            "the client is connected to the bridge before that fails to connect, and is told by the end",
        ),
    },
    "server": {
        "connect.address-of-client": "the other end of the server's connection is the bridge",
        "connect.bind-all-ipv6": "the other end of the server's connection is the bridge",
    },
}
"""The cases that fail because there is a bridge, by the role of the peer behind it, each with its reason."""

LEFT_OUT = dict.fromkeys(
    ("secure.fresh-session-keys", "secure.random-after-restart"),
    "the runner compares the bytes of two hellos, and those of other profiles have more in common",
)
"""The cases that are not played there, since their result depends on the profile."""


def profiles() -> list[Profile]:
    """Twenty profiles of the table that can be played."""
    drawn = (random_profile(random.Random(seed), f"random-{seed}") for seed in range(SEED, SEED + 200))
    fit = (
        dataclasses.replace(profile, dialect=CHICKEN_4)
        for profile in drawn
        if profile.leaks is None and (profile.framing.most() or DEFAULT_LIMITS.packet) >= DEFAULT_LIMITS.packet
    )
    return list(itertools.islice(fit, 20))


@dataclass(frozen=True)
class Play:
    """One peer behind bridges, and the one that it meets.

    Attributes:
        behind: the front end of the peer behind the bridges: `sync` or `asyncio`.
        inside: the profile that it speaks.
        direct: the name of the other peer.
        outside: the profile that the other peer and the bridges speak.
    """

    behind: str
    inside: Profile
    direct: str
    outside: Profile

    def __str__(self) -> str:
        return f"{self.direct} ({self.outside.name}) - bridge - python-{self.behind} ({self.inside.name})"


def plays() -> list[Play]:
    """All of them: 0 to 29 against the default profile, 30 to 39 between two others."""
    ours = profiles()
    fronts = ("asyncio", "sync")
    against_default = [
        Play(fronts[(number + turn) % 2], inside, direct, INFERRED_1)
        for turn, direct in enumerate(("python-asyncio", "python-sync", "chicken5"))
        for number, inside in enumerate(ours[:10])
    ]
    between_others = [
        Play(fronts[number % 2], ours[number], f"python-{fronts[number // 2 % 2]}", ours[10 + number])
        for number in range(10)
    ]
    return against_default + between_others


SAMPLE = {21: ("tcp", "secure"), 30: ("unix", "insecure")}
"""Which of them the tests play, and how: `chicken5` on the default profile, and two other profiles."""


def python_puppet(module: str, *args: str) -> list[str]:
    """The command of a puppet of ours."""
    return [sys.executable, "-m", f"bokbok_interop.puppets.{module}", *args]


async def run(
    play: Play, *, mode: tuple[str, str] | None = None, thorough: bool = False, jobs: int = 16
) -> list[Result]:
    """Play the reference cases, with the bridged peer as client and as server.

    Args:
        play: what to play.
        mode: the only transport and security mode that is played.
        thorough: without a mode, both transports in both security modes, not only TCP secure and Unix insecure.
        jobs: cells played at once.
    """
    with tempfile.TemporaryDirectory(prefix="bokbok-") as name:
        folder = Path(name)
        files = {}
        for side, profile in (("inside", play.inside), ("outside", play.outside)):
            files[side] = profile.name if profile is INFERRED_1 else str(folder / f"{side}.toml")
            if profile is not INFERRED_1:
                Path(files[side]).write_text(dump_profile(profile))
        options = ("--outside", files["outside"], "--inside", files["inside"], name)
        bridged = LocalPeer(BRIDGED, [*python_puppet("bridged", *options), *python_puppet(play.behind)])
        direct: Peer = known_peers()[play.direct]
        if play.outside is not INFERRED_1:
            direct = LocalPeer(DIRECT, python_puppet(play.direct.removeprefix("python-")))
        direct.name = DIRECT
        cases = [case for case in all_cases() if play.outside is INFERRED_1 or case.id not in LEFT_OUT]
        groups = [
            group
            for group in build([BRIDGED, DIRECT], cases, Selection(kinds=("reference",)))
            if {group.client, group.server} == {BRIDGED, DIRECT} and mode in (None, (group.transport, group.security))
        ]
        settings = Settings(timeout=15, jobs=jobs, spoken=Spoken(play.outside))
        runner = Runner({BRIDGED: bridged, DIRECT: direct}, settings)
        return await runner.run(groups if thorough or mode else diagonal(groups))


def problems(play: Play, results: Iterable[Result]) -> list[str]:
    """What differs from the list: failed cases that are not on it, and cases on it that did not fail."""
    expected = NOT_THROUGH_A_BRIDGE
    outcomes: dict[tuple[str, str], set[Outcome]] = {}
    found = []
    for result in results:
        role = "client" if result.cell.client == BRIDGED else "server"
        outcomes.setdefault((role, result.cell.case), set()).add(result.outcome)
        if result.outcome is Outcome.FAILED and result.cell.case not in expected[role]:
            where = f"{result.cell.transport}, {result.cell.security}"
            found.append(f"{result.cell.case}, bridged {role} ({where}): {result.reason}")
    for role, cases in expected.items():
        for case in cases:
            came = outcomes.get((role, case), set())
            if Outcome.FAILED not in came and came & {Outcome.PASSED}:
                found.append(f"{case}, bridged {role}: it is listed as one that fails, and passed")
    return found


def main() -> None:
    """Play, and print a line for each play. The exit status is 1 if anything differs from the list."""
    parser = argparse.ArgumentParser(description="The reference cases, played through a bridge.")
    parser.add_argument("--thorough", action="store_true", help="both transports in both security modes")
    parser.add_argument("--only", help="numbers of plays, separated by commas")
    parser.add_argument("--jobs", type=int, default=16, help="cells played at once")
    given = parser.parse_args()
    everything = plays()
    chosen = [int(number) for number in given.only.split(",")] if given.only else range(len(everything))
    total: Counter[str] = Counter()
    wrong = 0
    for number in chosen:
        start = time.monotonic()
        results = asyncio.run(run(everything[number], thorough=given.thorough, jobs=given.jobs))
        counts = Counter(result.outcome.value for result in results)
        total += counts
        found = problems(everything[number], results)
        wrong += len(found)
        shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        print(f"{number:2} {everything[number]}: {shown}; {time.monotonic() - start:.0f} s", flush=True)
        for problem in found:
            print(f"   NOT AS LISTED: {problem}", flush=True)
    used = os.times()
    processor = used.user + used.system + used.children_user + used.children_system
    print(f"{len(chosen)} plays, {sum(total.values())} cells: {dict(total)}; {wrong} not as listed")
    print(f"not played where neither side is the default profile: {', '.join(LEFT_OUT)}")
    print(f"{processor:.0f} s of processor time")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
