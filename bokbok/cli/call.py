"""`bokbok call`: requests from arguments or standard input, answers on standard output.

What this module knows: in which order requests are sent and answers printed, and what a failure among them means for
the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .._front.logs import before_first
from ..address import Address
from ..errors import BokbokError, ConnectionClosed, NetworkError, RemoteError, RequestTimeout, WriteError
from ..sexpr import CHICKEN_5, Dialect, dumps
from ..sync import Connection, open_connection
from ..wire import Profile
from ._datums import STDIN, check_writable, parse_arguments, read_stdin
from ._exit import CONTEXT, EPILOG, Failure, Status, failure, write_out
from ._options import ADDRESS, SECONDS, guard_option, guards, handler_option, profile_option
from ._secrets import read_user_secret, user_options
from ._text import pretty as pretty_text

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["call"]


@click.command(short_help="Send requests, print the answers.", epilog=EPILOG, context_settings=CONTEXT)
@click.argument("address", type=ADDRESS)
@click.argument("datums", nargs=-1, type=click.UNPROCESSED, metavar="[DATUM]...")
@user_options("The username, for a secure connection.")
@click.option("--timeout", type=SECONDS, help="How long to wait for each answer. As long as it takes by default.")
@click.option(
    "--connect-timeout", type=SECONDS, default=30, show_default=True, help="How long to wait for the connection."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Wait for up to N answers at once. They are still printed in the order of the requests.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first remote error or time-out.")
@click.option(
    "--pretty/--plain",
    default=None,
    help="Answers broken into indented lines, or one a line. Default: --pretty on a terminal, --plain elsewhere.",
)
@handler_option
@guard_option("request-replay", "reflection", "nonce-reuse")
@profile_option
@click.option("-v", "--verbose", is_flag=True, help="Log what happens on standard error, with tracebacks.")
def call(
    address: Address,
    datums: tuple[str, ...],
    user: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    timeout: float | None,
    connect_timeout: float,
    parallel: int,
    fail_fast: bool,
    pretty: bool | None,
    handler: str | None,
    guards_off: tuple[str, ...],
    profile: Profile,
    verbose: bool,
) -> int:
    """Send each DATUM to the peer at ADDRESS as a request, and print the answers, one a line, in order.

    Without a DATUM they are read from standard input, and each is sent as soon as it is complete. A DATUM of - stands
    for those of standard input too (the symbol is written |-|). Before a DATUM that begins with a dash, say --. Each
    request is sent when the one before it is answered, or with --parallel N while at most N wait for an answer.

    A remote error or a time-out is reported on standard error; the other requests are still sent. A connection
    error or a bad datum ends the command. The exit status is that of what ended it, else of the first thing that went
    wrong.

    Secrets are never arguments: they come from files, or from the terminal.

    \b
    Examples:
      bokbok call localhost:8000 '("ping" "12345")'
      bokbok call ./my.socket '("count" "visits")' '("count" "visits")'
      bokbok call [::1]:8000 --user myuser --key-file my.key < requests.scm
    """
    if verbose or handler is not None:
        _set_up_log(verbose)
    else:  # nothing is shown: there is no need for `logging` as long as there is nothing to tell
        before_first(lambda: _set_up_log(verbose))
        threading.excepthook = lambda _: None
    dialect = profile.dialect
    sources = parse_arguments(datums, dialect) or [STDIN]
    if sources.count(STDIN) + [passphrase_file].count("-") > 1:
        raise click.UsageError("Standard input can be read only once: for datums, or for a passphrase.")
    on_request = None
    if handler is not None:
        from ._handler import load_handler

        on_request = load_handler(handler)
    secret = read_user_secret(user, passphrase_file, key_file)
    printer = _Printer(dialect, _stdout_is_terminal() if pretty is None else pretty)
    with _Bell() as bell:
        try:
            connection = open_connection(
                address,
                secret.user if secret is not None else None,
                secret.to_key(profile) if secret is not None else None,
                on_request,
                lambda _: bell.ring(),
                connect_timeout=connect_timeout,
                profile=profile,
                guards=guards(guards_off),
            )
        except BokbokError:
            raise
        except ValueError as error:  # a username that is too long
            raise click.UsageError(str(error)) from None
        with connection:
            numbered = len(sources) > 1 or STDIN in sources
            caller = _Caller(connection, printer, bell, timeout, parallel, fail_fast=fail_fast, numbered=numbered)
            return caller.run(sources, dialect)


def _set_up_log(verbose: bool) -> None:
    import logging

    from ._logs import configure_logging

    configure_logging(logging.DEBUG if verbose else logging.CRITICAL, tracebacks=verbose)


def _stdout_is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


class _Bell:
    """What wakes the command while it waits for input. Rung from other threads."""

    def __init__(self) -> None:
        self.descriptor, self._ringing = os.pipe()
        os.set_blocking(self._ringing, False)
        self._lock = threading.Lock()
        self._open = True

    def ring(self) -> None:
        with self._lock:
            if self._open:  # else the number may be somebody else's by now
                with contextlib.suppress(BlockingIOError):  # it rings already, and has not been heard yet
                    os.write(self._ringing, b"\0")

    def __enter__(self) -> _Bell:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open = False
            os.close(self.descriptor)
            os.close(self._ringing)


class _Printer:
    """Writes answers to standard output, each at once."""

    def __init__(self, dialect: Dialect, pretty: bool) -> None:
        # With every digit and on one line, even if the peer's dialect writes less.
        self._dialect = dataclasses.replace(dialect, exact=False)
        # What was read and has no form in it, such as an exact fraction.
        self._fallback = dataclasses.replace(CHICKEN_5, exact=False, keyword_style=dialect.keyword_style)
        self._pretty = pretty
        encoding = (sys.stdout.encoding if sys.stdout is not None else None) or "ascii"
        self._ascii_only = encoding.lower().replace("-", "").replace("_", "") != "utf8"

    def write(self, answer: Any) -> None:
        try:
            data = dumps(answer, dialect=self._dialect)
        except WriteError:
            data = dumps(answer, dialect=self._fallback)
        if self._pretty:
            import shutil  # with every compression there is

            width = shutil.get_terminal_size().columns
            data = pretty_text(data, width, ascii_only=self._ascii_only).encode("utf-8")
        write_out(data + b"\n")


def _threads(number: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # most calls need none

    return ThreadPoolExecutor(number)


class _Caller:
    """Sends requests and prints their answers, in order, whatever becomes of each."""

    def __init__(
        self,
        connection: Connection,
        printer: _Printer,
        bell: _Bell,
        timeout: float | None,
        parallel: int,
        *,
        fail_fast: bool,
        numbered: bool,
    ) -> None:
        self._connection = connection
        self._printer = printer
        self._bell = bell
        self._timeout = timeout
        self._parallel = parallel
        self._fail_fast = fail_fast
        self._numbered = numbered
        self._number = 0
        self._status: int = Status.OK
        self._pool = _threads(parallel) if parallel > 1 else None
        self._pending: deque[tuple[str | None, Future[Any]]] = deque()

    def run(self, sources: list[Any], dialect: Dialect) -> int:
        """Send everything; the exit status.

        Raises:
            Failure: a bad datum ended it.
            NetworkError: a connection error did.
        """
        try:
            for source in sources:
                if source is STDIN:
                    for datum in read_stdin(dialect, self._bell.descriptor, self._woken):
                        check_writable(datum, dialect, self._place(self._number + 1))
                        self._ask(datum)
                else:
                    self._ask(source)
        except (Failure, NetworkError):
            # What was asked before it is still answered, or has been.
            with contextlib.suppress(NetworkError):
                self._settle_all()
            raise
        else:
            self._settle_all()
            return self._status
        finally:
            if self._pool is not None:
                self._pool.shutdown(wait=False)

    def _place(self, number: int) -> str | None:
        return f"request {number}" if self._numbered else None

    def _ask(self, datum: Any) -> None:
        self._number += 1
        place = self._place(self._number)
        if self._pool is None:
            self._settle(place, lambda: self._connection.request(datum, timeout=self._timeout))
            return
        while len(self._pending) >= self._parallel:
            self._settle_first()
        future = self._pool.submit(self._connection.request, datum, timeout=self._timeout)
        self._pending.append((place, future))
        future.add_done_callback(lambda _: self._bell.ring())

    def _woken(self) -> None:
        """While input is waited for: an answer has come, or the end of the connection."""
        while self._pending and self._pending[0][1].done():
            self._settle_first()
        if not self._pending and self._connection.closed:
            raise ConnectionClosed(self._connection.close_reason or "the connection is closed")

    def _settle_first(self) -> None:
        place, future = self._pending.popleft()
        self._settle(place, future.result)

    def _settle_all(self) -> None:
        """Print what is still answered. A connection error does not hide the answers that came before it."""
        lost: NetworkError | None = None
        while self._pending:
            try:
                self._settle_first()
            except NetworkError as error:
                lost = error
        if lost is not None:
            raise lost

    def _settle(self, place: str | None, answer: Callable[[], Any]) -> None:
        try:
            self._printer.write(answer())
        except (RemoteError, RequestTimeout) as error:
            told = failure(error, place=place)
            told.show()
            self._status = self._status or told.exit_code
            if self._fail_fast:
                raise click.exceptions.Exit(told.exit_code) from None
        except WriteError as error:
            raise failure(error, place=place) from None
