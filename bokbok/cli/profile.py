"""`bokbok profile`: the schema of profile files, and a profile's digest."""

from __future__ import annotations

import json

import click

from ..wire import Profile
from ..wire.profile import profile_schema
from ._exit import CONTEXT, EPILOG, write_out
from ._options import profile_option, strategies_option

__all__ = ["profile"]


@click.group(short_help="Say what a profile file may hold, and what one says.", epilog=EPILOG, context_settings=CONTEXT)
def profile() -> None:
    """Say what a profile file may hold, and what one says."""


@profile.command(short_help="Print the JSON schema of profile files.", context_settings=CONTEXT)
@strategies_option
def schema() -> None:
    """Print the JSON schema of profile files, for an editor or a validator."""
    write_out(f"{json.dumps(profile_schema(), indent=1)}\n".encode())


@profile.command(short_help="Print a profile's digest.", context_settings=CONTEXT)
@profile_option
def digest(profile: Profile) -> None:
    """Print the SHA-256 of a profile's format: two spellings of one format have the same.

    The name, the text about it and the dialect do not count.
    """
    write_out(f"{profile.digest()}\n".encode())
