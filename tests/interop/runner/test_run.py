"""The order of a run: how often cells are played, when it stops, and that one peer's trouble is its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.matrix import Group
from bokbok_interop.model import Failure, Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import Runner, Settings
from tests.interop.playing import ANSWERS, key, make_case, nothing, play


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
