"""The digest of the project's code, by which two machines know that they have the same."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Any

from bokbok import __version__

__all__ = ["source_digest"]


@functools.cache
def source_digest(*packages: str) -> str:
    """SHA-256 of the Python files of some packages of the project, in hexadecimal digits."""
    whole = hashlib.sha256(__version__.encode())
    for package in packages:
        root = resources.files(package)
        for name, content in sorted(_files(root, package)):
            whole.update(name.encode() + hashlib.sha256(content).digest())
    return whole.hexdigest()


def _files(folder: Any, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files(entry, path)
        elif entry.name.endswith(".py"):
            yield path, entry.read_bytes()
