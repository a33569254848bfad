"""Faults that only show behind other cells in the same process: each is pinned down, and blamed once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.behind import Tried, pin_down
from bokbok_interop.cases import Case, all_cases
from tests.interop.test_verdicts import Check, changed, check, panels

__all__ = ["changed"]

MANY = 8
"""From so many connections on, these peers are broken."""
BEGINS = "        self.user, self.address = user, address\n"
COUNTS = BEGINS + "        Connection.made = getattr(Connection, 'made', 0) + 1\n"


def assert_by_number(panel: str) -> None:
    found = re.search(r"alone it passes; shown again after (\d+) connections of the same process, whoever makes", panel)
    assert found is not None, panel
    assert MANY - 4 <= int(found[1]) <= MANY, "the cell that fails makes some, too"


def played(peer: str, results: Path, jobs: int, *cases: str) -> tuple[Check, list[dict[str, Any]]]:
    # There is more time for the search then: the machine may be busy.
    words = ["--thorough", "--jobs", str(jobs), "--json", str(results)]
    done = check(peer, *words, *(word for case in cases for word in ("--case", case)))
    cells = json.loads(results.read_bytes())["cells"]
    return done, [cell for cell in cells if cell["outcome"] == "failed"]


def test_a_peer_that_is_broken_after_many_connections_is_blamed_once_and_for_their_number(
    changed: Callable[..., str], tmp_path: Path
) -> None:
    peer = changed(BEGINS, COUNTS + f"        self.late = Connection.made > {MANY}\n", "peer.py")
    script = Path(peer.split()[1])
    text = script.read_text()
    good = '            case ["echo", x]:\n                return x\n'
    assert good in text
    script.write_text(text.replace(good, good.replace("return x", "return 'lost' if connection.late else x")))
    done, failed = played(peer, tmp_path / "r.json", 4, "errors.*")
    assert done.returncode == 1
    (panel,) = panels(done)
    assert_by_number(panel)
    assert "requirement" not in panel, "which sentence such a case is about has nothing to do with it"
    assert {cell["behind"]["by_number"] for cell in failed} == {True}
    assert "the same order is played again and halved, for 60 seconds at the most" in done.stdout
    # The others count as they come out alone.
    again = re.search(r"(\d+) cells were played again, alone: it failed behind .*; (\d+) passed", done.stdout)
    assert again is not None
    assert again[1] == again[2] != "0"


def test_a_peer_that_ends_after_many_connections_is_blamed_once_and_for_their_number(
    changed: Callable[..., str], tmp_path: Path
) -> None:
    peer = changed(BEGINS, COUNTS + f"        if Connection.made == {MANY}:\n            os._exit(9)\n", "peer.py")
    done, failed = played(peer, tmp_path / "r.json", 4, "errors.*")
    assert done.returncode == 1
    (panel,) = panels(done)
    assert "the process of mine exited with status 9" in panel
    assert_by_number(panel)
    assert {cell["crash"]["how"].split(";")[0] for cell in failed} == {"exited with status 9"}


def test_a_cell_that_another_one_has_spoilt_the_process_for_names_it(
    changed: Callable[..., str], tmp_path: Path
) -> None:
    peer = changed(
        '            case ["unspecified"]:\n',
        '            case ["unspecified"]:\n                self.spoilt = True\n',
    )
    script = Path(peer.split()[1])
    good = '            case ["callback", int(n), x]:\n'
    spoilt = '            case ["callback", int(n), x] if getattr(self, "spoilt", False):\n                return []\n'
    script.write_text(script.read_text().replace(good, spoilt + good))
    cases = ["request.ids-count-up", "request.echo*", "request.in-sequence", "symmetry.*callback*", "symmetry.relay*"]
    done, failed = played(peer, tmp_path / "r.json", 1, *cases)
    assert done.returncode == 1
    (panel,) = panels(done)
    assert ", behind other cells" in panel.splitlines()[0]
    assert "alone it passes; shown again behind request.ids-count-up, one of the " in panel
    assert {tuple(cell["behind"]["cases"]) for cell in failed} == {("request.ids-count-up",)}


# ------------------------------------------------------------------------------------------------- the search itself

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
