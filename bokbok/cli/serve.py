"""`bokbok serve`: a server until a signal comes.

What this module knows: what is served, to whom, and how the command ends.
"""

from __future__ import annotations

import logging
from typing import Any

import click

from ..address import Address
from ..errors import AddressError
from ..sync import Connection, start_server
from ..wire import Profile
from ._exit import CONTEXT, EPILOG
from ._handler import load_handler
from ._options import ADDRESS, guard_option, guards, handler_option, profile_option
from ._secrets import read_users
from ._serving import Signals, announce, backlog_option, check_announceable, log_options, start_logging

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
@backlog_option
@guard_option("hello-replay", "request-replay", "reflection", "nonce-reuse")
@profile_option
@log_options
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
    start_logging(verbose, quiet)
    check_announceable(address, "ADDRESS")
    on_request = load_handler(handler) if handler is not None else _conformance_service()
    keys = read_users(users, profile) if users is not None else None
    if keys is not None and not keys:
        _log.warning("the users file does not hold a user: every connection will be refused")
    with Signals() as signals:
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
            shown = announce(server.address)
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
