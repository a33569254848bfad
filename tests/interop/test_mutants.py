"""The suite notices faults: every mutant is caught by the cases that are about its fault."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.cases import REQUIREMENTS, all_cases
from bokbok_interop.matrix import Group
from bokbok_interop.model import RUNNER, Outcome, Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.runner import Runner, Settings

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "mutants"
MINIMAL = ROOT / "interop" / "examples" / "minimal" / "puppet.py"
CASES = {case.id: case for case in all_cases()}
ABOUT = ("secure", "errors", "lifecycle", "hostile")
MAX_EXTRA = 26.0  # seconds: the longest of the waits that a case is about (a silence)
TIMEOUT = 6.0  # a hanging mutant need not get as much time as a good peer


def _listed() -> list[dict[str, Any]]:
    """The mutants, read in another process: importing them changes modules."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--json"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


MUTANTS = _listed()


def _pairs() -> list[tuple[dict[str, Any], str]]:
    return [(mutant, case) for mutant in MUTANTS for case in mutant["cases"]]


async def _catch(mutant: dict[str, Any], case_id: str, gate: asyncio.Semaphore) -> Result:
    case = CASES[case_id]
    case = dataclasses.replace(case, timeout=min(case.timeout, MAX_EXTRA))
    broken = LocalPeer("mutant", [sys.executable, str(SCRIPT), mutant["name"]])
    good = LocalPeer("minimal", [sys.executable, str(MINIMAL)])
    role = {"client": "server", "server": "client"}[case.opponent] if case.opponent else mutant["role"]
    other = RUNNER if case.opponent else "minimal"
    names = {"client": other, "server": other, role: "mutant"}
    if role == "both":
        names = {"client": "mutant", "server": "mutant"}
    transport = mutant["transport"] if mutant["transport"] in case.transports else case.transports[0]
    security = mutant["security"] if mutant["security"] in case.securities else case.securities[0]
    group = Group(names["client"], names["server"], transport, security, [case])
    async with gate:
        runner = Runner({"mutant": broken, "minimal": good}, Settings(timeout=TIMEOUT, jobs=1))
        return (await runner.run([group]))[0]


@pytest.fixture(scope="module")
def caught(request: pytest.FixtureRequest) -> dict[tuple[str, str], Result]:
    """Every selected mutant (`-k`), played against every case that must catch it, several at a time."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    wanted = {
        (item.callspec.params["name"], item.callspec.params["case"])
        for item in items
        if item.originalname == test_the_mutant_is_caught.__name__
    }
    chosen = [(mutant, case) for mutant, case in _pairs() if (mutant["name"], case) in wanted]

    async def play() -> dict[tuple[str, str], Result]:
        gate = asyncio.Semaphore(16)
        # Cells that wait long begin first, so that others run at the same time.
        pairs = sorted(chosen, key=lambda pair: -CASES[pair[1]].timeout)
        results = await asyncio.gather(*(_catch(mutant, case, gate) for mutant, case in pairs))
        return {(m["name"], c): result for (m, c), result in zip(pairs, results, strict=True)}

    return asyncio.run(play())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "case"), [(mutant["name"], case) for mutant, case in _pairs()])
def test_the_mutant_is_caught(name: str, case: str, caught: dict[tuple[str, str], Result]) -> None:
    result = caught[name, case]
    assert result.outcome is Outcome.FAILED, f"{result.outcome.value}: {result.reason}"
    assert "the case itself broke" not in result.reason
    assert "does not start" not in result.reason


def test_there_are_at_least_forty_mutants() -> None:
    assert len(MUTANTS) >= 40


def test_every_case_of_the_four_chapters_catches_a_mutant() -> None:
    # `disconnect` needs a container, and mutants do not run in containers.
    wanted = {case.id for case in CASES.values() if case.chapter in ABOUT and "disconnect" not in case.faults}
    assert sorted(wanted - {case for mutant in MUTANTS for case in mutant["cases"]}) == []


def test_every_rule_of_the_protocol_is_broken_by_a_mutant_that_a_case_about_it_catches() -> None:
    rules = {one.name for one in REQUIREMENTS.values() if one.document in ("profile", "guards") and not one.untestable}
    caught = {rule.name for mutant in MUTANTS for case in mutant["cases"] for rule in CASES[case].requirements}
    assert sorted(rules - caught) == []


def test_every_mutant_is_about_something_else() -> None:
    assert len({mutant["title"] for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant["cases"] and mutant["title"] for mutant in MUTANTS)


@pytest.mark.timeout(600)
def test_the_example_itself_passes_all_of_these_cases() -> None:
    wanted = [CASES[case] for case in dict.fromkeys(case for mutant in MUTANTS for case in mutant["cases"])]
    groups = [
        Group(client, server, transport, security, chosen)
        for client, server, opponent in (
            ("minimal", "minimal", None),
            (RUNNER, "minimal", "client"),
            ("minimal", RUNNER, "server"),
        )
        for transport in ("tcp", "unix")
        for security in ("secure", "insecure")
        if (
            chosen := [
                case
                for case in wanted
                if case.opponent == opponent and case.transports[0] == transport and case.securities[0] == security
            ]
        )
    ]
    runner = Runner({"minimal": LocalPeer("minimal", [sys.executable, str(MINIMAL)])}, Settings())
    results = asyncio.run(runner.run(groups))
    assert [f"{r.cell}: {r.reason}" for r in results if r.outcome is Outcome.FAILED] == []


def test_a_table_of_all_mutants_can_be_had() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--table"], capture_output=True, text=True, check=True)
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \|", done.stdout, re.M))
    assert {mutant["name"]: mutant["title"] for mutant in MUTANTS} == {
        name: title.strip() for name, title in rows.items()
    }
