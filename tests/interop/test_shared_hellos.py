"""The feature `shared-hellos`: servers of one puppet that share a memory of hellos, and the case about them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bokbok_interop.cases import all_cases
from bokbok_interop.matrix import Group
from bokbok_interop.model import Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play, Served
from bokbok_interop.raw import attack
from bokbok_interop.runner import Runner, Settings

from .playing import make_case

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-m"]
PUPPETS = {
    "sync": [*PYTHON, "bokbok_interop.puppets.sync"],
    "asyncio": [*PYTHON, "bokbok_interop.puppets.asyncio"],
    "minimal": [sys.executable, str(ROOT / "interop" / "examples" / "minimal" / "puppet.py")],
}
(CASE,) = (case for case in all_cases() if case.id == "hostile.hello-replayed-to-fleet")


async def _opens(served: Served) -> None:
    while not served.connections:
        await asyncio.sleep(0.01)


async def outcomes(peer: str, *cases: object) -> list[tuple[Outcome, str]]:
    groups = [Group("runner", peer, "unix", "secure", list(cases))]  # type: ignore[arg-type]
    results = await Runner({peer: LocalPeer(peer, PUPPETS[peer])}, Settings()).run(groups)
    return [(result.outcome, result.reason) for result in results]


@pytest.mark.parametrize("front", ["sync", "asyncio"])
async def test_a_hello_replayed_to_every_other_server_is_refused_everywhere(front: str) -> None:
    assert await outcomes(front, CASE) == [(Outcome.PASSED, "")]


async def test_a_peer_without_the_feature_is_not_judged() -> None:
    ((outcome, reason),) = await outcomes("minimal", CASE)
    assert outcome is Outcome.UNSUPPORTED
    assert reason


@pytest.mark.parametrize("front", ["sync", "asyncio"])
async def test_only_servers_of_the_same_memory_share_it(front: str) -> None:
    opened: list[str] = []

    async def case(t: Play) -> None:
        first = await attack(t, await t.server.listen(memory="one"), hello=False)
        said = first.hello() + first.packet(b'(request 0 ("echo" 1))')
        await first.send(said)
        assert list(await first.answer_to(0)) == ["response", 1]
        await t.server.settle()
        opened.append("first")
        for memory in ("one", "other", None):
            served = await t.server.listen(memory=memory)
            again = await attack(t, served, hello=False)
            await again.send(said)
            if memory == "one":
                await again.must_end("a hello that another server had seen was not refused")
                await t.server.settle()
                assert not served.connections
            else:
                await t.within(10, _opens(served), "the open handler")
                opened.append(str(memory))

    made = make_case("shares", case, opponent="client", securities=("secure",))
    assert await outcomes(front, made) == [(Outcome.PASSED, "")]
    assert opened == ["first", "other", "None"]
