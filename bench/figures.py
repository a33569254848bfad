"""Keeps what was measured in a file beside the page that shows it, with the machine, the versions and the date."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from contest import Spread

from bokbok._native import NATIVE

ROOT = Path(__file__).parent.parent


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def make(
    name: str, measure: Callable[[str], dict[str, Any]], parts: Iterable[str], out: Path | None, *, anew: bool
) -> str:
    """Measure, keep the figures in NAME.json, and write the page NAME.md.

    Args:
        name: the name of both.
        measure: measures one part.
        parts: which parts. None: only draw the page again.
        out: the folder; `None` for one that is removed at the end.
        anew: whether to forget earlier figures. Otherwise the other parts stay.

    Returns:
        The text that was written into the page.
    """
    import page  # it imports matplotlib, which takes longer than all the rest

    with tempfile.TemporaryDirectory() as folder:
        out = out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}.json"
        document = json.loads(path.read_text()) if path.exists() and not anew else {}
        for part in parts:
            told = about()
            document[part] = {"about": told, **measure(part)}
            told["load"].append(round(os.getloadavg()[0], 1))
            # After each part, so that figures survive a failure of a later part.
            path.write_text(json.dumps(document, default=_as_json, indent=1, ensure_ascii=False) + "\n")
        return page.write(name, json.loads(path.read_text()), out)


def _as_json(value: Any) -> Any:
    assert isinstance(value, Spread)
    return [float(f"{number:.5g}") for number in (value.median, value.low, value.high)]


def about() -> dict[str, Any]:
    """The machine, the versions, the date, and how busy the machine was."""
    packages = {}
    accelerator = ["bokbok-native"] if NATIVE is not None else []
    for name in ("bokbok", *accelerator, "PyNaCl", "uvloop", "pyzmq", "msgpack", "Pyro5", "sexpdata"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%-d %B %Y, %H:%M UTC"),
        "machine": f"{len(os.sched_getaffinity(0))} cores of {_processor()}, Linux {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "load": [round(os.getloadavg()[0], 1)],
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
