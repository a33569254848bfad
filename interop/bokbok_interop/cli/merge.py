"""`bokbok-interop merge`: results of several machines as one."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from ..report import document as documents
from ._exit import EXIT_FAILED
from ._reports import load, write_reports


@click.command(
    epilog="Exit status: 0 if nothing failed in any of them, 1 if something did, 2 if the files do not fit together."
)
@click.argument("files", nargs=-1, required=True, metavar="FILE.json...")
@click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON.")
@click.option(
    "--junit", "junit_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as JUnit XML."
)
@click.option(
    "--html", "html_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as one HTML page."
)
@click.option("--partial", is_flag=True, help="Although some shards are not there.")
def merge(
    files: tuple[str, ...], json_file: str | None, junit_file: str | None, html_file: str | None, partial: bool
) -> None:
    """Put the results of several shards (`run --shard K/N --json FILE`) together, and report them as one run."""
    try:
        loaded = load(files)
        missing = documents.missing_shards(loaded)
        if missing and not partial:
            raise click.UsageError(f"not all shards are there, {', '.join(missing)} missing (--partial does without)")
        document = documents.merge(loaded)
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None
    console = Console(stderr=json_file == "-")
    write_reports(document, console, json_file, junit_file, html_file)
    sys.exit(EXIT_FAILED if document["summary"]["failed"] else 0)
