"""How the egg is built: without a warning that means anything, and as something that can be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "chicken-reference"

PROGRAM = """
(import scheme (chicken base) (chicken format) bokbok bokbok-threads)
(define server
  (start-server "127.0.0.1:0" 5 (lambda (user) (passphrase->key "p")) #f (lambda (con x) (list (quote got) x)) #f))
(define con (open-connection! (server-addr server) "me" (passphrase->key "p") #f #f))
(printf "~S" (request! con '(1 "two" three)))
(close-connection! con)
(stop-server! server)
(wait-until-server-stopped server)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A build from scratch and an installation into a repository of its own: the repository, and what make said."""
    if shutil.which("csc") is None:
        pytest.skip("no `csc` here: install chicken-bin and libchicken-dev")
    folder = tmp_path_factory.mktemp("build")
    repository = folder / "repository"
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"BUILD={folder / 'b'}", f"REPOSITORY={repository}", "EGGS=none", "all", "install"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return repository, done.stdout


@pytest.mark.timeout(600)
def test_it_compiles_without_a_warning(built: tuple[Path, str]) -> None:
    assert "arning" not in built[1]


def test_it_is_usable_once_it_is_installed(built: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "use.scm").write_text(PROGRAM)
    own = subprocess.run(["chicken-install", "-repository"], capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        ["csi", "-q", "-s", str(tmp_path / "use.scm")],
        env=os.environ | {"CHICKEN_REPOSITORY_PATH": f"{built[0]}:{own}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == '(got (1 "two" three))', done.stderr


def test_the_sources_are_left_as_they_are(built: tuple[Path, str]) -> None:
    leftovers = [path for path in ROOT.glob("*") if path.suffix in (".o", ".so", ".c") or ".import." in path.name]
    assert leftovers == []
