"""The forms of the puppet protocol: lines, features, and answers for exceptions."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from typing import Any

from bokbok import Key, __version__, passphrase_to_key
from bokbok.errors import BokbokError, NetworkError, RemoteError, WriteError
from bokbok.sexpr import CHICKEN_5, Dotted, Symbol, dumps, loads
from bokbok.wire import Profile
from bokbok.wire.profile import load_strategies, read_profile

from ..peers.base import has_ipv6

__all__ = [
    "address_datum",
    "hello",
    "parse",
    "refusal",
    "start_logging",
    "told_profile",
    "users_table",
    "write_line",
]


def features(profile: Profile) -> list[Any]:
    """The features of this library, and what it speaks now."""
    names = ["puppet-1", "profiles", "rendezvous", "shared-hellos", "tcp", "unix", *(["ipv6"] if has_ipv6() else [])]
    names += ["secure", "insecure", "port-0", "reference", "profile", "hardening"]
    return [
        *map(Symbol, names),
        [Symbol("dialect"), Symbol(profile.dialect.name)],
        [Symbol("profile"), Symbol(profile.name)],
    ]


def hello(name: str, profile: Profile) -> list[Any]:
    """The answer to `hello`."""
    return [Symbol("ok"), name, __version__, features(profile)]


def told_profile(text: str, files: Any) -> Profile:
    """The profile of the command `profile`. Its files are executed: the runner only sends them if an option says so.

    Args:
        text: that of a profile file.
        files: the datum, a list of `("name.py" . "text")`.

    Raises:
        ValueError: the datum has another form.
        ProfileError: the text is not a valid profile.
    """
    with tempfile.TemporaryDirectory(prefix="bokbok-") as folder:
        paths = []
        for entry in files:
            match entry:
                case Dotted(items=[str(name)], tail=str(code)) if name == os.path.basename(name) != "":
                    paths.append(os.path.join(folder, name))
                    with open(paths[-1], "w", encoding="utf-8", errors="surrogateescape") as file:
                        file.write(code)
                case _:
                    raise ValueError('FILES is a list of ("name.py" . "text")')
        load_strategies(paths)
    return read_profile(text)


def parse(line: bytes) -> tuple[int, str, list[Any]]:
    """A command line: its number, verb and arguments.

    Raises:
        ValueError: the line is not a command.
    """
    match loads(line):
        case [int(number), verb, *arguments] if isinstance(verb, Symbol):
            return number, verb.value(), arguments
    raise ValueError(f"not a command: {line[:200]!r}; expected (NUMBER VERB ARGUMENT …)")


def write_line(datum: list[Any]) -> bytes:
    """One line of output.

    An answer may contain values that this library's own dialect cannot write (`1/2`, an integer beyond 63 bits, which
    CHICKEN 5 sends). Then the line is written in CHICKEN 5's dialect, which the runner reads as well.
    """
    try:
        return dumps(datum) + b"\n"
    except WriteError:
        return dumps(datum, dialect=CHICKEN_5) + b"\n"


def users_table(users: Any, profile: Profile) -> dict[str, Key | None] | None:
    """The USERS of `listen`: `None` for `#f`, else each user's key, or `None` for one who may not connect.

    Args:
        users: the datum.
        profile: how passphrases become keys.

    Raises:
        ValueError: it is neither.
    """
    if users is False:
        return None
    table: dict[str, Key | None] = {}
    for entry in users:
        match entry:
            case Dotted(items=[str(user)], tail=str(passphrase)):
                table[user] = passphrase_to_key(passphrase, profile=profile)
            case Dotted(items=[str(user)], tail=False):
                table[user] = None
            case _:
                raise ValueError("USERS is #f or a list of (USER . PASSPHRASE)")
    return table


def address_datum(address: tuple[Any, ...]) -> list[Any]:
    """An address of the library as the puppet protocol writes it."""
    if address[0] == "unix":
        return [Symbol("unix"), address[1]]
    return [Symbol("tcp"), False if address[1] is None else address[1], address[2]]


def refusal(error: Exception) -> list[Any]:
    """The answer for an exception."""
    if isinstance(error, RemoteError):
        return [Symbol("remote-error"), error.message]
    if isinstance(error, NetworkError | OSError):
        return [Symbol("network-error"), _text(error)]
    if isinstance(error, BokbokError | ValueError | TypeError | KeyError):
        return [Symbol("invalid"), _text(error)]
    raise error


def _text(error: Exception) -> str:
    # Any message of an exception must fit on the line: only those lone surrogates that stand for bytes.
    return (str(error) or type(error).__name__).encode("utf-8", "backslashreplace").decode()


def start_logging() -> None:
    """Log to standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(relativeCreated)9.0f ms %(levelname)s %(name)s: %(message)s"
    )
