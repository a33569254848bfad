"""Handlers that answer only once they may, and requests for them."""

from __future__ import annotations

import queue
import threading
from typing import Any

from tests.support.peers import SOON

__all__ = ["Held", "requests"]


class Held:
    """A request handler that answers only once it may, and counts how many handlers run.

    Args:
        answer: what it answers; by default the message.
    """

    def __init__(self, answer: Any = None) -> None:
        self.started: queue.Queue[Any] = queue.Queue()
        self.may_answer = threading.Event()
        self.answer = answer
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Any, message: Any) -> Any:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.started.put(message)
        assert self.may_answer.wait(SOON)
        with self._lock:
            self.running -= 1
        return message if self.answer is None else self.answer

    def begun(self, count: int) -> None:
        """Wait until so many more handlers have begun."""
        for _ in range(count):
            self.started.get(timeout=SOON)


def requests(count: int, first: int = 0) -> list[bytes]:
    return [b"(request %d %d)" % (i, i) for i in range(first, first + count)]
