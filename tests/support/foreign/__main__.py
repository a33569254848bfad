"""The command line: `python -m tests.support.foreign …`, from the repository's root."""

from __future__ import annotations

import json
import pathlib
import signal
import sys
import threading
from random import Random
from typing import Any

import click

from .format import Format
from .generate import foreign_format, interesting_formats, may_occur_format, random_format
from .live import ForeignClient, ForeignServer, format_address
from .party import Behaviour
from .record import USER, record
from .registry import GROUPS, MAY_OCCUR, OUTSIDE, TABLE, Strategy, all_kinds
from .scripts import DEMO, full_script
from .segments import SEGMENTATIONS
from .sexpr import BadDatum, Datum, from_bytes, read_all, write

WHICH = [
    click.option("--seed", type=int, help="Draws the format: the same seed gives the same one."),
    click.option(
        "--group", type=click.Choice(GROUPS), default=TABLE, show_default=True, help="Where it is drawn from."
    ),
    click.option("--kind", help="LAYER:KIND that it has to have (may occur, outside); see `kinds`."),
    click.option("--name", type=click.Choice(list(interesting_formats())), help="One of the fixed formats instead."),
    click.option(
        "--format", "path", type=click.Path(exists=True, dir_okay=False), help="A description's file instead."
    ),
    click.option("--secure/--insecure", default=None, help="Only a secure or an insecure one."),
    click.option("--plain", is_flag=True, help="Only the plainest reading of the table's words."),
]
WHO = [
    click.option("--user", default=USER, show_default=True, help="The client's username."),
    click.option(
        "--passphrase-file",
        type=click.Path(exists=True, dir_okay=False),
        help="Its passphrase; else one that suits the format (the demo's).",
    ),
]
HOW = click.option("--segments", type=click.Choice(list(SEGMENTATIONS)), help="How writes are cut.")


def with_options(options: list[Any]) -> Any:
    """Adds several options at once."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def find_kind(text: str) -> type[Strategy]:
    """The strategy that `LAYER:KIND` names."""
    for group in (MAY_OCCUR, OUTSIDE):
        for kind in all_kinds(group):
            if f"{kind.layer}:{kind.kind}" == text:
                return kind
    raise click.BadParameter(f"no kind {text!r}; see `kinds`")


def choose(options: dict[str, Any], rng: Random) -> Format:
    """The format that the options of `WHICH` ask for."""
    if options["name"]:
        return interesting_formats()[options["name"]]
    if options["path"]:
        try:
            return Format.from_description(json.loads(pathlib.Path(options["path"]).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as why:
            raise click.BadParameter(f"{options['path']} describes no format: {why}") from None
    kind = find_kind(options["kind"]) if options["kind"] else None
    group = kind.group if kind else options["group"]
    if group == TABLE:
        return random_format(rng, secure=options["secure"], readings=not options["plain"])
    draw = may_occur_format if group == MAY_OCCUR else foreign_format
    while True:
        fmt = draw(rng, kind)
        if options["secure"] in (None, fmt.secure):
            return fmt
        if kind is not None and kind.layer in ("encoding", "nonce", "derivation", "session_key", "cipher", "hello"):
            raise click.BadParameter(f"{options['kind']} is not for such connections")


def taken(options: dict[str, Any]) -> dict[str, Any]:
    """The options of `WHICH`, out of a command's."""
    return {name: options.pop(name) for name in ("seed", "group", "kind", "name", "path", "secure", "plain")}


def seeded(options: dict[str, Any]) -> Random:
    """The random numbers of a command."""
    return Random(0 if options["seed"] is None else options["seed"])


def passphrase_in(path: str | None) -> str | None:
    """What a passphrase file holds."""
    if path is None:
        return None
    return from_bytes(pathlib.Path(path).read_bytes()).removesuffix("\n")


def script_in(path: str | None, rng: Random) -> list[Datum]:
    """The datums of a script's file, or the built-in script."""
    if path is None:
        return full_script(rng)
    data = sys.stdin.buffer.read() if path == "-" else pathlib.Path(path).read_bytes()
    try:
        return read_all(data)
    except BadDatum as why:
        raise click.BadParameter(f"{path}: {why}") from None


@click.group()
def main() -> None:
    """Peers of formats that the project did not choose. For tests: nothing here keeps a secret."""


@main.command()
def kinds() -> None:
    """Lists every kind of strategy, by group and layer."""
    for group in GROUPS:
        for kind in all_kinds(group):
            about = (kind.__doc__ or "").split("\n", 1)[0]
            click.echo(f"{group:10} {kind.layer}:{kind.kind:28} {about}")


