"""The exit statuses."""

from __future__ import annotations

EXIT_FAILED = 1


EXIT_USAGE = 2


EXIT_NOTHING = 3


EXIT_INTERRUPTED = 130


STATUSES = """\b
Exit status:
  0    nothing failed
  1    at least one cell failed
  2    the command line is wrong
  3    nothing failed, but nothing passed either, or a peer given with --peer is absent
  130  interrupted; what was done until then is reported
"""
