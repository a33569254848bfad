"""A cell that only waits lends its slot to another one, if the machine is not busy."""

from __future__ import annotations

import asyncio

import pytest

from bokbok_interop import slots as module
from bokbok_interop.machine import Machine
from bokbok_interop.slots import LOANS, Slots


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENDS", 0.01)


class Asked(Machine):
    """Says how often it was asked whether it is busy, and that it is if it should say so."""

    def __init__(self, answer: str = "") -> None:
        super().__init__()
        self.answer = answer
        self.twice = asyncio.Event()
        self._before = False

    def shortage(self, since: float) -> str:
        if self._before:
            self.twice.set()
        self._before = True
        return self.answer


async def hold(slots: Slots, holding: list[int], end: asyncio.Event) -> None:
    async with slots.taken():
        holding.append(1)
        await end.wait()
    holding.pop()


def crowd(slots: Slots, count: int, holding: list[int], end: asyncio.Event) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(hold(slots, holding, end)) for _ in range(count)]


async def test_who_waits_lends_its_slot_so_that_others_can_go_on() -> None:
    slots, end = Slots(2, Asked()), asyncio.Event()
    waiting = crowd(slots, 2, [], end)
    async with slots.taken():
        end.set()
    await asyncio.gather(*waiting)


async def test_on_a_busy_machine_nothing_is_lent_until_it_is_idle() -> None:
    machine, holding, end = Asked("busy"), list[int](), asyncio.Event()
    waiting = crowd(Slots(2, machine), 3, holding, end)
    await machine.twice.wait()
    assert len(holding) == 2
    machine.answer = ""
    while len(holding) < 3:
        await asyncio.sleep(0)
    end.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(("count", "most"), [(1, 1), (3, 3 + 2 * LOANS)])
async def test_so_many_at_the_most_are_lent_and_all_come_back(count: int, most: int) -> None:
    slots = Slots(count, Asked())
    for _ in range(2):
        holding, end = list[int](), asyncio.Event()
        waiting = crowd(slots, 20, holding, end)
        while len(holding) < most:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(module.LENDS)
        assert len(holding) == most
        end.set()
        await asyncio.gather(*waiting)


async def test_the_cell_that_may_wait_longest_is_first() -> None:
    slots, order = Slots(1, Asked()), list[float]()

    async def cell(seconds: float) -> None:
        async with slots.taken(seconds):
            order.append(seconds)

    async with slots.taken():
        waiting = [asyncio.ensure_future(cell(seconds)) for seconds in (0, 30, 10, 60, 30)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == [60, 30, 30, 10, 0]


async def test_a_slot_is_not_lost_with_a_cell_that_is_ended_as_it_gets_it_or_while_it_waits() -> None:
    slots, holding, end = Slots(1, Asked()), list[int](), asyncio.Event()
    async with slots.taken():
        waiting, gets = crowd(slots, 2, holding, end)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
    gets.cancel()  # it has a slot by now, but has not run since
    await asyncio.gather(waiting, gets, return_exceptions=True)
    assert not holding
    async with slots.taken():
        pass
