"""Command lines in pages, and whether the commands would accept them.

What this module knows: how `bokbok` and `bokbok-interop` are called in a page's fences (`sh`, `console`). A line is
parsed as the command would parse it, and nothing is run. This finds removed options, invalid choices and superfluous
arguments.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

import bokbok.cli
import bokbok_interop.cli

from .pages import blocks, commands

__all__ = ["command_lines", "problem", "simple_commands"]

_TOOLS: dict[str, click.Command] = {"bokbok": bokbok.cli.cli, "bokbok-interop": bokbok_interop.cli.main}
_REDIRECTION = re.compile(r"\d?>\s*&?[^\s)]+|<\s*[\w./-]+")
_BEFORE = re.compile(r"until|while|if|do|then|!|\w+=.*")


def simple_commands(script: str) -> Iterator[list[str]]:
    """The commands of a shell script, each as its words. What only a shell could expand is left unchanged."""
    for line in script.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(_REDIRECTION.sub("", line), posix=True, punctuation_chars="();|&")
        lexer.whitespace_split = True
        for word in (*lexer, ";"):
            if not set(word) <= set("();|&") or not word:
                words.append(word)
            elif words:
                while words and _BEFORE.fullmatch(words[0]):
                    del words[0]
                yield words
                words = []


def command_lines(page: str) -> Iterator[list[str]]:
    """Every call of `bokbok` and `bokbok-interop` in a page, as its words."""
    scripts = [block.text for block in blocks(page) if block.language == "sh"]
    scripts += [command for block in blocks(page) if block.language == "console" for command, _ in commands(block.text)]
    for script in scripts:
        yield from (words for words in simple_commands(script) if words and words[0] in _TOOLS)


def problem(words: list[str]) -> str | None:
    """Why the command would not accept these words; `None` if it would. Files are not opened."""
    name, *arguments = words
    command = _TOOLS[name]
    context = click.Context(command, info_name=name, **command.context_settings)
    try:
        while isinstance(command, click.Group):
            _, arguments, _ = command.make_parser(context).parse_args(arguments)
            if not arguments:
                return None
            name, *arguments = arguments
            found = command.get_command(context, name)
            if found is None:
                return f"there is no command {name!r}"
            command = bokbok.cli.loaded(found)
            context = click.Context(command, parent=context, info_name=name, **command.context_settings)
        values, rest, _ = command.make_parser(context).parse_args(arguments)
        if rest:
            return f"unexpected arguments: {rest}"
        for parameter in command.params:
            value = values.get(parameter.name or "")
            if isinstance(parameter, click.Argument) and parameter.required and parameter.value_is_missing(value):
                return f"missing argument: {parameter.name}"
            if isinstance(parameter.type, (click.Choice, click.types.IntParamType)):
                for one in value if isinstance(value, (list, tuple)) else (value,):
                    if isinstance(one, str):
                        parameter.type.convert(one, parameter, context)
    except click.UsageError as error:
        return error.format_message()
    return None
