"""Recordings for the tests of calibration, and their results.

What this module knows: short scripts that determine a format as the long one does, in a tenth of the time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokbok.wire import Profile
from bokbok_calibrate.conversation import record
from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.script import known_datums
from bokbok_calibrate.search.answer import Answer
from bokbok_calibrate.search.solve import solve
from bokbok_traffic.capture import Capture
from bokbok_traffic.recording import Recorded

SECRETS = Secrets(b"myuser", b"mypassphrase")
INSECURE = Secrets()
KNOWN = known_datums()

SHORT: tuple[str, ...] = (
    '("ping" "12345")',
    '("echo" ())',
    '("echo" "marker")',
    '("fail" "marker of a failure")',
    '("callback" 2 "marker")',
    '("echo" (key: 0.1 1e+21 -0.5))',
    '("echo" "quote \\" backslash \\\\ tab \\t newline \\n bell \\a null \\x00 escape \\x1b")',
    '("echo" "' + "The quick brown fox. " * 7 + '")',
    '("echo" "' + "The quick brown fox. " * 15 + '")',
    '("unknown" "request")',
)
"""Both directions, both kinds of answer, escapes, what dialects write differently, short and long."""


def recording(profile: Profile, *, secure: bool = True, lines: Sequence[str] = SHORT, **more: Any) -> list[Recorded]:
    """A recording of a profile, the same in every run."""
    return record(profile, secure=secure, lines=lines, draw=random.Random(1).randbytes, **more)


def solved(recorded: list[Recorded], *, secure: bool = True, **more: Any) -> Answer:
    """The answer of the search."""
    return solve(recorded, SECRETS if secure else INSECURE, KNOWN, **more)


def saved(recorded: list[Recorded], path: Path) -> Path:
    """A recording as a file of JSON lines."""
    capture = Capture("tcp")
    for one in recorded:
        for source in ("client", "server"):
            if one.stream(source):
                capture.add(0, one.conn, source, one.stream(source))
            capture.add(0, one.conn, source, None)
    capture.write(path)
    return path
