"""Test vectors (`docs/vectors.md`): what CHICKEN writes and reads (`chicken-4.13.0`, `chicken-5.3.0`), what the dialect
`CHICKEN_4` writes (`chicken-4-dialect`), and complete conversations (`sessions`).

They come with the package, for the cases and for implementers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["RELEASES", "load_dialect", "load_lines", "load_sessions"]

RELEASES = ("4.13.0", "5.3.0")
"""The releases of CHICKEN that were recorded."""

_FOLDER = Path(__file__).parent


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def load_lines(release: str, kind: str) -> list[dict[str, Any]]:
    """What one release of CHICKEN writes (`kind` is `write`) or reads (`read`): one entry for each line of the file."""
    return _lines(_FOLDER / f"chicken-{release}" / f"{kind}.jsonl")


def load_dialect() -> list[dict[str, Any]]:
    """What the dialect `CHICKEN_4` writes, which is not that of a release: one entry for each line of the file."""
    return _lines(_FOLDER / "chicken-4-dialect" / "write.jsonl")


def load_sessions() -> list[list[dict[str, Any]]]:
    """Every recorded conversation: its header, then what each side does, in order."""
    sessions: list[list[dict[str, Any]]] = []
    for path in sorted((_FOLDER / "sessions").glob("*.jsonl")):
        for line in _lines(path):
            if "bokbok-session" in line:
                sessions.append([])
            sessions[-1].append(line)
    return sessions
