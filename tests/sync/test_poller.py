"""`bokbok.sync.poller`: one thread that waits for all."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bokbok.sync import poller as module
from bokbok.sync.poller import READ, WRITE, Poller
from tests.support.leaks import eventually
from tests.support.peers import SOON


@pytest.fixture
def poller() -> Poller:
    """A poller for this test only. Its thread outlives the test: it is a daemon, and sleeps."""
    return Poller()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Told:
    """Takes events, and does not wait for more of them, as a connection does."""

    def __init__(self, poller: Poller, sock: socket.socket, events: int) -> None:
        self.events: queue.Queue[int] = queue.Queue()
        self._poller, self._number, self._wanted = poller, sock.fileno(), events
        poller.change(self._number, self, 0, events)

    def _ready(self, events: int) -> None:
        if events and self._wanted:
            self._poller.change(self._number, self, self._wanted, self._wanted & ~events)
            self._wanted &= ~events
            self.events.put(events)


def test_it_tells_of_bytes_and_of_room(poller: Poller, pair: Any) -> None:
    ours, theirs = pair
    told = Told(poller, ours, READ)
    theirs.send(b"x")
    assert told.events.get(timeout=SOON) == READ
    told = Told(poller, ours, WRITE)
    assert told.events.get(timeout=SOON) == WRITE


def test_it_tells_of_an_end_and_of_what_came_before_it_was_asked(poller: Poller, pair: Any) -> None:
    ours, theirs = pair
    theirs.close()
    assert Told(poller, ours, READ).events.get(timeout=SOON) == READ


def test_what_is_asked_for_while_it_waits_is_seen_at_once(poller: Poller, pair: Any) -> None:
    ours, theirs = pair
    poller.call_at(time.monotonic() + 1000, lambda: None)
    eventually(lambda: poller._until is not None and poller._until > time.monotonic(), "it waits for a long time")
    soon = threading.Event()
    poller.call_at(time.monotonic(), soon.set)
    assert soon.wait(SOON)
    theirs.send(b"x")
    assert Told(poller, ours, READ).events.get(timeout=SOON) == READ


def test_moments_come_in_their_order_and_a_cancelled_one_does_not_come(poller: Poller) -> None:
    came: queue.Queue[int] = queue.Queue()
    now = time.monotonic()
    timers = [poller.call_at(now + 0.2 + n / 1000, lambda n=n: came.put(n)) for n in (3, 1, 2, 0)]  # type: ignore[misc]
    timers[2].cancel()
    assert [came.get(timeout=SOON) for _ in range(3)] == [0, 1, 3]
    assert time.monotonic() >= now + 0.2
    assert came.empty()


def test_it_looks_again_and_again_as_long_as_it_is_told_to(poller: Poller) -> None:
    looks: list[int] = []

    def look(late: bool) -> bool:
        looks.append(1)
        return len(looks) < 3

    poller.look_after(look)
    eventually(lambda: len(looks) == 3, "it has looked three times")
    eventually(lambda: poller._until is None, "it waits for nothing")
    assert len(looks) == 3


@pytest.mark.parametrize(("seconds", "late"), [(-1.0, True), (1e9, False)])
def test_a_look_is_told_whether_the_poller_was_kept_from_looking(
    poller: Poller, seconds: float, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LATE_SECONDS", seconds)
    told: list[bool] = []

    def look(late: bool) -> bool:
        told.append(late)
        return len(told) < 2

    poller.look_after(look)
    eventually(lambda: len(told) == 2, "it has looked twice")
    assert told == [False, late]  # before the first look nothing was to be looked at


def test_a_fault_in_what_it_calls_does_not_stop_it(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    def faulty(*args: Any) -> Any:
        raise MemoryError("on purpose")

    poller.call_at(0.0, faulty)
    poller.look_after(faulty)
    soon = threading.Event()
    poller.call_at(time.monotonic() + 0.01, soon.set)
    assert soon.wait(SOON)
    assert "the poller goes on" in caplog.text


def test_without_a_thread_it_says_so_and_begins_anew_at_the_next_call(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    with pytest.raises(RuntimeError):
        poller.call_at(0.0, lambda: None)
    monkeypatch.undo()
    soon = threading.Event()
    poller.call_at(0.0, soon.set)
    assert soon.wait(SOON)