@main.command()
@with_options(WHICH)
@click.option("--count", default=1, show_default=True, help="How many, from this seed on.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def formats(count: int, as_json: bool, **options: Any) -> None:
    """Describes formats."""
    which = taken(options)
    first = which["seed"] or 0
    for seed in range(first, first + count):
        fmt = choose(which, Random(seed))
        if as_json:
            click.echo(json.dumps({"seed": seed, "name": fmt.name, **fmt.describe()}))
            continue
        click.echo(f"seed {seed}: {fmt.text()}")
        for reading in fmt.readings():
            click.echo(f"  reading      {reading}")


@main.command("record")
@with_options(WHICH)
@with_options(WHO)
@HOW
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="The recording's file.")
@click.option("--script", help="A file of datums; else the built-in script.")
@click.option("--demo", is_flag=True, help="The documented demo's traffic instead.")
@click.option("--connections", default=2, show_default=True)
@click.option("--truncate", type=click.FloatRange(0, 1), help="Keeps this part of the recording.")
def record_command(
    out: str,
    script: str | None,
    demo: bool,
    connections: int,
    truncate: float | None,
    segments: str | None,
    user: str,
    passphrase_file: str | None,
    **options: Any,
) -> None:
    """Records a conversation; the format's description goes to standard output."""
    which = taken(options)
    rng = seeded(which)
    fmt = choose(which, rng)
    capture = record(
        fmt,
        DEMO if demo else script_in(script, rng),
        rng,
        user=user,
        passphrase=passphrase_in(passphrase_file),
        connections=connections,
        segmentation=segments,
        truncate=truncate,
    )
    capture.save(out)
    click.echo(json.dumps({"name": fmt.name, **fmt.describe()}, indent=2))


@main.command()
@with_options(WHICH)
@with_options(WHO)
@HOW
@click.option("--hang", is_flag=True, help="Keep silent, instead of closing, when nonsense comes.")
@click.option("--shuffle", default=0.0, help="How likely an answer is overtaken.")
@click.argument("address")
def serve(
    address: str,
    segments: str | None,
    hang: bool,
    shuffle: float,
    user: str,
    passphrase_file: str | None,
    **options: Any,
) -> None:
    """Serves a format at ADDRESS (HOST:PORT, or a path) until it is interrupted; prints the address first."""
    which = taken(options)
    fmt = choose(which, seeded(which))
    passphrase = passphrase_in(passphrase_file)
    users = {user: fmt.derivation.example if passphrase is None else passphrase}
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    behaviour = Behaviour(shuffle=shuffle)
    with ForeignServer(fmt, address, users=users, behaviour=behaviour, segmentation=segments, hangs=hang) as server:
        click.echo(format_address(server.address))
        click.echo(fmt.text(), err=True)
        stop.wait()


@main.command()
@with_options(WHICH)
@with_options(WHO)
@HOW
@click.option("--script", help="A file of datums to request (- for standard input); else the built-in script.")
@click.option("--demo", is_flag=True, help="The documented demo's traffic instead.")
@click.option("--connections", default=1, show_default=True, help="How many, one after the other.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for an answer.")
@click.argument("address")
def connect(
    address: str,
    script: str | None,
    demo: bool,
    connections: int,
    timeout: float,
    segments: str | None,
    user: str,
    passphrase_file: str | None,
    **options: Any,
) -> None:
    """Connects to ADDRESS and makes requests, one after the other; prints the result of each.

    The exit status is 1 if a connection was lost or an answer did not come.
    """
    which = taken(options)
    rng = seeded(which)
    fmt = choose(which, rng)
    click.echo(fmt.text(), err=True)
    datums = DEMO if demo else script_in(script, rng)
    lost = False
    for _ in range(connections):
        try:
            with ForeignClient(
                fmt, address, user=user, passphrase=passphrase_in(passphrase_file), segmentation=segments
            ) as client:
                for exchange in client.play(datums, timeout=timeout):
                    answer = exchange.answer
                    assert answer is not None
                    value = answer.value if answer.outcome != "answer" else from_bytes(write(answer.value, "chicken-5"))
                    click.echo(f"{answer.outcome}: {value}")
                    lost = lost or answer.outcome == "lost"
                client.wait_idle(timeout)
        except OSError as why:
            raise click.ClickException(str(why)) from None
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main(prog_name="python -m tests.support.foreign")
