"""How the egg is built: without relevant warnings, and so that it can be installed and used."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chicken.conftest import ROOT, find_chicken
from tests.support.pages import blocks


@dataclass
class Installed:
    """A build from scratch, and an installation into its own repository."""

    said: str
    environment: dict[str, str]
    bin: str

    @property
    def use(self) -> str:
        """How a program of that CHICKEN names the egg."""
        return "(import bokbok)" if "CHICKEN_REPOSITORY_PATH" in self.environment else "(use bokbok)"

    def run(self, tool: str, *words: str | Path, folder: Path, stdin: str = "") -> str:
        """The output of a tool of that CHICKEN, or of a program."""
        command = [f"{self.bin}{tool}" if tool in ("csc", "csi") else str(folder / tool), *map(str, words)]
        done = subprocess.run(
            command, cwd=folder, env=self.environment, input=stdin, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["chicken5", "chicken4"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    prefix = find_chicken(request.param)
    folder = tmp_path_factory.mktemp("build")
    repository = folder / "repository"
    bin_ = f"{prefix}/bin/" if prefix else ""
    own = subprocess.run([f"{bin_}chicken-install", "-repository"], capture_output=True, text=True, check=True)
    if prefix:  # CHICKEN 4 looks into one repository only
        shutil.copytree(own.stdout.strip(), repository)
        environment = {"CHICKEN_REPOSITORY": str(repository)}
    else:
        environment = {"CHICKEN_REPOSITORY_PATH": f"{repository}:{own.stdout.strip()}"}
    options = [f"CHICKEN={request.param[-1]}", *([f"PREFIX={prefix}"] if prefix else ["EGGS=none"])]
    done = subprocess.run(
        ["make", "-C", str(ROOT), *options, f"BUILD={folder / 'b'}", f"REPOSITORY={repository}", "all", "install"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return Installed(done.stdout, os.environ | environment, bin_)


@pytest.mark.timeout(600)
def test_it_compiles_without_a_warning(installed: Installed) -> None:
    assert "arning" not in installed.said


@pytest.mark.timeout(600)
def test_the_installed_egg_passes_the_tests_that_it_brings_along(installed: Installed, tmp_path: Path) -> None:
    said = installed.run("csi", "-q", "-s", ROOT / "tests" / "run.scm", folder=tmp_path)
    assert said.count("ok: ") == 9


@pytest.mark.timeout(600)
def test_the_sources_are_left_as_they_are(installed: Installed) -> None:
    leftovers = [path for path in ROOT.glob("*") if path.suffix in (".o", ".so", ".c") or ".import." in path.name]
    assert leftovers == []


@pytest.mark.timeout(600)
def test_the_programs_for_calibrating_are_compiled_by_a_user_and_talk(installed: Installed, tmp_path: Path) -> None:
    for source in ("calibrate-client.scm", "calibrate-server.scm", "service.scm"):
        shutil.copy(ROOT / "calibrate" / source, tmp_path)
    for name in ("calibrate-client", "calibrate-server"):
        assert "arning" not in installed.run("csc", f"{name}.scm", folder=tmp_path)
    for name in ("calibrate-client", "calibrate-server"):
        bare = subprocess.run([tmp_path / name], env=installed.environment, capture_output=True, text=True, timeout=60)
        assert (bare.returncode, bare.stderr.split(" ")[:2]) == (2, ["usage:", name])
    (tmp_path / "pass").write_text("secret\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        [tmp_path / "calibrate-server", port, "alice", tmp_path / "pass"],
        env=installed.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on port {port}\n"
        script = '("ping" "1")\n("callback" 2 x)\n("fail" "no")\n("whoami")\n'
        words = (f"127.0.0.1:{port}", "alice", tmp_path / "pass")
        said = installed.run("calibrate-client", *words, folder=tmp_path, stdin=script)
    finally:
        server.terminate()
        server.wait(30)
        assert server.stdout is not None
        server.stdout.close()
    once = [
        '("ping" "1") => ("pong" "1")',
        '("callback" 2 x) => ((0 x) (1 x))',
        '("fail" "no"): failed: no',
        '("whoami") => "alice"',
    ]
    assert said.splitlines() == once * 2  # on two connections


@pytest.mark.timeout(600)
def test_the_programs_of_the_page_talk(installed: Installed, tmp_path: Path) -> None:
    page = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    server, client = (block.text for block in page if block.language == "scheme")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for name, text in (("server.scm", server), ("client.scm", client)):
        assert text.count("4444") == 1
        here = text.replace("4444", port).replace("(import bokbok)", installed.use)
        (tmp_path / name).write_text(here)
    csi = [f"{installed.bin}csi", "-q", "-s", "server.scm"]
    running = subprocess.Popen(
        csi, cwd=tmp_path, env=installed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", int(port))):
                break
            assert running.poll() is None
            time.sleep(0.1)
        said = installed.run("csi", "-q", "-s", "client.scm", folder=tmp_path)
        assert said == "(pong 12345)\n"
    finally:
        running.terminate()
        running.wait(30)
        assert running.stdout is not None
        running.stdout.close()


@pytest.mark.parametrize("variable", ["PREFIX", "BUILD"])
def test_a_space_in_a_path_is_named(variable: str) -> None:
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), f"{variable}=/a b"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert f'there is a space in {variable}, "/a b"' in done.stderr
