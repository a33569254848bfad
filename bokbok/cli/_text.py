r"""Text for terminals: nothing that a peer sends reaches one raw, and long datums are broken into lines.

What this module knows: which characters a terminal shows as they are, how wide they are, and where a datum may be
broken. It works on what `bokbok.sexpr.dumps` has written.

CHICKEN's `write` escapes control bytes in strings, but not the control characters from U+0080 to U+009F (a terminal
may take U+009B for `ESC [`), the characters that turn the direction of text round, or bytes that are not valid UTF-8;
and it escapes less in symbols. For a terminal those become escapes of the same external representation: what is shown
still reads back as the same datum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._later import pattern

__all__ = ["pretty", "printable"]

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_OPEN, _CLOSE, _ATOM = range(3)
_Token = tuple[int, str]

_END_OF_STRING = pattern(rb'["\\]')
_END_OF_BARS = pattern(rb"[|\\]")
_END_OF_CHAR = pattern(rb"[ ()]")
_END_OF_ATOM = pattern(rb"[ ()|]")


def printable(text: str) -> str:
    r"""A text in one line of characters that a terminal shows as they are; others as `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not valid UTF-8
        code -= 0xDC00
    if code < 0x100:
        return _ESCAPES.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def pretty(data: bytes, width: int, *, ascii_only: bool = False) -> str:
    """A datum for a terminal.

    Args:
        data: the datum, as `dumps` has written it.
        width: columns of the terminal. A list that does not fit is broken between its elements, never within one.
        ascii_only: whether the terminal shows nothing but ASCII.

    Returns:
        Lines of printable characters, without a newline at the end. They read as the same datum.
    """
    return _lay_out(list(_tokens(data, ascii_only)), max(width, 1))


# Tokens.


def _tokens(data: bytes, ascii_only: bool) -> Iterator[_Token]:
    """The parentheses and atoms of a datum, each as it may be shown."""
    position, size = 0, len(data)
    while position < size:
        byte = data[position]
        start = position
        if byte == 0x20:
            position += 1
        elif byte == 0x29:
            position += 1
            yield _CLOSE, ")"
        elif byte == 0x22:
            position = _end_of_quoted(data, start + 1, _END_OF_STRING)
            yield _ATOM, _quoted_text(data[start:position], ascii_only)
        elif data.startswith(b"#\\", start):
            match = _END_OF_CHAR.search(data, start + 3)
            position = match.start() if match else size
            yield _ATOM, _char_text(data[start:position], ascii_only)
        else:
            while (match := _END_OF_ATOM.search(data, position)) and match[0] == b"|":
                position = _end_of_quoted(data, match.end(), _END_OF_BARS)
            if match and match[0] == b"(":  # `(`, `#(`, `#u8(`
                position = match.end()
                yield _OPEN, data[start:position].decode("ascii")
            else:
                position = match.start() if match else size
                yield _ATOM, _symbol_text(data[start:position], ascii_only)


def _end_of_quoted(data: bytes, position: int, stop: re.Pattern[bytes]) -> int:
    while True:
        match = stop.search(data, position)
        assert match is not None  # `dumps` closes what it opens
        if match[0] != b"\\":
            return match.end()
        position = match.end() + 1


def _is_shown(character: str, ascii_only: bool) -> bool:
    return character.isprintable() and not (ascii_only and character > "~")


def _quoted_text(token: bytes, ascii_only: bool) -> str:
    """A string, or a symbol in bars: what is not shown becomes `\\xHH` for each of its bytes."""
    text = token.decode("utf-8", "surrogateescape")
    if text.isprintable() and not (ascii_only and not text.isascii()):
        return text
    return "".join(
        character
        if _is_shown(character, ascii_only)
        else "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in text
    )


def _symbol_text(token: bytes, ascii_only: bool) -> str:
    """A symbol, a keyword, or another token without quotes; a name gets bars if it needs an escape."""
    text = _quoted_text(token, ascii_only)
    if b"|" in token or "\\" not in text:
        return text
    prefix = "#:" if text.startswith("#:") else ""
    suffix = ":" if text.endswith(":") else ""
    return f"{prefix}|{text.removeprefix(prefix).removesuffix(suffix)}|{suffix}"


def _char_text(token: bytes, ascii_only: bool) -> str:
    text = token.decode("utf-8", "surrogateescape")
    name = text[2:]
    if len(name) != 1 or _is_shown(name, ascii_only):
        return text
    code = ord(name)
    # A byte that stands for itself: the character of that number.
    return f"#\\x{code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code:x}"


# Lines.


def _columns(text: str) -> int:
    """How many columns a terminal needs for it."""
    if text.isascii():
        return len(text)
    import unicodedata  # only here: most text is ASCII

    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


class _Group:
    """A list or vector that is being laid out.

    Attributes:
        flat: whether it stands on one line.
        fill: if not, whether as many elements as fit stand on a line (it has only atoms), or one on each.
        indent: the column of its elements.
        empty: whether nothing of it has been written yet.
    """

    __slots__ = ("empty", "fill", "flat", "indent")

    def __init__(self, flat: bool, fill: bool, indent: int) -> None:
        self.flat = flat
        self.fill = fill
        self.indent = indent
        self.empty = True


def _lay_out(tokens: list[_Token], width: int) -> str:
    """Break what does not fit. In one pass, on a stack of its own: datums may be nested deeper than Python calls."""
    widths = [_columns(text) for _, text in tokens]
    flat_widths, has_lists, closers = _measure(tokens, widths)
    out: list[str] = []
    column = 0
    groups = [_Group(False, False, 0)]
    after_dot = False
    for index, (kind, text) in enumerate(tokens):
        group = groups[-1]
        if kind == _CLOSE:
            groups.pop()
            out.append(text)
            column += 1
            continue
        needed = flat_widths[index] + closers[index]
        if not group.empty:
            fits = group.fill and column + 1 + needed <= width
            if group.flat or fits or after_dot:
                out.append(" ")
                column += 1
            else:
                out.append("\n" + " " * group.indent)
                column = group.indent
        group.empty = False
        out.append(text)
        column += widths[index]
        after_dot = text == "." and kind == _ATOM
        if kind == _OPEN:
            flat = group.flat or column - widths[index] + needed <= width
            # Beyond the middle the lines stay where they are: a deep datum would be all indentation.
            groups.append(_Group(flat, not has_lists[index], min(column, width // 2)))
    return "".join(out)


def _measure(tokens: list[_Token], widths: list[int]) -> tuple[list[int], list[bool], list[int]]:
    """For each token: its width on one line, whether it is a list with lists in it, and how many `)` follow it."""
    size = len(tokens)
    flat_widths, has_lists, closers = list(widths), [False] * size, [0] * size
    opened: list[tuple[int, int]] = []  # index of the token, and the column on an endless line at which it begins
    column = 0
    for index, (kind, _) in enumerate(tokens):
        if kind != _CLOSE and index and tokens[index - 1][0] != _OPEN:
            column += 1
        if kind == _OPEN:
            if opened:
                has_lists[opened[-1][0]] = True
            opened.append((index, column))
        column += widths[index]
        if kind == _CLOSE:
            start, begin = opened.pop()
            flat_widths[start] = column - begin
            closers[start] = index  # for the pass below
    following = 0
    behind = [0] * (size + 1)
    for index in range(size - 1, -1, -1):
        following = following + 1 if tokens[index][0] == _CLOSE else 0
        behind[index] = following
    for index, (kind, _) in enumerate(tokens):
        closers[index] = behind[(closers[index] if kind == _OPEN else index) + 1]
    for index, (kind, text) in enumerate(tokens):
        if text == "." and kind == _ATOM:  # stands with its tail, or not at all
            flat_widths[index] = 2 + flat_widths[index + 1]
            closers[index] = closers[index + 1]
    return flat_widths, has_lists, closers
