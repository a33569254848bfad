"""`bokbok-interop html`: the page of results that were written."""

from __future__ import annotations

from pathlib import Path

import click

from ..report import html as page
from ._reports import load


@click.command(epilog="Exit status: 0, or 2 for a file that holds no results.")
@click.argument("file", metavar="FILE.json")
@click.argument("out", metavar="OUT.html", type=click.Path(dir_okay=False))
def html(file: str, out: str) -> None:
    """Make the HTML page of results that were written as JSON."""
    (document,) = load([file])
    try:
        page.write(document, Path(out))
    except OSError as error:
        raise click.ClickException(f"the page cannot be written: {error}") from None
