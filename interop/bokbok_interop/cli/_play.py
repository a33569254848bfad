"""Playing until the end or a signal, and the status that follows."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from ..cases import all_cases
from ..matrix import Group, Selection, select_cases
from ..peers.base import Peer
from ..report import document as documents
from ..report import terminal
from ..runner import Observer, Runner, Settings
from ._exit import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOTHING


class _Stop:
    """Ctrl-C and SIGTERM: the first asks the run to end, which takes a moment; the third is not so patient."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.interrupted = False
        self._say = say

    @contextlib.contextmanager
    def watching(self, task: asyncio.Future[Any]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        count = 0

        def stop() -> None:
            nonlocal count
            count += 1
            if count == 1:
                self.interrupted = True
                task.cancel()
            elif count == 2:
                self._say("ending what was started; once more to leave it behind")
            else:
                os._exit(EXIT_INTERRUPTED)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def play(runner: Runner, groups: list[Group]) -> bool:
    """Play until the end or a signal.

    Returns:
        Whether it was interrupted.
    """
    stop = _Stop(runner.observer.note)
    task = asyncio.ensure_future(runner.run(groups))
    with stop.watching(task):
        try:
            await task
        except asyncio.CancelledError:
            if not stop.interrupted:
                raise
    return stop.interrupted


def execute(
    peers: dict[str, Peer],
    groups: list[Group],
    selection: Selection,
    settings: Settings,
    console: Console,
    *,
    quiet: bool = False,
    shard_text: str = "",
) -> dict[str, Any]:
    observer: Any
    if quiet:
        observer = contextlib.nullcontext(Observer())
    elif console.is_terminal:
        observer = terminal.LiveMatrix(console, list(peers))
    else:
        observer = contextlib.nullcontext(terminal.PlainProgress(console))
    started, begin = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    with observer as watcher:
        runner = Runner(peers, settings, watcher)
        interrupted = asyncio.run(play(runner, groups))
    described = []
    for name, peer in peers.items():
        entry = peer.describe()
        if name in runner.absent:
            entry["absent"] = runner.absent[name]
        if name in runner.about:
            entry["puppet"] = runner.about[name]
        described.append(entry)
    return documents.build(
        runner.results,
        cases=select_cases(all_cases(), selection),
        peers=described,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begin,
        command=sys.argv[1:],
        profile=settings.profile.name,
        seed=settings.seed,
        planned=sum(len(group.cases) for group in groups),
        interrupted=interrupted,
        shard=shard_text,
    )


def status_of(document: dict[str, Any], peers: dict[str, Peer]) -> int:
    if document["interrupted"]:
        return EXIT_INTERRUPTED
    if document["summary"]["failed"]:
        return EXIT_FAILED
    given_absent = any(
        peer.get("absent") and getattr(peers.get(peer["name"]), "given", False) for peer in document["peers"]
    )
    if given_absent or not document["summary"]["passed"]:
        return EXIT_NOTHING
    return 0
