"""A cell that runs out of time on a busy machine is played again, alone, before it counts, and all reports say so."""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bokbok_interop.cases import Case
from bokbok_interop.cli import main
from bokbok_interop.machine import Machine
from bokbok_interop.matrix import Group
from bokbok_interop.model import OUT_OF_TIME, Failure, Outcome, Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import Observer, Runner, Settings
from bokbok_interop.runner import cells as cells_module
from bokbok_interop.runner import late as late_module
from bokbok_interop.runner import puppets as puppets_module
from tests.interop.playing import ANSWERS, make_case, nothing
from tests.interop.runner.short_of_time import MEASURED, Busy, play
from tests.interop.test_pytest_plugin import run as run_pytest

MINIMAL = Path(__file__).parents[3] / "interop" / "examples" / "minimal"
LATE_ONCE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import puppet
real = puppet.Puppet.do_request
def do_request(self, *a):
    try: os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
    except FileExistsError: return real(self, *a)
    time.sleep(600)
puppet.Puppet.do_request = do_request
puppet.main()
"""
"""The example, except that its very first request is not answered."""


class BusyUntilAgain(Machine):
    """A machine that counts as short of processor time until cells are played again."""

    busy = True

    def shortage(self, since: float) -> str:
        return MEASURED if self.busy else ""


class Idle(Observer):
    """Makes a machine idle when cells are about to be played again."""

    def __init__(self, machine: BusyUntilAgain) -> None:
        self.machine = machine

    def note(self, text: str) -> None:
        if OUT_OF_TIME in text:
            self.machine.busy = False


def late(times: int = 1, also: Callable[[], None] = lambda: None) -> Callable[[Play], Any]:
    """A case that runs out of time so often, and then passes."""
    played = 0

    async def case(t: Play) -> None:
        nonlocal played
        played += 1
        also()
        if played <= times:
            await t.client.wait_for(lambda: False, "the open handler", 0.05)

    return case


async def test_what_ran_out_of_time_is_played_again_and_passes(fake_peer: Callable[..., LocalPeer]) -> None:
    results = await play(fake_peer(ANSWERS), make_case("late", late()), make_case("other", nothing))
    assert (results["late"].outcome, results["late"].attempts) == (Outcome.PASSED, 2)
    assert results["late"].again == f"{OUT_OF_TIME} ({MEASURED})"
    assert (results["other"].attempts, results["other"].again) == (1, "")


async def test_it_fails_if_it_runs_out_of_time_again(fake_peer: Callable[..., LocalPeer]) -> None:
    result = (await play(fake_peer(ANSWERS), make_case("late", late(2))))["late"]
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 2)
    assert result.reason == "the open handler did not run"


async def test_a_machine_that_is_not_busy_is_believed_at_once(fake_peer: Callable[..., LocalPeer]) -> None:
    result = (await play(fake_peer(ANSWERS), make_case("late", late()), machine=Machine))["late"]
    assert (result.outcome, result.attempts, result.again) == (Outcome.FAILED, 1, "")


async def test_a_failure_that_no_clock_told_counts_at_once(fake_peer: Callable[..., LocalPeer]) -> None:
    async def wrong(t: Play) -> None:
        raise Failure("a wrong answer")

    result = (await play(fake_peer(ANSWERS), make_case("wrong", wrong)))["wrong"]
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 1)


async def test_a_failure_counts_later_where_a_clock_of_the_peers_may_have_run_out(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "PEERS_CLOCK", 0.0)
    played = 0

    async def impatient(t: Play) -> None:
        nonlocal played
        played += 1
        if played == 1:
            raise Failure("a network error", actual="a packet takes too long: 30 s are allowed")

    result = (await play(fake_peer(ANSWERS), make_case("impatient", impatient)))["impatient"]
    assert (result.outcome, result.attempts) == (Outcome.PASSED, 2)


async def test_where_another_failure_ends_the_run_it_does_not_count(fake_peer: Callable[..., LocalPeer]) -> None:
    async def wrong(t: Play) -> None:
        raise Failure("a wrong answer")

    cases = [make_case("late", late(9)), make_case("wrong", wrong)]
    results = await play(fake_peer(ANSWERS), *cases, jobs=1, fail_fast=True)
    assert {name: result.reason for name, result in results.items()} == {"wrong": "a wrong answer"}


async def test_where_it_alone_fails_it_ends_the_run_once_it_was_played_again(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    results = await play(fake_peer(ANSWERS), make_case("late", late(9)), make_case("b", nothing), fail_fast=True)
    assert (results["late"].outcome, results["late"].attempts) == (Outcome.FAILED, 2)


async def test_nothing_else_is_played_beside_it(fake_peer: Callable[..., LocalPeer]) -> None:
    running: set[str] = set()
    beside: list[set[str]] = []

    def other(name: str) -> Callable[[Play], Any]:
        async def case(t: Play) -> None:
            running.add(name)
            await asyncio.sleep(0.3)
            running.discard(name)

        return case

    cases = [make_case(f"other{i}", other(str(i))) for i in range(6)]
    results = await play(
        fake_peer(ANSWERS), make_case("late", late(1, lambda: beside.append(set(running)))), *cases, jobs=4
    )
    assert results["late"].outcome is Outcome.PASSED
    assert beside[-1] == set()
    assert {result.outcome for result in results.values()} == {Outcome.PASSED}


async def meet(peer: LocalPeer, *, busy_again: bool) -> list[Result]:
    """Play two cases that run out of time, are then played again at the same time, and find the machine busy or not."""
    machine = BusyUntilAgain()
    plays = Counter[str]()

    def case(name: str, mine: asyncio.Event, other: asyncio.Event) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            plays[name] += 1
            if plays[name] == 2:
                mine.set()
                await other.wait()
                machine.busy = busy_again
            if plays[name] == 1 or (plays[name] == 2 and busy_again):
                await t.client.wait_for(lambda: False, "the open handler", 0.05)

        return run

    one, two = asyncio.Event(), asyncio.Event()
    cases = [make_case("one", case("one", one, two)), make_case("two", case("two", two, one))]
    runner = Runner({peer.name: peer}, Settings(timeout=60), Idle(machine), machine)
    return await runner.run([Group(peer.name, peer.name, "unix", "insecure", cases)])


async def test_several_are_played_again_at_the_same_time_once_the_machine_is_idle(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_module, "IDLE", 0.0)
    results = await meet(fake_peer(ANSWERS), busy_again=False)
    assert [(each.outcome, each.attempts) for each in results] == [(Outcome.PASSED, 2)] * 2


async def test_what_runs_out_of_time_beside_others_is_played_alone_if_the_machine_is_busy_again(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_module, "IDLE", 0.0)
    results = await meet(fake_peer(ANSWERS), busy_again=True)
    assert [(each.outcome, each.attempts) for each in results] == [(Outcome.PASSED, 3)] * 2


@pytest.mark.parametrize("busy_again", [False, True])
async def test_what_ran_out_of_time_is_played_again_while_the_last_cells_only_wait(
    fake_peer: Callable[..., LocalPeer], *, busy_again: bool
) -> None:
    machine, again = BusyUntilAgain(), asyncio.Event()
    plays = 0

    async def late(t: Play) -> None:
        nonlocal plays
        plays += 1
        if plays == 2:
            machine.busy = busy_again
            again.set()
        if plays == 1 or (plays == 2 and busy_again):
            await t.client.wait_for(lambda: False, "the open handler", 0.05)

    async def last(t: Play) -> None:
        while not runner._late.waiting:
            await asyncio.sleep(0.01)
        machine.busy = False
        await again.wait()

    peer = fake_peer(ANSWERS)
    runner = Runner({peer.name: peer}, Settings(timeout=60), machine=machine)
    cases = [make_case("late", late), make_case("last", last)]
    results = await runner.run([Group(peer.name, peer.name, "unix", "insecure", cases)])
    assert [(result.outcome, result.attempts) for result in results] == [
        (Outcome.PASSED, 3 if busy_again else 2),
        (Outcome.PASSED, 1),
    ]


async def test_a_pair_that_fails_alone_as_well_is_believed(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_module, "BELIEVED", 2)
    results = await play(fake_peer(ANSWERS), *(make_case(f"c{i}", late(9)) for i in range(5)))
    assert {result.outcome for result in results.values()} == {Outcome.FAILED}
    assert sorted(result.attempts for result in results.values()) == [1, 1, 1, 2, 2]
    assert sum(bool(result.again) for result in results.values()) == 2


@pytest.mark.parametrize(("reason", "attempts"), [("the open handler", [1, 2]), ("another one each time", [2, 2])])
async def test_a_case_that_fails_alone_in_one_mode_is_believed_in_the_other_for_the_same_reason(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch, reason: str, attempts: list[int]
) -> None:
    monkeypatch.setattr(late_module, "BELIEVED", 9)
    plays = itertools.count()

    async def never(t: Play) -> None:
        number = next(plays) if reason == "another one each time" else ""
        await t.client.wait_for(lambda: False, f"{reason} {number}", 0.05)

    peer, case = fake_peer(ANSWERS), make_case("never", never)
    groups = [Group(peer.name, peer.name, "unix", security, [case]) for security in ("insecure", "secure")]
    results = await Runner({peer.name: peer}, Settings(timeout=60), machine=Busy()).run(groups)
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert sorted(result.attempts for result in results) == attempts


async def test_pairs_take_turns_and_their_quickest_cases_come_first(fake_peer: Callable[..., LocalPeer]) -> None:
    again: list[str] = []

    def slow(name: str, timeout: float) -> Case:
        async def case(t: Play) -> None:
            again.append(name)
            await t.client.wait_for(lambda: False, "the open handler", 0.05)

        return make_case(name, case, timeout=timeout)

    peers = {name: fake_peer(ANSWERS, name) for name in ("one", "two")}
    groups = [
        Group("one", "one", "unix", "insecure", [slow("long", 30), slow("short", 1), slow("middle", 20)]),
        Group("two", "two", "unix", "insecure", [slow("other", 9)]),
    ]
    await Runner(peers, Settings(timeout=60), machine=Busy()).run(groups)
    # Two of a pair failed again, so the third one is believed.
    assert again[4:] == ["short", "other", "middle"]


async def test_a_peer_that_was_given_up_for_its_silence_has_another_chance(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puppets_module, "SILENCES", 1)
    busy = True

    async def silent_at_first(t: Play) -> None:
        nonlocal busy
        if busy:
            busy = False
            await t.client.command("key", "x", timeout=0.05)
        await t.client.command("hello")

    peer = fake_peer("""
