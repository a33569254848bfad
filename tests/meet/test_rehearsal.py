"""A full rehearsal of the day of the real egg, with the stand-ins: as local programs, in containers, and by an
address."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok import service
from bokbok.sync import start_server
from bokbok.wire import INFERRED_1, get_profile, passphrase_to_key
from bokbok_interop.peers.base import Unavailable
from bokbok_interop.peers.engine import Engine, find_endpoint
from bokbok_meet.steps import step_names
from tests.chicken.conftest import find_chicken
from tests.support.stand_in_eggs import NAMES, build, build_image

WHOLE = 300
"""Seconds that a meeting with a stand-in may take, once the stand-in is built."""

NARROW = ("--case", "symmetry.callback*", "--transport", "unix")
"""A matrix of two cases, for the shorter rehearsals."""

pytestmark = pytest.mark.timeout(WHOLE + 600)


def meet(*words: str) -> tuple[int, str]:
    """Run the command. Returns its exit status and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "bokbok_interop", "meet", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WHOLE, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def steps_of(folder: Path) -> dict[str, Any]:
    """The result of each step."""
    steps: dict[str, Any] = json.loads((folder / "state.json").read_text())["steps"]
    return steps


def check_whole(folder: Path, name: str) -> None:
    """Check that every step is done, that the profile is foreign, and that both front ends spoke it in both roles."""
    assert {step: state["state"] for step, state in steps_of(folder).items()} == dict.fromkeys(step_names(), "done")
    profile = get_profile(str(folder / f"{name}.toml"))
    assert profile.name == name
    assert profile.framing != INFERRED_1.framing
    matrix = json.loads((folder / "matrix.json").read_text())
    assert not matrix["summary"]["failed"]
    passed = {
        (cell["client"], cell["server"], cell["security"]) for cell in matrix["cells"] if cell["outcome"] == "passed"
    }
    for ours in ("python-sync", "python-asyncio"):
        for security in ("secure", "insecure"):
            assert {(ours, name, security), (name, ours, security)} <= passed
    readme = (folder / "README.md").read_text()
    for file in (
        "secure.jsonl",
        "insecure.jsonl",
        "calibrate-secure.html",
        "matrix.html",
        f"{name}.toml",
        "versions.json",
    ):
        assert f"`{file}`" in readme
        assert (folder / file).stat().st_size > 0
    assert "failed" not in readme


@pytest.mark.parametrize("name", NAMES)
def test_with_local_programs(name: str, tmp_path: Path) -> None:
    find_chicken("chicken5")
    target = shlex.join(build(name).command("puppet"))
    words = (target, "--name", name, "--folder", str(tmp_path), *NARROW)
    begin = time.monotonic()
    status, said = meet(*words)
    assert status == 0, said
    assert time.monotonic() - begin < WHOLE
    check_whole(tmp_path, name)
    assert (tmp_path / "passphrase.txt").read_text().strip() not in said


def test_a_meeting_that_is_over_is_not_held_again(tmp_path: Path) -> None:
    find_chicken("chicken5")
    words = (shlex.join(build("lists").command("puppet")), "--name", "lists", "--folder", str(tmp_path), *NARROW)
    assert meet(*words)[0] == 0
    before = (tmp_path / "secure.jsonl").read_bytes()
    status, said = meet(*words, "--again", "our-client-secure")
    assert status == 0
    assert "record-secure: done before" in said
    assert "our-client-secure: our client speaks" in said
    assert (tmp_path / "secure.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_in_containers(name: str, tmp_path: Path) -> None:
    try:
        image = asyncio.run(build_image(Engine(find_endpoint()), name))
    except Unavailable as why:
        pytest.skip(str(why))
    begin = time.monotonic()
    status, said = meet(image, "--folder", str(tmp_path), "--chapter", "symmetry", "--transport", "tcp")
    assert status == 0, said
    assert time.monotonic() - begin < WHOLE
    check_whole(tmp_path, f"stand-in-{name}")


@pytest.mark.parametrize("security", ["secure", "insecure"])
def test_with_an_address_alone(security: str, tmp_path: Path) -> None:
    key = passphrase_to_key("a passphrase")
    lookup: Callable[[str], Any] | None = {"alice": key}.get if security == "secure" else None
    with start_server("127.0.0.1:0", service.handler(), user_to_key=lookup) as server:
        where = f"127.0.0.1:{server.address[2]}"
        words = [where, "--folder", str(tmp_path / "folder")]
        if security == "secure":
            (tmp_path / "pass").touch(0o600)
            (tmp_path / "pass").write_text("a passphrase\n")
            words += ["--user", "alice", "--passphrase-file", str(tmp_path / "pass")]
        status, said = meet(*words)
    assert status == 0, said
    other = "insecure" if security == "secure" else "secure"
    steps = steps_of(tmp_path / "folder")
    done = {step for step, state in steps.items() if state["state"] == "done"}
    assert done == {"versions", "script", f"calibrate-{security}", "profile", f"our-client-{security}"}
    assert "only the address of a server is known" in steps["record-secure"]["said"]
    assert f"the server is taken as {security}" in steps[f"calibrate-{other}"]["said"]
    assert get_profile(str(tmp_path / "folder" / "server.toml")).framing == INFERRED_1.framing
