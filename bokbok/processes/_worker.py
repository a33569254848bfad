"""A worker's process: it gets its sockets and arguments from its supervisor, starts its server, and obeys the
supervisor.

What this module knows: the life of such a process. The user's function makes the server, with either front end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from .._front.link import Link
from .._front.worker import Worker
from .._sockets import Listener
from ..address import parse_address
from ..wire import Limits

__all__ = ["main"]

_UNFINISHED = 8  # as the command has it
_TOLD_SECONDS = 1.0
"""For the last words to the supervisor, which may be gone."""


def main() -> NoReturn:
    """Run a worker; the second argument is the descriptor of its socket to the supervisor."""
    sock = socket.socket(fileno=int(sys.argv[2]))
    sock.set_inheritable(False)
    commands: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    life = _Life(commands.put)
    # SIGTERM for one worker: it drains, and its supervisor starts another.
    signal.signal(signal.SIGTERM, lambda *_: life.told(["stop"]))
    link = life.link = Link(sock, life.told)
    begin = commands.get()
    if begin[0] != "begin":  # the supervisor has gone meanwhile
        sys.exit(1)
    settings = begin[1]
    sys.path[:] = settings["path"]
    sockets = []
    for number in settings["sockets"]:
        sockets.append(socket.socket(fileno=number))
        sockets[-1].set_inheritable(False)
    address = parse_address(settings["address"])
    worker = Worker(
        Listener(sockets, address), link, settings["number"], Limits(**settings["limits"]), settings["arguments"]
    )
    try:
        target = _target(settings["target"])
        serve = _serve_async if inspect.iscoroutinefunction(target) else _serve
        finished = serve(target, worker, life, commands)
    except Exception as error:
        # A command's own errors have a text and an exit status.
        status, text = getattr(error, "exit_code", None), getattr(error, "format_message", None)
        link.tell("failed", text() if text is not None else f"{type(error).__name__}: {error}", status)
        link.flushed(_TOLD_SECONDS)
        os._exit(1)
    link.flushed(_TOLD_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # Handlers that have not finished are threads or tasks; they end here.
    os._exit(0 if finished else _UNFINISHED)


def _target(spec: str) -> Callable[[Worker], Any]:
    module, _, names = spec.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{spec!r} is a {type(found).__name__}; expected a function of a Worker")
    target: Callable[[Worker], Any] = found
    return target


class _Life:
    """Takes each message of the supervisor to the thread or the loop that acts on it."""

    link: Link

    def __init__(self, put: Callable[[list[Any]], None]) -> None:
        self.put = put
        self.server: Any = None

    def told(self, message: list[Any]) -> None:
        """In the link's thread, or a signal's handler."""
        if self.server is None and message[0] == "lost":
            os._exit(1)  # it may be importing the user's modules, and nobody waits for them any more
        if message[0] == "ask" and message[2] == "statistics":
            self.tell_statistics()
            self.link.tell("answer", message[1], None)
        elif message[0] == "parts" and self.server is not None:
            self.server._shared.part(message[1])
        else:
            self.put(message)

    def asked(self, number: int, what: str, *rest: Any) -> None:
        """In the thread or the loop that uses the server: a question whose answer may take a moment."""
        assert what == "withdraw"
        self.link.tell("answer", number, self.server.withdraw(*rest))

    def started(self, server: Any) -> None:
        self.server = server
        self.link.tell("ready", server.statistics().codec)

    def tell_statistics(self) -> None:
        if self.server is None:
            return
        now = self.server.statistics()
        self.link.tell("statistics", {**{name: getattr(now, name) for name in _TOLD}, "refused": dict(now.refused)})

    def ended(self, finished: bool) -> bool:
        self.tell_statistics()
        if not finished:
            self.link.tell("unfinished", list(self.server.unfinished))
        return finished


_TOLD = ("connections", "running", "parked", "waiting", "held", "heaviest", "accepted", "handled")


def _serve(
    target: Callable[[Worker], Any], worker: Worker, life: _Life, commands: queue.SimpleQueue[list[Any]]
) -> bool:
    server = target(worker)
    life.started(server)
    while True:
        what, *rest = commands.get()
        if what == "parts":
            server._shared.part(rest[0])
        elif what == "ask":
            life.asked(*rest)
        elif what == "retire":
            server.retire()
            life.link.tell("retired")
            timer = threading.Timer(rest[0], life.told, (["stop"],))
            timer.daemon = True
            timer.start()
            threading.Thread(target=_wait_and_say, args=(server, life), daemon=True).start()
        elif what in ("stop", "lost"):
            server.stop()
            return life.ended(server.wait())
        elif what == "over":
            return life.ended(True)


def _wait_and_say(server: Any, life: _Life) -> None:
    if server.wait():
        life.told(["over"])


def _serve_async(
    target: Callable[[Worker], Any], worker: Worker, life: _Life, commands: queue.SimpleQueue[list[Any]]
) -> bool:
    return asyncio.run(_serve_on_loop(target, worker, life, commands))


async def _serve_on_loop(
    target: Callable[[Worker], Any], worker: Worker, life: _Life, commands: queue.SimpleQueue[list[Any]]
) -> bool:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[list[Any]] = asyncio.Queue()
    life.put = lambda message: _call(loop, told.put_nowait, message)
    while not commands.empty():
        told.put_nowait(commands.get())
    server = await target(worker)
    life.started(server)
    waiting: asyncio.Task[bool] | None = None
    while True:
        what, *rest = await told.get()
        if what == "parts":
            server._shared.part(rest[0])
        elif what == "ask":
            life.asked(*rest)
        elif what == "retire":
            await server.retire()
            life.link.tell("retired")
            loop.call_later(rest[0], told.put_nowait, ["stop"])
            waiting = asyncio.ensure_future(server.wait())
            waiting.add_done_callback(
                lambda task: told.put_nowait(["over"]) if not task.cancelled() and task.result() else None
            )
        elif what in ("stop", "lost"):
            await server.stop()
            return life.ended(await server.wait())
        elif what == "over":
            return life.ended(True)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is over
        loop.call_soon_threadsafe(function, *args)
