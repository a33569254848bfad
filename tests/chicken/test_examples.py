"""The egg's demo, client and server, as the examples that come with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.chicken.conftest import ROOT
from tests.support.command_lines import simple_commands
from tests.support.pages import blocks

BEGIN = "build/chicken5/bokbok-server"


def test_the_demo_pings_and_calls_back(program: Callable[[str], Path], tmp_path: Path) -> None:
    page = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    (fence,) = (block.text for block in page if block.text.startswith(BEGIN))
    server_name, client_name = (Path(words[0]).name for words in simple_commands(fence))
    path = str(tmp_path / "s")
    server = subprocess.Popen([program(server_name), path, "0.05"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f'listening at (unix "{path}")\n'
        client = subprocess.run(
            [program(client_name), path, "1"], capture_output=True, text=True, timeout=60, check=True
        )
        assert client.stdout == '("pong" "12345")\n#t\ncallback 1\ncallback 2\ncallback 3\n'
        assert server.stdout.readline() == f'myuser connected from (unix "{path}")\n'
        assert server.stdout.readline() == "myuser is gone\n"
    finally:
        server.terminate()
        server.wait(30)
        assert server.stdout is not None
        server.stdout.close()


def test_an_example_says_what_is_wrong_with_its_arguments(program: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("bokbok-client", "bokbok-server"):
        done = subprocess.run([program(name), tmp_path / "s", "soon"], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "SECONDS is a number" in done.stderr
