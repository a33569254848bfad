"""The README.md of a meeting's folder: the peer, the result of each step, what is in the folder, what is open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .folder import DONE

if TYPE_CHECKING:
    from .steps import Meeting

__all__ = ["text"]

_FILES = {
    "versions.json": "the versions of the peer and of this project",
    "script.txt": "the requests that were played",
    "passphrase.txt": "the passphrase of the recordings, made for this meeting alone",
    "secure.jsonl": "the recording of secure connections",
    "insecure.jsonl": "the recording of insecure connections",
    "calibrate-secure.html": "how the format of secure connections was found",
    "calibrate-insecure.html": "how the format of insecure connections was found",
    "matrix.html": "the matrix",
    "matrix-secure.html": "the matrix of secure connections",
    "matrix-insecure.html": "the matrix of insecure connections",
    "state.json": "the result of each step",
}


def text(meeting: Meeting, steps: Sequence[tuple[str, str]]) -> str:
    """The file's text.

    Args:
        meeting: after its steps were tried.
        steps: the name of each step, and what it does.
    """
    folder, lines = meeting.folder, [f"# A meeting with {meeting.target.text}", ""]
    lines += ["| step | what it does | result |", "|---|---|---|"]
    for name, what in steps:
        state = folder.state_of(name)
        lines.append(f"| {name} | {what} | {state.get('state', 'not tried')}: {_cell(state.get('said', ''))} |")
    lines += ["", "## In this folder", ""]
    names = [*_FILES, *(path.name for path in sorted(folder.path.glob("*.toml")))]
    lines += [f"- `{name}`: {_FILES.get(name, 'a profile')}" for name in names if folder.file(name).exists()]
    if meeting.target.address is not None and meeting.options.passphrase_file is not None:
        lines += [
            "",
            "The passphrase of the recordings was given, and is not in the folder. Do not send one that is in use.",
        ]
    lines += ["", "## Still open", ""]
    still = list(dict.fromkeys(_open(meeting, [name for name, _ in steps])))
    lines += [f"- {one}" for one in still] or ["Nothing that a step of this meeting could show."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _open(meeting: Meeting, steps: Sequence[str]) -> Iterator[str]:
    """What is not known yet: steps that are not done, questions that calibration leaves open, cells that failed."""
    for name in steps:
        state = meeting.folder.state_of(name)
        if state.get("state") != DONE:
            yield f"{name}: {state.get('state', 'not tried')}: {_cell(state.get('said', ''))}"
    for security in ("secure", "insecure"):
        found = meeting.calibrated(security)
        for kind in ("apart", "open", "not-shown", "never-shown"):
            for one in found.get(kind, ()):
                yield f"{'' if kind == 'never-shown' else security + ' connections: '}{_cell(str(one))}"
    for path in sorted(meeting.folder.path.glob("matrix*.json")):
        yield from _failed(path)


def _failed(path: Path) -> Iterator[str]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return
    counted: dict[str, int] = {}
    for cell in cells:
        if cell["outcome"] == "failed":
            counted[cell["case"]] = counted.get(cell["case"], 0) + 1
    for case, count in counted.items():
        yield f"{path.stem}: {case} failed in {count} cells"
