"""`bokbok-interop check`: one peer against one of ours."""

from __future__ import annotations

import click

from bokbok.wire import Profile

from ..cases import CHAPTERS, all_cases
from ..matrix import Selection, build, diagonal
from ..peers.known import known_peers
from ..report import terminal
from ..runner import Settings
from ._choices import check_names, choose_peers, chosen_format, pace_options, spoken_options
from ._exit import status_of
from ._play import execute
from ._reports import Reports, report_options


@click.command(
    epilog="""\b
Exit status: as of `run`; 3 also if the peer cannot be started here.

\b
Examples:
  bokbok-interop check ./my-puppet
  bokbok-interop check 'node puppet.js --verbose'
  bokbok-interop check docker:me/my-peer --chapter hostile
"""
)
@click.argument("command")
@click.option("--name", default="mine", show_default=True, help="What to call it.")
@click.option("--against", default="python-asyncio", show_default=True, metavar="NAME", help="The peer that it meets.")
@click.option("--chapter", "chapters", metavar="NAME", multiple=True, help="Only these chapters.")
@click.option("--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches.")
@pace_options(timeout=10.0, jobs=32)
@click.option(
    "--thorough",
    is_flag=True,
    help="Every case over both transports in both security modes, not only over TCP secure and Unix insecure: twice "
    "as long.",
)
@click.option("--strict", is_flag=True, help="Play also the kinds of case that the peer does not claim.")
@click.option("--seed", type=int, default=0, metavar="N", help="Of everything random in the cases.")
@spoken_options
@report_options
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the end.")
def check(
    command: str,
    name: str,
    against: str,
    chapters: tuple[str, ...],
    cases: tuple[str, ...],
    timeout: float,
    jobs: int,
    thorough: bool,
    strict: bool,
    seed: int,
    profile: Profile,
    guards_off: tuple[str, ...],
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
    """One peer, yours, against one of ours: a verdict for each chapter, in under a minute.

    COMMAND starts your puppet (or docker:IMAGE). It plays client and server against our own peer, and meets the
    runner as a hostile client and a hostile server, over TCP in secure mode and over Unix sockets in insecure mode.
    """
    if against not in known_peers():
        raise click.UsageError(f"--against: no peer is called {against!r}; known: {', '.join(known_peers())}")
    chosen = choose_peers(against, [f"{name}={command}"])
    if against == name:
        raise click.UsageError("--name and --against are the same")
    selection = Selection(cases=cases, chapters=check_names("--chapter", chapters, CHAPTERS), about=(name,))
    groups = [
        group
        for group in build(list(chosen), all_cases(), selection)
        # Itself against itself tells nothing that the others do not.
        if (group.client, group.server) != (name, name)
    ]
    if not thorough:
        groups = diagonal(groups)
    if not groups:
        raise click.UsageError("no cell matches these filters (`bokbok-interop list` shows the cases)")
    spoken = chosen_format(profile, {group.security for group in groups}, guards_off)
    settings = Settings(timeout=timeout, jobs=jobs, strict=strict, seed=seed, spoken=spoken)
    reports = Reports(json_file, junit_file, html_file)
    played = execute(chosen, groups, selection, settings, reports, quiet=quiet)
    terminal.print_failures(reports.screen, played.document)
    terminal.print_verdicts(reports.screen, played.document, name)
    reports.tell()
    played.leave(status_of(played.document, reports.problems, about=name))
