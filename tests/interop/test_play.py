"""How long a case may take, and how long it waits: longer where the puppets are slow."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bokbok.wire import INFERRED_1
from bokbok_interop import play as play_module
from bokbok_interop.matrix import Group
from bokbok_interop.model import Late, Missing, Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import Runner, Settings
from tests.interop.playing import ANSWERS, make_case, play


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


async def test_how_slow_the_puppets_of_others_are_is_nothing_to_a_cell(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path
) -> None:
    measured = tmp_path / "measured"
    slow = fake_peer(
        f"""
asked = 0
for number, verb, line in lines():
    asked += verb == "hello"
    while asked > 1 and not os.path.exists({str(measured)!r}): time.sleep(0.01)
    hello(number)
""",
        "slow",
    )

    async def beside_it(t: Play) -> None:
        await t.slowness()
        measured.touch()

    async def itself(t: Play) -> None:
        await t.slowness()
        assert measured.exists()

    peers = {"slow": slow, "other": fake_peer(ANSWERS, "other")}
    groups = [
        Group(name, name, "unix", "insecure", [make_case(name, case)])
        for name, case in (("slow", itself), ("other", beside_it))
    ]
    results = await Runner(peers, Settings(timeout=20.0)).run(groups)
    assert [(result.cell.client, result.outcome) for result in results] == [
        ("slow", Outcome.PASSED),
        ("other", Outcome.PASSED),
    ]


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
