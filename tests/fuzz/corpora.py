"""The inputs that are kept: one file for each target, one input on each line, as Python writes bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

__all__ = ["FOLDER", "read", "write"]

FOLDER = Path(__file__).parent / "corpora"


def read(target: str) -> list[bytes]:
    """The inputs of a target."""
    path = FOLDER / f"{target}.txt"
    if not path.exists():
        return []
    return [ast.literal_eval(line) for line in path.read_text("ascii").splitlines()]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs, and no others."""
    lines = sorted({repr(each) for each in inputs}, key=lambda line: (len(line), line))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{target}.txt").write_text("".join(line + "\n" for line in lines), "ascii")
