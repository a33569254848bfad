"""The folder of a meeting: its files, and which steps are done, so that a run continues an earlier one."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

__all__ = ["DONE", "FAILED", "LEFT_OUT", "Folder", "FolderError"]

DONE, FAILED, LEFT_OUT = "done", "failed", "left out"

_FORMAT = 1


class FolderError(ValueError):
    """The folder belongs to another meeting, or its state cannot be read."""


class Folder:
    """The files of one meeting.

    Args:
        path: the folder. It is made if it does not exist.
        target: the peer that is met: a folder belongs to one target.

    Raises:
        FolderError: it belongs to another target, or its `state.json` cannot be read.
        OSError: it cannot be made or written.
    """

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._state: dict[str, Any] = {"bokbok-meet": _FORMAT, "target": target, "steps": {}}
        file = path / "state.json"
        if file.exists():
            try:
                state = json.loads(file.read_text(encoding="utf-8"))
                before = state["target"] if state["bokbok-meet"] == _FORMAT else None
            except (ValueError, KeyError, TypeError):
                raise FolderError(f"{str(file)!r} cannot be read; give another --folder, or remove it") from None
            if before != target:
                raise FolderError(
                    f"{str(path)!r} belongs to a meeting with {before!r}, not with {target!r}; give another --folder"
                )
            self._state = state

    def file(self, name: str) -> Path:
        """The path of a file in it."""
        return self.path / name

    def write(self, name: str, text: str) -> None:
        """Write a file in it."""
        self.file(name).write_text(text, encoding="utf-8", errors="surrogateescape")

    def state_of(self, step: str) -> dict[str, str]:
        """What is known about a step: `state` (`done`, `failed`, `left out`) and `said`; empty before it was tried."""
        found: dict[str, str] = self._state["steps"].get(step, {})
        return found

    def note(self, step: str, state: str, said: str) -> None:
        """Note the result of a step."""
        self._state["steps"][step] = {"state": state, "said": said}
        self.write("state.json", json.dumps(self._state, indent=1) + "\n")

    def forget(self, step: str) -> None:
        """Forget the result of a step, so that it is done again."""
        self._state["steps"].pop(step, None)

    def passphrase(self) -> str:
        """The meeting's own passphrase. It is random, and made on first use, so that it can be sent."""
        file = self.file("passphrase.txt")
        if not file.exists():
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
                out.write(f"throw-away-{secrets.token_hex(16)}\n")
        return file.read_text(encoding="ascii").strip()
