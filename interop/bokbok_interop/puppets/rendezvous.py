"""The rendezvous: handlers of this process that wait until the runner releases them by name."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Rendezvous"]


class Rendezvous:
    """The handlers that wait, and the names that were released.

    Args:
        event: makes an event: `threading.Event` or `asyncio.Event`.
        call: calls a function of the event, and waits for it.
        tell: called with the name when a handler begins to wait.
    """

    def __init__(
        self, event: Callable[[], Any], call: Callable[..., Awaitable[Any]], tell: Callable[[str], None]
    ) -> None:
        self._event = event
        self._call = call
        self._tell = tell
        self._events: dict[str, Any] = {}
        self._waiting: Counter[str] = Counter()
        self._over = False
        self._lock = threading.Lock()

    async def wait(self, name: str) -> str:
        """Wait for a name, unless it was released before. Returns the name."""
        with self._lock:
            event = self._named(name)
            if not event.is_set():
                self._waiting[name] += 1
        self._tell(name)
        await self._call(event.wait)
        return name

    def release(self, name: str) -> int:
        """Release the handlers that wait for a name, now and later. Returns how many waited."""
        with self._lock:
            self._named(name).set()
            return self._waiting.pop(name, 0)

    def release_all(self) -> None:
        """Release all handlers, now and later."""
        with self._lock:
            self._over = True
            for event in self._events.values():
                event.set()

    def _named(self, name: str) -> Any:
        event = self._events.get(name)
        if event is None:
            event = self._events[name] = self._event()
            if self._over:
                event.set()
        return event
