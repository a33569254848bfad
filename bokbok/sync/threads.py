"""Threads for handlers: one each while it runs, kept for the next when it is done; and something to wait for.

This module knows how to run a function elsewhere, at once, without a bound on how many. The bounds are its callers'
(`Limits`). The standard pool is not used because it has a fixed size:
a handler may wait for another one, and a full pool would then never move again.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .._fork import on_fork

__all__ = ["Latch", "run_in_order", "run_in_thread"]

_IDLE_SECONDS = 10.0
"""How long a thread without work stays: longer than the pauses of a conversation, shorter than a person notices."""


class _Worker:
    __slots__ = ("job", "wake")

    def __init__(self) -> None:
        self.wake = threading.Lock()
        self.wake.acquire()
        self.job: tuple[Callable[..., object], tuple[Any, ...]] | None = None


_lock = threading.Lock()
_idle: list[_Worker] = []  # the last to become idle is the first to work again: its stack is warm
_numbers = itertools.count(1)


def run_in_thread(function: Callable[..., object], *args: Any) -> None:
    """Call `function(*args)` in a thread of its own, which must not raise.

    Raises:
        RuntimeError: the system has no more threads.
    """
    with _lock:
        worker = _idle.pop() if _idle else None
    if worker is not None:
        worker.job = (function, args)
        worker.wake.release()
        return
    worker = _Worker()
    worker.job = (function, args)
    # Daemons: a handler that never returns must not keep the process from ending.
    threading.Thread(target=_work, args=(worker,), name=f"bokbok-{next(_numbers)}", daemon=True).start()


def _work(worker: _Worker) -> None:
    while True:
        assert worker.job is not None
        function, args = worker.job
        worker.job = None
        function(*args)
        del function, args  # or an idle thread would keep a connection alive
        with _lock:
            _idle.append(worker)
        if not worker.wake.acquire(timeout=_IDLE_SECONDS):
            with _lock:
                if worker in _idle:
                    _idle.remove(worker)
                    return
            worker.wake.acquire()  # work was given in the last moment


_errands: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
# Who takes it runs the errands. `pop` and `append` are one step each for any thread, where a lock would be waited for.
_errands_place = [None]


def run_in_order(function: Callable[..., object], *args: Any) -> None:
    """Call `function(*args)`, which must be short and must not raise, in a thread that does so for all who ask for it.

    For what comes by the thousand at one moment. To start a thread is to wait until it runs: the poller, which had one
    started for each of a crowd's hellos that were late, told nobody else of bytes meanwhile, for half a second.
    """
    _errands.append((function, args))
    try:
        _errands_place.pop()
    except IndexError:
        return
    try:
        run_in_thread(_run_errands)
    except RuntimeError:  # the system has no more threads
        _run_errands()


def _run_errands() -> None:
    while True:
        try:
            function, args = _errands.popleft()
        except IndexError:
            # First this, then the look: who asks does it the other way round, so one of the two sees the other.
            _errands_place.append(None)
            if not _errands:
                return
            try:
                _errands_place.pop()
            except IndexError:
                return
            continue
        function(*args)
        del function, args


def _forked() -> None:
    """In a forked child none of these threads exists, and neither does the one that held the lock."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    _errands.clear()
    _errands_place[:] = [None]


on_fork(_forked)


class Latch:
    """An event that happens once, and that as a rule nobody waits for.

    `threading.Event` is six objects that Python's collector looks at, for each connection. This is one until somebody
    waits.

    Attributes:
        is_set: whether it has happened.
    """

    __slots__ = ("_event", "is_set")

    def __init__(self) -> None:
        self._event: threading.Event | None = None
        self.is_set = False

    def set(self) -> None:
        """It has happened."""
        # First this, then the look: who waits does it the other way round, so one of the two sees the other.
        self.is_set = True
        if self._event is not None:
            self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it has happened. Whether it has."""
        if not self.is_set:
            with _lock:  # two may come at once
                event = self._event = self._event or threading.Event()
            if not self.is_set:
                event.wait(seconds)
        return self.is_set
