"""`bokbok serve`: run a server until a signal comes.

What this module knows: what is served, to whom, and how the command ends.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import pwd
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from .._front.proxy import Proxies
from .._front.statistics import Statistics
from ..address import Address, format_address
from ..errors import AddressError, BokbokError
from ..keys import Key
from ..processes import DEFAULT_RETIRE_TIMEOUT, ActivationError, Supervisor, systemd_listener
from ..sync import Server, start_server
from ..wire import Profile
from ._exit import CONTEXT, EPILOG, Failure, Status
from ._limits import LimitsError, limits_options, read_limits
from ._options import ADDRESS, SECONDS, guard_option, handler_option, profile_option
from ._secrets import most_keys, read_users
from ._serving import (
    Signals,
    announce,
    backlog_option,
    check_announceable,
    collect_option,
    has_terminal,
    log_options,
    start_logging,
)
from ._workers import What, Workers, start_workers, withdraw

__all__ = ["serve"]

_log = logging.getLogger("bokbok.cli")

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic only in newer versions


class _Mode(_ParamType):
    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and 3 <= len(value) <= 4 and not value.strip("01234567") and int(value, 8) <= 0o777:
            return int(value, 8)
        self.fail(f"{value!r}: expected three octal digits, such as 660", param, ctx)


class _Owner(_ParamType):
    name = "owner"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        user, _, group = str(value).partition(":")
        try:
            return (
                (int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid) if user else -1,
                (int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid) if group else -1,
            )
        except KeyError as error:
            self.fail(str(error.args[0]), param, ctx)


def _check_proxies(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Proxies(given)
    except AddressError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return given


@click.command(short_help="Answer requests.", epilog=EPILOG, context_settings=CONTEXT)
@click.argument("address", type=ADDRESS, required=False)
@click.option(
    "--systemd",
    is_flag=True,
    help="Serve at the sockets that a .socket unit of systemd has opened, instead of ADDRESS.",
)
@click.option(
    "--users",
    metavar="FILE",
    help="Who may connect: a TOML file that only its owner can read. Without it anyone may, unencrypted.",
)
@handler_option
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Serve with N processes behind one socket; SIGHUP replaces them. Without it this process serves.",
)
@click.option(
    "--retire-timeout",
    type=SECONDS,
    default=DEFAULT_RETIRE_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="With --processes: how long those that SIGHUP has replaced go on serving their open connections.",
)
@backlog_option
@limits_options
@click.option(
    "--socket-mode",
    type=_Mode(),
    help="The mode of a Unix socket's file, in octal: who may write to it may connect.  [default: as the umask has it]",
)
@click.option(
    "--socket-owner",
    type=_Owner(),
    metavar="[USER][:GROUP]",
    help="The owner of a Unix socket's file.",
)
@click.option(
    "--proxy-protocol",
    "proxies",
    multiple=True,
    metavar="NETWORK",
    callback=_check_proxies,
    help="Connections from this address or network (unix: over a Unix socket) are a proxy's, and begin with the header "
    "of the PROXY protocol, version 2. May be given several times.",
)
@click.option(
    "--metrics",
    type=ADDRESS,
    metavar="ADDRESS",
    help="Answer Prometheus at this address, of loopback or of a Unix socket (needs bokbok[metrics]).",
)
@click.option(
    "--shared-hellos",
    metavar="URL",
    envvar="BOKBOK_SHARED_HELLOS",
    show_envvar=True,
    help="A Redis in which servers with the same keys remember hellos, so that a hello cannot be replayed to another "
    "(needs bokbok[redis]). Other users of the machine see options: where the URL holds a password, use the variable.",
)
@click.option(
    "--shared-hellos-unreachable",
    "unreachable",
    type=click.Choice(["refuse", "serve"]),
    default="refuse",
    show_default=True,
    help="What happens to a hello while that Redis does not answer.",
)
@collect_option
@guard_option("hello-replay", "request-replay", "reflection", "nonce-reuse")
@profile_option
@log_options
def serve(
    address: Address | None,
    systemd: bool,
    users: str | None,
    handler: str | None,
    processes: int | None,
    retire_timeout: float,
    backlog: int,
    limits_file: str | None,
    limits_given: tuple[str, ...],
    socket_mode: int | None,
    socket_owner: tuple[int, int] | None,
    proxies: tuple[str, ...],
    metrics: Address | None,
    shared_hellos: str | None,
    unreachable: str,
    collect: str,
    guards_off: tuple[str, ...],
    profile: Profile,
    verbose: bool,
    quiet: bool,
) -> None:
    """Answer requests at ADDRESS.

    Port 0 lets the system choose one. The first line on standard output is the address, in the form that bokbok call
    takes, once connections are accepted. The log goes to standard error.

    Without --handler the server offers the conformance service: ("echo" X), ("ping" S), ("sleep" MILLISECONDS X),
    ("count" S), ("fail" S), ("raise" X), ("callback" N X), ("relay" N X), ("whoami"), ("type" X), ("unspecified"),
    ("unwritable"), ("close"). A handler is called in a thread of its own for each request. It returns the answer; what
    it raises is sent back as the request's error. The connection that it is given can be asked too:
    connection.request(message).

    SIGTERM or Ctrl-C stops the server: it takes no new connections, requests that are being handled are answered, then
    it ends with status 0. If they take longer than the limit drain-timeout, it ends with status 8. A second one ends it
    at once. SIGHUP reads the files of --users and --limits again, and closes the connections of users who are no longer
    in it, or have another key; on a terminal it stops the server.

    With --processes, SIGHUP also starts new processes, which load the handler again. Once they serve, the old ones
    accept no more, and end when their connections have ended, or after --retire-timeout as by SIGTERM. A process that
    dies is started again. Connections per address and user are counted over all of them, and a hello that one has
    accepted is refused by all; server-running, parked and server-memory are divided among them.

    \b
    The file of --users:
      myuser = "mypassphrase"
      "another user" = { key-file = "another.key" }
      rotating = ["new passphrase", "old passphrase"]
    with FILE relative to the folder of the users file.

    \b
    Examples:
      bokbok serve localhost:8000
      bokbok serve :0 --users users.toml
      bokbok serve ./my.socket --handler mypackage.handlers:answer --socket-mode 660
      bokbok serve :8000 --users users.toml --limits limits.toml --metrics localhost:9100
      bokbok serve :8000 --users users.toml --handler handlers:answer --processes 4
    """
    start_logging(verbose, quiet)
    if (address is None) != systemd:
        raise click.UsageError("Give ADDRESS, or --systemd and no ADDRESS.")
    if address is not None:
        check_announceable(address, "ADDRESS")
    if (address is None or address[0] != "unix") and (socket_mode is not None or socket_owner is not None):
        raise click.UsageError("--socket-mode and --socket-owner need the path of a Unix socket as ADDRESS.")
    try:
        files = _Files(users, profile, limits_file, limits_given)
    except LimitsError as error:
        raise Failure(Status.USAGE, str(error)) from None
    try:
        where = address if address is not None else systemd_listener()
    except ActivationError as error:
        raise click.UsageError(f"--systemd: {error}") from None
    at: dict[str, Any] = {"backlog": backlog, "socket_mode": socket_mode, "socket_owner": socket_owner}
    what = What(handler, profile, guards_off, proxies, shared_hellos, unreachable, collect, verbose)
    reloads = not has_terminal()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals(reloads=reloads))
        server: Server | Supervisor
        try:
            if processes is None:
                key = files.key if users is not None else None
                server = what.serve(start_server, where, key, limits=files.limits, **at)
            else:
                workers = Workers(what, quiet, files)
                server = start_workers(workers, where, processes, retire_timeout, at)
                signals.at_once = server.kill
        except AddressError as error:
            raise click.BadParameter(str(error), param_hint="'ADDRESS'") from None
        try:
            if metrics is not None:
                stack.enter_context(_metrics(metrics, server.statistics))
            shown = announce(server.address)
            _log.info("serving at %s, %s%s", shown, files, f", {processes} processes" if processes is not None else "")
            while (name := signals.wait()) == "SIGHUP" and reloads:
                changed = files.reload()
                if changed is None:
                    continue
                if isinstance(server, Server):
                    server.change_limits(files.limits)  # before the log says so
                _log.info("SIGHUP: read again: %s", files)
                if isinstance(server, Server):
                    withdraw(server, changed)
                else:
                    workers.replace(server, changed)
            _log.info("%s: stopping; waiting for requests that are being handled (once more: ending at once)", name)
        finally:
            server.stop()
        if not server.wait():
            if isinstance(server, Server):  # a supervisor's log has told it
                for text in server.unfinished:
                    _log.error("goes on all the same: %s", text)
            raise Failure(
                Status.UNFINISHED,
                f"handlers of {len(server.unfinished)} connections went on after the drain-timeout",
            )
        _log.info("stopped")


class _Files:
    """What SIGHUP reads again: who may connect, and the limits."""

    def __init__(self, users: str | None, profile: Profile, limits: str | None, given: tuple[str, ...]) -> None:
        self._users, self._profile, self._limits, self._given = users, profile, limits, given
        self._keys: dict[str, tuple[Key, ...]] = {}
        self._read()

    def _read(self) -> None:
        limits = read_limits(self._limits, self._given)
        keys = read_users(self._users, self._profile) if self._users is not None else {}
        self.limits, self._keys = most_keys(keys, limits), keys  # both, or none of them
        if self._users is not None and not keys:
            _log.warning("the users file does not hold a user: every connection will be refused")

    def key(self, user: str) -> tuple[Key, ...] | None:
        """The keys of a user, as the file has them now."""
        return self._keys.get(user)

    @property
    def keys(self) -> dict[str, tuple[Key, ...]] | None:
        """The keys of all users; `None` if anyone may connect."""
        return self._keys if self._users is not None else None

    def reload(self) -> dict[str, str] | None:
        """Read them again; where that fails, what was read before goes on to hold.

        Returns:
            The users whose connections are to end, and why; `None` if nothing has changed.
        """
        before = self._keys
        try:
            self._read()
        except BokbokError as error:
            _log.error("SIGHUP: nothing has changed: %s", error)
            return None
        changed = {}
        for user, keys in before.items():
            now = self._keys.get(user)
            if now is None or not set(keys) <= set(now):  # a key more changes nothing for those who are there
                changed[user] = "was taken out of the users file" if now is None else "has another key"
        return changed

    def __str__(self) -> str:
        if self._users is None:
            return "insecure: anyone may connect"
        return f"secure: {len(self._keys)} user{'s' * (len(self._keys) != 1)}"


@contextlib.contextmanager
def _metrics(address: Address, statistics: Callable[[], Statistics]) -> Iterator[None]:
    try:
        from ._metrics import check_metrics_address, metrics_served
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"--metrics: the Python package {str(error.name).partition('.')[0]!r} is not installed: "
            "pip install 'bokbok[metrics]'"
        ) from None
    check_metrics_address(address)
    with metrics_served(address, statistics) as bound:
        _log.info("metrics at %s", format_address(bound))
        yield
