"""`Names` in docstrings: code, with a link where it is the name of something that the API reference shows.

Docstrings are written for people who read them in an editor, with single backticks. reStructuredText calls that the
default role.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap

from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)*(\(\))?")


class Name(SphinxRole):
    """A literal; a dotted name also asks the Python domain, which says nothing where it does not know it."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        """Make the node."""
        text = re.sub(r"(?s)^.*?`(.*)`.*$", r"\1", self.rawtext)
        literal = nodes.literal(text, text, classes=["xref", "py"])
        if not _DOTTED.fullmatch(text):
            return [literal], []
        reference = addnodes.pending_xref(
            text,
            literal,
            refdomain="py",
            reftype="obj",
            reftarget=text.removesuffix("()"),
            refexplicit=False,
            refwarn=False,
            refspecific=True,  # wherever the reference has it
            refdoc=self.env.docname,
        )
        reference["py:module"] = self.env.ref_context.get("py:module")
        reference["py:class"] = self.env.ref_context.get("py:class")
        return [reference], []


def _sections(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make of an indented block behind a paragraph (an example), and of a table, a block of code."""
    out: list[str] = []
    verbatim = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        table = line.startswith("|")
        if (indented or table) and not verbatim and (not out or not out[-1].strip()) and not _in_field(out):
            out += [f".. code-block:: {'none' if table else _language(lines[number:])}", ""]
            verbatim = True
        elif line.strip() and not indented and not table:
            verbatim = False
        out.append("    " + line if verbatim and table else line)
    lines[:] = out


def _language(lines: list[str]) -> str:
    """Of the block that begins here: Python, if it is."""
    block = itertools.takewhile(lambda line: not line.strip() or line.startswith("    "), lines)
    try:
        ast.parse(textwrap.dedent("\n".join(block)))
    except SyntaxError:
        return "none"
    return "python"


def _in_field(lines: list[str]) -> bool:
    """Whether what comes belongs to a field, a directive or an item that goes on."""
    for line in reversed(lines):
        if line.strip() and not line.startswith(" "):
            return bool(re.match(r":[^:]+:|\.\. |[-*] |\d+\. ", line))
    return False


def _dashes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Between a parameter and what is said of it, Sphinx writes two hyphens."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role."""
    app.add_role("name", Name())
    app.connect("doctree-resolved", _dashes)
    app.connect("autodoc-process-docstring", _sections, priority=900)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
