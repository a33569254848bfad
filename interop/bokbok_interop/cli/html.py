"""`bokbok-interop html`: makes the page from a file of results."""

from __future__ import annotations

import sys

import click

from ._exit import EXIT_REPORT
from ._reports import Reports, load


@click.command(epilog="Exit status: 0, or 2 for a file without results.")
@click.argument("file", metavar="FILE.json")
@click.argument("out", metavar="OUT.html", type=click.Path(dir_okay=False))
def html(file: str, out: str) -> None:
    """Make the HTML page from results that were written as JSON."""
    (document,) = load([file])
    reports = Reports(None, None, out)
    reports.write(document)
    reports.tell()
    sys.exit(EXIT_REPORT if reports.problems else 0)
