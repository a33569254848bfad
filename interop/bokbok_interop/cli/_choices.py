"""Options that several commands share: peers, names, shards."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from bokbok.cli._options import guard_option, guards, profile_option_named, strategies_given
from bokbok.errors import ProfileError
from bokbok.wire import BrokenCryptographyWarning, Profile
from bokbok_workers.option import needing_dask, scheduler_option
from bokbok_workers.where import Where

from ..peers.base import Peer
from ..peers.known import KNOWN, PeerNameError, known_peers, peer_from_option
from ..runner import Runner, Settings
from ..spoken import Spoken

_F = TypeVar("_F", bound=Callable[..., Any])


def spoken_options(command: _F) -> _F:
    """The options that choose the format that all peers speak; for `chosen_format`."""
    command = guard_option("nonce-reuse")(command)
    return profile_option_named("--profile", "The wire format that all peers speak; puppets that can change are told")(
        command
    )


def chosen_format(profile: Profile, securities: Iterable[str], guards_off: tuple[str, ...]) -> Spoken:
    """The format that all peers must speak, from the options."""
    spoken = Spoken.of(profile, strategies_given())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", BrokenCryptographyWarning)
        try:
            spoken.check(securities, guards(guards_off))
        except ProfileError as error:
            remedy = "--no-guard nonce-reuse, or --security insecure where there is one"
            raise click.UsageError(f"--profile: {error} (here: {remedy})") from None
    for warning in warned:
        click.echo(f"warning: {warning.message}", err=True)
    return spoken


def choose_peers(names: str | None, given: Sequence[str]) -> dict[str, Peer]:
    """The peers to play, by name, in the order in which reports show them."""
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
                f"--peers: unknown peer {name!r} (known: {', '.join(known)}; --peer NAME=COMMAND adds one)"
            )
        chosen |= {each: known[each] for each in found}
        if names is not None and name in found:
            known[name].given = True
    chosen.update(extra)
    if not chosen:
        raise click.UsageError("no peer is left to play")
    return chosen


def pace_options(*, timeout: float, jobs: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--timeout` and `--jobs`, with these defaults."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--jobs",
            type=click.IntRange(min=1),
            default=jobs,
            show_default=True,
            metavar="N",
            help="Cells played at once. Some that only wait, while the machine has time, do not count.",
        )(command)
        return click.option(
            "--timeout",
            type=click.FloatRange(min=0.1),
            default=timeout,
            show_default=True,
            metavar="SECONDS",
            help="Time limit of one case, in addition to what the case itself asks for.",
        )(command)

    return decorate


long_option = click.option("--long", is_flag=True, help="Also play the long load cases: minutes instead of seconds.")
"""`--long`."""
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress, only the end.")
"""`--quiet`."""
play_option = scheduler_option("play", "--jobs is for each worker.")
"""`--scheduler`, for `runner_for`."""


def runner_for(peers: Mapping[str, Peer], settings: Settings, where: Where | None, given: Sequence[str]) -> Runner:
    """The runner: this process, or the workers of a scheduler.

    Args:
        peers: by name.
        settings: how to play.
        where: the scheduler, if there is one.
        given: those of the peers that the command line gave as `NAME=COMMAND`.

    Raises:
        click.UsageError: Dask is not installed.
    """
    if where is None:
        return Runner(peers, settings)
    with needing_dask():
        from ..fleet.scheduler import Fleet
    return Fleet(peers, settings, where, given)


def no_cell() -> click.UsageError:
    """The error of options that leave nothing to play."""
    return click.UsageError("no cell matches these filters (`bokbok-interop list` shows the cases)")


def check_names(option: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    out = tuple(part.strip() for name in names for part in name.split(",") if part.strip())
    for name in out:
        if name not in known:
            raise click.UsageError(f"{option}: unknown name {name!r} (known: {', '.join(known)})")
    return out


def parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
        raise click.UsageError(f"--shard: {text!r}; expected K/N with 1 ≤ K ≤ N, as 2/5")
    return int(number), int(of)
