"""What a reader has who installs something: packages, and a shell without this project's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import client

__all__ = ["client"]

ROOT = Path(__file__).parents[2]


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: this project's, and those of others that the pages install or need to build."""
    folder = tmp_path_factory.mktemp("wheels")
    others = ("pytest>=8", "hatchling>=1.21", "editables", "maturin>=1.9,<2")
    if (done := _pip("wheel", "-q", "--wheel-dir", str(folder), *others)).returncode:
        pytest.skip(f"pip gets no packages here: {done.stdout.strip().splitlines()[-1]}")
    done = _pip("wheel", "-q", "--wheel-dir", str(folder), "--find-links", str(folder), ".[interop]")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def bare(wheels: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader whose home is `tmp_path`, who has a Python and gets the rest from `wheels`."""
    ours = Path(sys.executable).parent
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != ours]
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    return {
        "PATH": os.pathsep.join([str(base), *path]),
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