for number, verb, line in lines():
    if verb == "hello": hello(number)
""")
    results = await play(peer, make_case("first", silent_at_first), make_case("second", silent_at_first), jobs=1)
    assert {name: result.outcome for name, result in results.items()} == {
        "first": Outcome.PASSED,
        "second": Outcome.PASSED,
    }
    assert {result.attempts for result in results.values()} == {2}


async def test_a_run_that_is_ended_before_it_could_be_played_again_counts_it_as_failed(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    async def forever(t: Play) -> None:
        await asyncio.sleep(600)

    peer = fake_peer(ANSWERS)
    runner = Runner({peer.name: peer}, Settings(timeout=600), machine=Busy())
    group = Group(peer.name, peer.name, "unix", "insecure", [make_case("late", late()), make_case("other", forever)])
    task = asyncio.ensure_future(runner.run([group]))
    while not runner._late.waiting:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(r.cell.case, r.outcome, r.attempts, r.again) for r in runner.results] == [
        ("connect.late", Outcome.FAILED, 1, "")
    ]


def late_once(tmp_path: Path) -> str:
    return shlex.join([sys.executable, "-c", LATE_ONCE, str(MINIMAL), str(tmp_path / "asked")])


def test_every_report_says_what_was_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "shortage", lambda self, since: MEASURED)
    files = {kind: str(tmp_path / f"r.{kind}") for kind in ("json", "junit", "html")}
    words = ["--peers", "late", "--peer", f"late={late_once(tmp_path)}", "--case", "request.echo"]
    words += ["--transport", "unix", "--security", "insecure", "--timeout", "2"]
    words += [word for kind, file in files.items() for word in (f"--{kind}", file)]
    done = CliRunner().invoke(main, ["run", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"1 cell was played again, alone: {OUT_OF_TIME}; 1 passed then" in done.output
    cell = json.loads(Path(files["json"]).read_text())["cells"][0]
    assert (cell["outcome"], cell["attempts"], cell["again"]) == ("passed", 2, f"{OUT_OF_TIME} ({MEASURED})")
    said = ElementTree.parse(files["junit"]).findtext(".//system-out")
    assert said == f"played 2 times, the last time alone: {OUT_OF_TIME} ({MEASURED})"
    assert OUT_OF_TIME in Path(files["html"]).read_text()
    merged = CliRunner().invoke(main, ["merge", files["json"], "--json", str(tmp_path / "m.json")])
    assert f"1 cell was played again, alone: {OUT_OF_TIME}" in merged.output


def test_the_pytest_plugin_says_what_was_played_again(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        f"from bokbok_interop.machine import Machine\nMachine.shortage = lambda self, since: {MEASURED!r}\n"
    )
    words = ["--bokbok-peer", late_once(tmp_path), "--bokbok-case", "request.echo", "--bokbok-timeout", "2"]
    done = run_pytest(tmp_path, *words)
    assert done.returncode == 0, done.stdout
    assert f"bokbok-interop: 1 cell was played again, alone: {OUT_OF_TIME}; 1 passed then" in done.stdout
