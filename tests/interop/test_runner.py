"""What happens when a puppet misbehaves: its own cell fails with a clear reason, and the run goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bokbok.wire import INFERRED_1
from bokbok_interop import play as play_module
from bokbok_interop import runner as runner_module
from bokbok_interop.cases import Case
from bokbok_interop.cases.requirements import REQUIREMENTS
from bokbok_interop.matrix import Group
from bokbok_interop.model import Failure, Kind, Late, Missing, Outcome, Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play, Unsupported
from bokbok_interop.runner import Runner, Settings


def make_case(name: str, run: Any, **more: Any) -> Case:
    return Case(f"connect.{name}", name, Kind.REFERENCE, (REQUIREMENTS["open.tcp"],), run, **more)


async def play(peer: LocalPeer, *cases: Case, **settings: Any) -> tuple[list[Result], Runner]:
    runner = Runner({peer.name: peer}, Settings(**{"timeout": 5.0, **settings}))
    group = Group(peer.name, peer.name, "unix", "insecure", list(cases))
    return await runner.run([group]), runner


async def key(t: Play) -> None:
    await t.client.command("key", "x")


async def nothing(t: Play) -> None:
    """A case that any puppet passes."""


SILENT = """
for number, verb, line in lines():
    if verb == "hello": hello(number)
"""
ANSWERS = """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say("(%s ok)" % number)
"""


async def test_a_good_puppet_passes(fake_peer: Callable[..., LocalPeer]) -> None:
    results, runner = await play(fake_peer(ANSWERS), make_case("key", key))
    assert [result.outcome for result in results] == [Outcome.PASSED]
    assert runner.about["fake"]["name"] == "fake"


async def test_a_puppet_that_dies_at_the_start_fails_with_its_last_words(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer('sys.stderr.write("no such library\\n"); sys.exit(7)')
    results, _ = await play(peer, make_case("one", nothing), make_case("two", nothing))
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert "status 7" in results[0].reason
    assert "no such library" in results[0].reason


async def test_a_puppet_that_never_says_hello_is_given_up(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop.peers import puppet

    monkeypatch.setattr(puppet, "HELLO_SECONDS", 0.2)
    monkeypatch.setattr(puppet.Puppet.start, "__defaults__", (0.2,))
    results, _ = await play(fake_peer("time.sleep(60)"), *(make_case(f"c{i}", nothing) for i in range(20)))
    assert len(results) == 20
    assert all(result.outcome is Outcome.FAILED for result in results)
    assert all("hello" in result.reason for result in results)


EXITS_AT_BOOM = """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    elif '"boom"' in line: os._exit(3)
    else: say("(%s ok)" % number)
"""


async def test_a_crash_fails_its_own_cell_and_clears_the_others(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    elif '"boom"' in line: sys.stderr.write("assertion failed\\n"); sys.stderr.flush(); os._exit(3)
    else: time.sleep(0.02); say("(%s ok)" % number)
"""
    )

    async def boom(t: Play) -> None:
        await t.client.command("key", "boom")

    async def slow(t: Play) -> None:
        for _ in range(20):
            await t.client.command("key", "x")

    results, _ = await play(peer, *(make_case(f"slow{i}", slow) for i in range(4)), make_case("boom", boom))
    outcome = {result.cell.case: result for result in results}
    failed = outcome.pop("connect.boom")
    assert failed.outcome is Outcome.FAILED
    assert "exited with status 3" in failed.reason
    assert "assertion failed" in failed.reason
    assert all(result.outcome is Outcome.PASSED for result in outcome.values())


