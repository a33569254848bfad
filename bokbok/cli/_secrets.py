"""Secrets on the command line: from files, descriptors and prompts; never from an argument or the environment.

This module knows the options that name a user and a secret (the commands of `interop` take them from here too), where a
passphrase or a key may come from, and what a users file looks like. No message of this module holds a secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from .._toml import tomllib
from ..errors import KeyFileError
from ..keys import Key, passphrase_to_key, read_key_file, read_passphrase_file, read_private_file
from ..wire import Limits, Profile
from ._exit import warn
from ._options import username

__all__ = [
    "UserSecret",
    "ask_passphrase",
    "most_keys",
    "passphrase_file_option",
    "passphrase_from_descriptor",
    "passphrase_from_file",
    "read_logins",
    "read_user_secret",
    "read_users",
    "to_key",
    "user_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])

_PASSPHRASE_LIMIT = 1 << 20  # bytes; as `read_passphrase_file`
_USERNAME_LIMIT = 255  # bytes; what a hello of `inferred-1` can carry
_MOST_KEYS = 8
"""Keys of one user: each hello, whoever says it, costs as many tries."""
_EXPECTED_ONE = 'expected NAME = "passphrase" or NAME = { key-file = "FILE" }'
_EXPECTED = f"{_EXPECTED_ONE}, or a list of those"
_EXPECTED_LOGIN = f'{_EXPECTED_ONE}, or NAME = {{ user = "other", passphrase = "…" }} or with key-file'


def passphrase_file_option(otherwise: str = "", prefix: str = "") -> Callable[[_F], _F]:
    """The option `--passphrase-file`; `otherwise` says in its help what happens without it."""
    return click.option(
        f"--{prefix}passphrase-file",
        metavar="FILE",
        help=f"The file that holds the passphrase, less one newline at its end; - for standard input.{otherwise}",
    )


def user_options(whose: str, prefix: str = "") -> Callable[[_F], _F]:
    """The options that name a user and the user's secret: `user`, `passphrase_file`, `key_file`.

    Args:
        whose: the help of `--user`, which says whose username it is.
        prefix: what stands in front of the options' names, such as `target-`.

    The command gives their values to `read_user_secret`.
    """

    def decorate(command: _F) -> _F:
        command = click.option(
            f"--{prefix}key-file", metavar="FILE", help="The file that holds the user's key, as bokbok key writes it."
        )(command)
        command = passphrase_file_option(
            f" With neither this nor --{prefix}key-file, the passphrase is asked for on the terminal.", prefix
        )(command)
        return click.option(f"--{prefix}user", metavar="NAME", help=whose)(command)

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


def read_user_secret(
    user: str | None, passphrase_file: str | None, key_file: str | None, prefix: str = ""
) -> UserSecret | None:
    """Read what `user_options` name, whose `prefix` this is. `None` without a user: the connection is insecure.

    Raises:
        click.UsageError: the options do not go together, or there is no terminal to ask for the passphrase on.
        KeyFileError: the file cannot be used.
    """
    if passphrase_file is not None and key_file is not None:
        raise click.UsageError(f"Give --{prefix}passphrase-file or --{prefix}key-file, not both.")
    if user is None:
        if passphrase_file is not None or key_file is not None:
            raise click.UsageError(f"A passphrase or key needs a --{prefix}user.")
        return None
    name = username(user)
    if key_file is not None:
        return UserSecret(name, key=read_key_file(key_file))
    if passphrase_file is not None:
        return UserSecret(name, passphrase_from_file(passphrase_file))
    asked = ask_passphrase(f"--{prefix}passphrase-file or --{prefix}key-file")
    return UserSecret(name, asked.encode("utf-8", "surrogateescape"))


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
        KeyFileError: what was typed is not text.
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
        raise KeyFileError("what was typed is not text in the terminal's encoding") from None
    return str(passphrase)


def most_keys(users: Mapping[str, Sequence[Key]], limits: Limits) -> Limits:
    """The limits, with room for as many keys as the user has who has most."""
    most = max((len(keys) for keys in users.values()), default=1)
    return dataclasses.replace(limits, keys_per_user=max(limits.keys_per_user, most))


def read_users(path: str, profile: Profile) -> dict[str, tuple[Key, ...]]:
    """Read a users file.

    Args:
        path: a TOML file of `name = "passphrase"` and `name = { key-file = "FILE" }`, FILE relative to its folder, and
            of lists of those, while a key is replaced by another.
        profile: how passphrases become keys.

    Returns:
        The keys by username.

    Raises:
        KeyFileError: it, or a key file that it names, cannot be used, or others than its owner can read it.
    """
    return {
        name: _user_keys(f"users file {path!r}: user {name!r}", path, name, entry, profile)
        for name, entry in _read_table(path, "users file", _EXPECTED).items()
    }


def read_logins(path: str, profile: Profile) -> dict[str, tuple[str, Key]]:
    """Read a target users file: as whom each user speaks to somebody else.

    Args:
        path: a TOML file as that of `read_users`; the entry may name another user, `name = { user = "other",
            passphrase = "…" }` or `name = { user = "other", key-file = "FILE" }`.
        profile: how passphrases become keys.

    Returns:
        The username and key there, by the username here.

    Raises:
        KeyFileError: as `read_users`.
    """
    logins: dict[str, tuple[str, Key]] = {}
    for name, entry in _read_table(path, "target users file", _EXPECTED_LOGIN).items():
        place, user = f"target users file {path!r}: user {name!r}", name
        if isinstance(entry, dict) and "user" in entry:
            user, entry = entry["user"], {key: value for key, value in entry.items() if key != "user"}
            if not isinstance(user, str):
                raise KeyFileError(f"{place}: {_EXPECTED_LOGIN}")
        if isinstance(entry, dict) and set(entry) == {"passphrase"} and isinstance(entry["passphrase"], str):
            entry = entry["passphrase"]
        logins[name] = user, _user_key(place, path, user, entry, profile, _EXPECTED_LOGIN)
    return logins


def _read_table(path: str, what: str, expected: str) -> dict[str, Any]:
    data = read_private_file(path, what)
    toml = tomllib()
    try:
        table: dict[str, Any] = toml.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{what} {path!r}: byte {error.start} of the file is not UTF-8; {expected}") from None
    except toml.TOMLDecodeError as error:
        raise KeyFileError(f"{what} {path!r}: not TOML: {_without_content(str(error))}; {expected}") from None
    except RecursionError:
        raise KeyFileError(f"{what} {path!r}: nested too deeply; {expected}") from None
    return table


def _without_content(problem: str) -> str:
    """A complaint of the TOML reader's, less the character of the file that some of them quote."""
    return re.sub(r"(character) '.*'", r"\1", problem, flags=re.DOTALL)


