"""A user's own strategies in a whole `run`: the option's file reaches the puppets, and its bytes reach the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.strategies import write_pieces


def test_a_file_of_strategies_reaches_the_puppets_of_a_run(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("pieces.py", "pieces.toml", "r.json")}
    write_pieces(tmp_path)
    words = ["--strategies", str(files["pieces.py"]), "--profile", str(files["pieces.toml"])]
    words += ["--peers", "python-sync,python-asyncio", "--case", "request.echo", "--case", "hostile.tampered"]
    words += ["--transport", "unix", "--json", str(files["r.json"])]
    # In a process of its own: a strategy that was registered stays.
    command = [sys.executable, "-m", "bokbok_interop", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(files["r.json"].read_text())
    passed = [cell for cell in document["cells"] if cell["outcome"] == "passed"]
    # The bytes of each show that it speaks this profile, as client and as server.
    assert {(cell["client"], cell["server"]) for cell in passed if cell["shown"]} == {
        ("python-sync", "python-sync"),
        ("python-sync", "python-asyncio"),
        ("python-asyncio", "python-sync"),
        ("python-asyncio", "python-asyncio"),
        ("runner", "python-sync"),
        ("runner", "python-asyncio"),
    }
