"""`bokbok serve`: a server until a signal comes.

What this module knows: what is served, to whom, and how the command ends. What it refuses to know: how a connection is
served.
"""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType
from typing import Any

import click

from ..address import Address, format_address
from ..errors import AddressError
from ..sync import Connection, start_server
from ..wire import Profile
from ._exit import CONTEXT, EPILOG, write_out
from ._handler import load_handler
from ._logs import configure_logging
from ._options import ADDRESS, guard_option, guards, handler_option, profile_option
from ._secrets import read_users

__all__ = ["serve"]

_log = logging.getLogger("bokbok.cli")


@click.command(short_help="Answer requests.", epilog=EPILOG, context_settings=CONTEXT)
@click.argument("address", type=ADDRESS)
@click.option(
    "--users",
    metavar="FILE",
    help="Who may connect: a TOML file that only its owner can read. Without it anybody may, unencrypted.",
)
@handler_option
@click.option(
    "--backlog",
    type=click.IntRange(0, 65535),
    default=128,
    show_default=True,
    metavar="N",
    help="Connections that the system holds until they are accepted.",
)
@guard_option("hello-replay", "request-replay", "reflection", "nonce-reuse")
@profile_option
@click.option("-v", "--verbose", is_flag=True, help="Tell of every connection too, and show tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
def serve(
    address: Address,
    users: str | None,
    handler: str | None,
    backlog: int,
    guards_off: tuple[str, ...],
    profile: Profile,
    verbose: bool,
    quiet: bool,
) -> None:
    """Answer requests at ADDRESS.

    Port 0 lets the system choose one. The first line on standard output is the address, in the form that bokbok call
    takes, once connections are accepted. What happens is told on standard error.

    Without --handler the server offers the conformance service: ("echo" X), ("ping" S), ("sleep" MILLISECONDS X),
    ("count" S), ("fail" S), ("raise" X), ("callback" N X), ("relay" N X), ("whoami"), ("type" X), ("unspecified"),
    ("unwritable"), ("close"). A handler is called in a thread of its own for each request. It returns the answer; what
    it raises is sent back as the request's error. The connection that it is given can be asked too:
    connection.request(message).

    SIGTERM, SIGHUP or Ctrl-C stops the server: nobody can connect any more, requests that are being handled are
    answered, then it ends with status 0. A second one ends it at once.

    \b
    The file of --users:
      myuser = "mypassphrase"
      "another user" = { key-file = "another.key" }
    with FILE relative to the folder of the users file.

    \b
    Examples:
      bokbok serve localhost:8000
      bokbok serve :0 --users users.toml
      bokbok serve ./my.socket --handler mypackage.handlers:answer
    """
    if verbose and quiet:
        raise click.UsageError("Give --verbose or --quiet, not both.")
    configure_logging(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO, tracebacks=verbose)
    if "\n" in format_address(address):
        raise click.BadParameter("it could not be printed as one line", param_hint="'ADDRESS'")
    on_request = load_handler(handler) if handler is not None else _conformance_service()
    keys = read_users(users, profile) if users is not None else None
    if keys is not None and not keys:
        _log.warning("the users file names nobody: no connection will be accepted")
    with _Signals() as signals:
        try:
            server = start_server(
                address,
                on_request,
                user_to_key=keys.get if keys is not None else None,
                on_open=_opened if verbose else None,
                on_close=_closed if verbose else None,
                backlog=backlog,
                profile=profile,
                guards=guards(guards_off),
            )
        except AddressError as error:
            raise click.BadParameter(str(error), param_hint="'ADDRESS'") from None
        try:
            shown = format_address(server.address)
            write_out(os.fsencode(shown) + b"\n")
            what = (
                "insecure: anybody may connect" if keys is None else f"secure: {len(keys)} user{'s' * (len(keys) != 1)}"
            )
            _log.info("serving at %s, %s", shown, what)
            name = signals.wait()
            _log.info("%s: stopping; waiting for requests that are being handled (once more: ending at once)", name)
        finally:
            server.stop()
        server.wait()
        _log.info("stopped")


def _conformance_service() -> Any:
    from ..service import handler  # imports asyncio too, which a handler of the user's own does not need

    return handler()


def _opened(connection: Connection) -> None:
    _log.info("opened: %r", connection)


def _closed(connection: Connection) -> None:
    _log.info("closed: %r: %s", connection, connection.close_reason)


class _Signals:
    """The signals that end the server: the first one is waited for, a second one ends the process at once."""

    def __init__(self) -> None:
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup(1) has it
            self._numbers.append(signal.SIGHUP)
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)

    def __enter__(self) -> _Signals:
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
        if self._received is not None:
            os._exit(128 + number)
        self._received = number

    def wait(self) -> str:
        """Wait for the first; its name."""
        while self._received is None:  # other signals wake as well
            os.read(self._reading, 1)
        return signal.Signals(self._received).name
