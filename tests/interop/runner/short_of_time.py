"""A machine that is short of processor time, as a test says, and runs on it."""

from __future__ import annotations

from typing import Any

from bokbok_interop.cases import Case
from bokbok_interop.machine import Machine
from bokbok_interop.matrix import Group
from bokbok_interop.model import Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.runner import Runner, Settings

MEASURED = "as this test says"


class Busy(Machine):
    """A machine that counts as short of processor time, whatever it really is."""

    def shortage(self, since: float) -> str:
        return MEASURED


async def play(peer: LocalPeer, *cases: Case, machine: type[Machine] = Busy, **settings: Any) -> dict[str, Result]:
    runner = Runner({peer.name: peer}, Settings(**{"timeout": 0.6, **settings}), machine=machine())
    group = Group(peer.name, peer.name, "unix", "insecure", list(cases))
    return {result.cell.case.removeprefix("connect."): result for result in await runner.run([group])}
