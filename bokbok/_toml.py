"""The reader of TOML: `tomllib`, or `tomli` before Python 3.11; only imported when asked for, which is seldom."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["tomllib"]


def tomllib() -> Any:
    """The module."""
    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
