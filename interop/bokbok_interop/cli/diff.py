"""`bokbok-interop diff`: compares two runs."""

from __future__ import annotations

import json
import sys

import click

from ..report.compare import compare, print_comparison
from ..report.screen import Screen
from ._exit import EXIT_FAILED
from ._reports import load


@click.command(
    epilog="Exit status: 0 if nothing fails that did not fail before, 1 if something does, 2 for a wrong file."
)
@click.argument("old", metavar="OLD.json")
@click.argument("new", metavar="NEW.json")
@click.option("--json", "as_json", is_flag=True, help="Write the differences as JSON.")
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two runs: which cells got worse or better, which are new, and which are missing."""
    found = compare(*load([old, new]))
    if as_json:
        click.echo(json.dumps(vars(found), ensure_ascii=False, indent=1))
    else:
        print_comparison(Screen(), found)
    sys.exit(EXIT_FAILED if found.bad else 0)
