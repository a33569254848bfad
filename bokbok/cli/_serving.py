"""What the commands that serve until a signal comes share: their address, their log, their end.

This module knows how such a command prints where it listens, how much it logs, and what a signal does to it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import click

from .._sockets import DEFAULT_BACKLOG
from ..address import Address, format_address
from ._exit import write_out
from ._logs import configure_logging

__all__ = [
    "OFTEN",
    "SELDOM",
    "Signals",
    "announce",
    "backlog_option",
    "check_announceable",
    "collect_option",
    "has_terminal",
    "log_options",
    "set_collector",
    "start_logging",
]

_F = TypeVar("_F", bound=Callable[..., Any])

backlog_option = click.option(
    "--backlog",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BACKLOG,
    show_default=True,
    metavar="N",
    help="Connections that the system holds until they are accepted.",
)

OFTEN, SELDOM = "often", "seldom"
collect_option = click.option(
    "--collect",
    type=click.Choice([OFTEN, SELDOM]),
    default=OFTEN,
    show_default=True,
    help="How often Python's garbage collector looks at everything there is, while all wait: as Python does by itself, "
    "or a hundred times less often. With thousands of connections that is faster, and takes more memory.",
)


def log_options(command: _F) -> _F:
    """The options `verbose` and `quiet`; the command gives their values to `start_logging`."""
    command = click.option("-q", "--quiet", is_flag=True, help="Log only errors.")(command)
    return click.option("-v", "--verbose", is_flag=True, help="Log every connection too, and show tracebacks.")(command)


def start_logging(verbose: bool, quiet: bool, who: str = "") -> None:
    """Send the log to standard error.

    Args:
        verbose: the option.
        quiet: the option.
        who: what stands in front of each message.

    Raises:
        click.UsageError: both are asked for.
    """
    if verbose and quiet:
        raise click.UsageError("Give --verbose or --quiet, not both.")
    configure_logging(
        logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO, tracebacks=verbose, who=who
    )


def check_announceable(address: Address, argument: str) -> None:
    """Refuse an address that `announce` could not print.

    Raises:
        click.BadParameter: its path holds a newline.
    """
    if "\n" in format_address(address):
        raise click.BadParameter("it could not be printed as one line", param_hint=f"'{argument}'")


def announce(address: Address) -> str:
    """Print the address that is listened at, as the first line; what was printed."""
    shown = format_address(address)
    write_out(os.fsencode(shown) + b"\n")
    return shown


def has_terminal() -> bool:
    """Whether this process has a terminal that may hang up. A service does not: SIGHUP has another meaning there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Signals:
    """The signals that end the server: the first one stops it, a second one ends the process at once.

    Args:
        reloads: whether SIGHUP ends nothing: it is waited for as well, any number of times.
    """

    def __init__(self, *, reloads: bool = False) -> None:
        self._reloads = reloads
        self._reload = False
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup(1) has it
            self._numbers.append(signal.SIGHUP)
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self.at_once: Callable[[], None] = lambda: None  # what a second signal does first
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)

    def __enter__(self) -> Signals:
        # The interpreter writes to the pipe when a signal comes, not when a handler runs: one that comes just before
        # the pipe is read, or in another thread than the one that reads, wakes the reader all the same.
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reading)
        os.close(self._writing)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._reloads and number == signal.SIGHUP:
            self._reload = True
            return
        if self._received is not None:
            self.at_once()
            os._exit(128 + number)
        self._received = number

    def wait(self) -> str:
        """Wait for the first; its name. With `reloads`, `"SIGHUP"` says that there may be others."""
        while self._received is None:  # other signals wake as well
            if self._reload:
                self._reload = False
                return "SIGHUP"
            os.read(self._reading, 1)
        return signal.Signals(self._received).name

    async def wait_async(self) -> str:
        """The same on an event loop, which has to run in the main thread."""
        loop = asyncio.get_running_loop()
        while self._received is None:
            readable = asyncio.Event()
            loop.add_reader(self._reading, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._reading)
            os.read(self._reading, 1)
        return signal.Signals(self._received).name


def set_collector(how: str) -> None:
    """What `--collect` says: `SELDOM` has Python's collector leave alone what is there now, modules above all, and
    look at everything else a hundred times less often than by default.

    It looks at all objects in one piece, while every thread waits: beside a crowd of thousands of connections twice a
    second, which was 18 per cent of a server's time. What garbage there is meanwhile, of some seven million objects at
    the most, is seldom much: connections and messages are freed without it.
    """
    if how != SELDOM:
        return
    gc.collect()
    gc.freeze()
    newest, middle, oldest = gc.get_threshold()
    gc.set_threshold(newest, middle, 100 * oldest)
