"""The day of the real egg by hand: the fences of docs/calibrating.md, played with a stand-in for the egg."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chicken.conftest import find_chicken
from tests.support.pages import blocks
from tests.support.stand_in_eggs import build

PAGE = Path(__file__).parents[2] / "docs" / "calibrating.md"
FENCES = ("(umask 077", "$egg service-server", "bokbok call")
LISTENS = """until grep -q ' 0100007F:{port:04X} 00000000:0000 0A ' /proc/net/tcp; do sleep 0.1; done
"""
"""Waits for a server, as a reader does who types the next line later. It does not connect: that would be recorded."""


def _free_ports(count: int) -> list[int]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in found]
    for sock in found:
        sock.close()
    return ports


@pytest.mark.timeout(900)
def test_the_day_of_the_real_egg_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_chicken("chicken5")
    egg = build("lists")
    commands = [
        f'{name}) exec {shlex.join(egg.command(name))} "$@" ;;' for name in ("service-server", "service-client")
    ]
    (tmp_path / "egg").write_text("\n".join(["#!/bin/sh", "name=$1", "shift", "case $name in", *commands, "esac", ""]))
    (tmp_path / "egg").chmod(0o755)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    fences = [block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.text.startswith(FENCES)]
    assert len(fences) == len(FENCES)
    script = "".join(fences).replace("\\\n", " ").replace("/w/pass", "pass")
    script = re.sub(r"(?m)^egg=.*", "egg=./egg", script)
    script = script.replace("wait %2; echo $?", "wait %2")  # its status is that of the line
    script = script.replace(",chicken4-egg@docker", " --case request.echo --transport unix")
    for port, free in zip((4444, 4445, 4446), _free_ports(3), strict=True):
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    script = re.sub(
        r"(?m)^(.*?127\.0\.0\.1:(\d+).*&)$", lambda line: line[1] + "\n" + LISTENS.format(port=int(line[2])), script
    )
    script = "set -em\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout
    assert '("pong" "12345")' in done.stdout
    assert (tmp_path / "egg.toml").is_file()
