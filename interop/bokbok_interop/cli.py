"""The command `bokbok-interop`.

What this module knows: options, exit statuses, and which report goes where. What it refuses to know: everything else.
"""

from __future__ import annotations  # noqa: I001

import asyncio
import contextlib
import datetime
import fnmatch
import importlib.metadata
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bokbok.errors import BokbokError, ProfileError
from bokbok.keys import Key, passphrase_to_key, read_key_file, read_passphrase_file
from bokbok.wire import get_profile

from bokbok_traffic.capture import CaptureError, read_capture
from .cases import CHAPTERS, all_cases
from .dump import explain
from .matrix import SECURITIES, TRANSPORTS, Group, Selection, build, diagonal, select_cases, shard
from .model import RUNNER
from .peers.base import Peer, Unavailable
from .peers.known import KNOWN, PeerNameError, known_peers, peer_from_option
from .peers.session import clean as clean_engine
from .report import coverage as tables
from .report import document as documents
from .report import html as page
from .report import junit, terminal
from .report.compare import compare, print_comparison
from .runner import Observer, Runner, Settings

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING = 3
EXIT_INTERRUPTED = 130

STATUSES = """\b
Exit status:
  0    nothing failed
  1    at least one cell failed
  2    the command line is wrong
  3    nothing failed, but nothing passed either, or a peer given with --peer is absent
  130  interrupted; what was done until then is reported
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bokbok", prog_name="bokbok-interop")
def main() -> None:
    """Does a bokbok peer, in any language, behave as the API reference says, against every other one?"""
    # asyncio tells of writes to connections that are gone, and of failures that nobody waited for any more because
    # their case was over; here they are what a case is about, or its evidence has them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


for _command in importlib.metadata.entry_points(group="bokbok_interop.commands"):
    main.add_command(_command.load())  # `calibrate`, of which nothing is imported here


def _choose_peers(names: str | None, given: Sequence[str]) -> dict[str, Peer]:
    """The peers to play, by name, in the order in which they are shown."""
    known = known_peers()
    chosen: dict[str, Peer] = {}
    extra: dict[str, Peer] = {}
    for text in given:
        try:
            peer = peer_from_option(text)
        except PeerNameError as error:
            raise click.UsageError(f"--peer {error}") from None
        if peer.name in extra:
            raise click.UsageError(f"--peer: {peer.name!r} is given twice")
        extra[peer.name] = peer
    wanted = list(KNOWN) if names is None else [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name in extra:
            continue
        found = fnmatch.filter(known, "*" if name == "all" else name)
        if not found:
            raise click.UsageError(
                f"--peers: no peer is called {name!r}; known: {', '.join(known)}; others: --peer NAME=COMMAND"
            )
        chosen |= {each: known[each] for each in found}
    chosen.update(extra)
    if not chosen:
        raise click.UsageError("no peer is left to play")
    return chosen


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    out = tuple(part.strip() for name in names for part in name.split(",") if part.strip())
    for name in out:
        if name not in known:
            raise click.UsageError(f"{option}: {name!r} is none of {', '.join(known)}")
    return out


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
        raise click.UsageError(f"--shard: {text!r}; expected K/N with 1 ≤ K ≤ N, as 2/5")
    return int(number), int(of)


class _Stop:
    """Ctrl-C and SIGTERM: the first asks the run to end, which takes a moment; the third is not so patient."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.interrupted = False
        self._say = say

    @contextlib.contextmanager
    def watching(self, task: asyncio.Future[Any]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        count = 0

        def stop() -> None:
            nonlocal count
            count += 1
            if count == 1:
                self.interrupted = True
                task.cancel()
            elif count == 2:
                self._say("ending what was started; once more to leave it behind")
            else:
                os._exit(EXIT_INTERRUPTED)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def play(runner: Runner, groups: list[Group]) -> bool:
    """Play until the end or a signal.

    Returns:
        Whether it was interrupted.
    """
    stop = _Stop(runner.observer.note)
    task = asyncio.ensure_future(runner.run(groups))
    with stop.watching(task):
        try:
            await task
        except asyncio.CancelledError:
            if not stop.interrupted:
                raise
    return stop.interrupted


def _execute(
    peers: dict[str, Peer],
    groups: list[Group],
    selection: Selection,
    settings: Settings,
    console: Console,
    *,
    quiet: bool = False,
    shard_text: str = "",
) -> dict[str, Any]:
    observer: Any
    if quiet:
        observer = contextlib.nullcontext(Observer())
    elif console.is_terminal:
        observer = terminal.LiveMatrix(console, list(peers))
    else:
        observer = contextlib.nullcontext(terminal.PlainProgress(console))
    started, begin = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    with observer as watcher:
        runner = Runner(peers, settings, watcher)
        interrupted = asyncio.run(play(runner, groups))
    described = []
    for name, peer in peers.items():
        entry = peer.describe()
        if name in runner.absent:
            entry["absent"] = runner.absent[name]
        if name in runner.about:
            entry["puppet"] = runner.about[name]
        described.append(entry)
    return documents.build(
        runner.results,
        cases=select_cases(all_cases(), selection),
        peers=described,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begin,
        command=sys.argv[1:],
        profile=settings.profile.name,
        seed=settings.seed,
        planned=sum(len(group.cases) for group in groups),
        interrupted=interrupted,
        shard=shard_text,
    )


def _status(document: dict[str, Any], peers: dict[str, Peer]) -> int:
    if document["interrupted"]:
        return EXIT_INTERRUPTED
    if document["summary"]["failed"]:
        return EXIT_FAILED
    given_absent = any(
        peer.get("absent") and getattr(peers.get(peer["name"]), "given", False) for peer in document["peers"]
    )
    if given_absent or not document["summary"]["passed"]:
        return EXIT_NOTHING
    return 0


def _write_json(document: dict[str, Any], path: str) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1, default=str).encode("utf-8", "backslashreplace")
    if path == "-":
        sys.stdout.buffer.write(text + b"\n")
    else:
        Path(path).write_bytes(text + b"\n")


