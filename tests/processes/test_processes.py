"""`bokbok.processes`, as a program uses it; `tests/cli/test_serve_processes.py` sees it from outside."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bokbok import ConnectionClosed, Limits, open_connection, passphrase_to_key, start_server
from bokbok.processes import ProcessesError, Supervisor, Worker, start_processes
from tests.front.test_proxy import whose
from tests.support.leaks import eventually
from tests.support.peers import RawPeer, hello

KEY = passphrase_to_key("mypassphrase")

TARGETS = """
import os
import bokbok, bokbok.asyncio

def key(worker):
    return lambda user: bokbok.Key.from_hex(worker.arguments["keys"][user])

def threads(worker):
    def answer(connection, message):
        return [os.getpid(), worker.number, worker.arguments["version"]]
    return bokbok.start_server(worker, answer, user_to_key=key(worker))

async def loop(worker):
    async def answer(connection, message):
        return [os.getpid(), worker.number, worker.arguments["version"]]
    return await bokbok.asyncio.start_server(worker, answer, user_to_key=key(worker))

def threads_behind_a_proxy(worker):
    def answer(connection, message):
        return list(connection.address)
    return bokbok.start_server(worker, answer, proxies=["unix"])

async def loop_behind_a_proxy(worker):
    async def answer(connection, message):
        return list(connection.address)
    return await bokbok.asyncio.start_server(worker, answer, proxies=["unix"])

def own_limits(worker):
    return bokbok.start_server(worker, limits=bokbok.Limits(packet=1000))
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Supervisor]]:
    """A function that starts a server of two processes."""
    (tmp_path / "targets_of_a_test.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    with contextlib.ExitStack() as stack:

        def made(target: str, **options: Any) -> Supervisor:
            arguments = {"keys": {"myuser": KEY.to_bytes().hex()}, "version": 1}
            return stack.enter_context(
                start_processes(
                    str(tmp_path / "s"),
                    f"targets_of_a_test:{target}",
                    **{"processes": 2, "arguments": arguments, **options},
                )
            )

        yield made


def ask(supervisor: Supervisor) -> Any:
    with open_connection(supervisor.address, "myuser", KEY) as connection:
        return connection.request("x")


@pytest.mark.parametrize("target", ["threads", "loop"])
def test_both_front_ends_serve_share_and_are_replaced(start: Callable[..., Supervisor], target: str) -> None:
    supervisor = start(target, limits=Limits(connections_per_user=2), retire_timeout=60)
    pids = set(supervisor.pids)
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(open_connection(supervisor.address, "myuser", KEY)) for _ in range(2)]
        seen = [connection.request("x") for connection in both]
        assert {pid for pid, _, _ in seen} <= pids
        assert {number for _, number, _ in seen} <= {1, 2}
        for _ in range(4):
            with pytest.raises(ConnectionClosed):
                ask(supervisor)
        eventually(lambda: supervisor.statistics().connections == 2, "nothing is left of those that were refused")
        now = supervisor.statistics()
        assert (now.handled, now.processes) == (2, 2)
        assert now.refused["connections_per_user"] == 4

        supervisor.restart({"keys": {"myuser": KEY.to_bytes().hex()}, "version": 2}, Limits(connections_per_user=3))
        assert [connection.request("x") for connection in both] == seen  # the old ones go on
        assert ask(supervisor)[2] == 2
    eventually(lambda: not pids & set(supervisor.pids), "they end when nobody is connected")
    assert supervisor.statistics().handled == 5


@pytest.mark.parametrize("target", ["threads", "loop"])
def test_a_replay_is_refused_by_every_worker(start: Callable[..., Supervisor], target: str) -> None:
    supervisor = start(target, limits=Limits(penalty=0))
    said, answers = hello("myuser", KEY, bytes(32)), []
    for _ in range(8):
        with contextlib.closing(RawPeer.connect(supervisor.address)) as peer:
            peer.send(said)
            peer.begin(bytes(32))
            peer.send_message(b'(request 0 "x")')
            with contextlib.suppress(EOFError, ConnectionResetError):
                answers.append(peer.receive())
    assert len(answers) == 1
    assert supervisor.statistics().refused["hello"] == 7


