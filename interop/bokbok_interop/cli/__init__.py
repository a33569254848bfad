"""The command `bokbok-interop`: options, exit statuses, and which report goes where.

There is one module for each command, which is imported when the command runs. Modules with an underscore have what
several commands share.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
from typing import Any

import click

from bokbok.cli._exit import CONTEXT, settle_stderr
from bokbok.cli._exit import run as run_command

__all__ = ["main"]

_OWN = {
    "run": "bokbok_interop.cli.run:run",
    "check": "bokbok_interop.cli.check:check",
    "list": "bokbok_interop.cli.list:list_cases",
    "merge": "bokbok_interop.cli.merge:merge",
    "diff": "bokbok_interop.cli.diff:diff",
    "html": "bokbok_interop.cli.html:html",
    "decode": "bokbok_interop.cli.decode:decode",
    "tap": "bokbok_interop.cli.tap:tap",
    "clean": "bokbok_interop.cli.clean:clean",
}
"""Where each command is. Entry points of the group `bokbok_interop.commands` add others (`calibrate`)."""


def _commands() -> dict[str, str]:
    others = importlib.metadata.entry_points(group="bokbok_interop.commands")
    return _OWN | {entry_point.name: entry_point.value for entry_point in others}


class _Lazy(click.Group):
    """A group whose commands are imported on demand."""

    def main(self, *args: Any, standalone_mode: bool = True, **more: Any) -> Any:
        """As in click. When run as a program, every error is one line on standard error, and an exit status."""
        if not standalone_mode:
            inherited: Any = super().main
            return inherited(*args, standalone_mode=False, **more)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # if its encoding lacks this character
        status = run_command(self, args[0] if args else more.get("args"), name="bokbok-interop")
        settle_stderr()
        sys.exit(status)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module, _, attribute = _commands().get(cmd_name, "").partition(":")
        if not module:
            return None
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings=CONTEXT)
@click.version_option(package_name="bokbok", prog_name="bokbok-interop")
def main() -> None:
    """Check whether a bokbok peer, in any language, behaves as the API reference says, with every other peer."""
    # asyncio logs writes to connections that have gone, and errors that nobody waited for because their case was over.
    # Here such things are what a case is about, or are in its evidence.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
