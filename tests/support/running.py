"""Programs that a test runs to their end, and that must succeed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["output_of"]


def output_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a program says, on both its outputs. If it fails, that is what the test fails with.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: variables that differ from those of this process.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
