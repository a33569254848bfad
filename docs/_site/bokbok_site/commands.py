"""Help texts of the commands, which are plain text, as sphinx-click takes them, which is reStructuredText."""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

_MARKUP = re.compile(r"\s*(\.\. .*|:[\w-]+:.*|\| ?)?")
"""What sphinx-click writes itself: directives, their options, the marks of line blocks."""


def _escape(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        end = _MARKUP.match(line).end()  # type: ignore[union-attr]  # it matches nothing at all, too
        lines[number] = line[:end] + re.sub(r"([*`|]|_\b)", r"\\\1", line[end:])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step."""
    for part in ("description", "options", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _escape)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
