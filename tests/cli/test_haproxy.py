"""Servers behind a real HAProxy: what clients notice when one of them dies, and what a check by a hello finds."""

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from bokbok import ConnectFailed, ConnectionClosed, open_connection, passphrase_to_key
from tests.support.leaks import eventually
from tests.support.proxies import in_front

CHECK = Path(__file__).parents[2] / "examples" / "haproxy-check"
ALICE = passphrase_to_key("alice's")


@pytest.fixture
def folder(tmp_path):
    """With users, a handler that says which process it is, and the check that is shipped."""
    for name, text in {
        "users.toml": 'alice = "alice\'s"\nhealth = "health\'s"\n',
        "strangers.toml": 'alice = "alice\'s"\n',
        "health.pass": "health's",
        "mine.py": "import os\ndef answer(connection, message):\n    return [os.getpid(), message]\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bokbok").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bokbok "$@"\n')
    shipped = CHECK.read_text()
    (tmp_path / "check").write_text(shipped.replace("/etc/haproxy/bokbok-health.pass", str(tmp_path / "health.pass")))
    assert (tmp_path / "check").read_text() != shipped
    for script in ("bin/bokbok", "check"):
        (tmp_path / script).chmod(0o755)
    return tmp_path


@pytest.fixture
def behind(served, folder):
    """A function that starts servers, by their users files, and HAProxy in front of them; the servers by name."""
    with contextlib.ExitStack() as stack:

        def start(**users):
            servers = {
                name: served(
                    "127.0.0.1:0", "--users", file, "--handler", "mine:answer", "--limit", "penalty=0", cwd=folder
                )
                for name, file in users.items()
            }
            haproxy = stack.enter_context(
                in_front(
                    folder,
                    [f"{name} {server.address}" for name, server in servers.items()],
                    program=[f"stats socket {folder}/admin", "external-check", "insecure-fork-wanted"],
                    backend=[
                        "balance leastconn",
                        "option external-check",
                        f"external-check path {folder}/bin:/usr/bin:/bin",
                        f"external-check command {folder}/check",
                        "option redispatch 1",
                        "retries 3",
                        # A check that takes longer than `inter` is ended; a busy machine takes seconds to start Python.
                        "default-server check inter 8s fall 1 rise 1",
                    ],
                )
            )
            eventually(lambda: haproxy.poll() is not None or answers(folder), "it listens, and a server is up")
            assert haproxy.poll() is None
            return servers

        yield start


def connect(folder):
    return open_connection(str(folder / "front"), "alice", ALICE)


def answers(folder):
    """Which server answers on a new connection; `None` if none does."""
    with contextlib.suppress(ConnectionClosed, ConnectFailed), connect(folder) as connection:
        return connection.request("x")[0]
    return None


def state(folder, name):
    """HAProxy's state of a server: UP, DOWN, …; and why."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(folder / "admin"))
        admin.sendall(b"show stat\n")
        answer = b""
        while piece := admin.recv(65536):
            answer += piece
    names, *rows = [line.split(",") for line in answer.decode().lstrip("# ").splitlines() if line]
    (found,) = [row for row in rows if row[:2] == ["servers", name]]
    return found[names.index("status")]


def test_one_of_several_is_killed_and_connections_to_others_do_not_notice(behind, folder):
    servers = behind(one="users.toml", two="users.toml", three="users.toml")
    for name in servers:
        eventually(lambda name=name: state(folder, name) == "UP", f"{name} is up")
    pids = {server.pid: name for name, server in servers.items()}
    with contextlib.ExitStack() as stack:
        found = {}

        def spread():
            connection = stack.enter_context(connect(folder))
            found.setdefault(connection.request("x")[0], connection)
            return set(found) == set(pids)

        eventually(spread, "each server has a connection")
        victim, *others = pids
        over, problems, counts = threading.Event(), [], dict.fromkeys(others, 0)

        def go_on_asking(pid):
            try:
                while not over.is_set():
                    assert found[pid].request(counts[pid]) == [pid, counts[pid]]
                    counts[pid] += 1
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=go_on_asking, args=(pid,)) for pid in others]
        for thread in threads:
            thread.start()
        try:
            os.kill(victim, signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                found[victim].request("x")
            eventually(lambda: state(folder, pids[victim]).startswith("DOWN"), "its check fails")
            before = dict(counts)
            assert {answers(folder) for _ in range(6)} == set(others)
            eventually(lambda: problems or all(counts[pid] > before[pid] for pid in others), "the others go on")
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert problems == []


def test_a_server_that_accepts_and_refuses_the_hello_is_down(behind, folder):
    servers = behind(good="users.toml", other="strangers.toml")
    eventually(lambda: state(folder, "good") == "UP", "the one that knows the check's user is up")
    eventually(lambda: state(folder, "other").startswith("DOWN"), "the one that does not is down")
    assert {answers(folder) for _ in range(4)} == {servers["good"].pid}
