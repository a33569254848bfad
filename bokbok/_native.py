"""Where the accelerator is found: the package `bokbok-native`, which is optional.

It is used if it is installed and was made for this version of the library, unless the environment has
`BOKBOK_NATIVE=0`. Without it everything works the same, but more slowly: the Python code is the reference.
"""

from __future__ import annotations

import os
from typing import Any, Final

__all__ = ["ABSENT", "NATIVE", "description"]

_INTERFACE: Final = 6
"""What a `bokbok_native` says that is called as this version calls it."""


def _find() -> tuple[Any, str]:
    """The module, or `None`; and why it is `None`."""
    if os.environ.get("BOKBOK_NATIVE") == "0":
        return None, "left aside by BOKBOK_NATIVE=0"
    try:
        import bokbok_native
    except ImportError as error:
        return None, "not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded: {error}"
    if getattr(bokbok_native, "INTERFACE", None) != _INTERFACE:
        return None, "installed for another version of bokbok"
    return bokbok_native, ""


_FOUND: Final = _find()
NATIVE: Final = _FOUND[0]
"""The module `bokbok_native`, or `None`."""

ABSENT: Final = _FOUND[1]
"""Why it is not used, in a few words; empty if it is."""


def description() -> str:
    """Which implementation runs, in a few words: `native 0.1.0`, or `pure Python (bokbok-native is not installed)`."""
    if NATIVE is not None:
        return f"native {NATIVE.__version__}"
    return f"pure Python (bokbok-native {'is ' if ABSENT == 'not installed' else ''}{ABSENT})"
