"""Colours for two languages of fences: sessions in a shell, and our grammars."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pygments.lexer import RegexLexer
from pygments.lexers.shell import BashSessionLexer
from pygments.token import Keyword, Name, Number, Operator, String, Text
from sphinx.application import Sphinx


class Console(BashSessionLexer):
    """`console`: what a command prints is never a prompt, though an s-expression begins as `(venv) $` does."""

    _venv = re.compile("(?!)")  # matches nothing


class Grammar(RegexLexer):
    """`ebnf`: the notation of the XML recommendation, which Pygments' own lexer does not know."""

    name = "grammar"
    tokens: ClassVar[Any] = {
        "root": [
            (r'"[^"]*"|\'[^\']*\'', String),
            (r"\[(?:#x[0-9A-Fa-f]+|[^\]])*\]|#x[0-9A-Fa-f]+", Number),
            (r"(?m)^[\w-]+(?=\s*::=)", Name.Function),
            (r"::=", Keyword),
            (r"[\w-]*\w", Name),
            (r"[|*+?()-]", Operator),
            (r"\s+|.", Text),
        ]
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Take the places of Pygments' own."""
    app.add_lexer("console", Console)
    app.add_lexer("ebnf", Grammar)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
