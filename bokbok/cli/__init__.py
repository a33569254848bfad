"""The `bokbok` command: ask a peer, serve, make key files.

What this package knows: arguments, terminals, files of secrets, signals and exit statuses. It uses the public API of
`bokbok` and `bokbok.sync` like any other program.

`main` is the console script. A subcommand's module is imported when it is asked for, so that `bokbok --version` does
not pay for threads and logging. `decode` and `tap` belong to the conformance suite, of which nothing is imported
here: whoever has it installed has announced the commands by entry points.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from ._exit import CONTEXT, EPILOG, run, settle_stderr, warn

__all__ = ["cli", "main"]

_COMMANDS = ("call", "serve", "bridge", "key", "profile")
_ELSEWHERE = {
    "decode": "Explain a recording, byte by byte.",
    "tap": "Show what peers say to each other, live.",
}
"""Commands that are announced by an entry point of the group `bokbok.commands`, with their short help."""


class _Elsewhere(click.Command):
    """Stands for a command of the conformance suite, which is only loaded when it is run."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self._load(parent).make_context(info_name, args, parent, **extra)

    def _load(self, context: click.Context | None) -> click.Command:
        import importlib.metadata  # with a parser of e-mail, which takes longer than a request

        problem = "it is not installed"
        for entry_point in importlib.metadata.entry_points(group="bokbok.commands", name=str(self.name)):
            try:
                command = entry_point.load()
            except ModuleNotFoundError as error:
                problem = f"the Python package {str(error.name).partition('.')[0]!r} is not installed"
            else:
                assert isinstance(command, click.Command)
                return command
        raise click.UsageError(
            f"{self.name!r} is a command of the conformance suite, and {problem}: pip install 'bokbok[interop]'",
            context,
        )


def loaded(command: click.Command) -> click.Command:
    """The command itself, where this one only stands for one of the conformance suite.

    Raises:
        click.UsageError: the suite is not installed.
    """
    return command._load(None) if isinstance(command, _Elsewhere) else command


class _Lazy(click.Group):
    """A group whose commands live in modules of their own names, or elsewhere."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE:
            return _Elsewhere(cmd_name, short_help=_ELSEWHERE[cmd_name])
        if cmd_name not in _COMMANDS:
            return None
        with _collecting_nothing():
            command = getattr(importlib.import_module(f".{cmd_name}", __name__), cmd_name)
        assert isinstance(command, click.Command)
        return command


@contextlib.contextmanager
def _collecting_nothing() -> Iterator[None]:
    """While modules are imported: next to nothing of theirs is garbage, and the collector would look at all of it again
    and again, for a twenty-fifth of a whole `call`."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


_VERSION_HELP = "Show the version, and which implementation of the codec runs."


def _tell_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from .._native import description

        click.echo(f"bokbok, version {__version__}, codec: {description()}")
        ctx.exit()


@click.command(cls=_Lazy, epilog=EPILOG, context_settings=CONTEXT)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help=_VERSION_HELP)
def cli() -> None:
    """Speak with bokbok peers: secure, symmetrical s-expression RPC, as CHICKEN Scheme's bokbok egg has it.

    An ADDRESS is HOST:PORT ([::1]:80 for IPv6, :PORT for this machine or, to serve, for all addresses), or the PATH of
    a Unix socket. A DATUM is written as in Scheme.

    \b
    Examples:
      bokbok key --out my.key
      bokbok serve localhost:8000 --users users.toml
      bokbok call localhost:8000 --user myuser --key-file my.key '("ping" "12345")'
      bokbok call /run/my.socket < requests.scm > answers.scm
      bokbok bridge :8000 /run/inner.socket --users users.toml --target-profile old.toml
      bokbok tap :4445 server:4444 --user myuser --passphrase-file pass
      bokbok decode recording.jsonl --user myuser --key-file my.key
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit status. No traceback reaches the user.

    Args:
        args: the arguments; `None` for those of the process.
    """
    # At its end the interpreter looks for cycles among all that was ever imported: for a tenth of a whole `call`.
    atexit.register(gc.freeze)
    warnings.showwarning = lambda message, *_: warn(str(message))
    status = run(cli, args)
    settle_stderr()
    sys.exit(status)
