"""Limits on the command line: from a TOML file, and one by one.

What this module knows: how the fields of `Limits` are spelt and what kinds of numbers they take.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .._toml import tomllib
from ..errors import BokbokError
from ..wire import Limits

__all__ = ["LimitsError", "limits_options", "read_limits"]

_F = TypeVar("_F", bound=Callable[..., Any])

_FIELDS = {field.name.replace("_", "-"): field for field in dataclasses.fields(Limits)}
_MOST_BYTES = 1 << 20


class LimitsError(BokbokError):
    """Limits that cannot be used: a file, a name, a value."""


def limits_options(command: _F) -> _F:
    """The options `limits_file` and `limits_given`; the command gives their values to `read_limits`."""
    command = click.option(
        "--limit",
        "limits_given",
        multiple=True,
        metavar="NAME=VALUE",
        help="One limit, such as running=100; overrides --limits. May be given several times.",
    )(command)
    return click.option(
        "--limits",
        "limits_file",
        metavar="FILE",
        help="Limits: a TOML file with lines such as connections-per-address = 100.",
    )(command)


def read_limits(path: str | None, given: tuple[str, ...]) -> Limits:
    """Read the limits.

    Args:
        path: a TOML file of `name = number`, the names those of `Limits` with hyphens.
        given: `name=number` each; they override the file.

    Raises:
        LimitsError: the file cannot be read, or a name or a value is not one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        for name, value in _read_table(path).items():
            values |= _limit(f"limits file {path!r}", name, value)
    for text in given:
        name, _, value = text.partition("=")
        values |= _limit("--limit", name.strip(), _number(value.strip()))
    try:
        return Limits(**values)
    except ValueError as error:
        raise LimitsError(str(error)) from None


def _read_table(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise LimitsError(f"limits file {path!r}: expected {_MOST_BYTES} bytes at most; it is longer")
        table: dict[str, Any] = tomllib().loads(data.decode("utf-8"))
    except OSError as error:
        raise LimitsError(f"limits file {path!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML
        raise LimitsError(f"limits file {path!r}: not TOML: {error}") from None
    return table


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _limit(place: str, name: str, value: object) -> dict[str, Any]:
    field = _FIELDS.get(name)
    if field is None:
        raise LimitsError(f"{place}: unknown limit {name!r} (known: {', '.join(_FIELDS)})")
    seconds = "float" in str(field.type)
    if isinstance(value, bool) or not isinstance(value, (int, float) if seconds else int):
        expected = "a number of seconds" if seconds else "a whole number"
        raise LimitsError(f"{place}: limit {name}: expected {expected}, got {value!r}")
    if isinstance(value, float) and math.isnan(value):
        raise LimitsError(f"{place}: limit {name}: expected a number of seconds, got {value!r}")
    return {field.name: value}
