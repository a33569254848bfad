"""When a puppet breaks that several cells use, the one that broke it fails. The others come out as they do alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.cases import Case
from bokbok_interop.model import OUT_OF_TIME, Outcome
from bokbok_interop.peers import puppet as puppet_module
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import cells as cells_module
from tests.interop.playing import make_case, play
from tests.interop.runner.short_of_time import MEASURED
from tests.interop.runner.short_of_time import play as play_on_a_busy_machine

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
    monkeypatch.setattr(cells_module, "AGAIN", 1)
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


STANDS_STILL = """
for number, verb, line in lines():
    if verb == "hello": hello(number); continue
    if "crowd" in line:
        try: os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL)); time.sleep(600)
        except FileExistsError:
            if {always}: time.sleep(600)
    say("(%s ok)" % number)
"""
"""A puppet that hangs when a crowd of cases uses it: only the first time, or always."""


def crowd() -> list[Case]:
    """Two cases that use a puppet at once, unless they are played alone, as they are the second time."""
    plays = Counter[str]()

    def case(name: str, other: asyncio.Event, mine: asyncio.Event) -> Callable[[Play], Any]:
        async def run(t: Play) -> None:
            plays[name] += 1
            if plays[name] == 2:
                await t.client.command("key", "alone")
                return
            mine.set()
            await other.wait()
            await t.client.command("key", "crowd")

        return run

    one, two = asyncio.Event(), asyncio.Event()
    return [make_case("one", case("one", two, one)), make_case("two", case("two", one, two))]


@pytest.mark.parametrize(("always", "outcome"), [(False, Outcome.PASSED), (True, Outcome.FAILED)])
async def test_a_crowd_whose_puppet_stood_still_is_gathered_again(
    fake_peer: Callable[..., LocalPeer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    always: bool,
    outcome: Outcome,
) -> None:
    monkeypatch.setattr(puppet_module, "HUNG_SECONDS", 0.3)
    peer = fake_peer(STANDS_STILL.format(mark=str(tmp_path / "mark"), always=always))
    results = await play_on_a_busy_machine(peer, *crowd(), jobs=2)
    assert {result.outcome for result in results.values()} == {outcome}
    if outcome is Outcome.PASSED:
        assert {result.again for result in results.values()} == {f"{OUT_OF_TIME} ({MEASURED})"}
    else:
        assert all("(while 2 cases ran at once; alone, none does it)" in each.reason for each in results.values())