def _user_keys(place: str, path: str, name: str, entry: Any, profile: Profile) -> tuple[Key, ...]:
    if not isinstance(entry, list):
        return (_user_key(place, path, name, entry, profile, _EXPECTED),)
    if not 1 <= len(entry) <= _MOST_KEYS:
        raise KeyFileError(f"{place}: expected 1 to {_MOST_KEYS} keys in the list, got {len(entry)}")
    return tuple(_user_key(place, path, name, each, profile, _EXPECTED) for each in entry)


def _user_key(place: str, path: str, name: str, entry: Any, profile: Profile, expected: str) -> Key:
    """The key that an entry of a users file gives.

    Args:
        place: what errors begin with.
        path: the file, in whose folder key files are looked for.
        name: the username that will be sent.
        entry: a passphrase, or a table that names a key file.
        profile: how passphrases become keys.
        expected: what errors end with.
    """
    size = len(name.encode("utf-8"))
    most = min(profile.hello.max_username, _USERNAME_LIMIT)
    if size > most:
        raise KeyFileError(f"{place}: the name has {size} bytes; at most {most} can be sent")
    if isinstance(entry, str):
        if not entry:
            warn(f"{place}: the passphrase is empty")
        return passphrase_to_key(entry, derive=profile.key_derivation)
    if isinstance(entry, dict) and set(entry) == {"key-file"} and isinstance(entry["key-file"], str):
        try:
            return read_key_file(os.path.join(os.path.dirname(path), entry["key-file"]))
        except KeyFileError as error:
            raise KeyFileError(f"{place}: {error}") from None
    hint = ' (a name that holds a dot stands in quotes: "a.b" = …)' if isinstance(entry, dict) else ""
    raise KeyFileError(f"{place}: {expected}{hint}")