def _report(
    document: dict[str, Any],
    console: Console,
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    *,
    matrix: bool = True,
) -> None:
    terminal.print_failures(console, document)
    if matrix:
        terminal.print_matrix(console, document)
        terminal.print_summary(console, document)
    try:
        if json_file:
            _write_json(document, json_file)
        if junit_file:
            junit.write(document, Path(junit_file))
        if html_file:
            page.write(document, Path(html_file))
    except OSError as error:
        raise click.ClickException(f"a report cannot be written: {error}") from None


@main.command(epilog=STATUSES)
@click.option(
    "--peers",
    metavar="NAME,...",
    help="Which of the known peers to play: names, globs as '*@docker', or 'all', those that are absent here and in "
    f"containers among them.  [default: {','.join(KNOWN)}]",
)
@click.option(
    "--peer",
    "given",
    metavar="NAME=COMMAND",
    multiple=True,
    help="Anybody's puppet, by its command, or NAME=docker:IMAGE. Repeatable.",
)
@click.option(
    "--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches, as 'errors.*'. Repeatable."
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
    help="Only cells with this client ('runner' for those that the runner plays).",
)
@click.option("--server", "servers", metavar="NAME", multiple=True, help="Only cells with this server.")
@click.option("--about", metavar="NAME", multiple=True, help="Only cells in which this peer plays either side.")
@click.option("--transport", "transports", type=click.Choice(TRANSPORTS), multiple=True, help="Only this transport.")
@click.option("--security", "securities", type=click.Choice(SECURITIES), multiple=True, help="Only this security mode.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For one case, beside what the case itself asks for.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Cells played at once; most of them only wait.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="N", help="Play everything N times.")
@click.option("--until-failure", is_flag=True, help="Play everything again and again until a cell fails.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failed cell.")
@click.option("--strict", is_flag=True, help="Play also the kinds of case that a peer does not claim.")
@click.option("--long", is_flag=True, help="Play the long load cases too: minutes instead of seconds.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of everything random in the cases.")
@click.option(
    "--shard", "shard_text", metavar="K/N", help="Only the K-th of N shares, for several machines; see `merge`."
)
@click.option(
    "--profile", default="inferred-1", show_default=True, metavar="NAME", help="The wire profile that is spoken."
)
@click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON ('-': to standard output).")
@click.option(
    "--junit", "junit_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as JUnit XML."
)
@click.option(
    "--html", "html_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as one HTML page."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the end.")
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
    profile: str,
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
    """Play every case for every ordered pair of peers, over TCP and Unix sockets, secure and insecure."""
    chosen = _choose_peers(peers, given)
    names = [*chosen, RUNNER]
    selection = Selection(
        cases=cases,
        chapters=_check_names("--chapter", chapters, CHAPTERS),
        kinds=kinds,
        clients=_check_names("--client", clients, names),
        servers=_check_names("--server", servers, names),
        about=_check_names("--about", about, names),
        transports=transports,
        securities=securities,
        long=long,
    )
    number, of = _shard(shard_text)
    try:
        spoken = get_profile(profile)
    except ProfileError as error:
        raise click.UsageError(f"--profile: {error}") from None
    groups = build(list(chosen), all_cases(), selection)
    if not groups:
        raise click.UsageError("no cell matches these filters (`bokbok-interop list` shows the cases)")
    groups = shard(groups, number, of)
    console = Console(stderr=json_file == "-")
    settings = Settings(
        timeout=timeout,
        jobs=jobs,
        repeat=repeat,
        until_failure=until_failure,
        fail_fast=fail_fast,
        strict=strict,
        seed=seed,
        profile=spoken,
    )
    document = _execute(chosen, groups, selection, settings, console, quiet=quiet, shard_text=shard_text or "")
    _report(document, console, json_file, junit_file, html_file)
    sys.exit(_status(document, chosen))


@main.command(
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
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For one case, beside what the case itself asks for.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=32, show_default=True, metavar="N", help="Cells played at once."
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Every case over both transports in both security modes, not only over TCP secure and Unix insecure: twice "
    "as long.",
)
@click.option("--strict", is_flag=True, help="Play also the kinds of case that the peer does not claim.")
@click.option("--seed", type=int, default=0, metavar="N", help="Of everything random in the cases.")
@click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON.")
@click.option(
    "--junit", "junit_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as JUnit XML."
)
@click.option(
    "--html", "html_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as one HTML page."
)
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
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
    """One peer, yours, against one of ours: a verdict for each chapter, in under a minute.

    COMMAND starts your puppet (or docker:IMAGE). It plays client and server against our own peer, and meets the
    runner as a hostile client and a hostile server, over TCP in secure mode and over Unix sockets in insecure mode.
    """
    chosen = _choose_peers(against, [f"{name}={command}"])
    if against == name:
        raise click.UsageError("--name and --against are the same")
    selection = Selection(cases=cases, chapters=_check_names("--chapter", chapters, CHAPTERS), about=(name,))
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
    console = Console(stderr=json_file == "-")
    settings = Settings(timeout=timeout, jobs=jobs, strict=strict, seed=seed)
    document = _execute(chosen, groups, selection, settings, console, quiet=quiet)
    _report(document, console, json_file, junit_file, html_file, matrix=False)
    terminal.print_verdicts(console, document, name)
    sys.exit(_status(document, chosen))


@main.command(name="list")
@click.option("--coverage", is_flag=True, help="The documents' sentences, with the cases beside each.")
@click.option("--case", "cases", metavar="GLOB", multiple=True, help="Only cases whose id matches.")
@click.option("--chapter", "chapters", metavar="NAME", multiple=True, help="Only these chapters.")
@click.option(
    "--kind", "kinds", type=click.Choice(["reference", "profile", "hardening"]), multiple=True, help="Only this kind."
)
@click.option("--ids", is_flag=True, help="Ids alone, one a line.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_cases(
    coverage: bool,
    cases: tuple[str, ...],
    chapters: tuple[str, ...],
    kinds: tuple[str, ...],
    ids: bool,
    as_json: bool,
) -> None:
    """Show every case: id, kind, and the requirement that it quotes."""
    selection = Selection(cases=cases, chapters=_check_names("--chapter", chapters, CHAPTERS), kinds=kinds, long=True)
    chosen = select_cases(all_cases(), selection)
    console = Console()
    if as_json:
        data = tables.coverage_json(chosen) if coverage else tables.as_json(chosen)
        click.echo(json.dumps(data, ensure_ascii=False, indent=1))
    elif coverage:
        tables.print_coverage(console, chosen)
    elif ids:
        for case in chosen:
            click.echo(case.id)
    else:
        tables.print_cases(console, chosen)


def _load(paths: Sequence[str]) -> list[dict[str, Any]]:
    try:
        return [documents.load(Path(path)) for path in paths]
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None


@main.command(
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
        loaded = _load(files)
        missing = documents.missing_shards(loaded)
        if missing and not partial:
            raise click.UsageError(f"not all shards are there, {', '.join(missing)} missing (--partial does without)")
        document = documents.merge(loaded)
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None
    console = Console(stderr=json_file == "-")
    _report(document, console, json_file, junit_file, html_file)
    sys.exit(EXIT_FAILED if document["summary"]["failed"] else 0)


@main.command(
    epilog="Exit status: 0 if nothing fails that did not fail before, 1 if something does, 2 for a wrong file."
)
@click.argument("old", metavar="OLD.json")
@click.argument("new", metavar="NEW.json")
@click.option("--json", "as_json", is_flag=True, help="The differences as JSON.")
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two runs: which cells got worse, or better, which are new or gone."""
    found = compare(*_load([old, new]))
    if as_json:
        click.echo(json.dumps(vars(found), ensure_ascii=False, indent=1))
    else:
        print_comparison(Console(), found)
    sys.exit(EXIT_FAILED if found.bad else 0)


@main.command(epilog="Exit status: 0, or 2 for a file that holds no results.")
@click.argument("file", metavar="FILE.json")
@click.argument("out", metavar="OUT.html", type=click.Path(dir_okay=False))
def html(file: str, out: str) -> None:
    """Make the HTML page of results that were written as JSON."""
    (document,) = _load([file])
    try:
        page.write(document, Path(out))
    except OSError as error:
        raise click.ClickException(f"the page cannot be written: {error}") from None


@main.command(
    epilog="Exit status: 0; 1 if something in the recording could not be explained; 2 for a file that is no recording."
)
@click.argument("capture", metavar="CAPTURE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--user", metavar="NAME", help="Who said hello.")
@click.option(
    "--passphrase-file",
    type=click.Path(),
    metavar="FILE",
    help="The user's passphrase, in a file that only you can read.",
)
@click.option(
    "--key-file", type=click.Path(), metavar="FILE", help="The user's key, 64 hexadecimal digits, in such a file."
)
@click.option(
    "--profile", default="inferred-1", show_default=True, metavar="NAME", help="The wire profile that was spoken."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def decode(
    capture: str,
    user: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    profile: str,
    as_json: bool,
) -> None:
    """Show a recording as the annotated conversation: each byte with its layer, boxes opened.

    CAPTURE is a recording of the runner or of anybody who writes the format (`-`: standard input). Without a user it
    is read as an insecure conversation.
    """
    if (user is None) != (passphrase_file is None and key_file is None) or (passphrase_file and key_file):
        raise click.UsageError("--user goes with one of --passphrase-file and --key-file")
    secrets: dict[str, Key] = {}
    try:
        spoken = get_profile(profile)
        if user is not None and key_file is not None:
            secrets[user] = read_key_file(key_file)
        elif user is not None and passphrase_file is not None:
            secrets[user] = passphrase_to_key(read_passphrase_file(passphrase_file), derive=spoken.key_derivation)
        with click.open_file(capture, encoding="utf-8") as lines:
            recorded = read_capture(lines)
    except (BokbokError, CaptureError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from None
    packets = explain(recorded, spoken, secrets)
    if as_json:
        click.echo(json.dumps(packets, ensure_ascii=False, indent=1))
    else:
        terminal.print_dump(Console(highlight=False), packets)
    sys.exit(EXIT_FAILED if any(packet["problem"] for packet in packets) else 0)


@main.command(
    epilog="Exit status: 0; 1 if there is no container engine, or something could not be removed.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Also what belongs to runs that go on, here or on other machines."
)
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
def clean(everything: bool, dry_run: bool) -> None:
    """Remove what killed runs left at the container engine: containers, networks, volumes.

    A run that ends, also by Ctrl-C, leaves nothing. Only what carries a run's label is touched, and of that only what
    belongs to a run of this machine that is over. Images stay.
    """
    try:
        problems = clean_engine(click.echo, everything=everything, dry_run=dry_run)
    except Unavailable as error:
        raise click.ClickException(str(error)) from None
    for problem in problems:
        click.echo(f"Error: not removed: {problem}", err=True)
    sys.exit(EXIT_FAILED if problems else 0)
