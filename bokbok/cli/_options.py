"""Arguments and options that several subcommands share, and their types.

What this module knows: how an address, a number of seconds, a profile or a username is given on the command line.
Options about secrets are in `_secrets`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import wire
from ..address import Address, parse_address
from ..errors import AddressError, ProfileError

__all__ = [
    "ADDRESS",
    "SECONDS",
    "guard_option",
    "guards",
    "handler_option",
    "profile_option",
    "profile_option_named",
    "strategies_given",
    "strategies_option",
    "username",
]

_F = TypeVar("_F", bound=Callable[..., Any])
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic only in newer versions

_STRATEGIES = "bokbok.strategies"
_LONGEST = 1_000_000_000.0
"""Seconds: thirty years. A longer time-out is useless, and more than some systems can wait."""


class _AddressType(_ParamType):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return parse_address(value)
        except AddressError as error:
            self.fail(str(error), param, ctx)


class _Seconds(_ParamType):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r}: expected a number of seconds above 0", param, ctx)
        return seconds


class _ProfileType(_ParamType):
    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> wire.Profile:
        try:
            return wire.get_profile(value)
        except ProfileError as error:
            self.fail(str(error), param, ctx)


def _load_strategies(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> None:
    if not paths:
        return
    from ..wire.profile import load_strategies  # needs every layer

    try:
        load_strategies(paths)
    except ProfileError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    ctx.meta[_STRATEGIES] = paths


def strategies_given() -> tuple[str, ...]:
    """The files of `--strategies`, for a command that hands them on."""
    paths: tuple[str, ...] = click.get_current_context().meta.get(_STRATEGIES, ())
    return paths


ADDRESS = _AddressType()
SECONDS = _Seconds()

strategies_option = click.option(
    "--strategies",
    multiple=True,
    expose_value=False,
    is_eager=True,  # before a profile is read that names them
    callback=_load_strategies,
    metavar="FILE",
    help="A Python file with strategies of your own, for profile files to name. It is run. May be given several times.",
)


def profile_option_named(name: str, whose: str) -> Callable[[_F], _F]:
    """The option that takes a profile, and `--strategies` for what its file may name.

    Args:
        name: the option, such as `--profile`.
        whose: what its help says first.
    """
    option = click.option(
        name,
        type=_ProfileType(),
        default=wire.INFERRED_1.name,
        envvar="BOKBOK_PROFILE",
        show_default=True,
        show_envvar=True,
        metavar="NAME|FILE",
        help=f"{whose}: a name, or a profile file (its path, ending in .toml).",
    )

    def add(command: _F) -> _F:
        command = option(command)
        there = {parameter.name for parameter in getattr(command, "__click_params__", ())}
        return command if "strategies" in there else strategies_option(command)  # once for two profiles

    return add


profile_option = profile_option_named("--profile", "The wire format that is spoken")

handler_option = click.option(
    "--handler",
    metavar="MODULE:FUNCTION",
    help="A Python function that answers requests: function(connection, message). MODULE is looked for in the current "
    "folder too.",
)

_GUARDS: dict[str, dict[str, Any]] = {
    "hello-replay": {"hello_replay": False},
    "request-replay": {"request_replay": "off"},
    "reflection": {"reflection": False},
    "nonce-reuse": {"nonce_reuse": False},
}


def guard_option(*names: str, side: str = "") -> Callable[[_F], _F]:
    """The option that turns guards off, for those that matter to a side.

    Args:
        names: the guards.
        side: for a command with two sides, which one: the option is `--SIDE-no-guard`, its value `SIDE_guards_off`.
    """
    return click.option(
        f"--{side}-no-guard" if side else "--no-guard",
        f"{side}_guards_off" if side else "guards_off",
        type=click.Choice(names),
        multiple=True,
        help="Turn a guard off, for a peer that needs it. May be given several times.",
    )


def guards(off: tuple[str, ...]) -> wire.Guards:
    """The guards, without those that were turned off."""
    settings: dict[str, Any] = {}
    for name in off:
        settings |= _GUARDS[name]
    return wire.Guards(**settings)


def username(given: str) -> str:
    """A username from the command line, as the library has it: its bytes as UTF-8, whatever the locale is."""
    return os.fsencode(given).decode("utf-8", "surrogateescape")
