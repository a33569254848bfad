"""`bokbok-interop list`: lists the cases."""

from __future__ import annotations

import json

import click

from bokbok.cli._options import profile_option_named
from bokbok.wire import Profile

from ..cases import CHAPTERS, all_cases
from ..matrix import Selection, select_cases
from ..report import coverage as tables
from ..report.screen import Screen
from ._choices import check_names


@click.command(name="list")
@click.option("--coverage", is_flag=True, help="Show the documents' sentences, each with its cases.")
@click.option("--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches.")
@click.option("--chapter", "chapters", metavar="NAME", multiple=True, help="Only these chapters.")
@click.option(
    "--kind", "kinds", type=click.Choice(["reference", "profile", "hardening"]), multiple=True, help="Only this kind."
)
@profile_option_named("--profile", "Only the cases that can be played with this wire format")
@click.option("--ids", is_flag=True, help="Show only ids, one on each line.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_cases(
    coverage: bool,
    cases: tuple[str, ...],
    chapters: tuple[str, ...],
    kinds: tuple[str, ...],
    profile: Profile,
    ids: bool,
    as_json: bool,
) -> None:
    """Show every case: id, kind, and the requirement that it quotes.

    If standard output is not a terminal, each case is one line: id, kind and title, separated by tabs.
    """
    selection = Selection(cases=cases, chapters=check_names("--chapter", chapters, CHAPTERS), kinds=kinds, long=True)
    found = select_cases(all_cases(), selection)
    chosen = [case for case in found if not case.foreign_to(profile)]
    for case in found:
        if why := case.foreign_to(profile):
            click.echo(f"not listed: {case.id}: {why}", err=True)
    console = Screen()
    if as_json:
        data = tables.coverage_json(chosen) if coverage else tables.as_json(chosen)
        click.echo(json.dumps(data, ensure_ascii=False, indent=1))
    elif coverage:
        tables.print_coverage(console, chosen)
    elif ids:
        for case in chosen:
            click.echo(case.id)
    elif not console.is_terminal:
        for case in chosen:
            click.echo(f"{case.id}\t{case.kind.value}\t{case.title}")
    else:
        tables.print_cases(console, chosen)
