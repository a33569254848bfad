"""The exit statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..report.document import counts_for

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
  3    nothing failed, but nothing passed either, or a peer that was chosen by its name is absent or without a verdict
  4    as 0 or 3, but a report could not be written at the end
  130  interrupted; what was done until then is reported
"""


def status_of(document: Mapping[str, Any], problems: object = None, *, about: str | None = None) -> int:
    """The exit status for these results.

    Args:
        document: the results.
        problems: problems with writing their reports.
        about: the peer that the results are about. Its passed cells count, and whether its bytes were shown. By default
            the passed cells of all peers count, and the bytes of the peers that were chosen by name.
    """
    if document["interrupted"]:
        return EXIT_INTERRUPTED
    if document["summary"]["failed"]:
        return EXIT_FAILED
    if problems:
        return EXIT_REPORT
    given_absent = any(peer.get("absent") and peer.get("given") for peer in document["peers"])
    cells = document["cells"] if about is None else counts_for(document, about)
    given = {about} if about is not None else {peer["name"] for peer in document["peers"] if peer.get("given")}
    unseen = any(each["peer"] in given for each in document.get("no_verdict", ()))
    if given_absent or unseen or not any(cell["outcome"] == "passed" for cell in cells):
        return EXIT_NOTHING
    return 0
