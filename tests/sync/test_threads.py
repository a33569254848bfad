"""`bokbok.sync.threads`: a thread for each that needs one, kept for a while."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from bokbok.sync import threads
from tests.support.leaks import eventually
from tests.support.peers import SOON


def test_a_function_runs_in_a_thread_of_its_own_with_its_arguments() -> None:
    done = threading.Event()
    called: list[Any] = []

    def function(*args: Any) -> None:
        called.extend((args, threading.current_thread()))
        done.set()

    threads.run_in_thread(function, 1, "two")
    assert done.wait(SOON)
    args, thread = called
    assert args == (1, "two")
    assert thread is not threading.current_thread()
    assert thread.daemon  # a handler that never returns does not keep the process from ending


def test_there_is_no_bound_on_how_many_run_at_once() -> None:
    start = threading.Barrier(101)
    for _ in range(100):
        threads.run_in_thread(start.wait, SOON)
    start.wait(SOON)  # all of them are there, or this breaks


def test_a_thread_without_work_is_used_again() -> None:
    names: list[str] = []
    done = threading.Event()

    def function() -> None:
        names.append(threading.current_thread().name)
        done.set()

    for _ in range(20):
        done.clear()
        idle = len(threads._idle)
        threads.run_in_thread(function)
        assert done.wait(SOON)
        eventually(lambda idle=idle: len(threads._idle) >= max(1, idle), "the thread is idle again")
    assert len(set(names)) < 20


def test_a_thread_that_stays_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.01)
    ran: list[threading.Thread] = []
    start = threading.Barrier(6)

    def function() -> None:
        ran.append(threading.current_thread())
        start.wait(SOON)

    for _ in range(5):
        threads.run_in_thread(function)
    start.wait(SOON)
    for thread in ran:
        thread.join(SOON)
        assert not thread.is_alive()


def test_work_that_is_given_in_the_last_moment_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.0)  # every moment is the last one
    done = threading.Semaphore(0)
    for _ in range(300):
        threads.run_in_thread(done.release)
    for _ in range(300):
        assert done.acquire(timeout=SOON)


def test_a_watch_looks_again_and_again_as_long_as_it_is_told_to() -> None:
    looks: list[int] = []

    def look(late: bool) -> bool:
        looks.append(1)
        return len(looks) < 3

    assert threads.watch(look)
    eventually(lambda: len(looks) == 3, "the watch has looked three times")
    eventually(lambda: not threads._watching, "nobody is watched any more")
    assert len(looks) == 3


@pytest.mark.parametrize(("seconds", "late"), [(-1.0, True), (1e9, False)])
def test_a_watch_says_whether_it_was_kept_from_looking(
    seconds: float, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_LATE_SECONDS", seconds)
    told: list[bool] = []
    assert threads.watch(lambda late: bool(told.append(late)))
    eventually(lambda: told, "the watch has looked")
    assert told == [late]


def test_a_handler_that_sleeps_holds_nobody_up_where_the_watch_is_always_late(
    serve: Any, connect: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_LATE_SECONDS", -1.0)
    woken = threading.Event()

    def handle(connection: Any, message: Any) -> Any:
        return woken.wait(SOON) if message == "sleep" else message

    connection = connect(serve(handle))
    for number in range(20):
        assert connection.request(number) == number
    sleeping = spawn(connection.request, "sleep")
    assert spawn(connection.request, "x").result(SOON) == "x"
    woken.set()
    assert sleeping.result(SOON) is True


def test_a_watch_that_gets_no_thread_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    eventually(lambda: not threads._watching, "nobody is watched")
    monkeypatch.setattr(threads, "run_in_thread", no_more)
    assert not threads.watch(lambda late: True)
    monkeypatch.undo()
    done = threading.Event()
    assert threads.watch(lambda late: bool(done.set()))
    assert done.wait(SOON)


def test_a_connection_that_gets_no_thread_ends_with_that_reason(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()

    def no_more(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bokbok.sync.connection.run_in_thread", no_more)
    connection = connect(server)
    monkeypatch.undo()
    with pytest.raises(ConnectionClosed, match="cannot start a thread: can't start new thread"):
        connection.request("x")
    assert connect(server).request("x") == "x"


def test_a_slow_peer_for_whom_there_is_no_thread_ends_the_connection(
    met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _peer = met()

    def no_more(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bokbok.sync.connection.run_in_thread", no_more)
    with pytest.raises(ConnectionClosed, match="cannot start a thread"):
        connection.request("x" * 10_000_000)
    monkeypatch.undo()
