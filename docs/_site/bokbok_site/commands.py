"""Help texts of the commands, which are plain text, as sphinx-click takes them, which is reStructuredText."""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

from bokbok.cli import cli, loaded

_MARKUP = re.compile(r"\s*(\.\. .*|:[\w-]+:.*)?")
"""What sphinx-click writes itself: directives and their options."""


def _escape(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    out: list[str] = []
    for line in lines:
        if line.startswith("|"):  # a block that click must not wrap: examples, tables
            if out and out[-1].strip() and not out[-1].startswith("    "):
                out.append("")
            if not out or not out[-1].startswith("    "):
                out += [".. code-block:: none", ""]
            out.append("    " + line[1:].removeprefix(" "))
            continue
        if out and out[-1].startswith("    ") and line.strip():
            out.append("")
        end = _MARKUP.match(line).end()  # type: ignore[union-attr]  # it matches nothing at all, too
        out.append(line[:end] + re.sub(r"([*`|]|_\b)", r"\\\1", line[end:]))
    lines[:] = out


def _options(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        end = _MARKUP.match(line).end()  # type: ignore[union-attr]
        escaped = re.sub(r"([*`|]|_\b)", r"\\\1", line[end:])
        lines[number] = line[:end] + escaped.replace(r"\*\*Required\*\*", "**Required**.")  # sphinx-click's own


def _whole(group: type[click.Group]) -> None:
    """Have a group show the commands of the suite themselves, not what stands for them until they are called."""
    found = group.get_command

    def get_command(self: click.Group, ctx: click.Context, name: str) -> click.Command | None:
        command = found(self, ctx, name)
        return command and loaded(command)

    group.get_command = get_command  # type: ignore[method-assign]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps."""
    _whole(type(cli))
    app.connect("sphinx-click-process-description", _escape)
    app.connect("sphinx-click-process-epilog", _escape)
    app.connect("sphinx-click-process-options", _options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
