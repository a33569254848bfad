"""`bokbok-interop run`: plays the matrix."""

from __future__ import annotations

import click

from bokbok.wire import Profile
from bokbok_workers.where import Where

from ..cases import CHAPTERS, all_cases
from ..matrix import SECURITIES, TRANSPORTS, Selection, build, shard
from ..model import RUNNER
from ..peers.known import KNOWN
from ..report import terminal
from ..runner import Settings
from ._choices import (
    check_names,
    choose_peers,
    chosen_format,
    long_option,
    no_cell,
    pace_options,
    parse_shard,
    play_option,
    quiet_option,
    runner_for,
    spoken_options,
)
from ._exit import STATUSES, status_of
from ._play import execute
from ._reports import Reports, report_options


@click.command(epilog=STATUSES)
@click.option(
    "--peers",
    metavar="NAME,...",
    help="Which of the known peers to play: names, globs such as '*@docker', or 'all' (including peers that are absent "
    f"here, and peers in containers).  [default: {','.join(KNOWN)}]",
)
@click.option(
    "--peer",
    "given",
    metavar="NAME=COMMAND",
    multiple=True,
    help="Any puppet, by its command, or NAME=docker:IMAGE. Repeatable.",
)
@click.option(
    "--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches, e.g. 'errors.*'. Repeatable."
)
@click.option(
    "--chapter", "chapters", metavar="NAME", multiple=True, help=f"Only these chapters: {', '.join(CHAPTERS)}."
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["reference", "profile", "hardening"]),
    multiple=True,
    help="Only cases of this kind.",
)
@click.option(
    "--client",
    "clients",
    metavar="NAME",
    multiple=True,
    help="Only cells with this client ('runner': cells in which the runner is the client).",
)
@click.option("--server", "servers", metavar="NAME", multiple=True, help="Only cells with this server.")
@click.option("--about", metavar="NAME", multiple=True, help="Only cells in which this peer plays either side.")
@click.option("--transport", "transports", type=click.Choice(TRANSPORTS), multiple=True, help="Only this transport.")
@click.option("--security", "securities", type=click.Choice(SECURITIES), multiple=True, help="Only this security mode.")
@pace_options(timeout=30.0, jobs=16)
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="N", help="Play everything N times.")
@click.option("--until-failure", is_flag=True, help="Play everything again and again until a cell fails.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failed cell.")
@click.option("--strict", is_flag=True, help="Also play the kinds of case that a peer does not claim.")
@long_option
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of all random values.")
@click.option(
    "--shard", "shard_text", metavar="K/N", help="Play only the K-th of N shares, for several machines; see `merge`."
)
@play_option
@spoken_options
@report_options
@quiet_option
def run(
    peers: str | None,
    given: tuple[str, ...],
    cases: tuple[str, ...],
    chapters: tuple[str, ...],
    kinds: tuple[str, ...],
    clients: tuple[str, ...],
    servers: tuple[str, ...],
    about: tuple[str, ...],
    transports: tuple[str, ...],
    securities: tuple[str, ...],
    timeout: float,
    jobs: int,
    repeat: int,
    until_failure: bool,
    fail_fast: bool,
    strict: bool,
    long: bool,
    seed: int,
    shard_text: str | None,
    scheduler: Where | None,
    profile: Profile,
    guards_off: tuple[str, ...],
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
    """Play every case for every ordered pair of peers, over TCP and Unix sockets, secure and insecure."""
    chosen = choose_peers(peers, given)
    names = [*chosen, RUNNER]
    selection = Selection(
        cases=cases,
        chapters=check_names("--chapter", chapters, CHAPTERS),
        kinds=kinds,
        clients=check_names("--client", clients, names),
        servers=check_names("--server", servers, names),
        about=check_names("--about", about, names),
        transports=transports,
        securities=securities,
        long=long,
    )
    number, of = parse_shard(shard_text)
    groups = build(list(chosen), all_cases(), selection)
    if not groups:
        raise no_cell()
    groups = shard(groups, number, of)
    spoken = chosen_format(profile, {group.security for group in groups}, guards_off)
    reports = Reports(json_file, junit_file, html_file)
    settings = Settings(
        timeout=timeout,
        jobs=jobs,
        repeat=repeat,
        until_failure=until_failure,
        fail_fast=fail_fast,
        strict=strict,
        seed=seed,
        spoken=spoken,
        evidence=reports.evidence,
    )
    runner = runner_for(chosen, settings, scheduler, given)
    played = execute(
        chosen, groups, selection, settings, reports, quiet=quiet, shard_text=shard_text or "", runner=runner
    )
    terminal.print_results(reports.screen, played.document)
    reports.tell()
    played.leave(status_of(played.document, reports.problems))
