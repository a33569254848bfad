"""Which events get a line in the log, since a stranger can cause any number of them.

What this module knows: kinds of events, where they come from, and points in time that its callers tell it.
"""

from __future__ import annotations

from collections import Counter

from .logs import DEBUG, Log

__all__ = ["Notices", "bounded", "shown", "write"]

INTERVAL = 60.0
"""Seconds in which an event of one kind and source is logged only once, or so often as its kind says."""
MOST_TOLD = 256
"""The most lines in this time, whatever happens. With a kibibyte each, an attack writes some 22 MiB in a day."""
MOST_SHOWN = 80
"""Characters of a name that a stranger has chosen."""
MOST_LINE = 1000
"""Characters of a line of the log."""


class Notices:
    """Counts every event by its kind, and says which of them to log.

    Attributes:
        counts: of each kind, ever.
        most: lines in `INTERVAL` seconds.
    """

    def __init__(self) -> None:
        self.most = MOST_TOLD
        self.counts: Counter[str] = Counter()
        self._told: Counter[tuple[str, str]] = Counter()
        self._lines = 0
        self._untold: Counter[str] = Counter()
        self._until = float("-inf")

    def note(self, kind: str, source: str, now: float, times: int = 1) -> int | None:
        """Something has happened.

        Args:
            kind: what.
            source: where it comes from.
            now: when.
            times: how many events of this kind and source are logged in `INTERVAL`.

        Returns:
            `None`: do not log it. Else: how many events of this kind, from anywhere, were not logged since the last one
                that was.
        """
        self.counts[kind] += 1
        if now >= self._until:
            self._told.clear()
            self._lines = 0
            self._until = now + INTERVAL
        if self.spent(kind, source, times) or self._lines >= self.most:
            self._untold[kind] += 1
            return None
        self._told[kind, source] += 1
        self._lines += 1
        return self._untold.pop(kind, 0)

    def spent(self, kind: str, source: str, times: int = 1) -> bool:
        """Whether so many of this kind and source have been logged that the next one will not be, for a while."""
        return self._told[kind, source] >= times


def shown(name: str) -> str:
    """A name that a stranger has chosen, escaped and cut."""
    return repr(name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}…")


def bounded(line: str) -> str:
    """A line of the log, cut where it is too long."""
    return line if len(line) <= MOST_LINE else f"{line[:MOST_LINE]}… ({len(line)} characters)"


def encodable(text: str) -> str:
    """A text whose lone surrogates are escaped: a log file takes no others, and `logging` drops the line."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write(
    log: Log,
    level: int,
    untold: int | None,
    text: str,
    args: tuple[object, ...],
    more: str = "",
    error: BaseException | None = None,
) -> None:
    """Write a line to the log, or not, as `Notices.note` has it.

    Args:
        log: where to.
        level: of the line. What is not to be told is told where the log's level is `DEBUG`.
        untold: what `note` has returned.
        text: the line's format.
        args: of the line, which may be of any length.
        more: what stands behind it.
        error: whose traceback is written as well: as the record's, or in the line if it has to be escaped.
    """
    if untold is None:
        level = DEBUG
    if log.isEnabledFor(level):
        before = f" ({untold} more of this kind were not told)" if untold else ""
        line = encodable(bounded(text % args) + before + more)
        if error is not None:
            import traceback  # only here, where something has failed

            lines = "".join(traceback.format_exception(error)).rstrip()
            if (escaped := encodable(lines)) != lines:
                line, error = f"{line}\n{escaped}", None
        log.log(level, "%s", line, exc_info=error)
