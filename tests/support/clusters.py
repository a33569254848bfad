"""A Dask scheduler and its workers, as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def patched(folder: Path, code: str) -> str:
    """A `PYTHONPATH` with which a worker runs some code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return os.pathsep.join([str(folder), *sys.path])


def hanging(folder: Path) -> str:
    """A worker that begins each call and never ends one; `begun` is there then."""
    code = f"""
import time
from pathlib import Path
from bokbok_workers import workers
def _do(call):
    Path({str(folder)!r}, "begun").touch()
    time.sleep(3600)  # until it is killed
workers._do = _do
"""
    return patched(folder, code)


class Cluster:
    """A scheduler and its workers, as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        self.address = self.line(self.scheduler, r"Scheduler at:\s+(tcp://\S+)")

    def start(self, what: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", what, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | environment, cwd=self.folder,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def line(self, process: subprocess.Popen[str], pattern: str) -> str:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if found := re.search(pattern, line):
                return found[1] if found.re.groups else found[0]
        raise AssertionError("".join(told))

    def worker(self, **environment: str) -> subprocess.Popen[str]:
        process = self.start(
            "worker", self.address, "--no-nanny", "--nthreads", "2", "--no-dashboard", "--host", "127.0.0.1",
            "--local-directory", str(self.folder), "--memory-limit", "0", **environment,
        )  # fmt: skip
        self.line(process, "Registered to")
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with contextlib.closing(contextlib.ExitStack()) as stack:
        made = Cluster(tmp_path)
        stack.callback(made.end)
        yield made
