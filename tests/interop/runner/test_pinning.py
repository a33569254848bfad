"""Faults that only show behind other cells in the same process: each is pinned down, and blamed once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.model import BROKE, Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import cells as cells_module
from tests.interop.playing import key, make_case, play
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


async def test_what_breaks_puppets_only_after_others_is_pinned_down_and_one_fails_for_it(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "AGAIN", 1)
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
    assert (other.outcome, other.attempts, other.again) == (Outcome.PASSED, 2, BROKE)
