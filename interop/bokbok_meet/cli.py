"""The command `bokbok-interop meet`: options and exit statuses."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from .folder import Folder, FolderError
from .steps import Meeting, Options, step_names
from .target import TargetError, find_target

__all__ = ["meet"]


@click.command(
    short_help="Meet a real peer: find its format, speak it, play the matrix.",
    epilog="""\b
Exit status:
  0  no step failed (the output says what was left out)
  1  a step failed; the others were done as far as they do not need it
  2  the command line is wrong, or the folder belongs to another meeting

\b
Examples:
  bokbok-interop meet bokbok/chicken4-egg
  bokbok-interop meet chicken-reference/build/chicken4-real-egg/real-puppet
  bokbok-interop meet 192.0.2.1:4444 --user alice --passphrase-file pass
""",
)
@click.argument("target")
@click.option("--folder", metavar="DIR", help="The folder for all files.  [default: meeting-NAME]")
@click.option("--name", metavar="NAME", help="The peer's name; the profile gets it, too.")
@click.option("--user", default="myuser", show_default=True, help="With an address: a user who may connect there.")
@click.option("--passphrase-file", metavar="FILE", help="With an address: that user's passphrase. Without: insecure.")
@click.option("--again", type=click.Choice(step_names()), multiple=True, help="Redo this step, and those that need it.")
@click.option("--chapter", "chapters", metavar="NAME", multiple=True, help="In the matrix: only these chapters.")
@click.option("--case", "cases", metavar="GLOB", multiple=True, help="In the matrix: only cases whose id matches.")
@click.option("--transport", "transports", metavar="NAME", multiple=True, help="In the matrix: only this transport.")
def meet(
    target: str,
    folder: str | None,
    name: str | None,
    user: str,
    passphrase_file: str | None,
    again: tuple[str, ...],
    chapters: tuple[str, ...],
    cases: tuple[str, ...],
    transports: tuple[str, ...],
) -> None:
    """Meet TARGET: an image that contains its puppet, the command of a puppet, or the address of a server.

    Its own client and server talk through a recording relay, calibration finds the format, our peers speak it in both
    roles, and the matrix is played. Everything is kept in a folder that you can send to the project. A finished step is
    not repeated: run the command again to go on where it stopped. docs/calibrating.md has the same step by step.
    """
    try:
        found = find_target(target, name)
        kept = Folder(Path(folder or f"meeting-{found.name}"), target)
    except (TargetError, FolderError, OSError) as error:
        raise click.UsageError(str(error)) from None
    if found.address is None and passphrase_file is not None:
        raise click.UsageError(
            "--passphrase-file is for an address; a peer that is started gets a passphrase made for it"
        )
    matrix = [
        word
        for option, values in (("--chapter", chapters), ("--case", cases), ("--transport", transports))
        for value in values
        for word in (option, value)
    ]
    # The script asks for failures, so it is right that a handler of ours raises errors.
    logging.getLogger("bokbok").setLevel(logging.CRITICAL)
    meeting = Meeting(found, kept, Options(user, passphrase_file, matrix), click.echo)
    sys.exit(0 if meeting.run(again) else 1)
