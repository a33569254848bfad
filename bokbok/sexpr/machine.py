"""Nesting: what is open, what waits for a datum, and what happens when one is complete.

It knows lists, vectors, dots, quotes, datum comments, and everything else that holds or takes datums, as frames on a
stack; so there is no recursion, and reading can stop anywhere and go on: at the end of a piece of a stream, or after as
many bytes as a caller allows at a time. The syntax of single tokens is `lexer`'s, except for the common ones, which one
regular expression takes at its own speed.

Lists and vectors gather items. The other frames wait for one datum; when the list around them ends before it comes,
CHICKEN drops them, so `(a ')` is `(a)`.

Every byte costs a bounded number of steps, copies included: a list behind a dot, `(a . (b c))`, goes on filling the
list before the dot.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import Any, Final

from bokbok._later import pattern
from bokbok.errors import ReadError
from bokbok.sexpr import problems
from bokbok.sexpr.dialect import Dialect
from bokbok.sexpr.frames import (
    BRACES,
    BRACKETS,
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
    LOOK,
    MORE,
    NUMBERS,
    OPEN,
    PREFIX,
    READ_ON,
    SKIP,
    TAIL,
    TOKEN,
    TOP,
    TRANSPARENT,
    VALUE,
    VECTOR,
    WAIT,
    WAITING_FOR,
    Found,
)
from bokbok.sexpr.lexer import ANY, PREFIXES, SYMBOLS, make_symbol
from bokbok.sexpr.long import LongToken, LongTokens, vector_in_pieces
from bokbok.sexpr.memory import DEFAULT_MAX_MEMORY, DOTTED, ITEM, KEYWORD, LIST_COST, STRING, WORST, cost
from bokbok.sexpr.pieces import LONG
from bokbok.sexpr.problems import DatumError
from bokbok.sexpr.scan import Ending
from bokbok.sexpr.text import decode, encode
from bokbok.sexpr.types import Char, Dotted, Keyword, Symbol, adopt
from bokbok.sexpr.vectors import make_vector

_S: Final = rb"[ \t\n\v\f\r]"
_DELIMITED: Final = rb"(?=[ \t\n\v\f\r()\[\]{}\"';,])"
NAME: Final = rb"[a-zA-Z!$%&*/<=>?@^_~\x80-\xff][a-zA-Z0-9!$%&*/<=>?@^_~.+\-\x80-\xff]*"
POSSESSIVE: Final = b"+" if sys.version_info >= (3, 11) else b""
"""Behind a repetition: it gives nothing back. Without it, what does not match costs a step back for each byte."""
# What nearly all input consists of, in one expression: its search does in C what a loop over bytes, with a branch for
# each kind of token, would do; that loop is `lex`, which knows every token, these too, and takes 3 to 5 times as long
# (0.25 µs against 1 µs for a fixnum, CPython 3.11). A token matches here only if both would read the same; where this
# is not plain from the token alone (it may go on, it is long, it is unusual) group 13 hands it over.
# `re` skips an alternative at once only if it begins with a character, which a group that opens before it hides; so an
# empty group stands behind where the token's text is not needed, or is had by another group. Nothing here is to be
# tried again with fewer characters, so repetitions give nothing back. Both together take a third of the instructions.
_FAST: Final = (
    _S + rb"*~(?:"
    rb"\(()|\)()"  # 1, 2
    rb'|"([^"\\]{0,200}~)"'  # 3
    rb"|(-?~[0-9]{1,18}~)(?:\.[0-9]{1,300}~()(?:e[+-]?~[0-9]{1,4}~" + _DELIMITED + rb"|" + _DELIMITED +  # 4, 5
    rb")|" + _DELIMITED + rb")"
    rb"|(%b)(?:" + _DELIMITED + rb"|:()" + _DELIMITED + rb")"  # 6, 7
    rb"|\#([tf])" + _DELIMITED + rb"|\#\\([!-~])" + _DELIMITED +  # 8, 9
    rb"|(['`]|,(?=[^@]))|([\[{])|([\]}])|([^ \t\n\v\f\r])|(\Z))"  # 10, 11, 12, 13, 14
).replace(b"*~", b"*" + POSSESSIVE).replace(b"?~", b"?" + POSSESSIVE).replace(b"}~", b"}" + POSSESSIVE)  # fmt: skip
_TOKENS: Final = pattern(_FAST % (NAME + POSSESSIVE))
# The rest of a dotted list whose tail is a plain atom, `. "joe")`: most of all in association lists. Without it, the
# dot, its frame, the tail and the closer take four turns instead of one.
_PLAIN_TAIL: Final = pattern(
    rb'\. (?:"([^"\\]{0,200}' + POSSESSIVE + rb')"|(-?[0-9]{1,18})|(-?[0-9]{1,300}\.[0-9]{1,300})|(' + NAME + rb"))\)"
)
SPACE: Final = pattern(_S + rb"*")
_CHARS: Final = {bytes((code,)): Char(chr(code)) for code in range(0x21, 0x7F)}
_BRACKET_KINDS: Final = {b"[": BRACKETS, b"{": BRACES}
_BRACKET_CLOSERS: Final = {BRACKETS: b"]", BRACES: b"}"}
_HERE_STOP: Final = pattern(rb"[\n#]")
_COND_EXPAND: Final = Symbol("cond-expand")
_NO_COMMENT: Final[tuple[Any, int]] = (None, 0)
_ELSE: Final = Symbol("else")
_QUOTE: Final = Symbol("quote")
_CONS: Final = Symbol("cons")
_MANY: Final = 8192
"""Items of a list from which on a vector is made of it in pieces."""
_INNERMOST: Final = 16
_FORGOTTEN: Final[dict[type, Any]] = {list: [], tuple: (), Dotted: Dotted([0], 0)}
"""What stands for a value that is not needed any more. An error's text may tell its type."""
_MIN_WINDOW: Final = 4096
"""Bytes between two looks at the memory where the limit is near: few enough to notice (1 MiB at the worst), many enough
to pay for the look, which takes a step for every open list."""


