"""Docstrings as napoleon should take them: a colon in what a value is does not make of the words before it a type.

This project's types are in signatures. Napoleon reads `Returns: the datum: a list` as a value of the type "the datum",
and a property's docstring likewise. Tables are made tables.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_NOTHING = "\\"  # it escapes the end of its own line
_SECTION = re.compile(r"\s*(Returns|Yields):\s*")


def _plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Begin with a line that has no colon, and shows nothing."""
    out = [_NOTHING] if what in ("property", "attribute", "data") else []
    for number, line in enumerate(lines):
        out.append(line)
        if _SECTION.fullmatch(line) and number + 1 < len(lines):
            indent = re.match(r"\s*", lines[number + 1])
            assert indent is not None
            out.append(indent[0] + _NOTHING)
    lines[:] = out


def _tables(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make of a Markdown table one of reStructuredText."""
    out: list[str] = []
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if rows:
            out += ["", ".. list-table::", "   :header-rows: 1", ""]
            for row in rows[:1] + rows[2:]:
                out += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
            out.append("")
            rows = []
        out.append(line)
    lines[:] = out


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before napoleon, which has the usual place, 500."""
    app.connect("autodoc-process-docstring", _plain, priority=400)
    app.connect("autodoc-process-docstring", _tables, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
