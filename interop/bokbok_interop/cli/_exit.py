"""The exit statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_NOTHING",
    "EXIT_REPORT",
    "EXIT_USAGE",
    "STATUSES",
    "status_of",
]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING = 3
EXIT_REPORT = 4
EXIT_INTERRUPTED = 130

STATUSES = """\b
Exit status:
  0    nothing failed
  1    at least one cell failed
  2    the command line is wrong, or an output file could not be written; nothing was played
  3    nothing failed, but nothing passed either, or a peer given with --peer is absent
  4    as 0 or 3, but a report could not be written at the end
  130  interrupted; what was done until then is reported
"""


def status_of(document: Mapping[str, Any], problems: object = None) -> int:
    """The status that follows from results, and from problems with their reports."""
    if document["interrupted"]:
        return EXIT_INTERRUPTED
    if document["summary"]["failed"]:
        return EXIT_FAILED
    if problems:
        return EXIT_REPORT
    given_absent = any(peer.get("absent") and peer.get("given") for peer in document["peers"])
    if given_absent or not document["summary"]["passed"]:
        return EXIT_NOTHING
    return 0
