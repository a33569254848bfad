"""`bokbok-interop clean`: removes what killed runs left at the container engine."""

from __future__ import annotations

import sys

import click

from ..peers.base import Unavailable
from ..peers.session import clean as clean_engine
from ._exit import EXIT_FAILED


@click.command(
    epilog="Exit status: 0; 1 if no container engine answers, or something could not be removed.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Also remove what belongs to active runs, here or on other machines."
)
@click.option("--run", metavar="ID", help="Only remove what belongs to this run, whether it is over or not.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
def clean(everything: bool, dry_run: bool, run: str | None) -> None:
    """Remove what killed runs left at the container engine: containers, networks, volumes.

    A run that ends, even by Ctrl-C, leaves nothing behind. This command only touches what has a run's label, and only
    if that run was on this machine and is over. Images stay.
    """
    try:
        problems = clean_engine(click.echo, everything=everything, dry_run=dry_run, run=run)
    except Unavailable as error:
        raise click.ClickException(str(error)) from None
    for problem in problems:
        click.echo(f"Error: not removed: {problem}", err=True)
    sys.exit(EXIT_FAILED if problems else 0)
