"""`bokbok-interop merge`: combines results of several machines."""

from __future__ import annotations

import sys

import click

from ..report import document as documents
from ..report import terminal
from ._exit import STATUSES, status_of
from ._reports import Reports, load, report_options


@click.command(
    epilog=f"{STATUSES}\nThe status is that of a run with these results; 2 also if the files do not fit together."
)
@click.argument("files", nargs=-1, required=True, metavar="FILE.json...")
@report_options
@click.option("--partial", is_flag=True, help="Merge even if some shards are missing.")
def merge(
    files: tuple[str, ...], json_file: str | None, junit_file: str | None, html_file: str | None, partial: bool
) -> None:
    """Put the results of several shards (`run --shard K/N --json FILE`) together, and report them as one run."""
    try:
        loaded = load(files)
        missing = documents.missing_shards(loaded)
        if missing and not partial:
            raise click.UsageError(f"shards are missing: {', '.join(missing)} (--partial merges without them)")
        document = documents.merge(loaded)
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None
    reports = Reports(json_file, junit_file, html_file)
    reports.write(document)
    terminal.print_results(reports.screen, document)
    reports.tell()
    sys.exit(status_of(document, reports.problems))
