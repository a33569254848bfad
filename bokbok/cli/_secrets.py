"""Secrets on the command line: from files, descriptors and prompts; never from an argument or the environment.

This module knows the options that name a user and a secret (the commands of `interop` take them from here too), where a
passphrase or a key may come from, and what a users file looks like. No message of this module holds a secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import KeyFileError
from ..keys import Key, passphrase_to_key, read_key_file, read_passphrase_file, read_private_file
from ..wire import Profile
from ._exit import warn
from ._options import username

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = [
    "UserSecret",
    "ask_passphrase",
    "passphrase_file_option",
    "passphrase_from_descriptor",
    "passphrase_from_file",
    "read_user_secret",
    "read_users",
    "to_key",
    "user_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])

_PASSPHRASE_LIMIT = 1 << 20  # bytes; as `read_passphrase_file`
_USERNAME_LIMIT = 255  # bytes; what a hello of `inferred-1` can carry
_EXPECTED = 'expected NAME = "passphrase" or NAME = { key-file = "FILE" }'


def passphrase_file_option(otherwise: str = "") -> Callable[[_F], _F]:
    """The option `--passphrase-file`; `otherwise` says in its help what happens without it."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        help=f"The file that holds the passphrase, less one newline at its end; - for standard input.{otherwise}",
    )


def user_options(whose: str) -> Callable[[_F], _F]:
    """The options that name a user and the user's secret: `user`, `passphrase_file`, `key_file`.

    Args:
        whose: the help of `--user`, which says whose username it is.

    The command gives their values to `read_user_secret`.
    """

    def decorate(command: _F) -> _F:
        command = click.option(
            "--key-file", metavar="FILE", help="The file that holds the user's key, as bokbok key writes it."
        )(command)
        command = passphrase_file_option(
            " With neither this nor --key-file, the passphrase is asked for on the terminal."
        )(command)
        return click.option("--user", metavar="NAME", help=whose)(command)

    return decorate


@dataclass(frozen=True)
class UserSecret:
    """A user with what the command line says of the secret: a passphrase or a key, never both."""

    user: str
    passphrase: bytes | None = field(default=None, repr=False)
    key: Key | None = None

    def to_key(self, profile: Profile) -> Key:
        """The user's key: as it was given, or what the profile makes of the passphrase."""
        if self.key is not None:
            return self.key
        assert self.passphrase is not None
        return to_key(self.passphrase, profile)


def read_user_secret(user: str | None, passphrase_file: str | None, key_file: str | None) -> UserSecret | None:
    """Read what `user_options` name. `None`: there is no user, so the connection is insecure.

    Raises:
        click.UsageError: the options do not go together, or there is no terminal to ask for the passphrase on.
        KeyFileError: the file cannot be used.
    """
    if passphrase_file is not None and key_file is not None:
        raise click.UsageError("Give --passphrase-file or --key-file, not both.")
    if user is None:
        if passphrase_file is not None or key_file is not None:
            raise click.UsageError("A passphrase or key needs a --user.")
        return None
    name = username(user)
    if key_file is not None:
        return UserSecret(name, key=read_key_file(key_file))
    if passphrase_file is not None:
        return UserSecret(name, passphrase_from_file(passphrase_file))
    return UserSecret(name, ask_passphrase("--passphrase-file or --key-file").encode("utf-8", "surrogateescape"))


def to_key(passphrase: str | bytes, profile: Profile) -> Key:
    """The key that a profile makes of a passphrase. An empty one is most likely a mistake: a warning says so."""
    if not passphrase:
        warn("the passphrase is empty")
    return passphrase_to_key(passphrase, derive=profile.key_derivation)


def passphrase_from_file(path: str) -> bytes:
    """A passphrase from a file, `-` for standard input. A warning says so when others can read the file.

    Raises:
        KeyFileError: it cannot be read.
    """
    if path == "-":
        return passphrase_from_descriptor(0)
    passphrase = read_passphrase_file(path)
    with contextlib.suppress(OSError):  # removed since
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            warn(f"passphrase file {path!r}: others than its owner have access (mode {mode:04o})")
    return passphrase


def passphrase_from_descriptor(descriptor: int) -> bytes:
    """A passphrase from an open file descriptor, up to its end, less one newline.

    Raises:
        KeyFileError: it cannot be read, or is longer than 1 MiB.
    """
    pieces = bytearray()
    try:
        while piece := os.read(descriptor, 1 << 16):
            pieces += piece
            if len(pieces) > _PASSPHRASE_LIMIT:
                raise KeyFileError(f"passphrase from descriptor {descriptor}: longer than {_PASSPHRASE_LIMIT} bytes")
    except OSError as error:
        raise KeyFileError(f"passphrase from descriptor {descriptor}: {error.strerror}") from None
    return bytes(pieces.removesuffix(b"\n"))


def ask_passphrase(instead: str, *, confirm: bool = False) -> str:
    """Ask for a passphrase on the terminal, without an echo.

    Args:
        instead: the options that would have said where to find it.
        confirm: whether it has to be typed twice.

    Raises:
        click.UsageError: there is no terminal to ask on.
        KeyFileError: what was typed is no text.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"Where is the passphrase? Give {instead}, or run this on a terminal to be asked.")
    try:
        passphrase = click.prompt(
            "Passphrase",
            hide_input=True,
            confirmation_prompt="Once more" if confirm else False,
            err=True,
        )
    except UnicodeError:
        raise KeyFileError("what was typed is no text in the terminal's encoding") from None
    return str(passphrase)


def read_users(path: str, profile: Profile) -> dict[str, Key]:
    """Read a users file.

    Args:
        path: a TOML file of `name = "passphrase"` and `name = { key-file = "FILE" }`, FILE relative to its folder.
        profile: how passphrases become keys.

    Returns:
        The keys by username.

    Raises:
        KeyFileError: it, or a key file that it names, cannot be used, or others than its owner can read it.
    """
    data = read_private_file(path, "users file")
    try:
        users = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise KeyFileError(f"users file {path!r}: no UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise KeyFileError(f"users file {path!r}: no TOML: {_without_content(str(error))}; {_EXPECTED}") from None
    except RecursionError:
        raise KeyFileError(f"users file {path!r}: nested too deeply; {_EXPECTED}") from None
    return {name: _user_key(path, name, entry, profile) for name, entry in users.items()}


def _without_content(problem: str) -> str:
    """A complaint of the TOML reader's, less the character of the file that some of them quote."""
    return re.sub(r"(character) '.*'", r"\1", problem, flags=re.DOTALL)


def _user_key(path: str, name: str, entry: Any, profile: Profile) -> Key:
    place = f"users file {path!r}: user {name!r}"
    size = len(name.encode("utf-8"))
    if size > _USERNAME_LIMIT:
        raise KeyFileError(f"{place}: the name has {size} bytes; at most {_USERNAME_LIMIT} can be sent")
    if isinstance(entry, str):
        if not entry:
            warn(f"{place}: the passphrase is empty")
        return passphrase_to_key(entry, derive=profile.key_derivation)
    if isinstance(entry, dict) and set(entry) == {"key-file"} and isinstance(entry["key-file"], str):
        try:
            return read_key_file(Path(path).parent / entry["key-file"])
        except KeyFileError as error:
            raise KeyFileError(f"{place}: {error}") from None
    hint = ' (a name that holds a dot stands in quotes: "a.b" = …)' if isinstance(entry, dict) else ""
    raise KeyFileError(f"{place}: {_EXPECTED}{hint}")
