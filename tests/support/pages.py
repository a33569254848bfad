"""Plays examples in the project's texts as a reader would.

What this module knows: how a page shows an example. A `python` fence is run, and each `print(…)  # TEXT` in it must
print TEXT. A fence that begins with a comment with a file's name (`# board.py`) is written to that file instead; this
also holds for `toml`, `scheme` and `text` fences. In a `console` fence, a line that begins with `$ ` is a command, for
a shell that stays until the end of the page. Below it is its output, in which `…` stands for any characters of a line.
A command that ends in `&` runs in the background; the page waits until it has printed that output.
Where a reader installs something, `sh` fences are played in that shell too, and each of their lines must succeed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Block", "Reader", "blocks", "play"]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]+)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"(?:#|;;) (?P<name>[\w.-]+\.\w+)\n")
_PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
_END = "--end of the command--"
# A shell reports jobs that have ended unexpectedly.
_JOBS = re.compile(r"bash: line \d+: .* (Terminated|Killed) .*|\[\d+\].*")


@dataclass(frozen=True)
class Block:
    """A fence of a page: its language, the text in it, and the line where that begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it shows."""
        named = _FILE.match(self.text)
        return named["name"] if named else None


def blocks(page: str) -> list[Block]:
    """The fences of a page, in order."""
    return [
        Block(
            found["language"],
            re.sub(f"(?m)^{found['indent']}", "", found["text"]),
            page[: found.start("text")].count("\n") + 1,
        )
        for found in _FENCE.finditer(page)
    ]


class Shell:
    """A shell that lives on from one command to the next."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # and everything that it has started
        self._process.__exit__(kind, error, at)

    def run(self, command: str, expected: list[str]) -> list[str]:
        """The output of a command; in the background, until it has printed as many lines as expected."""
        assert self._process.stdin is not None
        # A reader types the next command after the job has ended, and its number is free again by then.
        command = re.sub(r"^kill (%\d+)$", r"kill \1 && wait \1", command)
        background = command.rstrip().endswith("&")
        self._process.stdin.write(f"{command}\n" if background else f"{command}\necho; echo '{_END}'\n")
        self._process.stdin.flush()
        out: list[str] = []
        while not (background and len(out) >= len(expected)):
            line = self._line()
            if line == _END:
                return out[:-1] if out and not out[-1] else out
            if not _JOBS.fullmatch(line):
                out.append(line)
        return out

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the shell has ended"
        return line.removesuffix("\n")


def _alike(expected: list[str], seen: list[str]) -> bool:
    def one(pattern: str, line: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), line) is not None

    return len(expected) == len(seen) and all(map(one, expected, seen))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Reader:
    """A reader who follows pages from top to bottom, in one folder.

    Args:
        folder: where they work.
        ports: numbers of ports in the pages; each becomes one that is free here.
        instead: other texts in the pages, and what stands for them here, such as the path of a server's socket.
        bare: the environment of a reader who has nothing of this project installed, and follows the `sh` fences.
            Without it a reader has the environment of the tests, and passes over those fences.
        start: where the shell begins, if not in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        ports: Iterable[int] = (),
        *,
        instead: Mapping[str, str] | None = None,
        bare: Mapping[str, str] | None = None,
        start: Path | None = None,
    ) -> None:
        self._folder = folder
        self._ports = {str(port): str(_free_port()) for port in ports}
        self._instead = dict(instead or {})
        self._bare = bare is not None
        environment = {"COLUMNS": "80", "TERM": "dumb"}
        if bare is None:
            environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment["HOME"] = str(folder)
            environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a reader does not have all plugins
        self._shell = Shell(start or folder, {**os.environ, **environment, **(bare or {})})
        self._names: dict[str, Any] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *about: Any) -> None:
        self._shell.__exit__(*about)

    def _here(self, text: str) -> str:
        for theirs, ours in self._ports.items():
            text = re.sub(rf"\b{theirs}\b", ours, text)
        for theirs, ours in self._instead.items():
            text = text.replace(theirs, ours)
        return text

    def follow(self, page: Path) -> int:
        """Play the examples of a page.

        Returns:
            How many of them were played.
        """
        played = 0
        for block in blocks(page.read_text(encoding="utf-8")):
            where = f"{page.name}, line {block.line + 1}"
            if block.file:
                (self._folder / block.file).write_text(self._here(block.text), encoding="utf-8")
            elif block.language == "python":
                self._python(block, where)
            elif block.language == "console":
                self._console(block, where)
            elif block.language == "sh" and self._bare:
                self._commands(block, where)
            else:
                continue
            played += 1
        return played

    def _python(self, block: Block, where: str) -> None:
        code = compile("\n" * block.line + self._here(block.text), where, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self._names)
        assert out.getvalue().splitlines() == _PRINTED.findall(block.text), where

    def _console(self, block: Block, where: str) -> None:
        for command, expected in commands(self._here(block.text)):
            seen = self._shell.run(command, expected)
            assert _alike(expected, seen), f"{where}: {command}\nexpected {expected}\nseen     {seen}"

    def _commands(self, block: Block, where: str) -> None:
        for line in self._here(block.text).replace("\\\n", " ").splitlines():
            *seen, status = self._shell.run(f"{line}\necho status $?", [])
            assert status == "status 0", f"{where}: {line}\n" + "\n".join(seen)


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a `console` fence, each with its output. A line that begins with `> ` continues a command."""
    command: str | None = None
    expected: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, expected
            command, expected = line[2:], []
        elif line.startswith("> ") and not expected:
            command = f"{command}\n{line[2:]}"
        else:
            expected.append(line)
    if command is not None:
        yield command, expected


def play(folder: Path, pages: Iterable[Path], ports: Iterable[int] = (), **how: Any) -> int:
    """Follow pages one after the other, in one folder, as a `Reader`. Returns how many examples were played."""
    with Reader(folder, ports, **how) as reader:
        return sum([reader.follow(page) for page in pages])