@pytest.mark.parametrize("target", ["threads_behind_a_proxy", "loop_behind_a_proxy"])
def test_the_clients_that_a_proxy_names_are_counted_over_all_workers(
    start: Callable[..., Supervisor], target: str
) -> None:
    supervisor = start(target, limits=Limits(connections_per_address=3))
    with contextlib.ExitStack() as stack:
        answers: dict[str, list[bytes]] = {}
        for host in ["192.0.2.7"] * 6 + ["192.0.2.8"]:
            peer = stack.enter_context(contextlib.closing(RawPeer.connect(supervisor.address)))
            peer.send(whose(host))
            peer.send_message(b'(request 0 "x")')
            with contextlib.suppress(EOFError, ConnectionResetError):
                answers.setdefault(host, []).append(peer.receive())
    assert answers["192.0.2.7"] == [b'(response 0 ("tcp" "192.0.2.7" 4711))'] * 3
    assert len(answers["192.0.2.8"]) == 1
    assert supervisor.statistics().refused["connections_per_address"] == 3


@pytest.mark.parametrize("target", ["threads", "loop"])
def test_a_worker_that_is_told_to_end_drains_and_is_replaced(start: Callable[..., Supervisor], target: str) -> None:
    supervisor = start(target, processes=1)
    (pid,) = supervisor.pids
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: supervisor.pids and pid not in supervisor.pids, "another one is there")
    assert ask(supervisor)[0] == supervisor.pids[0]
    assert supervisor.statistics().died == 1


def test_a_target_that_fails_is_told_and_nothing_is_left(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    with pytest.raises(ProcessesError, match=r"ValueError: limits: those of a worker's server are given to start_proc"):
        start("own_limits")
    with pytest.raises(ProcessesError, match="has no attribute 'nobody'"):
        start("nobody")
    assert not (tmp_path / "s").exists()


def test_new_processes_that_fail_leave_the_old_ones(start: Callable[..., Supervisor]) -> None:
    supervisor = start("threads")
    pids = set(supervisor.pids)
    with pytest.raises(ValueError, match="limit server-running: expected at least 4"):
        supervisor.restart(limits=Limits(server_running=3))
    with pytest.raises(RuntimeError, match="being started anew already"):
        _restart_twice(supervisor)
    eventually(lambda: not pids & set(supervisor.pids), "the first of both has replaced them")


def _restart_twice(supervisor: Supervisor) -> None:
    supervisor._do(lambda: supervisor._replace(supervisor._arguments, supervisor._limits))
    supervisor.restart()


def test_after_a_stop_it_is_over(start: Callable[..., Supervisor]) -> None:
    supervisor = start("threads")
    supervisor.stop()
    supervisor.stop()
    assert supervisor.wait()
    assert supervisor.pids == ()
    with pytest.raises(RuntimeError, match="the server was stopped"):
        supervisor.restart()
    assert supervisor.statistics().processes == 0


def test_a_worker_does_not_show_what_it_was_told(tmp_path: Path) -> None:
    worker = Worker(None, None, 3, Limits(), {"secret": "hush"})  # type: ignore[arg-type]
    assert "hush" not in repr(worker)


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_processes_is_above_0(number: int) -> None:
    with pytest.raises(ValueError, match="processes: expected a number above 0"):
        start_processes("s", "x:y", processes=number)


def test_a_server_that_retires_goes_on_with_its_connections(front: Any, tmp_path: Path) -> None:
    server = front.start_server(str(tmp_path / "s"), front.echo)
    with front.open_connection(str(tmp_path / "s")) as connection:
        assert connection.request("x") == "x"
        server.retire()
        other = start_server(str(tmp_path / "s"))  # the place is free
        other.stop()
        assert connection.request("y") == "y"
        assert not server.wait(0.01)
        assert "retiring" in repr(server)
    assert server.wait()
