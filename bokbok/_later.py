"""What is made when it is first asked for: names of a package, with the modules that have them; regular expressions.

A program pays for what it uses: a profile names one framing of four, and a client needs no server. A package has its
`__getattr__` and `__dir__` from `lazily`, out of the sight of type checkers, which see ordinary imports below
`if TYPE_CHECKING` and so know every name.

A regular expression takes 0.1 to 3 ms to compile, and most of those of this library are for what is rare.
"""

from __future__ import annotations

import importlib
import re
import sys

TYPE_CHECKING = False  # for type checkers it is true; `typing` itself takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["found", "lazily", "pattern"]

_NONE: Mapping[str, Sequence[str]] = {}


def found(
    package: str,
    name: str,
    where: Mapping[str, Sequence[str]],
    tables: Mapping[str, Sequence[str]] = _NONE,
) -> Any:
    """The attribute of a package that is asked for. From then on it is an ordinary one.

    Args:
        package: the package's name.
        name: of the attribute.
        where: the names in each of its modules.
        tables: names of tuples, and which of those names each of them holds.

    Raises:
        AttributeError: it does not have that name.
    """
    value: Any
    if name in tables:
        value = tuple(getattr(sys.modules[package], each) for each in tables[name])
    else:
        for module, names in where.items():
            if name in names:
                value = getattr(importlib.import_module(f".{module}", package), name)
                break
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
    setattr(sys.modules[package], name, value)
    return value


def lazily(
    package: str, names: Sequence[str], where: Mapping[str, Sequence[str]], tables: Mapping[str, Sequence[str]] = _NONE
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its name.
        names: all its public names; tools that look for them ask `dir`.
        where: see `found`.
        tables: see `found`.
    """

    def look_up(name: str) -> Any:
        return found(package, name, where, tables)

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return look_up, list_names


class _Pattern:
    """`re.compile`, which is put off until something is looked for. Each method of the compiled pattern is looked up
    once, and is then an attribute like any other."""

    def __init__(self, text: Any, flags: int = 0) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    from re import compile as pattern
else:
    pattern = _Pattern
