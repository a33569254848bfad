"""`bokbok key`: from a passphrase to a key file.

What this module knows: where the passphrase comes from and where the key goes. The profile says how one becomes the
other.
"""

from __future__ import annotations

import click

from ..keys import write_key_file
from ..wire import Profile
from ._exit import CONTEXT, EPILOG, write_out
from ._options import profile_option
from ._secrets import ask_passphrase, passphrase_file_option, passphrase_from_descriptor, passphrase_from_file, to_key

__all__ = ["key"]


@click.command(short_help="Make a key file from a passphrase.", epilog=EPILOG, context_settings=CONTEXT)
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    help="Where the key goes: a new file that only its owner can read; - prints it.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there already.")
@passphrase_file_option()
@click.option("--passphrase-fd", type=click.IntRange(0), metavar="N", help="The same from an open file descriptor.")
@profile_option
def key(out: str, force: bool, passphrase_file: str | None, passphrase_fd: int | None, profile: Profile) -> None:
    """Make a key file from a passphrase: one line of 64 hexadecimal digits.

    The passphrase is asked for on the terminal, twice, unless a file or a descriptor is named. It is never an argument,
    which everyone on the machine could see.

    A key is as secret as its passphrase: anyone who has it can speak as the user. The key is one hash of the
    passphrase, so anyone who records a connection can try guesses: use a long random passphrase.

    \b
    Examples:
      bokbok key --out my.key
      head -c 32 /dev/urandom | base64 | bokbok key --passphrase-file - --out my.key
      pass bokbok/myuser | bokbok key --passphrase-fd 0 --out my.key
    """
    if passphrase_file is not None and passphrase_fd is not None:
        raise click.UsageError("Give --passphrase-file or --passphrase-fd, not both.")
    passphrase: str | bytes
    if passphrase_file is not None:
        passphrase = passphrase_from_file(passphrase_file)
    elif passphrase_fd is not None:
        passphrase = passphrase_from_descriptor(passphrase_fd)
    else:
        passphrase = ask_passphrase("--passphrase-file or --passphrase-fd", confirm=True)
    made = to_key(passphrase, profile)
    if out == "-":
        write_out(made.to_bytes().hex().encode("ascii") + b"\n")
    else:
        write_key_file(out, made, overwrite=force)
