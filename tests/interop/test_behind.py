"""The search for the cells behind which another one fails: which tries it makes, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bokbok_interop.behind import Tried, pin_down
from bokbok_interop.cases import Case, all_cases

ORDER = all_cases()[:40]


def trying(fails: Callable[[Sequence[Case]], bool], tries: list[int]) -> Any:
    async def play(cases: Sequence[Case], width: int, enough: int) -> Tried:
        cases = cases[: enough // 2] if enough else cases  # each makes two connections
        tries.append(len(cases))
        return Tried(fails(cases), 2 * len(cases))

    return play


FOR_EVER = float("inf")


async def test_the_order_is_halved_until_one_cell_is_left() -> None:
    tries: list[int] = []
    culprit = ORDER[23]
    behind = await pin_down(
        ORDER, lambda case: 1.0, trying(lambda cases: culprit in cases, tries), FOR_EVER, 7, ORDER[0]
    )
    assert (behind.cases, behind.of, behind.by_number, behind.failed) == ((culprit.id,), 40, False, 7)
    assert len(tries) <= 8


async def test_a_number_of_connections_is_told_from_the_cells_that_made_them() -> None:
    behind = await pin_down(ORDER, lambda case: 1.0, trying(lambda cases: len(cases) >= 17, []), FOR_EVER, 1, ORDER[0])
    assert (behind.by_number, behind.connections, len(behind.cases)) == (True, 34, 17)


async def test_two_cells_that_are_both_needed_are_not_a_number() -> None:
    pair = {ORDER[5].id, ORDER[30].id}
    play = trying(lambda cases: pair <= {case.id for case in cases}, [])
    behind = await pin_down(ORDER, lambda case: 1.0, play, FOR_EVER, 1, ORDER[0])
    assert (behind.by_number, len(behind.cases)) == (False, 31)
    assert "behind 31 of the 40 that the same process had been given (62 connections)" in str(behind)


async def test_what_takes_long_is_left_out_unless_it_is_needed() -> None:
    slow = ORDER[3]

    def took(case: Case) -> float:
        return 60.0 if case is slow else 1.0

    tries: list[int] = []
    await pin_down(ORDER, took, trying(lambda cases: ORDER[8] in cases, tries), FOR_EVER, 1, ORDER[0])
    assert tries[0] == 39
    behind = await pin_down(ORDER, took, trying(lambda cases: slow in cases, []), FOR_EVER, 1, ORDER[0])
    assert behind.cases == (slow.id,)


async def test_what_was_found_for_others_is_tried_first() -> None:
    tries: list[int] = []
    fails = trying(lambda cases: ORDER[23] in cases, tries)
    first = await pin_down(ORDER, lambda case: 1.0, fails, FOR_EVER, 1, ORDER[0])
    tries.clear()
    again = await pin_down(ORDER[10:], lambda case: 1.0, fails, FOR_EVER, 3, ORDER[0], [first])
    assert (again.cases, again.of, again.failed) == (first.cases, 30, 3)
    assert tries == [1]


@pytest.mark.parametrize(
    ("until", "fails", "says"),
    [
        (FOR_EVER, False, "alone, and behind the same ones again, it passes"),
        (0.0, True, "alone it passes (no time to play these again)"),
    ],
)
async def test_what_is_not_shown_again_says_so(until: float, fails: bool, says: str) -> None:
    behind = await pin_down(ORDER, lambda case: 1.0, trying(lambda cases: fails, []), until, 1, ORDER[0])
    assert behind.cases == ()
    assert says in str(behind)
