"""`bokbok._front.heap`: what was freed goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bokbok._front import heap
from bokbok._front.heap import Heap
from tests.support.peers import SOON


class Later:
    """Calls nothing by itself."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.calls.append(function)


def test_memory_is_given_back_once_some_time_after_much_was_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = threading.Semaphore(0)
    monkeypatch.setattr(heap, "_trim", lambda pad: given.release())
    later = Later()
    here = Heap(later)
    here.fell()
    here.fell()
    (call,) = later.calls
    assert not given.acquire(blocking=False)
    call()
    assert given.acquire(timeout=SOON)
    here.fell()
    assert len(later.calls) == 2


def test_where_nothing_can_be_started_any_more_nothing_is_given_back() -> None:
    def cannot(seconds: float, function: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    Heap(cannot).fell()


def test_a_c_library_without_the_function_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_trim", None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.give_back()
    assert heap._trim is heap._nothing
    heap.give_back()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped: this is about glibc")
def test_pages_in_between_go_back_to_the_system() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    some: list[Any] = [bytes(100_000) for _ in range(1000)]  # below the size for which a mapping of its own is made
    kept = some[::50]
    some.clear()
    before = resident()
    heap.give_back()
    assert before - resident() > 50_000_000
    assert len(kept) == 20
