"""`console` fences: what a command prints is never a prompt, though an s-expression begins as `(venv) $` does."""

from __future__ import annotations

import re

from pygments.lexers.shell import BashSessionLexer
from sphinx.application import Sphinx


class Console(BashSessionLexer):
    """A shell session, without the prompts of virtual environments."""

    _venv = re.compile("(?!)")  # matches nothing


def setup(app: Sphinx) -> dict[str, bool]:
    """Take the place of Pygments' own."""
    app.add_lexer("console", Console)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
