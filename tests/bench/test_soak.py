"""A soak of some seconds: nothing good is lost beside a hostile crowd, and the server stays within its limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("front", ["sync", "asyncio"])
def test_a_short_soak_loses_nothing(front: str) -> None:
    size = ["--seconds", "6", "--good", "5", "--crowd", "80", "--scale", "50000"]
    done = subprocess.run(
        [sys.executable, "bench/soak.py", "--front", front, *size],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: 0 of" in done.stdout
    assert "beside the crowd: 0 requests" not in done.stdout
