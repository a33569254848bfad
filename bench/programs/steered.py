"""The programs' side of how bench/contest.py steers them: lines on standard input and output."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

Slice = Callable[[float], tuple[int, float]]
"""Asks for so many seconds. Returns how many requests were answered, and in how many seconds."""


def serving(where: str) -> None:
    """Say where the server listens. It serves until standard input ends; then the process ends."""
    end_with_standard_input()
    print(where, flush=True)


def end_with_standard_input() -> None:
    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def ask(run: Slice) -> None:
    """Ask whenever the driver says so, until standard input ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        done, elapsed = run(float(line))
        print(done, elapsed, flush=True)