@functools.cache
def _folding_tokens() -> re.Pattern[bytes]:
    """`_TOKENS` while case is folded: names take the slow path."""
    return re.compile(_FAST % rb"[^\x00-\xff]")


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

PAUSED: Final = _Nothing()
"""What `run` returns if it has read as far as it was allowed to, and there is more."""

_WAITING: Final = _Nothing()
"""What `_deliver` returns if the datum was taken by something that goes on."""


class HereText:
    """The state of a string from `#<#TAG`, in which `#x` and `#{x}` embed datums.

    Attributes:
        pieces: each embedded datum that is neither a string nor a character, with the text before it.
        text: the text since the last of them, except for `current`.
        current: the text since the last line end or embedded datum.
        last: what came last before `current`: how many bytes of `text`, or -1 for a datum in `pieces`; `None` if
            nothing did.
        in_braces: whether the rest up to `}` is to be dropped.
    """

    __slots__ = ("current", "in_braces", "last", "pieces", "tag", "text")

    def __init__(self, tag: bytes) -> None:
        self.tag = tag
        self.pieces: list[tuple[bytes, Any]] = []
        self.text = bytearray()
        self.current = bytearray()
        self.last: int | None = None
        self.in_braces = False

    def end_line(self) -> None:
        """Takes note of a line end that is part of the text."""
        self.current += b"\n"
        self.text += self.current
        self.current.clear()
        self.last = 1

    def embed(self, value: Any, in_braces: bool) -> None:
        """Takes the datum that stands behind the current text. A string or character becomes part of the text."""
        self.text += self.current
        self.current.clear()
        self.in_braces = in_braces
        if isinstance(value, (str, Char)) and not isinstance(value, Symbol):
            # CHICKEN's strings hold bytes, so that of a character there is only the low one.
            embedded = bytes((value.code_point & 0xFF,)) if isinstance(value, Char) else encode(value)
            self.text += embedded
            self.last = len(embedded)
        else:
            self.pieces.append((bytes(self.text), value))
            self.text.clear()
            self.last = -1

    def expression(self, version: int) -> list[Any]:
        """The expression that CHICKEN makes of it. What came last, usually the newline before the tag, is dropped."""
        assert self.last is not None
        text = self.pieces.pop()[0] if self.last < 0 else bytes(self.text[: len(self.text) - self.last])
        result: Any = [_CONS, decode(text), [_QUOTE, []]]
        for text, value in reversed(self.pieces):
            result = [_CONS, decode(text), [_CONS, value, result]]
        return [Symbol("\x03sysprint-to-string" if version == 4 else "##sys#print-to-string"), result]


