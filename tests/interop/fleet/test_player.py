"""What a worker does with shares, without a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from bokbok.wire import INFERRED_1
from bokbok.wire.profile import dump_profile
from bokbok_interop.fleet.player import HELD, Player, Turns
from bokbok_interop.fleet.share import Plan, Share
from bokbok_interop.model import Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.runner import Settings
from tests.support.leaks import eventually_async

CASES = ("request.echo", "errors.remote-message")


def share(number: int = 0, security: str = "insecure", cases: tuple[str, ...] = CASES) -> Share:
    return Share(number, 1, "minimal", "minimal", "unix", security, cases)


@pytest.fixture
async def player(minimal: LocalPeer) -> AsyncIterator[Player]:
    plan = Plan("a-run", ("minimal",), (), Settings(), dump_profile(INFERRED_1))
    made = Player(plan, lambda known, given: {"minimal": minimal})
    await made.begin()
    yield made
    await made.end()


async def test_a_share_is_played(player: Player) -> None:
    played = await player.play(share())
    assert [result.cell for result in played.results] == share().cells()
    assert {result.outcome for result in played.results} == {Outcome.PASSED}
    assert played.about["minimal"]["name"] == "minimal"


async def test_shares_beside_one_another_get_their_own_results(player: Player) -> None:
    first, second = await asyncio.gather(player.play(share(0, cases=CASES[:1])), player.play(share(1, cases=CASES[1:])))
    assert [result.cell.case for result in first.results] == [CASES[0]]
    assert [result.cell.case for result in second.results] == [CASES[1]]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each puppet that is started."""
    made: list[object] = []
    start = LocalPeer.start

    async def counted(self: LocalPeer, **where: object) -> object:
        made.append(where)
        return await start(self, **where)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalPeer, "start", counted)
    return made


async def test_puppets_are_kept_for_the_next_share_of_the_group(player: Player, starts: list[object]) -> None:
    for number in range(3):
        await player.play(share(number))
    assert len(starts) == 2


async def test_shares_of_a_group_beside_one_another_use_the_same_puppets(player: Player, starts: list[object]) -> None:
    await asyncio.gather(*(player.play(share(number)) for number in range(4)))
    assert len(starts) == 2


async def test_puppets_in_use_are_not_ended_for_those_of_other_groups(player: Player) -> None:
    others = [Share(9, 1, "minimal", "minimal", *kind, CASES[:1]) for kind in (("tcp", "secure"), ("unix", "secure"))]
    played = await asyncio.gather(*(player.play(share(number)) for number in range(HELD)), *map(player.play, others))
    assert {result.outcome for each in played for result in each.results} == {Outcome.PASSED}


async def test_the_puppets_of_few_groups_are_kept(player: Player) -> None:
    for number in range(HELD + 2):
        kind = ("tcp", "unix")[number % 2], ("secure", "insecure")[number // 2 % 2]
        roles = ("minimal", "runner") if number >= 4 else ("minimal", "minimal")
        cases = ("preflight.client-request",) if number >= 4 else CASES[:1]
        await player.play(Share(number, 1, *roles, *kind, cases))
    assert len(player._held) == HELD


async def test_puppets_are_not_kept_when_no_share_comes(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bokbok_interop.fleet.player.IDLE", 0.01)
    await player.play(share())
    await eventually_async(lambda: not player._puppets.running, "the puppets have ended")
    assert {result.outcome for result in (await player.play(share())).results} == {Outcome.PASSED}


async def test_a_peer_that_is_not_here_is_announced_with_the_reason() -> None:
    plan = Plan("a-run", ("gone",), (), Settings(), dump_profile(INFERRED_1))
    made = Player(plan, lambda known, given: {"gone": LocalPeer("gone", ["/no/such/program"])})
    announced = await made.begin()
    await made.end()
    assert announced.peers == {}
    assert "/no/such/program was not found" in announced.absent["gone"]


async def test_two_machines_with_the_same_files_have_the_same_fingerprint(
    fake_peer: Callable[..., LocalPeer], tmp_path: object
) -> None:
    one, same, other = fake_peer("pass", "one"), fake_peer("pass", "same"), fake_peer("pass # other", "other")
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


async def test_alone_waits_for_what_has_begun_and_holds_up_what_has_not() -> None:
    turns, told, go = Turns(), [], asyncio.Event()

    async def beside(name: str, wait: bool = False) -> None:
        async with turns.beside():
            told.append(name)
            if wait:
                await go.wait()
            told.append(f"{name} ends")

    async def alone() -> None:
        async with turns.alone():
            told.append("alone")
            await asyncio.sleep(0)
            told.append("alone ends")

    tasks = [asyncio.ensure_future(beside("first", wait=True))]
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(alone())]
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(beside("second"))]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)
    assert told == ["first", "first ends", "alone", "alone ends", "second", "second ends"]
