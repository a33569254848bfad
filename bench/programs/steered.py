"""How bench/contest.py steers the programs in this folder: by lines on standard input and output."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

Slice = Callable[[float], tuple[int, float]]
"""Asks for so many seconds. Gives back how many requests were answered, and in how many seconds."""


def serving(where: str) -> None:
    """A server listens: say where. It serves until standard input ends, then the process does."""
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
    """Ask whenever the driver says so, until it says no more."""
    print("ready", flush=True)
    for line in sys.stdin:
        done, elapsed = run(float(line))
        print(done, elapsed, flush=True)