class Machine(LongTokens):
    """What is open, between two pieces of input, or of work.

    Attributes:
        position: after `run`, how far the input has been read; what lies behind it belongs to the next run.
        ending: after `NEED_MORE`, the search for the end of the token that was not complete.
        left: how many bytes to read before the next look at the memory.
        limit: how long the stack may get now: `max_depth`, and one more for every frame on it that adds no level.
        commented: the items of a list and how many there were when a comment came, behind which a dot does not count.
        free: how many bytes of input cannot reach the limit on memory, whatever they are.
        open: items of lists that were open at the last look at the memory.
        opened: where in the stream the list began that was closed last.
        charging: whether memory is counted: not for input so short that no datum in it could reach the limit. `None`
            before a datum.
        spent: what the datum has cost so far, except for the items of lists that are open.
        took: what the last datum has cost, if memory was counted.
        counts: whether memory is counted for an input of any length, since the caller will ask for it.
    """

    __slots__ = (
        "charging", "commented", "counts", "ending", "free", "items", "kind", "left", "limit", "max_depth",
        "max_memory", "open", "opened", "position", "spent", "stack", "start", "took",
    )  # fmt: skip

    def __init__(
        self, dialect: Dialect, max_depth: int, max_memory: int = DEFAULT_MAX_MEMORY, counts: bool = False
    ) -> None:
        self.version = dialect.version
        self.base = 0
        self.fold = False
        self.sought = None
        self.max_depth = self.limit = max_depth
        self.max_memory = max_memory
        self.free = max_memory // WORST
        self.commented = _NO_COMMENT
        self.position = 0
        self.ending: Ending = ANY
        self.stack: list[tuple[Any, int, int]] = []
        self.items: Any = None
        self.kind = TOP
        self.start = 0
        self.opened = 0
        self.spent = self.left = self.took = self.open = 0
        self.charging: bool | None = None
        self.counts = counts

    @property
    def held(self) -> int:
        """What the datum costs so far that is being read: as of the last look, and the innermost list as it is now."""
        return self.spent + ITEM * max(self.open, len(self.items) if self.kind < TOP else 0)

    @property
    def open_since(self) -> int | None:
        """The offset in the stream where the outermost thing that is open began; `None` if nothing is."""
        if len(self.stack) > 1:
            return self.stack[1][2]
        return self.start if self.stack else None

    @property
    def begun(self) -> tuple[list[Any], int]:
        """The items so far of the outermost list, up to its dot, and where it was opened; none if there is no list."""
        frames = [*self.stack[1:3], (self.items, self.kind, self.start)]
        items, kind, start = frames[0]
        if kind == CLOSING:
            return items[0][: items[3]], start
        if not self.stack or kind not in CLOSERS or kind == VECTOR:
            return [], 0
        return items[: frames[1][0]] if len(frames) > 1 and frames[1][1] == TAIL else items, start

    def enter(self, items: list[Any], start: int) -> None:
        """Begins within a list whose first items are known already, and are as small as those of a message's head.

        Args:
            items: those items; the list goes on behind them.
            start: the offset in the stream where the list was opened.
        """
        self.stack.append((None, TOP, 0))
        self.items, self.kind, self.start = items, LIST, start

    def forget(self, known: list[tuple[list[Any], int]]) -> list[tuple[list[Any], int]]:
        """Lets go of what stands in lists that are open, where it is only to be found out whether they read.

        Empty lists and vectors stand in the places of those that were read; they stay charged. This is done for the
        innermost lists alone, so that its time does not depend on how many are open.

        Args:
            known: what this has returned the time before; at first nothing.
        """
        now = []
        for items, kind, _ in (*self.stack[-_INNERMOST:], (self.items, self.kind, 0)):
            if kind < TOP:
                done = next((count for before, count in known if before is items), 0)
                items[done:] = [_FORGOTTEN.get(type(value), value) for value in items[done:]]
                now.append((items, len(items)))
        return now

    def run(self, data: bytes, position: int, final: bool, pause: int | None = None) -> Any:
        """Reads the next datum.

        Args:
            data: the input; `base` says where in the stream it begins.
            position: where to begin in it.
            final: whether nothing comes behind it.
            pause: the offset in it where to stop for a while, at the first end of a token behind it; at the end of
                `data` if not given.

        Returns:
            The datum; `NO_DATUM` if final input holds none; `NEED_MORE` if the input ended before one did; `PAUSED` if
            it got as far as `pause`: the next run, from `self.position`, goes on, whatever its other arguments.
        """
        # One long function: a turn of the loop costs 0.15 µs, and a call within it would cost half as much again.
        # What happens seldom (1 in 50 tokens of usual data) is in the methods below, which share their state in `self`.
        stack, base, size = self.stack, self.base, len(data)
        symbols = SYMBOLS
        last = size if pause is None or pause > size else pause
        # Whether the machine's attributes are as they were when it was made ready; only local variables have changed.
        untouched = self.charging is None and not stack
        if self.charging is None:
            self.charging, self.left = self.counts or not final or size - position > self.free, self.free
        edge = position + self.left if self.charging else size
        stop = min(last, edge)
        opened = base + position
        value: Any
        while True:
            if position >= stop < size:
                if position >= last < size:
                    self.position, self.left = position, edge - position
                    return PAUSED
                edge = position + self._window()
                stop = min(last, edge)
            items, kind, start = self.items, self.kind, self.start
            code = COMMENT
            if kind >= CLOSING:
                if kind == CLOSING:
                    code, position, payload = self._lex_closing(data, position, final)
                elif kind == HERE_TEXT:
                    code, position, payload = self._lex_here(data, position, final, stop)
                    where = position - 1
                else:
                    where = position
                    code, position, payload = self._go_on_in_token(position)
                    if code == COMMENT and pause is not None:
                        self.position, self.left = position, edge - position
                        return PAUSED
                if code == VALUE:
                    self._pop()
            else:
                limit, charging, spent = self.limit, self.charging, self.spent
                append: Any = items.append if kind < TOP else None
                tokens = _folding_tokens() if self.fold else _TOKENS
                for match in tokens.finditer(data, position, stop):
                    group = match.lastindex
                    if group == 4:
                        value = int(match[4])
                    elif group == 6:
                        name = match[6]
                        value = symbols.get(name)
                        if value is None:
                            value = make_symbol(name)
                            spent += KEYWORD + 2 * len(name)
                    elif group == 3:
                        value = match[3].decode("utf-8", "surrogateescape")
                        if charging:
                            spent += STRING + len(value) if value.isascii() else cost(value)
                    elif group == 1:
                        if len(stack) >= limit:
                            self.items, self.kind = items, kind
                            raise self._too_deep(match.end() - 1)
                        if kind in (TAIL, CASE):
                            position, code = match.end(), OPEN
                            break
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
                            position, code = match.end(), CLOSE
                            break
                        if charging:
                            spent += LIST_COST + ITEM * len(items)
                        opened = start
                        items, kind, start = stack.pop()
                        if kind < TOP:
                            append = items.append
                            append(value)
                            continue
                    elif group == 10:
                        if len(stack) >= limit:
                            self.items, self.kind = items, kind
                            raise self._too_deep(match.start(10))
                        stack.append((items, kind, start))
                        items, kind, start = PREFIXES[match[10]], PREFIX, base + match.start(10)
                        continue
                    elif group == 5:
                        value = float(data[match.start(4) : match.end()])
                    elif group == 8:
                        value = match[8] == b"t"
                    elif group == 9:
                        value = _CHARS[match[9]]
                    elif group == 7:
                        value = Keyword(match[6].decode("utf-8", "surrogateescape"))
                        if charging:
                            spent += cost(value)
                    elif group == 11:
                        if len(stack) >= limit or kind in (TAIL, CASE):
                            position, code = match.start(11), LOOK
                            break
                        stack.append((items, kind, start))
                        items = []
                        append = items.append
                        kind = _BRACKET_KINDS[match[11]]
                        start = base + match.start(11)
                        continue
                    elif group == 12:
                        if _BRACKET_CLOSERS.get(kind) != match[12]:
                            position, code = match.start(12), LOOK
                            break
                        value = items
                        if charging:
                            spent += LIST_COST + ITEM * len(items)
                        opened = start
                        items, kind, start = stack.pop()
                        if kind < TOP:
                            append = items.append
                            append(value)
                            continue
                    elif group == 13:
                        position, code = match.start(13), LOOK
                        break
                    else:  # as far as may be read now
                        position = stop
                        code = MORE if stop == size else COMMENT
                        break
                    if kind >= TOP:
                        while kind == PREFIX:
                            value = [items, value]
                            if charging:
                                spent += LIST_COST + 2 * ITEM
                            opened = start
                            items, kind, start = stack.pop()
                        if kind >= TOP:
                            position, code = match.end(), VALUE
                            break
                        append = items.append
                    append(value)
                self.spent = spent
                if code == VALUE and kind == TOP:
                    self.position, self.opened = position, opened
                    if untouched and not (charging and spent > self.max_memory):
                        # What is left to do then of `_complete`. Most datums that are read alone end here.
                        self.took, self.spent, self.charging = spent, 0, None
                        return value
                    return self._complete(value)
                untouched = False
                self.items, self.kind, self.start = items, kind, start
                where, payload = position, None
                if code == VALUE:
                    payload, self.opened = value, opened
                elif code == LOOK:
                    code, position, payload = self._lex_odd(data, position, final)
                elif code == OPEN:
                    where, payload = position - 1, LIST
                elif code == CLOSE:
                    payload = ")"
                elif code == MORE:
                    payload = ANY
            if code == VALUE:
                value = payload
            elif code == CLOSE:
                value = self._close(payload, position)
            elif code == COMMENT:
                continue
            elif code == MORE:
                self.position, self.ending, self.left = position, payload, edge - position
                if not final:
                    return NEED_MORE
                if not stack:
                    return NO_DATUM
                raise self._unfinished(base + size)
            else:
                self._open(code, payload, where)
                continue
            if self.kind < TOP:
                self.items.append(value)
                continue
            value = self._deliver(value)
            if value is not _WAITING:
                self.position = position
                return value

    def _lex_odd(self, data: bytes, position: int, final: bool) -> Found:
        """What the fast path does not take: what begins at `position`, where no white space is."""
        items, kind = self.items, self.kind
        dots = kind < TOP and not (items is self.commented[0] and len(items) == self.commented[1])
        if data[position] == 0x2E and dots and kind == LIST and items and not self.fold:
            tail = _PLAIN_TAIL.match(data, position)
            if tail and self.stack[-1][1] not in (TAIL, CASE):
                atom = _plain_atom(tail)
                if self.charging:
                    self._charge(LIST_COST + ITEM * len(items) + DOTTED + cost(atom))
                self._pop()
                return VALUE, tail.end(), adopt(items, atom)
        if final and len(data) - position > LONG and (token := self.begin_long(data, position, dots)) is not None:
            self._enter_token(token, self.base + position)
            return COMMENT, position, None
        found = self.lex(data, position, final, dots)
        if found[0] == VALUE and self.charging:
            self._charge(cost(found[2]), position)
        return found

    def _enter_token(self, token: LongToken, start: int) -> None:
        """What is read next is a token, or what is made of a list, in pieces: more than one go would take too long."""
        self.stack.append((self.items, self.kind, self.start))
        self.items, self.kind, self.start = token, TOKEN, start

    def _go_on_in_token(self, position: int) -> Found:
        """A piece of a long token: `COMMENT`, until it is whole; then the caller pops the frame of a `VALUE`."""
        try:
            next(self.items)
        except StopIteration as end:
            code, after, payload = end.value
            if code == VALUE:
                self.opened = self.start
                if self.charging:
                    self._charge(cost(payload), position)
            else:
                self._pop()
            return code, max(position, after), payload
        return COMMENT, position, None

    def _open(self, code: int, payload: Any, where: int) -> None:
        """Takes what opens, or waits for a datum; `where` is its offset in the input."""
        if code == READ_ON:
            if self.kind < TOP:
                self.commented = (self.items, len(self.items))
            return
        kind, items = payload if code == WAIT else (payload, [])
        if code == DOT:
            before = self._before_dot(len(self.stack) - 1) if self.kind != VECTOR else None
            if len(self.items) <= (before[1] if before else 0):
                raise self.error(problems.DOT_FIRST, where)
            kind, items = TAIL, len(self.items)
        elif code == OPEN and kind != VECTOR:
            before = self._before_dot(len(self.stack))
            if before:
                items = before[0]
        if kind in TRANSPARENT:
            self.limit += TRANSPARENT[kind]
            if self.limit > 2 * self.max_depth:
                raise self._too_deep(where)
        elif len(self.stack) >= self.limit:
            raise self._too_deep(where)
        self.stack.append((self.items, self.kind, self.start))
        self.start = self.base + where
        if kind in (NUMBERS, HERE_DATUM):
            items = (items, self.fold)
            self.fold = False
        elif kind == CASE:
            items, self.fold = self.fold, items
        elif kind == HERE_TEXT:
            items = HereText(items)
        self.items, self.kind = items, kind

    def _before_dot(self, depth: int) -> tuple[list[Any], int] | None:
        """Whether the frame at `depth` waits for the tail of a list.

        Returns:
            That list's items, which a list as its tail shares, so that nothing is copied: `(a . (b . (c …)))` would
            cost the square of its length. And how many of them stand before the dot.
        """
        items, kind, _ = self.stack[depth] if depth < len(self.stack) else (self.items, self.kind, 0)
        while kind == CASE:
            depth -= 1
            items, kind, _ = self.stack[depth]
        return (self.stack[depth - 1][0], items) if kind == TAIL else None

    def _pop(self) -> None:
        self.items, self.kind, self.start = self.stack.pop()

    def _close(self, closer: str, position: int) -> Any:
        """Closes the innermost list, before `position`; the value that it is."""
        where = position - 1
        while self.kind >= TOP:
            # CHICKEN drops what waits for a datum when its list ends: `(a ')` is `(a)`.
            if self.kind in (TOP, NUMBERS, HERE_DATUM):
                raise self.error(problems.UNEXPECTED_CLOSER, where, closer=closer)
            if self.kind == TAIL:
                raise self.error(problems.DOT_LAST, where, closer=closer)
            # A dropped `#ci` stays in force to the end of the datum.
            self.limit -= TRANSPARENT.get(self.kind, 0)
            self._pop()
        if CLOSERS[self.kind] != closer:
            raise self.error(problems.WRONG_CLOSER, where, closer=closer, start=self.start, expected=CLOSERS[self.kind])
        items = self.items
        self.spent += LIST_COST + ITEM * len(items)
        value = tuple(items) if self.kind == VECTOR else items
        self.opened = self.start
        self._pop()
        return value

    def _deliver(self, value: Any) -> Any:
        """Gives a datum to what waits for it, and what that makes of it to what waits for that.

        Returns:
            The datum that was asked for, if it is complete now; else `_WAITING`.
        """
        while self.kind >= TOP:
            kind, items = self.kind, self.items
            if kind == TOP:
                return self._complete(value)
            if kind == PREFIX:
                value = [items, value]
                self.spent += LIST_COST + 2 * ITEM
            elif kind == SKIP:
                self.limit -= 1
                self._pop()
                if self.kind < TOP:
                    self.commented = (self.items, len(self.items))
                return _WAITING
            elif kind == TAIL:
                self.limit -= 1
                list_items, list_kind, list_start = self.stack.pop()
                if value is list_items or (type(value) is Dotted and value.items is list_items):
                    self.spent -= ITEM * items  # those before the dot, which the list behind it shares
                self.items, self.kind, self.start = (list_items, value, list_kind, items), CLOSING, list_start
                return _WAITING
            elif kind == FEATURE:
                self.items, self.kind = value, EXPANSION
                return _WAITING
            elif kind == EXPANSION:
                value = [_COND_EXPAND, [items, value], [_ELSE]]
                self.spent += 3 * LIST_COST + 6 * ITEM
            elif kind == CASE:
                self.limit -= 1
                self.fold = items
            elif kind == NUMBERS:
                self.limit -= 2
                tag, self.fold = items
                if type(value) is list and len(value) > _MANY:
                    start = self.start
                    self._pop()
                    self._enter_token(self._vector_in_pieces(tag, value, start), start)
                    return _WAITING
                value = self._vector(tag, value)
            elif kind == HERE_DATUM:
                in_braces, self.fold = items
                self._pop()
                self.items.embed(value, in_braces)
                self.spent += 2 * (LIST_COST + 3 * ITEM)
                return _WAITING
            self.opened = self.start
            self._pop()
        self.items.append(value)
        return _WAITING

    def _complete(self, value: Any) -> Any:
        """Makes the machine ready for the next datum, now that this one is complete."""
        if self.charging and self.spent > self.max_memory:
            if type(value) is list:
                self.enter(value, self.opened)  # what it began with can be told, as if it were open
            raise self._too_much(self.opened)
        self.items, self.kind, self.start = None, TOP, 0
        self.limit, self.fold, self.took, self.spent = self.max_depth, False, self.spent, 0
        self.commented = _NO_COMMENT
        self.charging = None
        self.open = 0
        return value

    def _unfinished(self, end: int) -> ReadError:
        """The error for input that ended while something was open."""
        kind, start = self.kind, self.start
        if kind == CLOSING:
            kind = self.items[2]
        if kind <= BRACES:
            what = "vector" if kind == VECTOR else "list"
            return problems.UNTERMINATED_LIST.at(end, kind=what, start=start, closer=CLOSERS[kind])
        return problems.NOTHING_FOLLOWS.at(end, what=WAITING_FOR[kind], start=start)

    def _too_deep(self, position: int) -> ReadError:
        return self.error(problems.TOO_DEEP, position, limit=self.max_depth)

    def _window(self) -> int:
        """Looks at the memory that the datum takes so far.

        Returns:
            How many bytes to read before the next look: so many that the limit cannot be reached before.
        """
        self.open = self._items_open()
        left = self.max_memory - self.spent - ITEM * self.open
        if left < 0:
            raise self._too_much(self.open_since)
        return max(left // WORST, _MIN_WINDOW)

    def _items_open(self) -> int:
        """How many items the lists have that are open, which are not charged yet."""
        # Lists on both sides of a dot share theirs.
        items_open = before = 0
        below: list[Any] = []
        for items, kind, _ in (*self.stack, (self.items, self.kind, 0)):
            if kind < TOP:
                items_open += len(items) - (before if kind != VECTOR else 0)
                below = items
            elif kind == TAIL:
                items_open += items - len(below)
            elif kind == CLOSING:
                items_open += items[3] - before
            if kind != CASE:
                before = items if kind == TAIL else 0
        return items_open

    def _charge(self, amount: int, position: int = 0) -> None:
        self.spent += amount
        if self.charging and self.spent > self.max_memory:
            since = self.open_since
            raise self._too_much(self.base + position if since is None else since)

    def _too_much(self, start: int | None) -> ReadError:
        return problems.TOO_MUCH_MEMORY.at(start or 0, limit=self.max_memory)

    def _vector(self, tag: str, items: Any) -> Any:
        if type(items) is not list:
            raise problems.VECTOR_WITHOUT_LIST.at(self.start, tag=tag)
        try:
            vector = make_vector(tag, items, self.version)
        except DatumError as error:
            raise error.at(self.start) from None
        self._charge(cost(vector))
        return vector

    def _vector_in_pieces(self, tag: str, items: list[Any], start: int) -> LongToken:
        try:
            return VALUE, 0, (yield from vector_in_pieces(tag, items, self.version))
        except DatumError as error:
            raise error.at(start) from None

    def _lex_closing(self, data: bytes, position: int, final: bool) -> Found:
        """The closer of a dotted list, with nothing but white space and line comments before it."""
        items, tail, kind, before = self.items
        match = SPACE.match(data, position)
        assert match is not None
        position = match.end()
        if position == len(data):
            return MORE, position, ANY
        byte = data[position]
        if byte == 0x3B:
            return self.line_comment(data, position, final, COMMENT)
        if chr(byte) != CLOSERS[kind]:
            raise self.error(problems.TWO_TAILS, position, start=self.start, expected=CLOSERS[kind])
        self.spent += LIST_COST + ITEM * before
        self.opened = self.start
        if type(tail) is list:
            if tail is not items:
                items += tail  # that of a quote, or of another abbreviation: two or three
            return VALUE, position + 1, tuple(items) if kind == VECTOR else items
        if kind == VECTOR:
            raise self.error(problems.DOT_IN_VECTOR, position)
        if type(tail) is Dotted:
            return VALUE, position + 1, tail  # made of the same items
        self.spent += DOTTED
        return VALUE, position + 1, adopt(items, tail)

    def _lex_here(self, data: bytes, position: int, final: bool, stop: int) -> Found:
        """The text of a `#<#` string up to the next embedded datum, to its end, or to `stop`."""
        here = self.items
        while True:
            if here.in_braces:
                end = data.find(b"}", position)
                if end < 0:
                    if final:
                        raise self.error(problems.UNTERMINATED_HERE_BRACES, len(data))
                    return MORE, len(data), ANY
                position = end + 1
                here.in_braces = False
            match = _HERE_STOP.search(data, position)
            if not match:
                here.current += data[position:]
                if final:
                    return VALUE, len(data), self._here_value(here)
                return MORE, len(data), ANY
            here.current += data[position : match.start()]
            position = match.end()
            if match[0] == b"\n":
                if here.current == here.tag:
                    return VALUE, position, self._here_value(here)
                here.end_line()
                if position >= stop:
                    return COMMENT, position, None
                continue
            if position == len(data):
                if not final:
                    return MORE, position - 1, ANY
                raise self.incomplete(problems.LONE_HERE_HASH, data, position - 1)
            following = data[position]
            if following == 0x23:
                here.current += b"#"
                position += 1
                if position >= stop:
                    return COMMENT, position, None
            elif following == 0x7B:
                return WAIT, position + 1, (HERE_DATUM, True)
            else:
                return WAIT, position, (HERE_DATUM, False)

    def _here_value(self, here: HereText) -> list[Any]:
        if here.last is None:
            raise problems.EMPTY_HERE_STRING.at(self.start)
        if len(self.stack) + 2 * len(here.pieces) > self.limit:
            raise problems.TOO_DEEP.at(self.start, limit=self.max_depth)
        value = here.expression(self.version)
        self._charge(2 * (LIST_COST + 3 * ITEM) + 2 * STRING)
        return value
