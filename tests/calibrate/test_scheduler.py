"""Calibration by the workers of a real scheduler on this machine, through the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bokbok import service
from bokbok.sync import start_server
from bokbok.wire import INFERRED_1, get_profile, passphrase_to_key
from bokbok_traffic.recording import load_recording
from tests.support import foreign
from tests.support.calibrating import recording, saved
from tests.support.clusters import Cluster, hanging
from tests.support.leaks import eventually
from tests.support.processes import alive

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

COMMAND = [sys.executable, "-m", "bokbok_interop", "calibrate"]


@pytest.fixture
def user(tmp_path: Path) -> list[str]:
    """The options of a user."""
    secret = tmp_path / "pass"
    secret.write_text("mypassphrase\n")
    secret.chmod(0o600)
    return ["--user", "myuser", "--passphrase-file", str(secret)]


def calibrate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, check=False)


def unopened(folder: Path) -> Path:
    """A recording in which no box opens: the longest search of all."""
    return saved(recording(INFERRED_1, passphrase="another", connections=1), folder / "session.jsonl")


def test_a_search_by_workers_prints_the_same_report(user: list[str], tmp_path: Path) -> None:
    capture = unopened(tmp_path)
    alone = calibrate("read", capture, *user)
    together = calibrate("read", capture, *user, "--scheduler", "local:2")
    assert (alone.returncode, together.returncode) == (4, 4)
    assert together.stdout == alone.stdout
    assert together.stderr == ""


def test_a_search_by_workers_finds_the_same_profile(user: list[str], tmp_path: Path) -> None:
    capture = saved(recording(INFERRED_1), tmp_path / "session.jsonl")
    toml = tmp_path / "egg.toml"
    done = calibrate("read", capture, *user, "--scheduler", "local:1", "--out", toml)
    assert done.returncode == 0, done.stderr
    assert "default profile, exact" in done.stdout
    assert get_profile(toml).framing == INFERRED_1.framing


def test_a_worker_that_is_killed_costs_only_a_second_try(user: list[str], cluster: Cluster, tmp_path: Path) -> None:
    capture = unopened(tmp_path)
    alone = calibrate("read", capture, *user)
    first = cluster.worker(PYTHONPATH=hanging(tmp_path / "hanging"))
    cluster.worker(PYTHONPATH=os.pathsep.join(sys.path))
    running = subprocess.Popen(
        [*COMMAND, "read", str(capture), *user, "--scheduler", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually((tmp_path / "hanging" / "begun").exists, "its calls are under way")
    first.kill()
    out, err = running.communicate()
    assert (running.returncode, out) == (4, alone.stdout), err


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


@pytest.mark.parametrize("command", ["read", "listen"])
def test_ctrl_c_ends_the_processes_too(user: list[str], tmp_path: Path, command: str) -> None:
    folder = tmp_path / "hanging"
    path = hanging(folder)
    words = [str(unopened(tmp_path))] if command == "read" else [str(tmp_path / "socket")]
    running = subprocess.Popen(
        [*COMMAND, command, *words, *user, "--scheduler", "local:2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    ready = (folder / "begun") if command == "read" else (tmp_path / "socket")
    eventually(ready.exists, "it is under way")
    processes = descendants(running.pid)
    assert len(processes) >= 2
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == (130 if command == "read" else 4), err
    assert "Traceback" not in err
    eventually(lambda: not any(map(alive, processes)), "its processes are gone")


def test_a_scheduler_that_cannot_be_reached_is_said_before_a_conversation(
    user: list[str], tmp_path: Path, unused_tcp_port: int
) -> None:
    place = f"tcp://127.0.0.1:{unused_tcp_port}"
    done = calibrate("listen", tmp_path / "socket", *user, "--scheduler", place)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: the scheduler {place}: it cannot be reached: ")
    assert "listening" not in done.stderr


@pytest.mark.parametrize("where", ["tcp://192.0.2.1:8786", "local:0"])
def test_a_wrong_scheduler_is_a_wrong_command_line(user: list[str], tmp_path: Path, where: str) -> None:
    done = calibrate("read", tmp_path / "nothing", *user, "--scheduler", where)
    assert done.returncode == 2
    assert "--scheduler" in done.stderr.splitlines()[-1]


def test_the_help_says_what_workers_do_and_learn() -> None:
    for command in ("read", "proxy", "listen", "probe"):
        text = " ".join(calibrate(command, "--help").stdout.split())
        assert "--scheduler WHERE Have the workers of a Dask scheduler do the long parts of the search" in text
        assert "They learn the user's secrets." in text


def test_workers_probe_a_server_that_is_found_once_its_hello_is(user: list[str], tmp_path: Path) -> None:
    fmt = foreign.inferred_1()
    envelope = fmt.message.__class__(("req", "res", "err"))
    place, record = str(tmp_path / "s"), tmp_path / "probed.jsonl"
    with foreign.ForeignServer(fmt.with_layers(message=envelope), ("unix", place)):
        done = calibrate("probe", place, *user, "--pause", "0", "--scheduler", "local:2", "--record", record)
    assert done.returncode in (0, 3), done.stderr
    assert "a hello was accepted, the request was not; messages are varied" in done.stderr
    assert re.search(r"after \d+ connections: an answer", done.stderr)
    assert "(req ID DATUM)" in done.stdout
    assert len(load_recording(str(record)).connections) == 1


def test_the_default_server_answers_workers_at_once(user: list[str], tmp_path: Path) -> None:
    key = passphrase_to_key("mypassphrase")
    place = str(tmp_path / "s")
    with start_server(place, service.handler(), user_to_key=lambda _: key):
        done = calibrate("probe", place, *user, "--scheduler", "local:1")
    assert done.returncode == 0, done.stderr
    assert "after 1 connections: an answer" in done.stderr
    assert "default profile, exact" in done.stdout


def test_workers_that_do_not_reach_the_server_say_where_they_are(user: list[str], tmp_path: Path) -> None:
    done = calibrate("probe", tmp_path / "socket", *user, "--scheduler", "local:1")
    assert done.returncode == 2
    assert "the server cannot be reached: No such file or directory (from the worker on " in done.stderr
