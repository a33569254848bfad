"""`bokbok.sync.threads`: a thread for each task that needs one; idle threads are kept for a while."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from bokbok.sync import threads
from bokbok.sync.threads import Latch
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


def test_a_latch_is_waited_for_by_many_and_needs_no_event_until_then() -> None:
    latch = Latch()
    assert not latch.is_set
    assert not latch.wait(0)
    waiting = [threading.Thread(target=latch.wait, args=(SOON,)) for _ in range(5)]
    for each in waiting:
        each.start()
    latch.set()
    for each in waiting:
        each.join(SOON)
        assert not each.is_alive()
    assert latch.wait(SOON)
    late = Latch()
    late.set()
    assert late.wait(0)
    assert late._event is None


def test_what_runs_in_order_shares_a_thread() -> None:
    done: queue.Queue[tuple[int, str]] = queue.Queue()
    go_on = threading.Event()

    def first() -> None:
        assert go_on.wait(SOON)

    threads.run_in_order(first)
    for number in range(50):
        threads.run_in_order(lambda number=number: done.put((number, threading.current_thread().name)))
    assert done.empty()
    go_on.set()
    came = [done.get(timeout=SOON) for _ in range(50)]
    assert [number for number, _ in came] == list(range(50))
    assert len({name for _, name in came}) == 1
    assert came[0][1] != threading.current_thread().name


def test_without_a_thread_what_runs_in_order_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "run_in_thread", no_more)
    ran: list[int] = []
    threads.run_in_order(ran.append, 1)
    threads.run_in_order(ran.append, 2)
    assert ran == [1, 2]
