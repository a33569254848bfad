"""The example of a user's own strategy in `docs/profiles.md`: its file and its profile, read from there."""

from __future__ import annotations

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[2] / "docs/profiles.md").read_text().partition("## A strategy of your own")[2]


def _block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)
    assert match is not None
    return match[1]


PIECES = _block("python")
PIECES_PROFILE = _block("toml")


def write_pieces(folder: Path) -> None:
    """Write both files, `pieces.py` and `pieces.toml`."""
    (folder / "pieces.py").write_text(PIECES)
    (folder / "pieces.toml").write_text(PIECES_PROFILE)
