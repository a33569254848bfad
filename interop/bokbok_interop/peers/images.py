"""Images: finding the one that a peer needs, or building it from the project's Dockerfiles.

What this module knows: tags, build contexts, when an image is older than its sources, and which images a Dockerfile
starts from. Nothing is ever pulled from a registry. If an image is missing and cannot be built, its peer is absent,
with the reason.

An image that this module builds has the label `org.bokbok.sources`, a digest of its Dockerfile and of all files of its
context that `.dockerignore` does not exclude. It is up to date while the digest is the same. An image that was built by
hand (`docker build -t bokbok/chicken4 …`, perhaps with build arguments) has no such label: it is up to date while it is
younger than those files.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import Unavailable
from .engine import Engine, explain

__all__ = ["SOURCES_LABEL", "ImageSource", "base_images", "find_or_build", "inspect_image"]

SOURCES_LABEL = "org.bokbok.sources"
BUILD_SECONDS = 1_800
"""Seconds for a build. Compiling CHICKEN 4 takes minutes."""
SHOWN_LINES = 6
"""Lines of a failed build's log that the reason shows. A file has the whole log."""


@dataclass(frozen=True)
class ImageSource:
    """How an image is built.

    Attributes:
        tag: what the image is called.
        context: the folder that is sent to the engine, relative to the checkout.
        dockerfile: relative to `context`.
        target: the stage, or `None` for the last.
    """

    tag: str
    context: str
    dockerfile: str = "Dockerfile"
    target: str | None = None

    def command(self) -> str:
        """The command that builds it by hand, in the checkout."""
        target = f" --target {self.target}" if self.target else ""
        return f"docker build -f {Path(self.context) / self.dockerfile}{target} -t {self.tag} {self.context}"


def base_images(dockerfile: str) -> list[str]:
    """The images that a Dockerfile starts from, in the order of its stages, with the defaults of its arguments."""
    arguments: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    found: list[str] = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        match line.split():
            case [word, argument] if word.upper() == "ARG" and not found:  # only arguments before FROM count there
                name, _, value = argument.partition("=")
                arguments[name] = value.strip("\"'")
            case [word, *rest] if word.upper() == "FROM":
                names = [one for one in rest if not one.startswith("--")]
                image = re.sub(r"\$\{?(\w+)\}?", lambda m: arguments.get(m[1], ""), names[0])
                if image not in stages and image not in found:
                    found.append(image)
                if len(names) == 3:
                    stages.add(names[2])
    return found


def context_files(folder: Path, dockerfile: str) -> list[Path]:
    """The files that a build uses, after `.dockerignore`, sorted."""
    from docker.utils.build import exclude_paths

    ignore = folder / ".dockerignore"
    patterns: Iterable[str] = ignore.read_text().splitlines() if ignore.exists() else []
    kept = exclude_paths(str(folder), [line for line in patterns if line and not line.startswith("#")], dockerfile)
    return sorted(path for name in kept if not (path := folder / name).is_dir())


def digest(folder: Path, files: Iterable[Path], source: ImageSource) -> str:
    """A digest that changes when the image would change."""
    total = hashlib.sha256(f"{source.dockerfile}\0{source.target}".encode())
    for path in files:
        try:
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o111
        except OSError:  # it was removed in the meantime, or is a dangling link
            content, mode = b"", 0
        total.update(b"\0%b\0%o\0%b" % (os.fsencode(path.relative_to(folder)), mode, hashlib.sha256(content).digest()))
    return total.hexdigest()


async def find_or_build(engine: Engine, source: ImageSource, root: Path | None, note: Callable[[str], None]) -> str:
    """The id of an image that is up to date with its sources. It is built if necessary.

    Args:
        engine: the engine.
        source: how the image is built.
        root: the checkout, or `None` if this package was installed without one: then any image of that name is used.
        note: called when a build begins.

    Raises:
        Unavailable: it is missing and cannot be built; the message says why.
    """
    image = await engine.call(functools.partial(inspect_image, name=source.tag))
    if root is None:
        if image is None:
            raise Unavailable(
                f"the image {source.tag} is not at {engine.endpoint}, and there is no checkout to build it from"
            )
        return str(image["Id"])
    folder = root / source.context
    if not (folder / source.dockerfile).is_file():
        if image is not None:
            return str(image["Id"])
        raise Unavailable(
            f"the image {source.tag} does not exist, nor does {folder / source.dockerfile} to build it from"
        )
    files = await asyncio.to_thread(context_files, folder, source.dockerfile)
    wanted = await asyncio.to_thread(digest, folder, files, source)
    problem = "is not here"
    if image is not None:
        newer = _outdated(image, wanted, files)
        if newer is None:
            return str(image["Id"])
        problem = f"is older than its sources ({newer})"
    for base in base_images((folder / source.dockerfile).read_text()):
        if await engine.call(functools.partial(inspect_image, name=base)) is None:
            raise Unavailable(
                f"the image {source.tag} {problem}, and it cannot be built without {base}, which is not here either "
                "(nothing is pulled: `make base-image` makes it)"
            )
    try:
        # One after the other, so that stages that two images share are built once.
        async with engine.building:
            note(f"building the image {source.tag}, which {problem}")
            await _build(engine, source, folder, wanted)
    except _BuildFailed as failed:
        raise Unavailable(
            f"the image {source.tag} {problem}, and cannot be built: {failed} (by hand: `{source.command()}`; "
            f"--peer NAME=docker:{source.tag} plays one as it is)"
        ) from None
    if image is not None and SOURCES_LABEL in _labels(image):
        await engine.call(functools.partial(_remove, name=image["Id"]))
    image = await engine.call(functools.partial(inspect_image, name=source.tag))
    if image is None:
        raise Unavailable(f"the image {source.tag} was built, and is not there")
    return str(image["Id"])


