"""What the tests of `chicken-reference/` share: the programs built once, puppets to steer, and peers of bare bytes.

Without a CHICKEN the tests are skipped and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chicken.driving import PATIENCE, Peer, Puppet

ROOT = Path(__file__).resolve().parents[2] / "chicken-reference"


def csc_version(csc: str | Path) -> str:
    """The version of the CHICKEN that a `csc` belongs to, "5.3.0"; empty if there is none that runs."""
    if shutil.which(csc) is None:
        return ""
    said = subprocess.run([csc, "-version"], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"Version (\d[\d.]*)", said)
    return found[1] if found else ""


def find_chicken(name: str) -> str | None:
    """The prefix of `chicken4`, None for the `chicken5` on PATH; a test that needs one that is not here is skipped."""
    if name == "chicken5":
        version = csc_version("csc")
        if not version.startswith("5."):
            here = f"the `csc` here is CHICKEN {version}" if version else "no `csc` here"
            pytest.skip(f"{here}: CHICKEN 5 comes with chicken-bin and libchicken-dev")
        return None
    prefix = os.environ.get("CHICKEN4")
    if not prefix:
        pytest.skip("CHICKEN4 does not name the prefix of a CHICKEN 4 (`make chicken4-check CHICKEN4=/prefix`)")
    return str(Path(prefix).resolve())


def _build(version: str, prefix: str | None, target: str) -> Path:
    options = [f"CHICKEN={version}"] + ([f"PREFIX={prefix}"] if prefix else [])
    folder = f"build/chicken{version}"
    done = subprocess.run(
        ["make", "-C", str(ROOT), *options, f"{folder}/{target}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return ROOT / folder / target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Seconds: the first test that needs a program waits for its compilation, which takes long on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "program" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session", params=["chicken5", "chicken4"])
def program(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Builds a program of `chicken-reference/` by its name, with each CHICKEN that is here. Returns its path."""
    prefix = find_chicken(request.param)
    version = request.param[-1]
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            built[name] = _build(version, prefix, name)
        return built[name]

    return build


@pytest.fixture(scope="session")
def chicken(program: Callable[[str], Path]) -> str:
    """`chicken5` or `chicken4`: what `program` builds with."""
    return program("puppet").parent.name


@pytest.fixture
def puppets(program: Callable[[str], Path]) -> Iterator[Callable[[], Puppet]]:
    """Starts puppets; at the end each must end by itself, with status 0."""
    started: list[Puppet] = []

    def start() -> Puppet:
        started.append(Puppet(program("puppet")))
        return started[-1]

    yield start
    statuses = [puppet.end() for puppet in started]
    assert statuses == [0] * len(started)


@pytest.fixture
def puppet(puppets: Callable[[], Puppet]) -> Puppet:
    return puppets()


@pytest.fixture
def peers() -> Iterator[Callable[[tuple[str, int] | str], Peer]]:
    """Connects peers to an address."""
    connected: list[Peer] = []

    def connect(where: tuple[str, int] | str) -> Peer:
        connected.append(Peer.to(where))
        return connected[-1]

    yield connect
    for peer in connected:
        peer.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket for a puppet's client to meet."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        yield listening
