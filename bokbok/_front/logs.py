"""The library's logs, which are looked up when there is something to tell.

`logging` takes a twentieth of a whole `bokbok call` to import, and most connections have nothing to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DEBUG", "ERROR", "INFO", "WARNING", "Log", "before_first"]

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
"""Levels, as `logging` has them."""

_to_do: list[Callable[[], object]] = []


def before_first(configure: Callable[[], object] | None) -> None:
    """Have a program's `logging` configured, once, before anything is looked up here; `None`: that was done."""
    _to_do[:] = [configure] if configure is not None else []


class Log:
    """Has what the `logging.Logger` of its name has.

    Args:
        name: of the logger.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        for configure in tuple(_to_do):  # first, so that no other thread is ahead of it; twice does no harm
            configure()
        _to_do.clear()
        value = getattr(logging.getLogger(self.name), attribute)
        if callable(value):  # looked up once; a level may change
            setattr(self, attribute, value)
        return value
