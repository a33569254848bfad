"""A run by the workers of a real scheduler on this machine, through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import Cluster
from tests.support.leaks import eventually

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

FEW = ["--peers", "minimal", "--case", "sexpr.*", "--case", "request.e*", "--security", "insecure"]
COMMAND = [sys.executable, "-m", "bokbok_interop", "run"]


def cells(path: Path) -> dict[tuple[str, ...], tuple[Any, ...]]:
    document = json.loads(path.read_text())
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for cell in document["cells"]:
        key = (
            *(cell[name] for name in ("client", "server", "transport", "security", "case")),
            str(cell.get("round", 1)),
        )
        assert key not in found, "counted twice"
        found[key] = (cell["outcome"], cell.get("reason"), tuple(cell.get("shown", ())))
    assert document["planned"] == len({key[:5] for key in found})
    return found


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, **more)


def puppets() -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"minimal/puppet.py" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


def test_processes_of_this_machine_come_to_the_same_verdicts_as_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    assert run(*FEW, "--json", str(alone)).returncode == 0
    done = run(*FEW, "--json", str(together), "--scheduler", "local:2")
    assert done.returncode == 0, done.stderr
    assert "2 workers with 32 threads play" in done.stdout
    assert cells(together) == cells(alone)


MINIMAL = f"{sys.executable} {Path(__file__).parents[3] / 'interop/examples/minimal/puppet.py'}"


def check(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND[:-1], "check", command, "-q", "--case", "sexpr.b*", "--case", "request.e*", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def timeless(text: str) -> str:
    return re.sub(r" in [\d.]+ s\n", " in some s\n", text)


def test_check_by_workers_comes_to_the_same_verdicts(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    first = check(MINIMAL, "--json", str(alone))
    second = check(MINIMAL, "--json", str(together), "--scheduler", "local:2")
    assert first.returncode == 0, first.stdout
    assert second.returncode == 0, second.stderr
    assert timeless(second.stdout) == timeless(first.stdout)
    assert cells(together) == cells(alone)


def test_check_by_workers_ends_with_a_preflight_that_fails(tmp_path: Path) -> None:
    puppet = tmp_path / "puppet"
    puppet.write_text("#!/bin/sh\necho '(1 error \"not today\")'\n")
    puppet.chmod(0o755)
    path = tmp_path / "r.json"
    done = check(str(puppet), "--json", str(path), "--scheduler", "local:1")
    assert done.returncode == 1, done.stderr
    assert "everything behind the preflight" in done.stdout
    played = json.loads(path.read_text())["cells"]
    assert {cell["case"].partition(".")[0] for cell in played} == {"preflight"}


def test_a_worker_that_is_killed_costs_its_cells_a_second_try(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    # It begins its shares and never ends one, so that some are surely under way when it is killed.
    hanging = tmp_path / "hanging"
    hanging.mkdir()
    (hanging / "sitecustomize.py").write_text(
        "import asyncio\nfrom bokbok_interop.fleet.player import Player\n"
        "Player.play = lambda self, share: asyncio.sleep(3600)\n"
    )
    first = cluster.worker(PYTHONPATH=os.pathsep.join([str(hanging), *sys.path]))
    cluster.worker()
    running = subprocess.Popen(
        [*COMMAND, *FEW, "--json", str(path), "--scheduler", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    told = []
    for line in running.stdout:
        told.append(line)
        if re.match(r"\d+ of \d+ cells", line) and first.returncode is None:
            first.kill()
            first.wait()
    assert running.wait() == 0, "".join(told)
    running.stdout.close()
    document = json.loads(path.read_text())
    again = [
        cell for cell in document["cells"] if cell.get("again", "").startswith("the worker that played it was lost")
    ]
    assert again
    assert {cell["attempts"] for cell in again} == {2}
    assert {outcome for outcome, _, _ in cells(path).values()} == {"passed"}


def test_ctrl_c_leaves_nothing_on_a_worker(cluster: Cluster, tmp_path: Path) -> None:
    before = puppets()
    cluster.worker()
    running = subprocess.Popen(
        [*COMMAND, *FEW, "--repeat", "15", "--scheduler", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    next(line for line in running.stdout if re.match(r"\d+ of \d+ cells", line))
    running.send_signal(signal.SIGINT)
    running.stdout.read()
    running.stdout.close()
    assert running.wait() == 130
    eventually(lambda: puppets() <= before, "the worker's puppets are gone")


def test_another_suite_on_a_worker_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(
        "import bokbok_interop.fleet.share as share\nshare.suite_digest = lambda: '0' * 64\n"
    )
    path = os.pathsep.join([str(other), *sys.path])
    cluster.worker(PYTHONPATH=path)
    done = run(*FEW, "--scheduler", cluster.address)
    assert done.returncode == 2
    assert "has another version of the suite (000000000000" in done.stderr


def test_a_peer_that_is_not_the_same_on_every_worker_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    programs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        program = folder / "puppet"
        program.write_text(f"#!/bin/sh\n# {name}\n")
        program.chmod(0o755)
        programs.append(str(folder))
        cluster.worker(PATH=f"{folder}:{os.environ['PATH']}")
    done = run("--peers", "", "--peer", "it=puppet", "--scheduler", cluster.address)
    assert done.returncode == 2
    assert re.search(r"it is not the same on every worker: \w{12} on tcp://\S+, \w{12} on tcp://", done.stderr)


def test_a_scheduler_that_does_not_answer_is_said(unused_tcp_port: int) -> None:
    done = run(*FEW, "--scheduler", f"tcp://127.0.0.1:{unused_tcp_port}")
    assert done.returncode == 2
    assert f"the scheduler tcp://127.0.0.1:{unused_tcp_port}: it cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["tcp://192.0.2.1:8786", "local:0"])
def test_a_wrong_scheduler_is_a_wrong_command_line(where: str) -> None:
    done = run(*FEW, "--scheduler", where)
    assert done.returncode == 2
    assert "--scheduler" in done.stderr
