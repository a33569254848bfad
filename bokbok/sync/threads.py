"""Threads for handlers: one each while it runs, kept for the next when it is done; and the watchdog.

This module knows how to run a function elsewhere, at once, without a bound on how many. The bounds are its callers'
(`Limits`). The standard pool is not used because it has a fixed size:
a handler may wait for another one, and a full pool would then never move again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from .._fork import on_fork

__all__ = ["run_in_thread", "watch"]

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


_WATCH_SECONDS = 0.003
"""From one look of the watchdog to the next: how long a slow handler can hold up others before that is noticed."""

_LATE_SECONDS = 2 * _WATCH_SECONDS
"""After which the watchdog itself was kept from running: the machine is busy."""

_watched: list[Callable[[bool], bool]] = []
_watching = False


def _forked() -> None:
    """In a forked child none of these threads is there, and whoever held the lock is not, either."""
    global _lock, _watching
    _lock = threading.Lock()
    _idle.clear()
    _watched.clear()
    _watching = False


on_fork(_forked)


def watch(look: Callable[[bool], bool]) -> bool:
    """Call `look(late)` every few milliseconds, as long as it returns true, in one thread for all; it must not block.

    `late` is true where much more time has gone by since the last look: other threads may not have run, either.

    Returns:
        False if that cannot be done: the system has no more threads.
    """
    global _watching
    with _lock:
        if _watching:
            _watched.append(look)
            return True
        _watching = True
        _watched.append(look)
    try:
        run_in_thread(_watch)
    except RuntimeError:
        with _lock:
            _watching = False
            _watched.clear()
        return False
    return True


def _watch() -> None:
    global _watched, _watching
    while True:
        before = time.monotonic()
        time.sleep(_WATCH_SECONDS)
        late = time.monotonic() - before > _LATE_SECONDS
        with _lock:
            looks, _watched = _watched, []
            if not looks:
                _watching = False
                return
        again = [look for look in looks if look(late)]
        with _lock:
            _watched += again
