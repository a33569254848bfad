"""The peers that come with the project, and peers of the command line.

What this module knows: names, commands, and where the project's own puppets are built.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from .base import Peer, Unavailable
from .docker import DockerPeer
from .images import ImageSource
from .local import LocalPeer

__all__ = ["KNOWN", "ChickenPeer", "PeerNameError", "find_root", "known_peers", "peer_from_option"]

KNOWN = ("python-sync", "python-asyncio", "chicken5", "minimal")
"""Played by default."""

BUILD_SECONDS = 600


class PeerNameError(ValueError):
    """An unknown peer, or a `--peer` that is not `NAME=COMMAND`."""


def find_root() -> Path | None:
    """The checkout that contains this package, or `None` if the package is installed elsewhere."""
    for folder in (Path(__file__).resolve().parents[3], Path.cwd()):
        if (folder / "chicken-reference").is_dir():
            return folder
    return None


@contextlib.asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    """Hold a lock, so that no other process builds there: workers of one machine may share a checkout."""
    with open(folder / "Makefile", "rb") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock


class ChickenPeer(LocalPeer):
    """A puppet of `chicken-reference/`, built when it is missing or older than its sources.

    Args:
        name: its name in the matrix.
        target: the target of the Makefile there.
        built: the puppet, relative to `chicken-reference/`.
        variable: an environment variable that may name a built puppet instead.
        compiler: what is needed to build it, for the reason when it is absent.
        hint: how to get the compiler.
    """

    def __init__(self, name: str, target: str, built: str, variable: str, compiler: str, hint: str) -> None:
        super().__init__(name, [built])
        self.target = target
        self.built = built
        self.variable = variable
        self.compiler = compiler
        self.hint = hint

    async def prepare(self) -> None:
        """See `Peer.prepare`."""
        if given := os.environ.get(self.variable):
            self.command = [given]
            try:
                await super().prepare()
            except Unavailable as error:
                raise Unavailable(f"{self.variable} says {given!r}, but {error}") from None
            return
        root = find_root()
        if root is None:
            raise Unavailable(f"chicken-reference/ is not here, and {self.variable} names no puppet")
        folder = root / "chicken-reference"
        puppet = folder / self.built
        self.command = [str(puppet)]
        if puppet.exists() and os.access(puppet, os.X_OK) and not _older(puppet, folder):
            return
        if shutil.which(self.compiler) is None:
            raise Unavailable(f"{self.compiler} is not installed: {self.hint}")
        if shutil.which("make") is None:
            raise Unavailable("make is not installed: apt-get install make")
        async with _locked(folder):
            if not puppet.exists() or _older(puppet, folder):  # another process may have built it in the meantime
                await self._build(folder)
        if not puppet.exists():
            raise Unavailable(f"`make -C {folder} {self.target}` succeeded and left no {self.built}")

    async def _build(self, folder: Path) -> None:
        words = ["make", "-C", str(folder), *([self.target] if self.target else [])]
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), BUILD_SECONDS)
        except asyncio.TimeoutError:
            raise Unavailable(f"`{' '.join(words)}` took longer than {BUILD_SECONDS} seconds") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                await process.wait()
        if process.returncode:
            lines = output.decode("utf-8", "replace").strip().splitlines()[-6:]
            raise Unavailable(
                f"`{' '.join(words)}` failed with status {process.returncode}: {' / '.join(lines)[-600:]}"
            )


class ExamplePeer(LocalPeer):
    """The example implementation in `interop/examples/`: only a checkout has it."""

    async def prepare(self) -> None:
        """See `Peer.prepare`."""
        root = find_root()
        puppet = root / "interop" / "examples" / self.name / "puppet.py" if root is not None else None
        if puppet is None or not puppet.exists():
            raise Unavailable(
                f"interop/examples/{self.name} is not here: the installed package does not have it, a checkout does"
            )
        self.command = [sys.executable, str(puppet)]


class Chicken4Peer(LocalPeer):
    """A puppet that was built with CHICKEN 4, which package registries do not have: `BOKBOK_CHICKEN4` names it."""

    async def prepare(self) -> None:
        """See `Peer.prepare`."""
        given = os.environ.get("BOKBOK_CHICKEN4")
        if not given:
            raise Unavailable(
                "BOKBOK_CHICKEN4 names no puppet (`make chicken4-check CHICKEN4=/prefix` builds and plays one)"
            )
        self.command = [given]
        await super().prepare()


IMAGES = {
    "python-sync@docker": (ImageSource("bokbok/python", "."), "python-sync"),
    "python-asyncio@docker": (ImageSource("bokbok/python", "."), "python-asyncio"),
    "chicken5@docker": (ImageSource("bokbok/chicken5", "chicken-reference", "debian.Dockerfile"), ""),
    "chicken4@docker": (ImageSource("bokbok/chicken4", "chicken-reference", target="chicken4"), ""),
    "chicken4-egg@docker": (ImageSource("bokbok/chicken4-egg", "chicken-reference", target="chicken4-egg"), ""),
}
"""The peers in containers: how their image is built, and the command in it unless it is the image's own."""


_SOURCES = {".scm", ".c", ".h", ".egg", ".meta", ".setup"}


def _older(puppet: Path, folder: Path) -> bool:
    """Whether a source is newer than the puppet."""
    built = puppet.stat().st_mtime
    for path in folder.rglob("*"):
        if "build" in path.relative_to(folder).parts[:1]:
            continue
        if (path.suffix in _SOURCES or path.name == "Makefile") and path.stat().st_mtime > built:
            return True
    return False


def known_peers() -> dict[str, Peer]:
    """Every peer that the project has, by name. Nothing is started yet."""
    root = find_root()
    return {
        "python-sync": LocalPeer("python-sync", [sys.executable, "-m", "bokbok_interop.puppets.sync"]),
        "python-asyncio": LocalPeer("python-asyncio", [sys.executable, "-m", "bokbok_interop.puppets.asyncio"]),
        "chicken5": ChickenPeer(
            "chicken5",
            "",
            "build/chicken5/puppet",
            "BOKBOK_CHICKEN5",
            "csc",
            "apt-get install chicken-bin libchicken-dev",
        ),
        "minimal": ExamplePeer("minimal", []),
        "chicken4": Chicken4Peer("chicken4", []),
        **{
            name: DockerPeer(name, f"{source.tag} {command}", source=source, root=root)
            for name, (source, command) in IMAGES.items()
        },
    }


def peer_from_option(text: str) -> Peer:
    """A peer from `NAME=COMMAND`, `NAME=docker:IMAGE` or `NAME=docker:IMAGE COMMAND`.

    Raises:
        PeerNameError: it is none of these.
    """
    name, equals, command = text.partition("=")
    name, command = name.strip(), command.strip()
    if not equals or not name or not command:
        raise PeerNameError(f"{text!r} is not a peer; expected NAME=COMMAND or NAME=docker:IMAGE")
    if any(c in name for c in ",=/ \t\n") or name == "runner":
        raise PeerNameError(f"{name!r} cannot be a peer's name (no blanks, commas, slashes; not 'runner')")
    try:
        if command.startswith("docker:"):
            return DockerPeer(name, command.removeprefix("docker:"), given=True)
        return LocalPeer(name, command, given=True)
    except ValueError as error:
        raise PeerNameError(f"the command of {name!r} cannot be read: {error}") from None
