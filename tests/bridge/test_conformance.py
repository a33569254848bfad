"""The reference cases pass through a bridge, except for listed ones: a sample of `tests.bridge.conformance`."""

from __future__ import annotations

import dataclasses

import pytest

from bokbok_interop.cases import all_cases
from bokbok_interop.model import Cell, Outcome, Result
from tests.bridge import conformance


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", conformance.SAMPLE)
async def test_the_reference_cases_pass_through_a_bridge(number: int) -> None:
    play = conformance.plays()[number]
    results = await conformance.run(play, mode=conformance.SAMPLE[number], jobs=8)
    absent = [result.reason for result in results if result.outcome is Outcome.ABSENT]
    if absent:
        pytest.skip(absent[0])
    assert conformance.problems(play, results) == []
    assert sum(result.outcome is Outcome.PASSED for result in results) > 200


DEFAULT, OTHERS = conformance.plays()[0], conformance.plays()[-1]


def as_listed() -> list[Result]:
    """A failed result for each case that must fail with a bridged server, and a passed one."""
    listed = conformance.NOT_THROUGH_A_BRIDGE["server"]
    outcomes = {**dict.fromkeys(listed, Outcome.FAILED), "errors.many": Outcome.PASSED}
    return [
        Result(Cell(conformance.DIRECT, conformance.BRIDGED, "tcp", "secure", case), outcome)
        for case, outcome in outcomes.items()
    ]


@pytest.mark.parametrize("play", [DEFAULT, OTHERS], ids=["default", "others"])
def test_a_case_that_fails_and_is_not_listed_is_told(play: conformance.Play) -> None:
    results = as_listed()
    assert conformance.problems(play, results) == []
    results[-1] = dataclasses.replace(results[-1], outcome=Outcome.FAILED, reason="why")
    assert conformance.problems(play, results) == ["errors.many, bridged server (tcp, secure): why"]


@pytest.mark.parametrize("play", [DEFAULT, OTHERS], ids=["default", "others"])
def test_a_case_that_passes_and_is_listed_is_told(play: conformance.Play) -> None:
    for number, result in enumerate(as_listed()[:-1]):
        results = as_listed()
        results[number] = dataclasses.replace(result, outcome=Outcome.PASSED)
        problem = f"{result.cell.case}, bridged server: it is listed as one that fails, and passed"
        assert conformance.problems(play, results) == [problem]


def test_every_case_that_is_listed_is_one() -> None:
    known = {case.id for case in all_cases()}
    for listed in (*conformance.NOT_THROUGH_A_BRIDGE.values(), conformance.LEFT_OUT):
        assert listed.keys() <= known


def test_there_are_ten_profiles_against_the_default_and_ten_pairs_of_others() -> None:
    every = conformance.plays()
    default, others = every[:30], every[30:]
    assert {play.direct for play in default} == {"python-asyncio", "python-sync", "chicken5"}
    assert {play.outside.name for play in default} == {"inferred-1"}
    assert len({play.inside for play in default}) == 10
    assert len({(play.inside, play.outside) for play in others}) == 10
    assert all("inferred-1" not in (play.inside.name, play.outside.name) for play in others)
