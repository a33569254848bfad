"""Puppets are started, and end with the run whatever they do; a peer whose puppets break or are silent is given up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bokbok_interop.matrix import Group
from bokbok_interop.model import Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play
from bokbok_interop.runner import Runner, Settings
from tests.interop.playing import ANSWERS, SILENT, key, make_case, nothing, play
from tests.support.processes import alive


async def test_a_puppet_that_dies_at_the_start_fails_with_its_last_words(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer('sys.stderr.write("no such library\\n"); sys.exit(7)')
    results, _ = await play(peer, make_case("one", nothing), make_case("two", nothing))
    assert {result.outcome for result in results} == {Outcome.FAILED}
    assert "status 7" in results[0].reason
    assert "no such library" in results[0].reason


async def test_a_puppet_that_never_says_hello_is_given_up(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop.peers import puppet

    monkeypatch.setattr(puppet, "HELLO_SECONDS", 0.2)
    monkeypatch.setattr(puppet.Puppet.start, "__defaults__", (0.2,))
    results, _ = await play(fake_peer("time.sleep(60)"), *(make_case(f"c{i}", nothing) for i in range(20)))
    assert len(results) == 20
    assert all(result.outcome is Outcome.FAILED for result in results)
    assert all("hello" in result.reason for result in results)


async def test_who_answers_nothing_is_given_up_and_those_that_wait_for_it_are_cut_short(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop import play as module

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    peer = fake_peer(SILENT)

    async def waits_long(t: Play) -> None:
        await t.client.command("request", 1, "x")

    cases = [make_case("long", waits_long, timeout=60)] + [make_case(f"c{i}", key) for i in range(100)]
    start = time.monotonic()
    results, _ = await play(peer, *cases, jobs=8)
    assert time.monotonic() - start < 50
    reasons = {result.cell.case: result.reason for result in results}
    assert sum("was not answered by the client" in reason for reason in reasons.values()) < 50
    assert "fake was given up: in 24 of its cells a command was not answered" in reasons["connect.c99"]
    assert reasons["connect.long"] == reasons["connect.c99"]


async def test_a_good_peer_is_not_given_up_for_the_silence_of_another(
    fake_peer: Callable[..., LocalPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokbok_interop import play as module

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    silent = fake_peer(SILENT, "silent")
    good = fake_peer(ANSWERS, "good")

    async def both(t: Play) -> None:
        await t.client.command("key", "x")
        await t.server.command("key", "x")

    runner = Runner({"good": good, "silent": silent}, Settings(timeout=5.0, jobs=8))
    cases = [make_case(f"c{i}", both) for i in range(40)]
    results = await runner.run([Group("good", "silent", "unix", "insecure", cases)])
    assert all(result.outcome is Outcome.FAILED for result in results)
    assert not any("good was given up" in result.reason for result in results)


async def ends(pid: int, problem: str) -> None:
    """A process that a puppet has started ends at once. A zombie counts: its parent was the puppet, so init collects
    it."""
    for _ in range(100):
        if not alive(pid):
            return
        await asyncio.sleep(0.02)  # nobody tells when a process ends that is no child of ours
    pytest.fail(problem)


async def test_what_started_by_a_puppet_ends_with_it(fake_peer: Callable[..., LocalPeer], tmp_path: Path) -> None:
    note = tmp_path / "pid"
    peer = fake_peer(
        f"""
import subprocess
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"])
open({str(note)!r}, "a").write("%d " % child.pid)
"""
        + ANSWERS
    )
    await play(peer, make_case("key", key))
    for pid in map(int, note.read_text().split()):
        await ends(pid, "a puppet's child outlived it")


async def test_what_left_the_group_of_its_puppet_ends_with_the_run(
    fake_peer: Callable[..., LocalPeer], tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    peer = fake_peer(
        f"""
import subprocess
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"], start_new_session=True)
open({str(note)!r}, "a").write("%d " % child.pid)
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: os._exit(5)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert "exited with status 5, and something that it started holds its output open" in results[0].reason
    for pid in map(int, note.read_text().split()):
        await ends(pid, "a process that left its puppet's group outlived the run")


KILLED_WHILE_A_PUPPET_STANDS_STILL = """
import asyncio, os, signal, sys
from bokbok_interop.peers.local import LocalPeer
PUPPET = "import sys; up = open(sys.argv[1], 'w'); print('up', file=up); print('up', flush=True); sys.stdin.read()"
async def main():
    running = await LocalPeer("still", [sys.executable, "-I", "-S", "-c", PUPPET, sys.argv[1]]).start()
    await running.receive()
    await running.pause()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.timeout(60)
def test_a_puppet_that_stands_still_goes_on_and_ends_where_the_runner_is_killed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    words = [sys.executable, "-c", KILLED_WHILE_A_PUPPET_STANDS_STILL, str(alive)]
    with subprocess.Popen(words, env={**os.environ, "TMPDIR": str(tmp_path)}) as runner:
        assert alive.read_text() == "up\n"  # and its end of file, which comes once nobody has it open any more
        assert runner.wait() == -signal.SIGKILL
