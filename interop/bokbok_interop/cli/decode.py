"""`bokbok-interop decode`: shows a recording, byte by byte."""

from __future__ import annotations

import json
import sys

import click

from bokbok.cli._options import profile_option
from bokbok.cli._secrets import read_user_secret, user_options
from bokbok.errors import BokbokError
from bokbok.keys import Key
from bokbok.wire import Profile
from bokbok_traffic.capture import CaptureError, read_capture

from ..dump import explain
from ..report import terminal
from ..report.screen import Screen
from ._exit import EXIT_FAILED


@click.command(
    epilog="Exit status: 0; 1 if something in the recording was not explained; 2 for a file that is not a recording."
)
@click.argument("capture", metavar="CAPTURE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@user_options("Who said hello.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def decode(
    capture: str,
    user: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    profile: Profile,
    as_json: bool,
) -> None:
    """Show a recording as the annotated conversation: each byte with its layer, boxes opened.

    CAPTURE is a recording by the runner, or by any other program that writes the format (`-`: standard input). Without
    a user it is read as an insecure conversation.
    """
    secrets: dict[str, Key] = {}
    try:
        secret = read_user_secret(user, passphrase_file, key_file)
        if secret is not None:
            secrets[secret.user] = secret.to_key(profile)
        with click.open_file(capture, encoding="utf-8") as lines:
            recorded = read_capture(lines)
    except (BokbokError, CaptureError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from None
    packets = explain(recorded, profile, secrets)
    if as_json:
        click.echo(json.dumps(packets, ensure_ascii=False, indent=1))
    else:
        terminal.print_dump(Screen(), packets)
    sys.exit(EXIT_FAILED if any(packet["problem"] for packet in packets) else 0)