def inspect_image(client: Any, name: str) -> dict[str, Any] | None:
    """What an engine says about an image, or `None` if it has no image of that name. Blocks."""
    import docker

    try:
        image: dict[str, Any] = client.inspect_image(name)
    except docker.errors.NotFound:
        return None
    return image


def _remove(client: Any, name: str) -> None:
    """Remove an image that was replaced, unless it is in use."""
    import docker

    with contextlib.suppress(docker.errors.APIError):
        client.remove_image(name)


def _labels(image: dict[str, Any]) -> dict[str, str]:
    return (image.get("Config") or {}).get("Labels") or {}


def _outdated(image: dict[str, Any], wanted: str, files: Iterable[Path]) -> str | None:
    """Which sources are newer than an image, in words, or `None`."""
    built_from = _labels(image).get(SOURCES_LABEL)
    if built_from is not None:
        return None if built_from == wanted else "they have changed since"
    # A build that comes entirely from the cache does not make a new image: it only tags the old one again.
    tagged = (image.get("Metadata") or {}).get("LastTagTime", "")
    made = max(_time(image["Created"]), 0.0 if tagged.startswith("0001") or not tagged else _time(tagged))
    for path in files:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime > made:
                return f"{path.name} is newer"
    return None


def _time(text: str) -> float:
    """An engine's time, which has nanoseconds, as seconds since 1970."""
    whole = re.sub(r"\.\d+", "", text).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(whole).timestamp()


class _BuildFailed(Exception):
    pass


async def _build(engine: Engine, source: ImageSource, folder: Path, wanted: str) -> None:
    """Build in a thread that a cancellation stops: the engine ends a build whose client has gone."""
    build = _Build(engine, source, folder, wanted)
    work = asyncio.ensure_future(asyncio.to_thread(build.run))
    try:
        await asyncio.wait_for(asyncio.shield(work), BUILD_SECONDS)
    except asyncio.TimeoutError:
        raise _BuildFailed(f"it takes longer than {BUILD_SECONDS} seconds") from None
    finally:
        build.stop()
        await asyncio.gather(work, return_exceptions=True)


class _Build:
    """One build. `run` blocks; `stop` ends it from another thread."""

    def __init__(self, engine: Engine, source: ImageSource, folder: Path, wanted: str) -> None:
        self.engine, self.source, self.folder, self.wanted = engine, source, folder, wanted
        self.stopped = False
        self.lines: list[str] = []
        self._sock: socket.socket | None = None

    def run(self) -> None:
        """Build.

        Raises:
            _BuildFailed: the build fails.
        """
        import docker
        import requests
        import urllib3

        problem = None
        try:
            client = self.engine.new_client(timeout=BUILD_SECONDS)
            client.hooks["response"].append(self._began)
            for event in client.build(
                path=str(self.folder),
                dockerfile=self.source.dockerfile,
                tag=self.source.tag,
                target=self.source.target,
                labels={SOURCES_LABEL: self.wanted},
                rm=True,
                forcerm=True,
                pull=False,
                decode=True,
            ):
                self.lines.append(str(event.get("stream") or event.get("status") or ""))
                problem = event.get("error") or problem
            client.close()
        except Unavailable as error:
            problem = str(error)
        except (
            docker.errors.DockerException,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
        ) as error:
            problem = "it was stopped" if self.stopped else explain(error)
        if problem and not self.stopped:
            raise _BuildFailed(self._explain(problem))

    def _began(self, response: Any, *rest: Any, **more: Any) -> None:
        """Keep the connection, before the first line of the log comes."""
        with contextlib.suppress(AttributeError):
            raw = response.raw._fp.fp.raw
            self._sock = getattr(raw, "_sock", None)
        if self.stopped:
            self.stop()

    def stop(self) -> None:
        """End it, if it has not ended."""
        self.stopped = True
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def _explain(self, problem: str) -> str:
        log = "".join(self.lines)
        handle, path = tempfile.mkstemp(prefix=f"bokbok-build-{Path(self.source.tag).name}-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{log}\n{problem}\n")
        last = [line.strip() for line in log.splitlines() if line.strip()][-SHOWN_LINES:]
        return f"{problem}; its log ends: {' / '.join(last)[-400:]}; all of it: {path}"
