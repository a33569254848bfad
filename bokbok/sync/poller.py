"""One thread that waits for all: for bytes, for room to send, for moments; and that looks after who may stand still.

What this module knows: the system's way to wait for many sockets (`selectors`: epoll on Linux, kqueue on macOS), and a
clock. It calls back in its own thread, so what it calls must neither block nor take long: it has a worker do that. It
never reads or writes itself.

Unlike an event loop's, its methods are called from any thread, also while it waits: both systems allow that, and a
wake-up for each of them would cost more than the call.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from .._fork import on_fork
from .._front.logs import Log

__all__ = ["READ", "WRITE", "Polled", "Poller", "Timer", "poller"]

_log = Log("bokbok.sync")

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

_LOOK_SECONDS = 0.003
"""From one look to the next: how long a slow handler can hold up others before that is noticed."""
_LATE_SECONDS = 2 * _LOOK_SECONDS
"""After which the poller itself was kept from running: the machine is busy."""


class Polled(Protocol):
    """Who is told that a socket is ready."""

    def _ready(self, events: int) -> None:
        """There are bytes, or an end (`READ`), or there is room (`WRITE`). Called again and again while it is so."""


class Timer:
    """A call at a moment: `Poller.call_at`."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self._function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Do not call. It may be calling at this very moment."""
        self._function = None

    def _call(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


class Poller:
    """Waits in a thread of its own, which is started when it is first needed and then stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # taken last; held for a few steps
        self._selector: selectors.BaseSelector | None = None
        self._wake: tuple[int, int] = (-1, -1)
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._looks: list[Callable[[bool], bool]] = []
        self._until: float | None = 0.0  # when it wakes by itself; `None`: never

    def change(self, number: int, polled: Polled, before: int, now: int) -> None:
        """Wait for other events of a socket than before.

        Args:
            number: the socket's descriptor. Wait for nothing before it is closed.
            polled: who is told.
            before: what was waited for: `READ`, `WRITE`, both or 0.
            now: what is waited for from now on.

        Raises:
            RuntimeError: the system has no more threads.
            OSError: it has no more descriptors.
        """
        selector = self._selector or self._begin()
        if not before:
            selector.register(number, now, polled)
        elif now:
            selector.modify(number, now, polled)
        else:
            selector.unregister(number)

    def call_at(self, moment: float, function: Callable[[], None]) -> Timer:
        """Call a function at a moment of `time.monotonic`.

        Raises:
            RuntimeError, OSError: as `change`.
        """
        timer = Timer(function)
        if self._selector is None:
            self._begin()
        with self._lock:
            heapq.heappush(self._timers, (moment, next(self._numbers), timer))
            wake = self._until is None or moment < self._until
        if wake:
            self._wake_up()
        return timer

    def look_after(self, look: Callable[[bool], bool]) -> None:
        """Call `look(late)` every few milliseconds, as long as it returns true.

        `late` is true where much more time has gone by since the last look: other threads may not have run, either.

        Raises:
            RuntimeError, OSError: as `change`.
        """
        if self._selector is None:
            self._begin()
        with self._lock:
            self._looks.append(look)
            wake = len(self._looks) == 1 and (self._until is None or self._until > time.monotonic() + _LOOK_SECONDS)
        if wake:
            self._wake_up()

    def _begin(self) -> selectors.BaseSelector:
        with self._lock:
            if self._selector is not None:
                return self._selector
            selector = selectors.DefaultSelector()
            wake = (-1, -1)
            try:
                wake = os.pipe()
                os.set_blocking(wake[0], False)
                os.set_blocking(wake[1], False)
                selector.register(wake[0], READ)
                # A daemon, as the threads of handlers are: it must not keep the process from ending.
                thread = threading.Thread(target=self._run, args=(selector, wake[0]), name="bokbok-poller", daemon=True)
                thread.start()
            except BaseException:
                selector.close()
                for number in wake:
                    if number >= 0:
                        os.close(number)
                raise
            self._selector, self._wake = selector, wake
            return selector

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake
            os.write(self._wake[1], b"\0")

    def _run(self, selector: selectors.BaseSelector, wake: int) -> None:
        looked, looking = 0.0, False
        while True:
            with self._lock:
                now = time.monotonic()
                while self._timers and self._timers[0][2]._function is None:
                    heapq.heappop(self._timers)
                until = self._timers[0][0] if self._timers else None
                if self._looks:
                    look = max(now, looked + _LOOK_SECONDS)
                    until = look if until is None else min(until, look)
                self._until = until
            # Rounded up to the millisecond by the system.
            self._tell(selector.select(None if until is None else max(0.0, until - now)), wake)
            now = time.monotonic()
            if self._looks and now >= looked + _LOOK_SECONDS:
                late = looking and now - looked > _LATE_SECONDS
                looked = now
                self._look(late)
            looking = bool(self._looks)
            self._call_due(now)

    # Each of these in a method of its own, whose names are gone when it returns: while this thread waits, it must not
    # keep a connection alive that is over.

    def _tell(self, ready: list[tuple[selectors.SelectorKey, int]], wake: int) -> None:
        for key, events in ready:
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            else:
                _guarded(key.data._ready, events)

    def _look(self, late: bool) -> None:
        with self._lock:
            looks, self._looks = self._looks, []
        again = [look for look in looks if _guarded(look, late)]
        with self._lock:
            self._looks += again

    def _call_due(self, now: float) -> None:
        due: list[Timer] = []
        with self._lock:
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            _guarded(timer._call)

    def _forked(self) -> None:
        """In a forked child, where its thread is not. The selector is the parent's too: change nothing of it."""
        selector, wake = self._selector, self._wake
        self.__init__()  # type: ignore[misc]  # the same object: other modules have its name
        if selector is not None:
            selector.close()
            for number in wake:
                os.close(number)


def _guarded(function: Callable[..., object], *args: object) -> object:
    """Call it, come what may: without this thread everything would stand still."""
    try:
        return function(*args)
    except BaseException:
        with contextlib.suppress(BaseException):  # memory may be what is missing
            _log.exception("internal error: the poller goes on")
        return None


poller = Poller()
on_fork(poller._forked)
