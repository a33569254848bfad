"""Logs on standard error: one line for each thing that happened, and tracebacks only where they are asked for.

What this module knows: how a log record becomes lines that a terminal shows as they are.
"""

from __future__ import annotations

import logging
import threading
import traceback

from .._front.logs import before_first
from ._text import printable

__all__ = ["configure_logging"]


_LONGEST = 2000
"""Characters of a line."""


class _Formatter(logging.Formatter):
    """Time, level and message on one line.

    Args:
        tracebacks: whether an exception's traceback follows; else only its type and text do, on the same line.
        who: what stands in front of the message, where several processes write to one log.
    """

    def __init__(self, tracebacks: bool, who: str = "") -> None:
        super().__init__(f"%(asctime)s %(levelname)s {who}%(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record)]
        if record.exc_info and record.exc_info[1] is not None:
            if self._tracebacks:
                lines += "".join(traceback.format_exception(*record.exc_info)).splitlines()
            else:
                lines[0] += ": " + "".join(traceback.format_exception_only(*record.exc_info[:2])).strip()
        # Many messages hold text of a peer: its control characters must not reach a terminal.
        return "\n".join(map(_shortened, map(printable, lines)))


def _shortened(line: str) -> str:
    # A peer may make a handler raise a text of its own, of any length.
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… ({len(line)} characters)"


def configure_logging(level: int, *, tracebacks: bool = False, who: str = "") -> None:
    """Send what the library logs to standard error.

    Args:
        level: what is less important is dropped.
        tracebacks: whether exceptions are shown with theirs.
        who: what stands in front of each message.
    """
    before_first(None)
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(tracebacks, who))
    logger = logging.getLogger("bokbok")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.raiseExceptions = False  # standard error was closed: then there is nowhere to tell it

    def thread_failed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            logger.error("internal error in a thread", exc_info=args.exc_value)

    threading.excepthook = thread_failed
