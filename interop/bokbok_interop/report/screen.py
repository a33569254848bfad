"""The terminal, made safe for text from others.

What a peer, a log or a file says is only text. It is never markup, and never a command to the terminal (escape
sequences, control characters, characters that reverse the direction). It never ends the program (because the terminal
lacks a character, or because nobody reads the output any more).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bokbok.cli._exit import to_nowhere
from bokbok.cli._text import printable

__all__ = ["Screen"]


class _Stream:
    """A stream that writes what it can, and ignores everything once it cannot."""

    def __init__(self, stream: IO[str] | None) -> None:
        # It is None if the program was started without it (`>&-`).
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115 (it lasts as long as we do)
        self.gone = False

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        self._do(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._do(self._stream.flush)

    def _do(self, work: Any) -> None:
        if self.gone:
            return
        try:
            work()
        except (OSError, ValueError):  # its other end was closed, the disk is full, or it was closed here
            self.gone = True
            to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Screen(Console):
    """A `rich` console whose strings are plain text; styles come from `Text` alone.

    Args:
        stderr: write to standard error, since standard output has the results.
        more: further arguments of `Console`.
    """

    def __init__(self, *, stderr: bool = False, **more: Any) -> None:
        settings = {"file": cast("IO[str]", _Stream(sys.stderr if stderr else sys.stdout)), **more}
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As in `Console`, except that characters which a terminal would not show as they are become escapes."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.replace("\n", "").isprintable():
                yield segment
            else:
                shown = "\n".join(printable(line) for line in segment.text.split("\n"))
                yield Segment(shown, segment.style)
