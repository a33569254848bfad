"""Fake puppets: in memory, and as small programs that each misbehave in one way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.machine import Machine
from bokbok_interop.peers.base import Log, Running
from bokbok_interop.peers.local import LocalPeer
from tests.support.needs import client

__all__ = ["client"]

FAKE = r"""
import sys, time, os
def say(*lines):
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
FEATURES = "(puppet-1 tcp unix secure insecure port-0 reference profile hardening (profile inferred-1))"
def hello(number):
    say('(%s ok "fake" "0" %s)' % (number, FEATURES))
def lines():
    for line in sys.stdin:
        number, verb = line[1:].rstrip(")\n").split(" ")[:2]
        yield number, verb, line
"""


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine counts as not short of processor time, whatever it measures, unless a test says otherwise."""
    monkeypatch.setattr(Machine, "shortage", lambda self, since: "")


class MemoryRunning(Running):
    """A puppet in memory: `heard` has the commands that it was given, and `say` writes its lines."""

    def __init__(self) -> None:
        self.peer = "fake"
        self.log = Log()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._end = asyncio.Event()
        self.how = "exited with status 0"

    def say(self, data: bytes) -> None:
        self._said.put_nowait(data)

    def leave(self, how: str = "exited with status 0") -> None:
        self.how = how
        self.end_output()
        self._end.set()

    def end_output(self) -> None:
        self._said.put_nowait(b"")

    async def send(self, data: bytes) -> None:
        self.heard.put_nowait(data)

    async def receive(self) -> bytes:
        return await self._said.get()

    async def close(self, grace: float = 2.0) -> int | None:
        await self.kill()
        return 0

    async def kill(self) -> None:
        self._end.set()
        self._said.put_nowait(b"")

    async def ended(self) -> str:
        await self._end.wait()
        return self.how

    async def listen_address(self, transport: str, name: str, client: Running | None = None) -> tuple[Any, ...]:
        return ("tcp", "127.0.0.1", 0)

    def from_runner(self, address: tuple[Any, ...]) -> tuple[Any, ...]:
        return address

    def from_puppet(self, other: Running, address: tuple[Any, ...]) -> tuple[Any, ...]:
        return address

    def relay_address(self, transport: str, name: str) -> tuple[Any, ...]:
        return ("tcp", "127.0.0.1", 0)

    def to_runner(self, address: tuple[Any, ...]) -> tuple[Any, ...]:
        return address


@pytest.fixture
def fake_peer(tmp_path: Path) -> Callable[..., LocalPeer]:
    """Make a peer from the body of a small Python program, which can use `hello`, `say` and `lines`."""

    def make(body: str, name: str = "fake") -> LocalPeer:
        path = tmp_path / f"{name}.py"
        path.write_text(FAKE + body)
        return LocalPeer(name, [sys.executable, "-I", "-S", str(path)])

    return make


@pytest.fixture
def minimal() -> LocalPeer:
    """The example implementation, which does not use this library."""
    script = Path(__file__).parents[2] / "interop" / "examples" / "minimal" / "puppet.py"
    return LocalPeer("minimal", [sys.executable, str(script)])
