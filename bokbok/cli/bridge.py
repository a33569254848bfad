"""`bokbok bridge`: run a bridge until a signal comes.

This module knows who may connect to a bridge, as which user it connects to its target, and how the command ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import click

from .. import wire
from ..address import Address, format_address
from ..bridge import Login, LoginLookup, start_bridge
from ..errors import AddressError, KeyFileError
from ..wire import Profile
from ._exit import CONTEXT, EPILOG, Failure, Status
from ._limits import LimitsError, limits_options, read_limits
from ._options import ADDRESS, SECONDS, guard_option, guards, profile_option_named
from ._secrets import most_keys, read_logins, read_user_secret, read_users, user_options
from ._serving import (
    Signals,
    announce,
    backlog_option,
    check_announceable,
    collect_option,
    log_options,
    set_collector,
    start_logging,
)

__all__ = ["bridge"]

_log = logging.getLogger("bokbok.cli")


@click.command(short_help="Join peers of different profiles or security.", epilog=EPILOG, context_settings=CONTEXT)
@click.argument("listen", type=ADDRESS)
@click.argument("target", type=ADDRESS)
@profile_option_named("--listen-profile", "The wire format at LISTEN")
@profile_option_named("--target-profile", "The wire format at TARGET")
@click.option(
    "--users",
    metavar="FILE",
    help="Who may connect: a TOML file that only its owner can read. Without it anyone may, unencrypted.",
)
@click.option(
    "--target-users",
    metavar="FILE",
    help="The login of each of them at TARGET: a TOML file that only its owner can read. It may be that of --users.",
)
@user_options(
    "The login of all of them at TARGET. Without this and --target-users, TARGET is insecure.", prefix="target-"
)
@backlog_option
@limits_options
@click.option(
    "--connect-timeout",
    type=SECONDS,
    default=30,
    show_default=True,
    help="How long to wait for a connection to TARGET.",
)
@collect_option
@guard_option("hello-replay", "request-replay", "reflection", "nonce-reuse", side="listen")
@guard_option("request-replay", "reflection", "nonce-reuse", side="target")
@log_options
def bridge(
    listen: Address,
    target: Address,
    listen_profile: Profile,
    target_profile: Profile,
    users: str | None,
    target_users: str | None,
    target_user: str | None,
    target_passphrase_file: str | None,
    target_key_file: str | None,
    backlog: int,
    limits_file: str | None,
    limits_given: tuple[str, ...],
    connect_timeout: float,
    collect: str,
    listen_guards_off: tuple[str, ...],
    target_guards_off: tuple[str, ...],
    verbose: bool,
    quiet: bool,
) -> None:
    """Join peers that connect to LISTEN with a server at TARGET that has another profile or security.

    For each connection that is accepted, one is opened to TARGET. Requests, answers and errors are forwarded both ways,
    many at once, each end asking the other. The end of either ends the other.

    Port 0 lets the system choose one. The first line on standard output is the address, in the form that bokbok call
    takes, once connections are accepted. The log goes to standard error.

    SIGTERM, SIGHUP or Ctrl-C stops the bridge: it takes no new connections, requests that are under way are answered,
    then it ends with status 0. A second one ends it at once.

    The limits hold on both sides, those of the whole server at LISTEN. Requests of one peer that wait for their answers
    are running + waiting at most.

    \b
    The file of --target-users:
      myuser = "passphrase of myuser at TARGET"
      "another user" = { user = "name there", key-file = "another.key" }
      third = { user = "name there", passphrase = "passphrase there" }
    with FILE relative to the folder of the users file.

    \b
    Examples:
      bokbok bridge :8000 old.example:4444 --target-profile old.toml
      bokbok bridge :8000 /run/inner.socket --users users.toml
      bokbok bridge /run/inner.socket example.org:8000 --target-user myuser --target-key-file my.key
      bokbok bridge :8000 old.example:4444 --users users.toml --target-users users.toml --target-profile old.toml
    """
    start_logging(verbose, quiet)
    check_announceable(listen, "LISTEN")
    try:
        limits = read_limits(limits_file, limits_given)
    except LimitsError as error:
        raise Failure(Status.USAGE, str(error)) from None
    keys = read_users(users, listen_profile) if users is not None else None
    limits = most_keys(keys or {}, limits)
    if keys is not None and not keys:
        _log.warning("the users file does not hold a user: every connection will be refused")
    if target_users is not None:
        if target_user is not None:
            raise click.UsageError("Give --target-users or --target-user, not both.")
        if keys is None:
            raise click.UsageError("--target-users says as whom each user speaks to TARGET: it needs --users.")
    secret = read_user_secret(target_user, target_passphrase_file, target_key_file, "target-")
    login: LoginLookup | None = None
    as_whom = "insecure"
    if target_users is not None:
        assert keys is not None
        login, as_whom = _each(read_logins(target_users, target_profile), keys, target_users), "secure"
    elif secret is not None:
        login, as_whom = _all((secret.user, secret.to_key(target_profile)), target_profile), "secure"
    accepting = "insecure: anyone may connect" if keys is None else f"secure: {len(keys)} user{'s' * (len(keys) != 1)}"

    set_collector(collect)

    async def serve() -> None:
        try:
            running = await start_bridge(
                listen,
                target,
                user_to_key=keys.get if keys is not None else None,
                user_to_login=login,
                profile=listen_profile,
                target_profile=target_profile,
                backlog=backlog,
                connect_timeout=connect_timeout,
                limits=limits,
                guards=guards(listen_guards_off),
                target_guards=guards(target_guards_off),
            )
        except AddressError as error:
            raise click.BadParameter(str(error), param_hint="'LISTEN'") from None
        try:
            shown = announce(running.address)
            _log.info("listening at %s (%s), %s", shown, listen_profile.name, accepting)
            _log.info("the target is %s (%s), %s", format_address(target), target_profile.name, as_whom)
            name = await signals.wait_async()
            _log.info("%s: stopping; waiting for requests that are under way (once more: ending at once)", name)
        finally:
            await running.stop()
        await running.wait()
        _log.info("stopped")

    with Signals() as signals:
        asyncio.run(serve())


def _each(logins: dict[str, Login], keys: Mapping[str, object], path: str) -> Callable[[Any], Login | None]:
    missing = [user for user in keys if user not in logins]
    if missing:
        raise KeyFileError(
            f"target users file {path!r}: no entry for user {missing[0]!r}, who may connect; "
            "expected one for each user of --users"
        )
    unused = [user for user in logins if user not in keys]
    if unused:
        _log.warning("the target users file names %d who may not connect, the first %r", len(unused), unused[0])
    return logins.get


def _all(login: Login, profile: Profile) -> Callable[[Any], Login]:
    user, key = login
    try:
        # Only the connection knows which usernames can be sent. This finds a bad one before the first client connects.
        wire.Connection("client", user=user, key=key, profile=profile, guards=wire.Guards(nonce_reuse=False))
    except ValueError as error:
        raise click.UsageError(f"--target-user: {error}") from None
    return lambda _: login
