"""Threads for handlers: one each while it runs, kept for the next when it is done.

This module knows how to run a function elsewhere, at once, without a bound on how many. The bounds are its callers'
(`Limits`). The standard pool is not used because it has a fixed size:
a handler may wait for another one, and a full pool would then never move again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from .._fork import on_fork

__all__ = ["run_in_thread"]

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


def _forked() -> None:
    """In a forked child none of these threads exists, and neither does the one that held the lock."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


on_fork(_forked)
