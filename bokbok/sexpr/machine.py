"""Nesting: what is open, what waits for a datum, and what becomes of it when one is complete.

What this module knows: lists, vectors, dots, quotes, datum comments, and everything else that holds or takes datums, as
frames on a stack; so there is no recursion, and a stream can stop anywhere and go on. What it refuses to know: the
syntax of single tokens (`lexer`), but for the common ones, which one regular expression takes at its own speed.

Lists and vectors gather items. The other frames wait for one datum; when the list around them ends before it comes,
CHICKEN drops them, so `(a ')` is `(a)`.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from bokbok.errors import IncompleteError, ReadError
from bokbok.sexpr.dialect import Dialect
from bokbok.sexpr.frames import (
    BRACES,
    CASE,
    CLOSE,
    CLOSERS,
    CLOSING,
    COMMENT,
    DOT,
    EXPANSION,
    FEATURE,
    HERE_DATUM,
    HERE_TEXT,
    LIST,
    MORE,
    NUMBERS,
    OPEN,
    PREFIX,
    READ_ON,
    SKIP,
    TAIL,
    TOP,
    TRANSPARENT,
    VALUE,
    VECTOR,
    WAIT,
    WAITING_FOR,
    Found,
)
from bokbok.sexpr.lexer import ANY, SYMBOLS, Lexer, make_symbol
from bokbok.sexpr.scan import Ending
from bokbok.sexpr.text import decode, encode
from bokbok.sexpr.types import Char, Dotted, Keyword, Symbol
from bokbok.sexpr.vectors import VectorError, make_vector

_S: Final = rb"[ \t\n\v\f\r]"
_DELIMITED: Final = rb"(?=[ \t\n\v\f\r()\[\]{}\"';,])"
NAME: Final = rb"[a-zA-Z!$%&*/<=>?@^_~\x80-\xff][a-zA-Z0-9!$%&*/<=>?@^_~.+\-\x80-\xff]*"
POSSESSIVE: Final = b"+" if sys.version_info >= (3, 11) else b""
"""Behind a repetition: it gives nothing back. Without it, what does not match costs a step back for each byte."""
_FAST: Final = (
    _S + rb"*(?:"
    rb"(\()"  # 1
    rb"|(\))"  # 2
    rb"|(-?[0-9]{1,18})" + _DELIMITED + rb'|"([^"\\]{0,200}' + POSSESSIVE + rb')"'  # 3, 4
    rb"|(%b)" + _DELIMITED + rb"|(\#[tf])" + _DELIMITED + rb"|(%b):" + _DELIMITED +  # 5, 6, 7
    rb"|(-?[0-9]{1,300}\.[0-9]{1,300}(?:e[+-]?[0-9]{1,4})?)" + _DELIMITED +  # 8
    rb"|\#\\([!-~])" + _DELIMITED + rb"|([^ \t\n\v\f\r])|(\Z))"  # 9, 10, 11
)  # fmt: skip
_TOKENS: Final = re.compile(_FAST % (NAME, NAME))
# While case is folded, names take the slow path.
_TOKENS_FOLDING: Final = re.compile(_FAST % (rb"[^\x00-\xff]", rb"[^\x00-\xff]"))
# The rest of a dotted list whose tail is a plain atom, `. "joe")`: most of all in association lists.
_PLAIN_TAIL: Final = re.compile(
    rb'\. (?:"([^"\\]{0,200}' + POSSESSIVE + rb')"|(-?[0-9]{1,18})|(-?[0-9]{1,300}\.[0-9]{1,300})|(' + NAME + rb"))\)"
)
SPACE: Final = re.compile(_S + rb"*")
_CHARS: Final = {bytes((code,)): Char(chr(code)) for code in range(0x21, 0x7F)}
_HERE_STOP: Final = re.compile(rb"[\n#]")
_COND_EXPAND: Final = Symbol("cond-expand")
_NO_COMMENT: Final[tuple[Any, int]] = (None, 0)
_ELSE: Final = Symbol("else")
_QUOTE: Final = Symbol("quote")
_CONS: Final = Symbol("cons")


def _plain_atom(match: re.Match[bytes]) -> Any:
    """The atom that `_PLAIN_TAIL` has found."""
    group = match.lastindex
    if group == 1:
        return decode(match[1])
    if group == 2:
        return int(match[2])
    return float(match[3]) if group == 3 else make_symbol(match[4])


class _Nothing:
    """The type of the marks below."""


NEED_MORE: Final = _Nothing()
"""What `run` returns if the input ended before the datum did."""

NO_DATUM: Final = _Nothing()
"""What `run` returns if the input ended, and held none."""


class HereText:
    """The state of a string from `#<#TAG`, in which `#x` and `#{x}` embed datums.

    Attributes:
        pieces: what is complete: text as bytes, each embedded datum that is none as a tuple of itself.
        embedded: how many tuples there are.
        current: the text since the last line end or embedded datum.
        in_braces: whether the rest up to `}` is to be dropped.
    """

    __slots__ = ("current", "embedded", "in_braces", "pieces", "tag")

    def __init__(self, tag: bytes) -> None:
        self.tag = tag
        self.pieces: list[Any] = []
        self.current = bytearray()
        self.embedded = 0
        self.in_braces = False

    def embed(self, value: Any, in_braces: bool) -> None:
        """Takes the datum that stands behind the current text. A string or character becomes part of the text."""
        self.pieces.append(bytes(self.current))
        self.current.clear()
        if type(value) is str:
            self.pieces.append(encode(value))
        elif type(value) is Char:
            self.pieces.append(bytes((value.code_point & 0xFF,)))  # CHICKEN's strings hold bytes
        else:
            self.pieces.append((value,))
            self.embedded += 1
        self.in_braces = in_braces

    def expression(self, version: int) -> list[Any]:
        """The expression that CHICKEN makes of it. Its last piece, the newline before the tag, is dropped."""
        result: Any = [_QUOTE, []]
        run: list[bytes] = []
        for piece in reversed(self.pieces[:-1]):
            if isinstance(piece, tuple):
                result = [_CONS, piece[0], [_CONS, decode(b"".join(reversed(run))), result]]
                run = []
            else:
                run.append(piece)
        result = [_CONS, decode(b"".join(reversed(run))), result]
        return [Symbol("\x03sysprint-to-string" if version == 4 else "##sys#print-to-string"), result]


class Machine(Lexer):
    """What is open, between two pieces of input.

    Attributes:
        position: after `run`, how far the input has been read; what lies behind it belongs to the next run.
        ending: after `NEED_MORE`, the search for the end of the token that was not complete.
        limit: how long the stack may get now: `max_depth`, and one more for every frame on it that adds no level.
        commented: the items of a list and how many there were when a comment came, behind which a dot is no dot.
    """

    __slots__ = ("commented", "ending", "items", "kind", "limit", "max_depth", "position", "stack", "start")

    def __init__(self, dialect: Dialect, max_depth: int) -> None:
        self.version = dialect.version
        self.base = 0
        self.fold = False
        self.max_depth = self.limit = max_depth
        self.commented = _NO_COMMENT
        self.position = 0
        self.ending: Ending = ANY
        self.stack: list[tuple[Any, int, int]] = []
        self.items: Any = None
        self.kind = TOP
        self.start = 0

    @property
    def open_since(self) -> int | None:
        """The offset in the stream where the outermost thing that is open began; `None` if nothing is."""
        if len(self.stack) > 1:
            return self.stack[1][2]
        return self.start if self.stack else None

    def run(self, data: bytes, position: int, final: bool) -> Any:
        """Reads the next datum.

        Args:
            data: the input; `base` says where in the stream it begins.
            position: where to begin in it.
            final: whether nothing comes behind it.

        Returns:
            The datum; `NO_DATUM` if final input holds none; `NEED_MORE` if the input ended before one did.
        """
        stack, base, limit = self.stack, self.base, self.limit
        items, kind, start = self.items, self.kind, self.start
        append: Any = items.append if kind < TOP else None
        value: Any
        symbols = SYMBOLS
        while True:
            # Every turn leaves with `code`, `position`, `payload`: one thing found that the fast path has not handled.
            if kind == CLOSING:
                code, position, payload = self._lex_closing(data, position, final, items, start)
            elif kind == HERE_TEXT:
                code, position, payload = self._lex_here(data, position, final, items, start)
            else:
                tokens = _TOKENS_FOLDING if self.fold else _TOKENS
                code = MORE
                for match in tokens.finditer(data, position):
                    group = match.lastindex
                    if group == 3:
                        value = int(match[3])
                    elif group == 5:
                        name = match[5]
                        value = symbols.get(name) or make_symbol(name)
                    elif group == 4:
                        value = match[4].decode("utf-8", "surrogateescape")
                    elif group == 1:
                        if len(stack) >= limit:
                            raise self._too_deep(match.end() - 1)
                        stack.append((items, kind, start))
                        items = []
                        append = items.append
                        kind = LIST
                        start = base + match.end() - 1
                        continue
                    elif group == 2:
                        if kind == LIST:
                            value = items
                        elif kind == VECTOR:
                            value = tuple(items)
                        else:
                            code, position, payload = CLOSE, match.end(), ")"
                            break
                        items, kind, start = stack.pop()
                        if kind < TOP:
                            append = items.append
                            append(value)
                            continue
                        code, position, payload = VALUE, match.end(), value
                        break
                    elif group == 6:
                        value = match[6] == b"#t"
                    elif group == 8:
                        value = float(match[8])
                    elif group == 9:
                        value = _CHARS[match[9]]
                    elif group == 7:
                        value = Keyword(match[7].decode("utf-8", "surrogateescape"))
                    elif group == 10:
                        position = match.start(10)
                        dots = kind < TOP and not (items is self.commented[0] and len(items) == self.commented[1])
                        if match[10] == b"." and dots and kind == LIST and items and not self.fold:
                            tail = _PLAIN_TAIL.match(data, position)
                            if tail:
                                payload = Dotted(items, _plain_atom(tail))
                                code, position = VALUE, tail.end()
                                items, kind, start = stack.pop()
                                break
                        code, position, payload = self.lex(data, position, final, dots)
                        if code == VALUE and kind < TOP:
                            append(payload)
                            code = COMMENT
                        break
                    else:  # the end of the data
                        position = len(data)
                        code, payload = MORE, ANY
                        break
                    if kind >= TOP:
                        code, position, payload = VALUE, match.end(), value
                        break
                    append(value)

            if code == COMMENT:
                continue
            if code == CLOSE:
                while kind >= TOP:
                    # CHICKEN drops what waits for a datum when its list ends: `(a ')` is `(a)`.
                    if kind in (TOP, NUMBERS, HERE_DATUM):
                        raise ReadError(f"unexpected '{payload}'", base + position - 1, "a datum")
                    if kind == TAIL:
                        raise ReadError(f"'{payload}' behind a dot", base + position - 1, "the tail of the list")
                    # A dropped `#ci` stays in force to the end of the datum.
                    limit -= TRANSPARENT.get(kind, 0)
                    items, kind, start = stack.pop()
                if CLOSERS[kind] != payload:
                    problem = f"'{payload}' in a list opened at byte {start}"
                    raise ReadError(problem, base + position - 1, f"'{CLOSERS[kind]}'")
                value = tuple(items) if kind == VECTOR else items
                items, kind, start = stack.pop()
            elif code == VALUE:
                value = payload
                if kind >= CLOSING:
                    items, kind, start = stack.pop()
            elif code == MORE:
                self.items, self.kind, self.start, self.limit = items, kind, start, limit
                self.position = position
                self.ending = payload
                if not final:
                    return NEED_MORE
                if not stack:
                    return NO_DATUM
                raise self._unfinished(base + len(data))
            else:
                # Something opens, or waits for a datum.
                where = match.start(10) if kind < CLOSING else position - 1
                if code == READ_ON:
                    if kind < TOP:
                        self.commented = (items, len(items))
                    continue
                if code == DOT and not items:
                    raise ReadError("dot at the beginning of a list", base + where, "a datum before the dot")
                outside = (items, kind, start)
                start = base + where
                if code == OPEN:
                    items, kind = [], payload
                    append = items.append
                else:
                    kind, items = (TAIL, None) if code == DOT else payload
                if kind in TRANSPARENT:
                    limit += TRANSPARENT[kind]
                    if limit > 2 * self.max_depth:
                        raise self._too_deep(where)
                elif len(stack) >= limit:
                    raise self._too_deep(where)
                stack.append(outside)
                if kind in (NUMBERS, HERE_DATUM):
                    items = (items, self.fold)
                    self.fold = False
                elif kind == CASE:
                    items, self.fold = self.fold, items
                elif kind == HERE_TEXT:
                    items = HereText(items)
                continue

            # A datum is complete: give it to whatever waits for it.
            while kind >= TOP:
                if kind == TOP:
                    self.items, self.kind, self.start, self.limit = None, TOP, 0, limit
                    self.fold = False
                    self.commented = _NO_COMMENT
                    self.position = position
                    return value
                if kind == PREFIX:
                    value = [items, value]
                elif kind == SKIP:
                    limit -= 1
                    items, kind, start = stack.pop()
                    if kind < TOP:
                        append = items.append
                        self.commented = (items, len(items))
                    break
                elif kind == TAIL:
                    limit -= 1
                    list_items, list_kind, list_start = stack.pop()
                    items, kind, start = (list_items, value, list_kind), CLOSING, list_start
                    break
                elif kind == FEATURE:
                    items, kind = value, EXPANSION
                    break
                elif kind == EXPANSION:
                    value = [_COND_EXPAND, [items, value], [_ELSE]]
                elif kind == CASE:
                    limit -= 1
                    self.fold = items
                elif kind == NUMBERS:
                    limit -= 2
                    tag, self.fold = items
                    value = self._vector(tag, value, start)
                elif kind == HERE_DATUM:
                    in_braces, self.fold = items
                    items, kind, start = stack.pop()
                    items.embed(value, in_braces)
                    break
                items, kind, start = stack.pop()
            else:
                append = items.append
                append(value)

    def _unfinished(self, end: int) -> IncompleteError:
        """The error for input that ended while something was open."""
        kind, start = self.kind, self.start
        if kind == CLOSING:
            kind = self.items[2]
        if kind <= BRACES:
            what = "vector" if kind == VECTOR else "list"
            return IncompleteError(f"unterminated {what} (opened at byte {start})", end, f"'{CLOSERS[kind]}'")
        return IncompleteError("end of input", end, f"{WAITING_FOR[kind]} (from byte {start})")

    def _too_deep(self, position: int) -> ReadError:
        return ReadError(f"nesting deeper than {self.max_depth:,}", self.base + position)

    def _vector(self, tag: str, items: Any, start: int) -> Any:
        if type(items) is not list:
            raise ReadError(f"#{tag} without a list of elements", start, "'('")
        try:
            return make_vector(tag, items, self.version)
        except VectorError as error:
            raise ReadError(str(error), start, error.expected) from None

    def _lex_closing(self, data: bytes, position: int, final: bool, items: Any, start: int) -> Found:
        """The closer of a dotted list, with nothing but white space and line comments before it."""
        list_items, tail, kind = items
        match = SPACE.match(data, position)
        assert match is not None
        position = match.end()
        if position == len(data):
            return MORE, position, ANY
        byte = data[position]
        if byte == 0x3B:
            return self.line_comment(data, position, final, COMMENT)
        if chr(byte) != CLOSERS[kind]:
            problem = f"more than one datum behind the dot of a list opened at byte {start}"
            raise self.error(problem, position, f"'{CLOSERS[kind]}'")
        if type(tail) is list:
            list_items += tail
            return VALUE, position + 1, tuple(list_items) if kind == VECTOR else list_items
        if kind == VECTOR:
            raise self.error("dot in a vector", position, "a vector without a tail")
        if type(tail) is Dotted:
            return VALUE, position + 1, Dotted(list_items + tail.items, tail.tail)
        return VALUE, position + 1, Dotted(list_items, tail)

    def _lex_here(self, data: bytes, position: int, final: bool, here: HereText, start: int) -> Found:
        """The text of a `#<#` string up to the next embedded datum or to its end."""
        while True:
            if here.in_braces:
                end = data.find(b"}", position)
                if end < 0:
                    if final:
                        raise IncompleteError("unterminated #{…} in a #<# string", self.base + len(data), "'}'")
                    return MORE, len(data), ANY
                position = end + 1
                here.in_braces = False
            match = _HERE_STOP.search(data, position)
            if not match:
                here.current += data[position:]
                if final:
                    return VALUE, len(data), self._here_value(here, start)
                return MORE, len(data), ANY
            here.current += data[position : match.start()]
            position = match.end()
            if match[0] == b"\n":
                if here.current == here.tag:
                    return VALUE, position, self._here_value(here, start)
                here.pieces += bytes(here.current), b"\n"
                here.current.clear()
                continue
            if position == len(data):
                if not final:
                    return MORE, position - 1, ANY
                raise self.incomplete("lone # in a #<# string", data, position - 1, "a datum")
            following = data[position]
            if following == 0x23:
                here.current += b"#"
                position += 1
            elif following == 0x7B:
                return WAIT, position + 1, (HERE_DATUM, True)
            else:
                return WAIT, position, (HERE_DATUM, False)

    def _here_value(self, here: HereText, start: int) -> list[Any]:
        if not here.pieces:
            raise ReadError("#<# string without a line", start, "a line before the tag")
        if len(self.stack) + 2 * here.embedded > self.limit:
            raise ReadError(f"nesting deeper than {self.max_depth:,}", start)
        return here.expression(self.version)
