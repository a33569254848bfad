"""The puppet of `bokbok.sync`: a thread for each command, since a request may take any time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import bokbok.sync
from bokbok import service

from .forms import start_logging
from .puppet import Front, Puppet

__all__ = ["main"]


class Memory:
    """A memory of hellos for several servers of one process."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    def remember(self, digest: bytes) -> bool:
        """Remember a hello by its digest. False if it was remembered before."""
        with self._lock:
            new = digest not in self._seen
            self._seen.add(digest)
            return new


async def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return function(*args, **options)


def _handler(serve: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Callable[[Any, Any], Any]:
    return lambda connection, request: service.finish(serve(connection, request))


def main() -> None:
    """Obey until the end of standard input."""
    start_logging()
    puppet = Puppet(Front(bokbok.sync, service.handler(), _call, _handler, threading.Event, Memory))
    for line in sys.stdin.buffer:
        threading.Thread(target=service.finish, args=(puppet.obey(line),), daemon=True).start()
    service.finish(puppet.close())


if __name__ == "__main__":
    main()
