"""The stand-in eggs of `tests/stand-in-eggs/`, built as programs or as images.

python -m tests.support.stand_in_eggs [NAME ...]     builds the images `bokbok/stand-in-NAME`
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bokbok_interop.peers.engine import Engine, find_endpoint
from bokbok_interop.peers.images import ImageSource, find_or_build

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests" / "stand-in-eggs"
NAMES = ("lists", "netstrings", "lines")
SHARED = ("peer.scm", "eggs.scm")


@dataclass(frozen=True)
class StandIn:
    """A stand-in egg that is installed in its own repository, and the programs that are built with it.

    Attributes:
        name: the name of its format.
        folder: where the programs are: `real-puppet`, `real-service-server`, `real-service-client`.
        environment: what the programs need to find the egg.
    """

    name: str
    folder: Path
    environment: dict[str, str]

    def program(self, name: str) -> Path:
        """The path of `puppet`, `service-server` or `service-client`."""
        return self.folder / f"real-{name}"

    def command(self, name: str) -> list[str]:
        """The words that start a program with its environment."""
        return ["env", *(f"{key}={value}" for key, value in self.environment.items()), str(self.program(name))]


@functools.cache
def build(name: str, prefix: str | None = None) -> StandIn:
    """Build a stand-in egg, unless it is up to date, with the CHICKEN 5 on PATH or the CHICKEN 4 under `prefix`."""
    version = "4" if prefix else "5"
    chicken = [f"CHICKEN={version}", *([f"PREFIX={prefix}"] if prefix else [])]
    folder = ROOT / "chicken-reference" / "build" / f"stand-in-{version}-{name}"
    repository = folder / "repository"
    own = _said(f"{prefix}/bin/chicken-install" if prefix else "chicken-install", "-repository")
    if prefix:  # CHICKEN 4 looks into one repository only
        shutil.copytree(own, repository, dirs_exist_ok=True)
        environment = {"CHICKEN_REPOSITORY": str(repository)}
    else:
        environment = {"CHICKEN_REPOSITORY_PATH": f"{repository}:{own}"}
    _make(*chicken, f"BUILD={folder}", f"EGG={SOURCES / name}.scm", f"REPOSITORY={repository}", "EGGS=none", "install")
    _make(*chicken, f"BUILD={folder}", f"EGG_VERSION=stand-in {name}", "real-egg", **environment)
    return StandIn(name, folder.with_name(folder.name + "-real-egg"), environment)


def _make(*words: str, **environment: str) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT / "chicken-reference"), *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def assemble(name: str, folder: Path) -> None:
    """Make the build context of an image: `chicken-reference/`, and the egg in it as `egg/`."""
    shutil.copytree(ROOT / "chicken-reference", folder, ignore=shutil.ignore_patterns("build", "*.so", "*.o"))
    egg = folder / "egg"
    egg.mkdir()
    for shared in SHARED:
        shutil.copy(SOURCES / shared, egg)
    shutil.copy(SOURCES / f"{name}.scm", egg / "bokbok.scm")
    (egg / "version").write_text(f"stand-in {name}\n")


async def build_image(engine: Engine, name: str) -> str:
    """Build the image of a stand-in egg, if it is not up to date. Returns its tag.

    Raises:
        Unavailable: it cannot be built here; the message says why.
    """
    source = ImageSource(f"bokbok/stand-in-{name}", ".", "debian.Dockerfile", "chicken5-egg")
    with tempfile.TemporaryDirectory() as parent:
        context = Path(parent) / "context"
        assemble(name, context)
        await find_or_build(engine, source, context, lambda text: print(text, file=sys.stderr))
    return source.tag


if __name__ == "__main__":
    for one in sys.argv[1:] or NAMES:
        print(asyncio.run(build_image(Engine(find_endpoint()), one)))
