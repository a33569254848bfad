"""The rendezvous: in puppets of every kind, handlers wait until the runner releases them, so that cases decide on
order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bokbok.sexpr import Symbol
from bokbok_interop.cases import all_cases
from bokbok_interop.matrix import Group
from bokbok_interop.model import Failure, Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.peers.puppet import Answer, Puppet
from bokbok_interop.play import Play
from bokbok_interop.rendezvous import FEATURE
from bokbok_interop.runner import Runner, Settings

from .playing import make_case, play

ROOT = Path(__file__).parents[2]
MINIMAL = ROOT / "interop" / "examples" / "minimal" / "puppet.py"
PYTHON = [sys.executable, "-m", "bokbok_interop.puppets.asyncio"]
WITHOUT = """
import sys
sys.path.insert(0, sys.argv[1])
import puppet
puppet.FEATURES.remove("rendezvous")
puppet.Service.await_name = property(lambda self: None, lambda self, value: None)
puppet.main()
"""
"""The example without the feature, and without the request."""
ORDER = (
    "errors.while-others-wait",
    "hostile.half-close",
    "lifecycle.half-close",
    "lifecycle.stop-lets-handlers-finish",
    "request.handlers-at-once",
    "request.out-of-order",
    "request.reversed-order",
    "symmetry.ids-do-not-clash",
)
CASES = {case.id: case for case in all_cases()}


def without() -> LocalPeer:
    return LocalPeer("without", [sys.executable, "-c", WITHOUT, str(MINIMAL.parent)])


@pytest.fixture(params=["sync", "asyncio", "bridged", "minimal"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Puppet]:
    """A puppet with a connection to itself, whose handle is 2."""
    command = {
        "sync": [sys.executable, "-m", "bokbok_interop.puppets.sync"],
        "asyncio": PYTHON,
        "bridged": [sys.executable, "-m", "bokbok_interop.puppets.bridged", str(tmp_path), *PYTHON],
        "minimal": [sys.executable, str(MINIMAL)],
    }[request.param]
    peer = LocalPeer("puppet", command)
    puppet = await Puppet(await peer.start(role="client", transport="unix", alone=True)).start()
    place = [Symbol("unix"), str(tmp_path / "s")]
    for handle in (1, 2):
        puppet.own(handle, lambda *_: None)
    assert (await puppet.command("listen", 1, place, 10, False)).tag == "ok"
    assert (await puppet.command("connect", 2, place, False, False)).tag == "ok"
    yield puppet
    await puppet.kill()
    await peer.dispose()


async def test_a_puppet_claims_it(pair: Puppet) -> None:
    assert FEATURE in pair.features


async def test_a_signal_releases_all_who_wait_for_its_name_and_no_others(pair: Puppet) -> None:
    came: asyncio.Queue[object] = asyncio.Queue()
    for name in ("a", "b"):
        pair.own(name, lambda event, values, line: came.put_nowait((event, *values)))
    waiting = [asyncio.ensure_future(pair.command("request", 2, ["await", "a"])) for _ in range(3)]
    assert [await came.get() for _ in waiting] == [("awaiting", "a")] * 3
    other = asyncio.ensure_future(pair.command("request", 2, ["await", "b"]))
    assert await came.get() == ("awaiting", "b")
    assert await pair.command("request", 2, ["ping", "1"]) == Answer("response", [["pong", "1"]])
    assert await pair.command("signal", "a") == Answer("ok", [3])
    assert await asyncio.gather(*waiting) == [Answer("response", ["a"])] * 3
    assert not other.done()
    assert await pair.command("signal", "b") == Answer("ok", [1])
    assert await other == Answer("response", ["b"])


async def test_a_signal_counts_for_those_who_come_later(pair: Puppet) -> None:
    pair.own("a", lambda *_: None)
    assert await pair.command("signal", "a") == Answer("ok", [0])
    assert await pair.command("request", 2, ["await", "a"]) == Answer("response", ["a"])


async def test_a_handler_is_released_when_its_connection_and_its_server_are_gone(pair: Puppet) -> None:
    came = asyncio.Event()
    pair.own("a", lambda *_: came.set())
    asked = asyncio.ensure_future(pair.command("request", 2, ["await", "a"]))
    await came.wait()
    assert (await pair.command("close", 2)).tag == "ok"
    assert (await asked).tag == "network-error"
    assert (await pair.command("stop", 1)).tag == "ok"
    assert await pair.command("signal", "a") == Answer("ok", [1])
    assert await pair.command("wait", 1, timeout=20) == Answer("ok", [])


async def test_a_puppet_leaves_though_a_handler_waits(pair: Puppet) -> None:
    came = asyncio.Event()
    pair.own("a", lambda *_: came.set())
    asked = asyncio.ensure_future(pair.command("request", 2, ["await", "a"]))
    await came.wait()
    assert await pair.running.close(grace=30) == 0
    await asyncio.gather(asked, return_exceptions=True)


async def test_what_a_case_left_waiting_is_released_at_its_end() -> None:
    over: list[str] = []

    async def leaves(t: Play) -> None:
        mine, _ = await t.pair()
        await t.rendezvous(mine).hold(mine)
        raise Failure("on purpose")

    async def waits(t: Play) -> None:
        served = await t.server.listen()
        conn = await t.client.connect(served.address)
        await t.rendezvous(conn).hold(conn)
        await served.stop()

        async def stopped() -> None:
            await served.wait(timeout=5)
            over.append("stopped")

        t.cleanups.append(stopped)  # at the end of the case, and only if the handler is over

    results, _ = await play(LocalPeer("puppet", PYTHON), make_case("leaves", leaves), make_case("waits", waits))
    assert {result.cell.case: result.reason for result in results} == {
        "connect.leaves": "on purpose",
        "connect.waits": "",
    }
    assert over == ["stopped"]


async def test_a_handler_that_does_not_begin_is_a_failure_that_says_so() -> None:
    async def case(t: Play) -> None:
        mine, _ = await t.pair()
        await t.rendezvous(mine).arrived(2, problem="two handlers do not run at once")

    results, _ = await play(LocalPeer("puppet", PYTHON), make_case("case", case), timeout=1.0)
    assert (results[0].outcome, results[0].reason) == (Outcome.FAILED, "two handlers do not run at once")
    assert (results[0].expected, results[0].actual) == ("2 handlers that have begun", "0 did")


async def test_a_puppet_without_the_feature_sleeps() -> None:
    peer = without()
    groups = [
        Group(client, "without", "unix", "insecure", [CASES[case] for case in chosen])
        for client, chosen in (
            ("without", [case for case in ORDER if not case.startswith("hostile")]),
            ("runner", [case for case in ORDER if case.startswith("hostile")]),
        )
    ]
    runner = Runner({"without": peer}, Settings())
    results = await runner.run(groups)
    assert {result.cell.case: (result.outcome, result.reason) for result in results} == dict.fromkeys(
        ORDER, (Outcome.PASSED, "")
    )
    lines = [line for result in results for _, _, _, line in result.evidence["datums"]]
    assert any('("sleep" ' in line for line in lines)
    assert not any("await" in line for line in lines)