async def test_those_that_used_a_broken_puppet_are_played_again_at_the_same_time(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    peer = fake_peer(EXITS_AT_BOOM)
    plays = Counter[str]()
    events = {(name, number): asyncio.Event() for name in ("one", "two") for number in (1, 2)}

    def meets(name: str, other: str) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            plays[name] += 1
            events[name, plays[name]].set()
            await events[other, plays[name]].wait()
            await t.client.command("key", "boom" if plays[name] == 1 else "x")

        return run

    cases = make_case("one", meets("one", "two")), make_case("two", meets("two", "one"))
    results, _ = await play(peer, *cases, jobs=2, pin_seconds=0)
    assert plays == {"one": 2, "two": 2}
    assert all("alone, none does it" in result.reason for result in results)


async def test_puppets_that_cleared_one_suspect_serve_the_next_one(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "AGAIN", 1)
    starts = tmp_path / "starts"
    peer = fake_peer(
        f"""
open({str(starts)!r}, "a").write("x")
for number, verb, line in lines():
    if verb == "hello": hello(number)
    elif '"boom"' in line: os._exit(3)
    elif '"wait"' not in line: say("(%s ok)" % number)
"""
    )
    plays = Counter[str]()
    waiting, all_wait = list[str](), asyncio.Event()

    def case(name: str, what: str) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            plays[name] += 1
            if plays[name] > 1:
                await t.client.command("key", "boom" if what == "boom" else "x")
                return
            waiting.append(name)
            if len(waiting) == 5:
                all_wait.set()
            await all_wait.wait()
            await t.client.command("key", what)

        return run

    cases = [make_case(f"waits{i}", case(f"waits{i}", "wait")) for i in range(4)]
    results, _ = await play(peer, *cases, make_case("boom", case("boom", "boom")), jobs=5)
    failed = [result.cell.case for result in results if result.outcome is Outcome.FAILED]
    assert failed == ["connect.boom"]
    # Two that all shared, two for the suspects, and one or two in place of those that broke.
    assert len(starts.read_text()) <= 6


async def test_a_peer_is_not_given_up_for_what_its_suspects_do_one_after_the_other(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    peer = fake_peer(EXITS_AT_BOOM)
    gathered, everybody = list[int](), asyncio.Event()

    def case(what: str) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            gathered.append(1)
            if len(gathered) == 13:
                everybody.set()
            await everybody.wait()
            await t.client.command("key", "boom" if len(gathered) == 13 else what)

        return run

    cases = [make_case(f"boom{i}", case("boom")) for i in range(12)]
    results, _ = await play(peer, *cases, make_case("good", case("x")), jobs=13)
    reasons = {result.cell.case: result.reason for result in results}
    assert not [reason for reason in reasons.values() if "given up" in reason]
    assert reasons["connect.good"] == ""


async def test_what_breaks_puppets_only_after_others_is_pinned_down_and_one_fails_for_it(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "AGAIN", 1)
    peer = fake_peer(
        """
keys = 0
for number, verb, line in lines():
    if verb == "hello": hello(number); continue
    keys += 1
    if keys == 2: os._exit(3)
    if "crowd" not in line: say("(%s ok)" % number)
"""
    )
    first = set[str]()
    both = asyncio.Event()

    def case(name: str) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            if name in first:
                await key(t)
                return
            first.add(name)
            if len(first) == 2:
                both.set()
            await both.wait()
            await t.client.command("key", "crowd")

        return run

    results, _ = await play(peer, make_case("one", case("one")), make_case("two", case("two")), jobs=2)
    failed, other = sorted(results, key=lambda result: result.outcome is Outcome.PASSED)
    assert failed.reason.endswith("shown again behind 2 of the 2 that the same process had been given)")
    assert failed.behind is not None
    assert failed.behind.cases == ("connect.one", "connect.two")
    assert (other.outcome, other.attempts, other.again) == (Outcome.PASSED, 2, runner_module.BROKE)


async def test_a_crash_that_only_a_crowd_brings_about_is_not_hidden(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path
) -> None:
    mark = tmp_path / "crashed-once"
    peer = fake_peer(
        f"""
for number, verb, line in lines():
    if verb == "hello": hello(number); continue
    if not os.path.exists({str(mark)!r}) and '"boom"' in line:
        open({str(mark)!r}, "w").close(); os._exit(3)
    time.sleep(0.02); say("(%s ok)" % number)
"""
    )

    async def boom(t: Play) -> None:
        await asyncio.sleep(0.1)
        await t.client.command("key", "boom")

    async def slow(t: Play) -> None:
        for _ in range(20):
            await t.client.command("key", "x")

    results, _ = await play(peer, make_case("slow", slow), make_case("boom", boom))
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    assert failed
    assert all("alone, none does it" in result.reason for result in failed)


async def test_a_puppet_that_hangs_fails_by_the_time_limit_which_says_what_was_awaited(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    async def asks(t: Play) -> None:
        await t.client.command("request", 1, "x")

    peer = fake_peer(SILENT)
    results, _ = await play(peer, make_case("asks", asks), timeout=0.3)
    assert results[0].outcome is Outcome.FAILED
    assert "timed out after 0.3 seconds" in results[0].reason
    assert '(request "x")' in results[0].reason


async def test_nonsense_fails_the_cell_and_is_quoted(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say("DEBUG: got a command"); say("(%s ok)" % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert "DEBUG: got a command" in results[0].reason


async def test_a_flood_of_output_fails_the_cell(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    elif verb == "key":
        while True: say("(%s ok)" % number)
"""
    )
    results, _ = await play(peer, make_case("key", key), make_case("other", nothing))
    outcomes = {result.cell.case: result.outcome for result in results}
    assert outcomes["connect.other"] is Outcome.PASSED


async def test_a_case_that_passes_and_then_breaks_the_puppet_is_the_one_that_fails(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    passed = asyncio.Event()

    async def breaks(t: Play) -> None:
        await t.client.command("key", "x")
        passed.set()

    async def is_there(t: Play) -> None:
        # In the crowd, only once the other has passed; alone, at once.
        await passed.wait()
        await t.client.command("info", 1)

    peer = fake_peer(
        """
broken = False
for number, verb, line in lines():
    if broken: say("(77777 ok)")
    if verb == "hello": hello(number)
    else: say("(%s ok)" % number)
    broken |= verb == "key"
"""
    )
    results, _ = await play(peer, make_case("breaks", breaks), make_case("is-there", is_there), jobs=2)
    outcomes = {result.cell.case: (result.outcome, result.reason) for result in results}
    assert outcomes["connect.is-there"][0] is Outcome.PASSED
    assert outcomes["connect.breaks"][0] is Outcome.FAILED
    assert "answered command 77777" in outcomes["connect.breaks"][1]


async def test_a_log_without_end_is_bounded(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else:
        for i in range(3000): sys.stderr.write("x" * 1000 + "\\n")
        say('(%s invalid "no")' % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert len(results[0].evidence["client_log"]) < 400_000


async def test_what_started_by_a_puppet_ends_with_it(fake_peer: Callable[..., LocalPeer], tmp_path: Path) -> None:
    note = tmp_path / "pid"
    peer = fake_peer(
        f"""
import subprocess
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"])
open({str(note)!r}, "a").write("%d " % child.pid)
"""
        + ANSWERS
    )
    await play(peer, make_case("key", key))
    for pid in map(int, note.read_text().split()):
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            # A zombie of ours is gone as well; its parent was the puppet, so init collects it.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("a puppet's child outlived it")


async def test_what_left_the_group_of_its_puppet_ends_with_the_run(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    peer = fake_peer(
        f"""
import subprocess
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"], start_new_session=True)
open({str(note)!r}, "a").write("%d " % child.pid)
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: os._exit(5)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert "exited with status 5, and something that it started holds its output open" in results[0].reason
    for pid in map(int, note.read_text().split()):
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("a process that left its puppet's group outlived the run")


KILLED_WHILE_A_PUPPET_STANDS_STILL = """
import asyncio, os, signal, sys
from bokbok_interop.peers.local import LocalPeer
PUPPET = "import sys; up = open(sys.argv[1], 'w'); print('up', file=up); print('up', flush=True); sys.stdin.read()"
async def main():
    running = await LocalPeer("still", [sys.executable, "-I", "-S", "-c", PUPPET, sys.argv[1]]).start()
    await running.receive()
    await running.pause()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.timeout(60)
def test_a_puppet_that_stands_still_goes_on_and_ends_where_the_runner_is_killed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    words = [sys.executable, "-c", KILLED_WHILE_A_PUPPET_STANDS_STILL, str(alive)]
    with subprocess.Popen(words, env={**os.environ, "TMPDIR": str(tmp_path)}) as runner:
        assert alive.read_text() == "up\n"  # and its end of file, which comes once nobody has it open any more
        assert runner.wait() == -signal.SIGKILL


async def test_who_answers_nothing_is_given_up_and_those_that_wait_for_it_are_cut_short(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop import play as module

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    peer = fake_peer(SILENT)

    async def waits_long(t: Play) -> None:
        await t.client.command("request", 1, "x")

    cases = [make_case("long", waits_long, timeout=60)] + [make_case(f"c{i}", key) for i in range(100)]
    start = time.monotonic()
    results, _ = await play(peer, *cases, jobs=8)
    assert time.monotonic() - start < 50
    reasons = {result.cell.case: result.reason for result in results}
    assert sum("was not answered by the client" in reason for reason in reasons.values()) < 50
    assert "fake was given up: in 24 of its cells a command was not answered" in reasons["connect.c99"]
    assert reasons["connect.long"] == reasons["connect.c99"]


async def test_a_good_peer_is_not_given_up_for_the_silence_of_another(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop import play as module

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    silent = fake_peer(SILENT, "silent")
    good = fake_peer(ANSWERS, "good")

    async def both(t: Play) -> None:
        await t.client.command("key", "x")
        await t.server.command("key", "x")

    runner = Runner({"good": good, "silent": silent}, Settings(timeout=5.0, jobs=8))
    cases = [make_case(f"c{i}", both) for i in range(40)]
    results = await runner.run([Group("good", "silent", "unix", "insecure", cases)])
    assert all(result.outcome is Outcome.FAILED for result in results)
    assert not any("good was given up" in result.reason for result in results)


async def test_a_case_that_gets_on_is_not_cut_off_and_one_that_is_stuck_is(fake_peer: Callable[..., LocalPeer]) -> None:
    async def slow_but_steady(t: Play) -> None:
        for _ in range(12):
            await t.client.command("key", "x")
            await asyncio.sleep(0.25)  # less than its patience by far, since the machine may be busy

    async def stuck(t: Play) -> None:
        await t.client.command("key", "x")
        await asyncio.sleep(60)

    results, _ = await play(
        fake_peer(ANSWERS), make_case("steady", slow_but_steady), make_case("stuck", stuck), timeout=2.0
    )
    assert {r.cell.case: r.outcome for r in results} == {
        "connect.steady": Outcome.PASSED,
        "connect.stuck": Outcome.FAILED,
    }


async def test_waiting_is_longer_where_the_puppets_are_slow(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
first = True
for number, verb, line in lines():
    if verb == "hello":
        if not first: time.sleep(0.3)  # a busy machine: six times as long as an answer may take
        first = False
        hello(number)
    elif verb == "close": say("(%s ok)" % number)
    else: time.sleep(0.8); say("(%s ok)" % number)
"""
    )

    async def within_half_a_second(t: Play) -> None:
        await t.client.command("key", "x", timeout=0.5)

    results, _ = await play(peer, make_case("patient", within_half_a_second))
    assert results[0].outcome is Outcome.PASSED, results[0].reason


async def _waits(slowness: Iterable[float], monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a limit of ten seconds waits in all, if the puppets are so slow each time that they are asked."""
    now, found = 0.0, iter(slowness)

    async def asked() -> float:
        return next(found)

    monkeypatch.setattr(play_module.time, "monotonic", lambda: now)
    limit = play_module._Limit(10.0, asked)
    while (rest := await limit.rest()) > 0:
        now += rest
    return now


async def test_a_limit_is_longer_by_as_much_as_the_puppets_are_slow_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await _waits(itertools.repeat(1.0), monkeypatch) == pytest.approx(10)
    assert await _waits(itertools.repeat(4.0), monkeypatch) == pytest.approx(40, rel=1e-3)


async def test_a_moment_in_which_they_were_slow_does_not_count_for_the_time_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first ten seconds were worth two; eight more are to come.
    assert await _waits(itertools.chain([5.0], itertools.repeat(1.0)), monkeypatch) == pytest.approx(18)


@pytest.mark.parametrize(("kind", "tries"), [(Missing, 1), (Late, play_module.TRIES)])
async def test_what_is_missing_is_not_blamed_on_the_other_sides_clock(
    monkeypatch: pytest.MonkeyPatch, kind: type[Late], tries: int
) -> None:
    now = 0.0
    monkeypatch.setattr(play_module.time, "monotonic", lambda: now)
    played = 0

    async def work() -> None:
        nonlocal now, played
        now, played = now + 10.0, played + 1
        raise kind("a handler did not run")

    with pytest.raises(Late, match="a handler did not run"):
        await Play(transport="unix", security="insecure", profile=INFERRED_1).in_time(2.0, work)
    assert played == tries


async def test_a_failure_says_which_sentence_was_broken(fake_peer: Callable[..., LocalPeer]) -> None:
    async def no_answer_to_stop(t: Play) -> None:
        await t.client.command("stop", 1, timeout=0.2)

    async def no_answer_at_all(t: Play) -> None:
        await t.client.command("wait", 1)

    peer = fake_peer(SILENT)
    cases = make_case("stop", no_answer_to_stop), make_case("wait", no_answer_at_all), make_case("key", key)
    results, _ = await play(peer, *cases, timeout=0.5)
    assert [result.sentence for result in results] == ["stop-server", "wait-stopped", ""]


async def test_a_missing_program_is_absent_with_the_reason() -> None:
    results, runner = await play(LocalPeer("ghost", "/no/such/program --flag"), make_case("one", nothing))
    assert results[0].outcome is Outcome.ABSENT
    assert "/no/such/program" in results[0].reason
    assert "/no/such/program" in runner.absent["ghost"]


async def test_a_missing_feature_makes_the_cell_unsupported(fake_peer: Callable[..., LocalPeer]) -> None:
    results, _ = await play(fake_peer(ANSWERS), make_case("six", nothing, needs=("ipv6",)))
    assert results[0].outcome is Outcome.UNSUPPORTED
    assert results[0].reason == "fake lacks the feature ipv6"


@pytest.mark.parametrize(("strict", "outcome"), [(False, Outcome.UNSUPPORTED), (True, Outcome.PASSED)])
async def test_a_kind_that_is_not_claimed_is_unsupported_unless_strict(
    fake_peer: Callable[..., LocalPeer], strict: bool, outcome: Outcome
) -> None:
    peer = fake_peer('FEATURES = "(puppet-1 tcp unix secure insecure reference)"\n' + ANSWERS)
    case = Case("connect.p", "p", Kind.PROFILE, (REQUIREMENTS["profile.key"],), nothing)
    results, _ = await play(peer, case, strict=strict)
    assert results[0].outcome is outcome


async def test_unsupported_by_the_puppets_own_word(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say('(%s unsupported "key")' % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.UNSUPPORTED


async def test_a_failure_keeps_expected_actual_and_evidence(fake_peer: Callable[..., LocalPeer]) -> None:
    async def wrong(t: Play) -> None:
        await t.client.command("key", "x")
        t.equal(1, 2, "one is not two")

    results, _ = await play(fake_peer('sys.stderr.write("a log\\n")\n' + ANSWERS), make_case("wrong", wrong))
    result = results[0]
    assert (result.outcome, result.expected, result.actual) == (Outcome.FAILED, "2", "1")
    assert any('(key "x")' in line or 'key "x"' in line for _, _, _, line in result.evidence["datums"])
    assert {"client_log", "server_log", "dump", "packets"} <= set(result.evidence)


async def test_a_case_that_breaks_says_so_and_does_not_end_the_run(fake_peer: Callable[..., LocalPeer]) -> None:
    async def broken(t: Play) -> None:
        raise KeyError("oops")

    results, _ = await play(fake_peer(ANSWERS), make_case("broken", broken), make_case("fine", nothing))
    outcomes = {result.cell.case: result for result in results}
    assert "the case itself broke" in outcomes["connect.broken"].reason
    assert outcomes["connect.fine"].outcome is Outcome.PASSED


async def test_fail_fast_stops_after_the_first_failure(fake_peer: Callable[..., LocalPeer]) -> None:
    async def fails(t: Play) -> None:
        raise Failure("no")

    cases = [make_case(f"c{i}", fails) for i in range(30)]
    results, _ = await play(fake_peer(ANSWERS), *cases, fail_fast=True, jobs=1)
    assert len(results) == 1


async def test_repeat_plays_every_cell_so_often(fake_peer: Callable[..., LocalPeer]) -> None:
    results, _ = await play(fake_peer(ANSWERS), make_case("a", nothing), make_case("b", nothing), repeat=3)
    assert [(result.round, result.cell.case) for result in results] == [
        (number, f"connect.{name}") for number in (1, 2, 3) for name in "ab"
    ]


async def test_until_failure_repeats_until_there_is_one(fake_peer: Callable[..., LocalPeer]) -> None:
    rounds: list[int] = []

    async def third(t: Play) -> None:
        rounds.append(1)
        if len(rounds) == 3:
            raise Failure("at last")

    results, _ = await play(fake_peer(ANSWERS), make_case("third", third), until_failure=True)
    assert [result.outcome for result in results] == [Outcome.PASSED, Outcome.PASSED, Outcome.FAILED]


async def test_the_seed_fixes_what_is_random(fake_peer: Callable[..., LocalPeer]) -> None:
    seeds: list[int] = []

    async def note(t: Play) -> None:
        seeds.append(t.seed)

    for seed in (1, 1, 2):
        await play(fake_peer(ANSWERS), make_case("note", note), seed=seed)
    assert seeds[0] == seeds[1] != seeds[2]


async def test_cancelling_ends_every_process_and_keeps_what_was_done(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path
) -> None:
    note = tmp_path / "pids"
    peer = fake_peer(f'open({str(note)!r}, "a").write("%d " % os.getpid())\n' + ANSWERS)
    stuck = asyncio.Event()

    async def hangs(t: Play) -> None:
        stuck.set()
        await asyncio.sleep(600)

    runner = Runner({"fake": peer}, Settings(timeout=600))
    group = Group("fake", "fake", "unix", "insecure", [make_case("fine", nothing), make_case("hangs", hangs)])
    task = asyncio.ensure_future(runner.run([group]))
    await stuck.wait()
    while not runner.results:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [result.cell.case for result in runner.results] == ["connect.fine"]
    for pid in map(int, note.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_unsupported_raised_by_a_case_is_unsupported(fake_peer: Callable[..., LocalPeer]) -> None:
    async def lacks(t: Play) -> None:
        raise Unsupported("not here")

    results, _ = await play(fake_peer(ANSWERS), make_case("lacks", lacks))
    assert (results[0].outcome, results[0].reason) == (Outcome.UNSUPPORTED, "not here")


async def test_two_peers_that_are_real_pass_and_leave_no_file(minimal: LocalPeer, tmp_path: Path) -> None:
    from bokbok_interop.cases import all_cases

    wanted = {"request.echo", "symmetry.callback", "errors.remote-message", "lifecycle.client-closes"}
    cases = [case for case in all_cases() if case.id in wanted]
    groups = [
        Group("minimal", "minimal", transport, security, cases)
        for transport in ("tcp", "unix")
        for security in ("secure", "insecure")
    ]
    runner = Runner({"minimal": minimal}, Settings(timeout=20))
    results = await runner.run(groups)
    assert [result.reason for result in results if result.outcome is not Outcome.PASSED] == []
    assert len(results) == 16
    assert minimal._folder is None


def test_the_environment_of_a_puppet_can_be_set() -> None:
    peer = LocalPeer("x", [sys.executable], environment={"A": "b"})
    assert peer.environment == {"A": "b"}
    assert peer.describe()["command"] == sys.executable


@pytest.mark.parametrize(("stage", "outcome"), [("prepare", Outcome.ABSENT), ("start", Outcome.FAILED)])
async def test_whatever_goes_wrong_with_a_peer_is_its_own_affair(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch, stage: str, outcome: Outcome
) -> None:
    async def refuse(**options: Any) -> None:
        raise RuntimeError("invalid reference format")

    bad, good = LocalPeer("bad", "true"), fake_peer(ANSWERS)
    monkeypatch.setattr(bad, stage, refuse)
    runner = Runner({"bad": bad, good.name: good}, Settings(timeout=5.0))
    groups = [Group(name, name, "unix", "insecure", [make_case("key", key)]) for name in ("bad", good.name)]
    results = {result.cell.client: result for result in await runner.run(groups)}
    assert results[good.name].outcome is Outcome.PASSED
    assert results["bad"].outcome is outcome
    assert "RuntimeError: invalid reference format" in results["bad"].reason
