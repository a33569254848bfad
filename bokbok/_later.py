"""Names of a package whose modules are imported when a name is first asked for.

A program pays for what it uses: a profile names one framing of four, and a client needs no server. A package's module
`__getattr__` calls `found`; type checkers see ordinary imports below `if TYPE_CHECKING`.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # for type checkers it is true; `typing` itself takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["found"]

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
