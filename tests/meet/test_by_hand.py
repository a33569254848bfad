"""The day of the real egg by hand: the fences of docs/calibrating.md, played with a stand-in for the egg.

The stand-in is an image, built and run by the page's own commands, or where there is no container engine, programs.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from bokbok_interop.peers.images import inspect_image
from tests.chicken.conftest import find_chicken
from tests.support.pages import blocks
from tests.support.stand_in_eggs import assemble, build

PAGE = Path(__file__).parents[2] / "docs" / "calibrating.md"
BUILD = "docker build"
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


def _play(folder: Path, fences: tuple[str, ...], *others: tuple[str, str], puppet: str) -> None:
    """Play fences of the page, with others of its words, free ports, and one case of the matrix."""
    page = [block.text for block in blocks(PAGE.read_text(encoding="utf-8"))]
    chosen = [text for text in page if text.startswith(fences)]
    assert len(chosen) == len(fences)
    script = "".join(chosen).replace("\\\n", " ")
    less = f" --peer 'egg={puppet}' --case request.echo --transport unix"
    status = ("wait %2; echo $?", "wait %2")  # the status of the line is that of the command
    for old, new in (*others, (",chicken4-egg@docker", less), status):
        assert old in script
        script = script.replace(old, new)
    for port, free in zip((4444, 4445, 4446), _free_ports(3), strict=True):
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    script = re.sub(
        r"(?m)^(.*?127\.0\.0\.1:(\d+).*&)$", lambda line: line[1] + "\n" + LISTENS.format(port=int(line[2])), script
    )
    script = "set -em\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert '("pong" "12345")' in done.stdout
    assert (folder / "egg.toml").is_file()


@pytest.fixture(autouse=True)
def _our_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


@pytest.mark.timeout(900)
def test_the_day_of_the_real_egg_by_hand(tmp_path: Path) -> None:
    find_chicken("chicken5")
    egg = build("lists")
    names = ("service-server", "service-client", "puppet")
    commands = [f'{name}) exec {shlex.join(egg.command(name))} "$@" ;;' for name in names]
    (tmp_path / "egg").write_text("\n".join(["#!/bin/sh", "name=$1", "shift", "case $name in", *commands, "esac", ""]))
    (tmp_path / "egg").chmod(0o755)
    run = '"docker run --rm -i --init --network host --user $(id -u) -v $PWD:/w bokbok/chicken4-egg"'
    _play(tmp_path, FENCES, (run, "./egg"), ("/w/pass", "pass"), puppet="./egg puppet")


@pytest.mark.timeout(1800)  # the image is built, where `make stand-in-images` has not done so
def test_the_day_of_the_real_egg_by_hand_with_its_image(client: Any, tmp_path: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command here")
    if inspect_image(client, "debian:bookworm-slim") is None:
        pytest.skip("there is no image debian:bookworm-slim here (`make base-image` makes it)")
    image = f"bokbok-test-{secrets.token_hex(4)}"
    assemble("lists", tmp_path / "chicken-reference")
    others = (
        (BUILD, f"DOCKER_BUILDKIT=0 {BUILD}"),
        (
            "--target chicken4-egg -t bokbok/chicken4-egg",
            f"-f chicken-reference/debian.Dockerfile --target chicken5-egg -t {image}",
        ),
        ("/w bokbok/chicken4-egg", f"/w {image}"),
    )
    try:
        _play(tmp_path, (BUILD, *FENCES), *others, puppet=f"docker:{image}")
    finally:
        for container in client.containers(filters={"ancestor": image}):
            client.remove_container(container["Id"], force=True)
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.remove_image(image, force=True)
