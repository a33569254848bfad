"""What tests of the runner play: cases made on the spot, and small puppets."""

from __future__ import annotations

from typing import Any

from bokbok_interop.cases import Case
from bokbok_interop.cases.requirements import REQUIREMENTS
from bokbok_interop.matrix import Group
from bokbok_interop.model import Kind, Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import Runner, Settings

SILENT = """
for number, verb, line in lines():
    if verb == "hello": hello(number)
"""
ANSWERS = """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say("(%s ok)" % number)
"""


def make_case(name: str, run: Any, **more: Any) -> Case:
    return Case(f"connect.{name}", name, Kind.REFERENCE, (REQUIREMENTS["open.tcp"],), run, **more)


async def play(peer: LocalPeer, *cases: Case, **settings: Any) -> tuple[list[Result], Runner]:
    runner = Runner({peer.name: peer}, Settings(**{"timeout": 5.0, **settings}))
    group = Group(peer.name, peer.name, "unix", "insecure", list(cases))
    return await runner.run([group]), runner


async def key(t: Play) -> None:
    await t.client.command("key", "x")


async def nothing(t: Play) -> None:
    """A case that any puppet passes."""
