"""`bokbok-interop check`: one peer against one of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from bokbok.wire import Profile
from bokbok_workers.where import Where

from ..cases import CHAPTERS, PREFLIGHT, SESSIONS, Case, all_cases
from ..matrix import Group, Selection, about, build, diagonal, select_cases
from ..peers.known import known_peers
from ..report import terminal
from ..report.document import counts_for
from ..runner import Settings
from ._choices import (
    check_names,
    choose_peers,
    chosen_format,
    long_option,
    no_cell,
    pace_options,
    play_option,
    quiet_option,
    runner_for,
    spoken_options,
)
from ._exit import status_of
from ._play import execute
from ._reports import Reports, report_options

PIN_SECONDS_THOROUGH = 60.0
"""How long `--thorough` looks for the cells behind which others fail."""


@click.command(
    epilog="""\b
Exit status: as for `run`; 3 also if the peer cannot be started here.

\b
Examples:
  bokbok-interop check ./my-puppet
  bokbok-interop check 'node puppet.js --verbose'
  bokbok-interop check docker:me/my-peer --chapter hostile
"""
)
@click.argument("command")
@click.option("--name", default="mine", show_default=True, help="Your peer's name in the results.")
@click.option("--against", default="python-asyncio", show_default=True, metavar="NAME", help="The peer that it meets.")
@click.option("--chapter", "chapters", metavar="NAME", multiple=True, help="Only these chapters.")
@click.option("--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches.")
@pace_options(timeout=10.0, jobs=32)
@click.option(
    "--thorough",
    is_flag=True,
    help="Play every case over both transports in both security modes, not only over TCP secure and Unix insecure. It "
    "takes three times as long. If cells fail only behind others, look for these for "
    f"{PIN_SECONDS_THOROUGH:g} seconds, and not for {Settings.pin_seconds:g}.",
)
@long_option
@click.option("--sessions", is_flag=True, help="Also replay the recorded sessions, byte for byte.")
@click.option("--keep-going", is_flag=True, help="Play the chapters even if the preflight fails.")
@click.option("--strict", is_flag=True, help="Also play the kinds of case that the peer does not claim.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of everything random in the cases.")
@play_option
@spoken_options
@report_options
@quiet_option
def check(
    command: str,
    name: str,
    against: str,
    chapters: tuple[str, ...],
    cases: tuple[str, ...],
    timeout: float,
    jobs: int,
    thorough: bool,
    long: bool,
    sessions: bool,
    keep_going: bool,
    strict: bool,
    seed: int,
    scheduler: Where | None,
    profile: Profile,
    guards_off: tuple[str, ...],
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
    """Check one peer, yours, against one of ours: a verdict for each chapter, in under a minute.

    COMMAND starts your puppet (or is docker:IMAGE). First a preflight finds out whether it can communicate at all, over
    each transport and in each mode; if that fails, the chapters are not played. Then it plays client and server against
    our own peer, and the runner attacks it as a hostile client and a hostile server, over TCP in secure mode and over
    Unix sockets in insecure mode.
    """
    if against not in known_peers():
        raise click.UsageError(f"--against: unknown peer {against!r} (known: {', '.join(known_peers())})")
    given = [f"{name}={command}"]
    chosen = choose_peers(against, given)
    if against == name:
        raise click.UsageError("--name and --against are the same")
    selection = Selection(
        cases=cases, chapters=check_names("--chapter", chapters, CHAPTERS), about=(name,), long=long, sessions=sessions
    )
    preflight, groups = plan(list(chosen), name, selection, thorough=thorough)
    if not groups and selection.chapters != (PREFLIGHT,):
        raise no_cell()
    spoken = chosen_format(profile, {group.security for group in preflight}, guards_off)
    reports = Reports(json_file, junit_file, html_file)
    settings = Settings(
        timeout=timeout,
        jobs=jobs,
        keep_going=keep_going,
        strict=strict,
        pin_seconds=PIN_SECONDS_THOROUGH if thorough else Settings.pin_seconds,
        seed=seed,
        spoken=spoken,
        evidence=reports.evidence,
    )
    runner = runner_for(chosen, settings, scheduler, given)
    played = execute(chosen, groups, selection, settings, reports, quiet=quiet, preflight=preflight, runner=runner)
    terminal.print_failures(reports.screen, played.document)
    terminal.print_verdicts(reports.screen, played.document, name)
    unseen = _unseen(played.document, name, selection, thorough=thorough, grounded=played.grounded)
    terminal.print_unseen(reports.screen, unseen)
    reports.tell()
    played.leave(status_of(played.document, reports.problems, about=name))


def plan(
    peers: Sequence[str], name: str, selection: Selection, *, thorough: bool = False
) -> tuple[list[Group], list[Group]]:
    """What a check plays: its preflight, and the rest.

    Args:
        peers: the peer under test and its opponent.
        name: the peer under test.
        selection: what of it to play.
        thorough: whether everything is played over both transports in both modes.
    """

    def groups(peers: Sequence[str], cases: Iterable[Case], selection: Selection) -> list[Group]:
        # Playing it against itself shows nothing that the other pairs do not.
        return [group for group in build(peers, cases, selection) if (group.client, group.server) != (name, name)]

    cases = all_cases()
    preflight = groups([name], [case for case in cases if case.chapter == PREFLIGHT], Selection())
    rest = groups(peers, [case for case in cases if case.chapter != PREFLIGHT], selection)
    return preflight, rest if thorough else about(diagonal(rest), name)


def _unseen(
    document: Mapping[str, Any], name: str, selection: Selection, *, thorough: bool, grounded: bool
) -> list[str]:
    """What this check did not look at, and which option does: one line each."""
    if grounded:
        return ["everything behind the preflight, which failed: it is the verdict (--keep-going plays the rest)"]
    lines = []
    chosen = [case for case in all_cases() if case.chapter != PREFLIGHT]
    wanted = select_cases(chosen, selection)
    left = [case for case in chosen if not case.long and case.chapter != SESSIONS and case not in wanted]
    if left:
        lines.append(f"{len(left)} cases that --chapter or --case leaves out")
    if long := [case.id for case in chosen if case.long and not selection.long]:
        lines.append(f"{', '.join(long)}: they take minutes (--long)")
    if not any(case.chapter == SESSIONS for case in wanted):
        lines.append("the recorded sessions (--sessions)")
    if not thorough:
        lines.append("TCP in insecure mode and Unix sockets in secure mode, where the preflight alone was (--thorough)")
        lines.append(
            "what is about messages alone, over TCP in secure mode, and cases about the other side (--thorough)"
        )
    reasons = Counter(c["reason"] for c in counts_for(document, name) if c["outcome"] in ("unsupported", "absent"))
    lines += [f"{count} cells: {reason}" for reason, count in reasons.most_common()]
    return lines
