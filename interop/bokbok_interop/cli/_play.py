"""Playing until the end or a signal. Either way the results are safe."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from bokbok_workers.where import WorkersError

from ..cases import all_cases
from ..matrix import Group, Selection, select_cases
from ..model import Result
from ..peers.base import Peer
from ..peers.session import hand_over
from ..report import document as documents
from ..report import terminal
from ..runner import Observer, Runner, Settings
from ._reports import Reports

__all__ = ["Played", "execute"]

LEAVING = 1.2
"""Seconds that ending everything may take after a signal. Another process ends what is left then."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLLECTING = (10_000, 20, 10)
"""When Python looks for garbage in cycles (`gc.set_threshold`). With its own numbers (700, 10, 10) that took six of the
fifteen seconds of processor time of this process in a `check`; a full collection took 0.2 s, and all waited."""


class Played:
    """What became of a run.

    Attributes:
        document: its results.
        error: a fault of the suite itself that ended it, or `None`.
        grounded: whether the preflight failed, so that nothing else was played.
        left: whether something is still being ended that this process does not wait for.
    """

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.error: BaseException | None = None
        self.interrupted = False
        self.grounded = False
        self.left = False

    def leave(self, status: int) -> None:
        """End the process with this exit status.

        Raises:
            Exception: the fault that ended the run.
        """
        waiting = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
        if self.left or (self.interrupted and waiting):
            # A thread that waits for a container engine would keep the interpreter from ending.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(status)
        if self.error is not None:
            raise self.error
        sys.exit(status)


@contextlib.contextmanager
def _watching(task: asyncio.Future[Any], played: Played, over: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP: the first one ends the run within seconds, a second one at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if played.interrupted:
            over.set()
        played.interrupted = True
        task.cancel()
        loop.call_later(LEAVING, over.set)

    wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup` ignores it
    for number in wanted:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def _play(runner: Runner, groups: list[Group], preflight: Sequence[Group], played: Played) -> None:
    """Play until the end or a signal."""
    task = asyncio.ensure_future(runner.run(groups, preflight))
    over = asyncio.Event()
    waiting = asyncio.ensure_future(over.wait())
    with _watching(task, played, over):
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    played.left = not task.done()
    if task.done() and not task.cancelled():
        played.error = task.exception()


@contextlib.contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage in cycles less often, and never among what is there already: modules and cases."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTING)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _run(runner: Runner, groups: list[Group], preflight: Sequence[Group], played: Played) -> None:
    """As `asyncio.run`, but without waiting for what is left."""
    loop = asyncio.new_event_loop()
    threads = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="bokbok-interop")
    loop.set_default_executor(threads)
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_play(runner, groups, preflight, played))
        if not played.left:
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        threads.shutdown(wait=not played.interrupted, cancel_futures=True)
        if not played.left:
            loop.close()


def execute(
    peers: dict[str, Peer],
    groups: list[Group],
    selection: Selection,
    settings: Settings,
    reports: Reports,
    *,
    quiet: bool = False,
    shard_text: str = "",
    preflight: Sequence[Group] = (),
    runner: Runner,
) -> Played:
    """Play, and write the reports; the preflight, if there is one, comes first.

    Args:
        peers: by name, in the order in which they are shown.
        groups: what to play.
        selection: what was asked for.
        settings: how to play.
        reports: what to write.
        quiet: do not show progress.
        shard_text: `K/N`, or empty.
        preflight: what to play first.
        runner: the runner that plays.

    Raises:
        click.UsageError: the journal cannot be written, or the scheduler cannot be used.
    """
    screen = reports.screen
    watcher: Any
    if quiet:
        watcher = contextlib.nullcontext(Observer())
    elif screen.is_terminal:
        watcher = terminal.LiveMatrix(screen, list(peers))
    else:
        watcher = contextlib.nullcontext(terminal.PlainProgress(screen))
    started, begin = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    played_first = {case for group in preflight for case in group.cases}
    wanted = select_cases(all_cases(), selection)
    cases = [case for case in all_cases() if case in played_first or case in wanted]
    played = Played()

    def document(results: list[Result]) -> dict[str, Any]:
        return documents.build(
            results,
            cases=cases,
            peers=[_described(peer, runner) for peer in peers.values()],
            started=started.isoformat(timespec="seconds"),
            seconds=time.monotonic() - begin,
            command=sys.argv[1:],
            profile=settings.spoken.profile.name,
            seed=settings.seed,
            planned=sum(len(group.cases) for group in (*preflight, *groups)),
            interrupted=played.interrupted or played.error is not None,
            shard=shard_text,
        )

    header = document([])
    del header["cells"]
    journal = reports.begin(header)
    with watcher as shown, _seldom_collecting():
        runner.observers.add(journal, shown)
        _run(runner, groups, preflight, played)
    if played.left:
        for run in hand_over():
            click.echo(
                f"containers, networks and volumes of run {run} are being removed in the background; "
                f"if some are left: bokbok-interop clean --run {run}",
                err=True,
            )
    played.grounded = runner.grounded
    played.document = document(runner.results)
    reports.write(played.document)
    if isinstance(played.error, WorkersError):
        reports.tell()
        raise click.UsageError(str(played.error))
    return played


def _described(peer: Peer, runner: Runner) -> dict[str, Any]:
    entry = runner.describe(peer.name)
    if peer.given:
        entry["given"] = True
    if peer.name in runner.absent:
        entry["absent"] = runner.absent[peer.name]
    if peer.name in runner.about:
        entry["puppet"] = runner.about[peer.name]
    return entry
