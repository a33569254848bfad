"""The first panel of `check` names the layer that is broken: a sample of `tests.interop.broken`."""

from __future__ import annotations

import fnmatch

import pytest

from bokbok_interop.cases import all_cases
from bokbok_interop.cases.requirements import REQUIREMENTS
from bokbok_interop.cli.check import plan
from bokbok_interop.matrix import Selection
from tests.interop import broken
from tests.interop.test_mutants import MUTANTS

BY_NAME = {one.mutant: one for one in broken.BROKEN}
SAMPLE = {
    "greets": (),
    "client-serves-nothing": (),
    "closes-on-errors": (),
    "own-address": ("--case", "connect.*address*"),
}
"""Which of them the tests check, and how much of `check` they run: if the preflight fails, that is little anyway."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SAMPLE)
def test_the_first_panel_is_about_what_is_broken(name: str) -> None:
    shown = broken.check(name, *SAMPLE[name])
    assert broken.told(BY_NAME[name], broken.first_panel(shown)), shown


def test_there_are_twenty_and_more_of_as_many_kinds() -> None:
    assert len(BY_NAME) == len(broken.BROKEN) >= 20
    assert len({one.layer for one in broken.BROKEN}) >= 15
    assert BY_NAME.keys() <= {mutant["name"] for mutant in MUTANTS}


def test_what_a_first_panel_must_name_is_there() -> None:
    cases = [case.id for case in all_cases()]
    for one in broken.BROKEN:
        assert set(one.sentences) <= REQUIREMENTS.keys()
        assert fnmatch.filter(cases, one.case)


def test_check_plays_a_case_about_each_mutant_that_does_not_need_minutes() -> None:
    preflight, rest = plan(["mine", "python-asyncio"], "mine", Selection(about=("mine",)))
    played = {
        (case.id, role)
        for group in (*preflight, *rest)
        for role, name in (("client", group.client), ("server", group.server))
        for case in group.cases
        if name == "mine"
    }
    roles = {"both": ("client", "server")}
    unseen = {
        mutant["name"]: mutant["cases"]
        for mutant in MUTANTS
        if not any(
            (case, role) in played for case in mutant["cases"] for role in roles.get(mutant["role"], [mutant["role"]])
        )
    }
    # At its end `check` says that it did not look at these.
    long = {case.id for case in all_cases() if case.long}
    assert {name for name, cases in unseen.items() if not long.issuperset(cases)} == set()


def test_a_panel_about_something_else_is_told() -> None:
    about = BY_NAME["greets"]
    good = "✗ preflight.server-hello ───╮\n│ profile, Secure connection, docs/protocol.md#profile.no-answer │"
    assert broken.told(about, good)
    assert not broken.told(about, good.replace("server-hello", "server-request"))
    assert not broken.told(about, good.replace("no-answer", "boxes"))
    assert not broken.told(about, "")
