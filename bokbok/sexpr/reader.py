"""Bytes to values: CHICKEN's `read`, for whole inputs, for streams, and for the wire's messages.

What this module knows: the syntax that `read` takes, with its oddities, and how to read it in one pass without
recursion, without evaluating anything, and with every limit that input from elsewhere needs. What it refuses to know:
what numbers and escapes mean (`numbers`, `text`, `vectors` do), and where bytes come from.

How it works: one regular expression takes the common tokens (fixnums, plain symbols and strings, parentheses) at the
speed of the regular expression engine; `_Machine._lex` takes the rest, one token a call. What is open is kept on a
stack of frames: lists and vectors gather items; the others (a quote, a datum comment, a dotted tail, …) wait for one
datum. A reader of a stream keeps that stack between pieces, and of the input only the token that is not yet complete.
"""

from __future__ import annotations

import re
from typing import IO, Any, Final, Union

from bokbok.errors import IncompleteError, ReadError
from bokbok.sexpr.dialect import CHICKEN_4, Dialect
from bokbok.sexpr.numbers import Exactness, NumberError, escape_code, parse_number
from bokbok.sexpr.scan import (
    AnyEnd,
    BlockCommentEnd,
    ByteEnd,
    Ending,
    HereStringEnd,
    LineEnd,
    PlainTokenEnd,
    QuotedEnd,
    TokenEnd,
)
from bokbok.sexpr.text import NAMED_CHARS, EscapeError, decode, unescape
from bokbok.sexpr.types import EOF, Char, Dotted, Keyword, Symbol
from bokbok.sexpr.vectors import TAGS, VectorError, make_vector, parse_blob, parse_simple

__all__ = [
    "DEFAULT_MAX_DEPTH", "DEFAULT_MAX_SIZE", "Reader", "load", "loads", "parse", "read_list_head", "skip_atmosphere",
]  # fmt: skip

DEFAULT_MAX_DEPTH: Final = 10_000
"""How deep data may nest. Deeper than people and programs nest lists; shallow enough for CHICKEN's own `read`, whose
recursion costs it stack, and for whoever walks the result with recursion of their own."""

DEFAULT_MAX_SIZE: Final = 64 * 1024 * 1024
"""How many bytes of a stream one datum may take: four times the wire's packet limit, so that whatever came in a packet
passes, and a stream that never ends a datum does not take all memory."""

BytesLike = Union[bytes, bytearray, memoryview]

# Kinds of frames. Those below _TOP gather items; the others wait for one datum. `items` of a waiting frame holds what
# belongs to it.
_LIST, _VECTOR, _BRACKETS, _BRACES = range(4)
_TOP = 4  # the datum that was asked for
_PREFIX = 5  # (items, datum): 'x and its kin; items: the symbol
_SKIP = 6  # behind #;: the datum is dropped, and another one is waited for
_SAME = 7  # after a comment in a list: CHICKEN reads a datum here, and takes no dot
_TAIL = 8  # behind the dot of a list; items: the list's items
_FEATURE = 9  # behind #+
_EXPANSION = 10  # behind #+ and its first datum; items: that datum
_CASE = 11  # behind #ci or #cs; items: whether case was folded outside
_NUMBERS = 12  # behind #u8 and its kin; items: (the tag, whether case was folded outside)
_HERE_DATUM = 13  # behind # in a #<# string; items: (whether in braces, whether case was folded outside)
_CLOSING = 14  # the tail of a dotted list is read, its closer must follow; items: (items, tail, kind of the list)
_HERE_TEXT = 15  # in the text of a #<# string; items: the string's state

_CLOSERS: Final = {_LIST: ")", _VECTOR: ")", _BRACKETS: "]", _BRACES: "}"}
_WAITING_FOR: Final = {
    _PREFIX: "a quoted datum", _SKIP: "a datum to skip behind #;", _TAIL: "the tail behind a dot",
    _FEATURE: "the requirement behind #+", _EXPANSION: "the datum behind #+ and its requirement",
    _CASE: "the datum behind #ci or #cs", _NUMBERS: "the elements of a number vector",
    _HERE_DATUM: "the datum behind # in a #<# string",
}  # fmt: skip

# What `_lex` finds. _VALUE: a datum; _OPEN: the start of a list (payload: kind); _CLOSE: its end (the closer); _WAIT: what
# takes a datum (kind, items); _COMMENT: a comment that counts as white space; _READ_ON: one after which CHICKEN reads a
# datum; _DOT: a dot in a list; _MORE: nothing yet (the search for the token's end).
_VALUE, _OPEN, _CLOSE, _WAIT, _COMMENT, _READ_ON, _DOT, _MORE = range(8)
_Found = tuple[int, int, Any]

_S: Final = rb"[ \t\n\v\f\r]"
_DELIMITED: Final = rb"(?=[ \t\n\v\f\r()\[\]{}\"';,])"
_NAME: Final = rb"[a-zA-Z!$%&*/<=>?@^_~\x80-\xff][a-zA-Z0-9!$%&*/<=>?@^_~.+\-\x80-\xff]*"
_FAST: Final = (
    _S + rb"*(?:"
    rb"(\()"  # 1
    rb"|(\))"  # 2
    rb"|(-?[0-9]{1,18})" + _DELIMITED + rb'|"([^"\\]*)"'  # 3, 4
    rb"|(%b)" + _DELIMITED + rb"|(\#[tf])" + _DELIMITED + rb"|(%b):" + _DELIMITED +  # 5, 6, 7
    rb"|(-?[0-9]{1,300}\.[0-9]{1,300}(?:e[+-]?[0-9]{1,4})?)" + _DELIMITED +  # 8
    rb"|\#\\([!-~])" + _DELIMITED + rb"|([^ \t\n\v\f\r])|(\Z))"  # 9, 10, 11
)  # fmt: skip
_TOKENS: Final = re.compile(_FAST % (_NAME, _NAME))
# While case is folded, names take the slow path.
_TOKENS_FOLDING: Final = re.compile(_FAST % (rb"[^\x00-\xff]", rb"[^\x00-\xff]"))
_SPACE: Final = re.compile(_S + rb"*")
_SIMPLE_VECTOR: Final = re.compile(rb"\(([-+.e0-9 \t\n\v\f\r]*)\)")
_HERE_STOP: Final = re.compile(rb"[\n#]")
_WHITE: Final = frozenset(b" \t\n\v\f\r")
_TERMINATORS: Final = frozenset(b",;()'\"[]{}")
_DELIMITERS: Final = _WHITE | _TERMINATORS
_DIGITS: Final = frozenset(b"0123456789")
_NUMBER_STARTS: Final = frozenset(b"0123456789+-.")
_VECTOR_TAG_STARTS: Final = frozenset(b"usfUSF")
_CHARS: Final = {bytes((code,)): Char(chr(code)) for code in range(0x21, 0x7F)}
_RADIXES: Final = {ord("x"): 16, ord("d"): 10, ord("o"): 8, ord("b"): 2}
_PREFIXES: Final = {0x27: Symbol("quote"), 0x60: Symbol("quasiquote")}
_UNQUOTE: Final = Symbol("unquote")
_UNQUOTE_SPLICING: Final = Symbol("unquote-splicing")
_QUASISYNTAX: Final = Symbol("quasisyntax")
_LOCATION: Final = Symbol("location")
_COND_EXPAND: Final = Symbol("cond-expand")
_ELSE: Final = Symbol("else")
_QUOTE: Final = Symbol("quote")
_CONS: Final = Symbol("cons")
_EXACTNESS: Final[dict[int, Exactness]] = {ord("e"): "e", ord("i"): "i"}
_RUN: Final = re.compile(rb"[^|\\]+")
_UNSPECIFIED: Final = b"#<unspecified>"
_ANY: Final = AnyEnd(0)

# CHICKEN 4's limit for the prefix of a qualified symbol.
_MAX_NAMESPACE: Final = 31
_UNREADABLE: Final = re.compile(rb"#<[^\s()\[\]{}\"';,>]{1,40}")

# Symbols that come again and again are made once. The cache is small, so that a peer cannot fill memory with it.
_SYMBOL_CACHE_SIZE: Final = 1024
_SYMBOL_CACHE_NAME: Final = 32
_symbols: dict[bytes, Symbol] = {}


class _Nothing:
    """The type of the marks below."""


_NEED_MORE: Final = _Nothing()
_NO_DATUM: Final = _Nothing()


def _symbol(name: bytes) -> Symbol:
    symbol = _symbols.get(name)
    if symbol is None:
        symbol = Symbol(name.decode("utf-8", "surrogateescape"))
        if len(name) <= _SYMBOL_CACHE_NAME:
            if len(_symbols) >= _SYMBOL_CACHE_SIZE:
                _symbols.clear()
            _symbols[name] = symbol
    return symbol


class _HereText:
    """The state of a string from `#<#TAG`, in which `#x` and `#{x}` embed datums.

    Attributes:
        pieces: what is complete: lines and line ends as bytes, each embedded datum as a tuple of itself.
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
        self.pieces += bytes(self.current), (value,)
        self.current.clear()
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


class _Machine:
    """What is open, between two pieces of input.

    Attributes:
        position: after `run`, how far the input has been read; what lies behind it belongs to the next run.
        ending: after `_NEED_MORE`, the search for the end of the token that was not complete.
        base: the offset in the stream of the first byte of the next input.
    """

    __slots__ = ("base", "ending", "fold", "items", "kind", "max_depth", "position", "stack", "start", "version")

    def __init__(self, dialect: Dialect, max_depth: int) -> None:
        self.version = dialect.version
        self.max_depth = max_depth
        self.base = 0
        self.position = 0
        self.ending: Ending = _ANY
        self.stack: list[tuple[Any, int, int]] = []
        self.items: Any = None
        self.kind = _TOP
        self.start = 0
        self.fold = False

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
            The datum; `_NO_DATUM` if final input holds none; `_NEED_MORE` if the input ended before one did.
        """
        stack, base, max_depth = self.stack, self.base, self.max_depth
        items, kind, start = self.items, self.kind, self.start
        append: Any = items.append if kind < _TOP else None
        value: Any
        symbols = _symbols
        while True:
            # Every turn leaves with `code`, `position`, `payload`: one thing found that the fast path has not handled.
            if kind == _CLOSING:
                code, position, payload = self._lex_closing(data, position, final, items, start)
            elif kind == _HERE_TEXT:
                code, position, payload = self._lex_here(data, position, final, items, start)
            else:
                tokens = _TOKENS_FOLDING if self.fold else _TOKENS
                code = _MORE
                for match in tokens.finditer(data, position):
                    group = match.lastindex
                    if group == 3:
                        value = int(match[3])
                    elif group == 5:
                        name = match[5]
                        value = symbols.get(name) or _symbol(name)
                    elif group == 4:
                        value = match[4].decode("utf-8", "surrogateescape")
                    elif group == 1:
                        if len(stack) >= max_depth:
                            raise ReadError(f"nesting deeper than {max_depth:,}", base + match.end() - 1)
                        stack.append((items, kind, start))
                        items = []
                        append = items.append
                        kind = _LIST
                        start = base + match.end() - 1
                        continue
                    elif group == 2:
                        if kind == _LIST:
                            value = items
                        elif kind == _VECTOR:
                            value = tuple(items)
                        else:
                            code, position, payload = _CLOSE, match.end(), ")"
                            break
                        items, kind, start = stack.pop()
                        if kind < _TOP:
                            append = items.append
                            append(value)
                            continue
                        code, position, payload = _VALUE, match.end(), value
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
                        code, position, payload = self._lex(data, position, final, kind)
                        if code == _VALUE and kind < _TOP:
                            append(payload)
                            code = _COMMENT
                        break
                    else:  # the end of the data
                        position = len(data)
                        code, payload = _MORE, _ANY
                        break
                    if kind >= _TOP:
                        code, position, payload = _VALUE, match.end(), value
                        break
                    append(value)

            if code == _COMMENT:
                continue
            if code == _CLOSE:
                while kind >= _TOP:
                    # CHICKEN drops what waits for a datum when its list ends: `(a ')` is `(a)`.
                    if kind in (_TOP, _NUMBERS, _HERE_DATUM):
                        raise ReadError(f"unexpected '{payload}'", base + position - 1, "a datum")
                    if kind == _TAIL:
                        raise ReadError(f"'{payload}' behind a dot", base + position - 1, "the tail of the list")
                    if kind == _CASE:
                        self.fold = items
                    items, kind, start = stack.pop()
                if _CLOSERS[kind] != payload:
                    problem = f"'{payload}' in a list opened at byte {start}"
                    raise ReadError(problem, base + position - 1, f"'{_CLOSERS[kind]}'")
                value = tuple(items) if kind == _VECTOR else items
                items, kind, start = stack.pop()
            elif code == _VALUE:
                value = payload
                if kind >= _CLOSING:
                    items, kind, start = stack.pop()
            elif code == _MORE:
                self.items, self.kind, self.start = items, kind, start
                self.position = position
                self.ending = payload
                if not final:
                    return _NEED_MORE
                if not stack:
                    return _NO_DATUM
                raise self._unfinished(base + len(data))
            else:
                # Something opens, or waits for a datum.
                where = base + match.start(10) if kind < _CLOSING else base + position - 1
                if len(stack) >= max_depth:
                    raise ReadError(f"nesting deeper than {max_depth:,}", where)
                if code == _OPEN:
                    stack.append((items, kind, start))
                    items, kind, start = [], payload, where
                    append = items.append
                elif code == _WAIT:
                    if kind < _TOP and payload[0] == _SKIP:
                        stack.append((items, kind, start))
                        items, kind, start = None, _SAME, where
                    stack.append((items, kind, start))
                    kind, items = payload
                    start = where
                    if kind in (_NUMBERS, _HERE_DATUM):
                        items = (items, self.fold)
                        self.fold = False
                    elif kind == _CASE:
                        items, self.fold = self.fold, items
                elif code == _DOT:
                    if not items:
                        raise ReadError("dot at the beginning of a list", where, "a datum before the dot")
                    stack.append((items, kind, start))
                    items, kind, start = None, _TAIL, where
                elif kind < _TOP:  # _READ_ON
                    stack.append((items, kind, start))
                    items, kind, start = None, _SAME, where
                continue

            # A datum is complete: give it to whatever waits for it.
            while kind >= _TOP:
                if kind == _TOP:
                    self.items, self.kind, self.start = None, _TOP, 0
                    self.position = position
                    return value
                if kind == _PREFIX:
                    value = [items, value]
                elif kind == _SKIP:
                    items, kind, start = stack.pop()
                    break
                elif kind == _TAIL:
                    list_items, list_kind, list_start = stack.pop()
                    items, kind, start = (list_items, value, list_kind), _CLOSING, list_start
                    break
                elif kind == _FEATURE:
                    items, kind = value, _EXPANSION
                    break
                elif kind == _EXPANSION:
                    value = [_COND_EXPAND, [items, value], [_ELSE]]
                elif kind == _CASE:
                    self.fold = items
                elif kind == _NUMBERS:
                    tag, self.fold = items
                    value = self._vector(tag, value, start)
                elif kind == _HERE_DATUM:
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
        position = len(self.stack) - 1
        while kind == _SAME:
            _, kind, start = self.stack[position]
            position -= 1
        if kind == _CLOSING:
            kind = self.items[2]
        if kind <= _BRACES:
            what = "vector" if kind == _VECTOR else "list"
            return IncompleteError(f"unterminated {what} (opened at byte {start})", end, f"'{_CLOSERS[kind]}'")
        return IncompleteError("end of input", end, f"{_WAITING_FOR[kind]} (from byte {start})")

    def _error(self, problem: str, position: int, expected: str | None = None) -> ReadError:
        return ReadError(problem, self.base + position, expected)

    def _incomplete(self, problem: str, data: bytes, position: int, expected: str) -> IncompleteError:
        where = self.base + position
        return IncompleteError(f"{problem} (begun at byte {where})", self.base + len(data), expected)

    def _vector(self, tag: str, items: Any, start: int) -> Any:
        if type(items) is not list:
            raise ReadError(f"#{tag} without a list of elements", start, "'('")
        try:
            return make_vector(tag, items, self.version)
        except VectorError as error:
            raise ReadError(str(error), start, error.expected) from None

    # -- one token at a time -------------------------------------------------------------------------------------------

    def _lex(self, data: bytes, position: int, final: bool, kind: int) -> _Found:
        """Finds out what begins at `position`, where no white space is."""
        byte = data[position]
        if byte == 0x22:
            raw = self._quoted(data, position, final, b'"')
            if raw is None:
                return self._more(QuotedEnd(position + 1, b'"'), data, position)
            text = self._unescape(raw, position + 1) if b"\\" in raw else raw
            return _VALUE, position + len(raw) + 2, decode(text)
        if byte == 0x23:
            if position + 1 == len(data):
                if final:
                    raise self._incomplete("lone #", data, position, "what follows a #")
                return _MORE, position, _ANY
            return self._lex_hash(data, position, final, kind)
        if byte == 0x3B:
            return self._line_comment(data, position, final, _COMMENT)
        if byte in _NUMBER_STARTS:
            if byte == 0x2E and kind < _TOP:
                return self._lex_dot(data, position, final)
            return self._lex_number(data, position, position, final, None, None)
        if byte in _PREFIXES:
            return _WAIT, position + 1, (_PREFIX, _PREFIXES[byte])
        if byte == 0x2C:
            if position + 1 == len(data) and not final:
                return _MORE, position, _ANY
            if data[position + 1 : position + 2] == b"@":
                return _WAIT, position + 2, (_PREFIX, _UNQUOTE_SPLICING)
            return _WAIT, position + 1, (_PREFIX, _UNQUOTE)
        if byte == 0x5B:
            return _OPEN, position + 1, _BRACKETS
        if byte == 0x7B:
            return _OPEN, position + 1, _BRACES
        if byte in b")]}":
            return _CLOSE, position + 1, chr(byte)
        token = self._token(data, position, final)
        if token is None:
            return self._more(TokenEnd(position), data, position)
        end, name, is_keyword = token
        return _VALUE, end, Keyword(decode(name)) if is_keyword else _symbol(name)

    def _more(self, ending: Ending, data: bytes, position: int) -> _Found:
        """Asks for more input; `ending` has not found its end in `data`."""
        ending.find(data)
        return _MORE, position, ending

    def _quoted(self, data: bytes, position: int, final: bool, quote: bytes) -> bytes | None:
        """What stands between the quote at `position` and its partner; `None` if more input is needed."""
        end = QuotedEnd(position + 1, quote).find(data)
        if end < 0:
            if final:
                raise self._incomplete("unterminated string", data, position, quote.decode())
            return None
        return data[position + 1 : end - 1]

    def _unescape(self, raw: bytes, position: int) -> bytes:
        try:
            return unescape(raw, self.version)
        except EscapeError as error:
            raise self._error(str(error), position + error.offset, error.expected) from None

    def _line_comment(self, data: bytes, position: int, final: bool, code: int) -> _Found:
        ending = LineEnd(position)
        end = ending.find(data)
        if end < 0:
            return (code, len(data), None) if final else (_MORE, position, ending)
        return code, end, None

    def _token(self, data: bytes, position: int, final: bool, keywords: bool = True) -> tuple[int, bytes, bool] | None:
        """The token at `position`, which may be empty.

        Returns:
            Where it ends, its text without bars and backslashes, whether it is a keyword by its colon (which the text
            then lacks); `None` if more input is needed.
        """
        ending = TokenEnd(position)
        end = ending.find(data)
        if end < 0:
            if not final:
                return None
            if ending.quoted:
                raise self._incomplete("unterminated |…| in a symbol", data, position, "'|'")
            if ending.seek < len(data):
                raise self._incomplete("backslash at the end of a symbol", data, position, "the character it escapes")
            end = len(data)
        if ending.plain:
            name = data[position:end]
            if self.fold:
                name = name.lower()
            colon = name[-1:] == b":"
            barred = False
        else:
            name, colon, barred = self._unbar(data, position, end)
        if keywords and colon and (len(name) > 1 or (barred and self.version == 5)):
            return end, name[:-1], True
        return end, name, False

    def _unbar(self, data: bytes, position: int, end: int) -> tuple[bytes, bool, bool]:
        """The text of a token with bars or backslashes, whether a bare colon ends it, whether it has bars."""
        pieces = []
        colon = barred = False
        while position < end:
            byte = data[position]
            if byte == 0x7C:
                stop = QuotedEnd(position + 1, b"|").find(data)
                piece = data[position + 1 : stop - 1]
                if b"\\" in piece:
                    piece = self._unescape(piece, position + 1)
                pieces.append(piece)
                colon, barred = False, True
                position = stop
            elif byte == 0x5C:
                pieces.append(data[position + 1 : position + 2])
                colon = False
                position += 2
            else:
                match = _RUN.match(data, position, end)
                assert match is not None
                piece = match[0].lower() if self.fold else match[0]
                pieces.append(piece)
                colon = piece[-1:] == b":"
                position = match.end()
        return b"".join(pieces), colon, barred

    def _plain_token(self, data: bytes, position: int, final: bool) -> tuple[int, bytes] | None:
        """The token at `position` in which bars and backslashes are ordinary, and where it ends."""
        end = PlainTokenEnd(position).find(data)
        if end < 0:
            if not final:
                return None
            end = len(data)
        token = data[position:end]
        nul = token.find(b"\0")
        if nul >= 0:
            raise self._error("NUL byte in a token", position + nul, "text")
        return end, token.lower() if self.fold else token

    def _lex_number(
        self, data: bytes, begin: int, position: int, final: bool, radix: int | None, exactness: Exactness
    ) -> _Found:
        """A number, or the symbol or keyword that looks like one; `begin` is where its prefix begins."""
        token = self._token(data, position, final)
        if token is None:
            return self._more(TokenEnd(position), data, begin)
        end, name, is_keyword = token
        if is_keyword:
            return _VALUE, end, Keyword(decode(name))
        if name == b".":
            raise self._error("unexpected dot", begin, "a datum")
        try:
            value = None if name[:1] == b"#" else parse_number(name, self.version, radix or 10, exactness)
        except NumberError as error:
            raise self._error(str(error), begin) from None
        if value is None:
            if radix:
                raise self._error("illegal number syntax", begin, f"a number in radix {radix}")
            return _VALUE, end, _symbol(name)
        return _VALUE, end, value

    def _lex_prefixed_number(self, data: bytes, position: int, final: bool) -> _Found:
        """A number behind `#x`, `#e` and their kin, one of each sort at most."""
        if len(data) < position + 4 and not final:
            return _MORE, position, _ANY
        radix = _RADIXES.get(data[position + 1] | 0x20)
        exactness: Exactness = None if radix else _EXACTNESS[data[position + 1] | 0x20]
        start = position + 2
        if data[start : start + 1] == b"#":
            second = data[start + 1] if start + 1 < len(data) else 0
            if radix and second in _EXACTNESS:
                exactness = _EXACTNESS[second]
            elif not radix and second in _RADIXES:
                radix = _RADIXES[second]
            else:
                expected = "#e or #i" if radix else "#x, #d, #o or #b"
                raise self._error("illegal second prefix of a number", position, expected)
            start += 2
        return self._lex_number(data, position, start, final, radix or 10, exactness)

    def _lex_dot(self, data: bytes, position: int, final: bool) -> _Found:
        """A dot at the beginning of a token in a list, where CHICKEN reads it in a way of its own."""
        if position + 1 == len(data):
            return _MORE, len(data) if final else position, _ANY
        following = data[position + 1]
        if following in _WHITE or following in b'()";':
            return _DOT, position + 1, None
        token = self._token(data, position + 1, final)
        if token is None:
            return self._more(TokenEnd(position + 1), data, position)
        end, name, is_keyword = token
        if is_keyword:
            return _VALUE, end, Keyword(decode(b"." + name))
        if name == b":":
            return _VALUE, end, Keyword(".")
        name = b"." + name
        if following in _DIGITS:
            try:
                value = parse_number(name, self.version)
            except NumberError as error:
                raise self._error(str(error), position) from None
            if value is not None:
                return _VALUE, end, value
        return _VALUE, end, _symbol(name)

    def _lex_hash(self, data: bytes, position: int, final: bool, kind: int) -> _Found:
        """What begins with `#`; there is at least one more byte."""
        byte = data[position + 1]
        if byte == 0x28:
            return _OPEN, position + 2, _VECTOR
        if byte == 0x5C:
            return self._lex_char(data, position, final)
        if byte in _VECTOR_TAG_STARTS:
            return self._lex_vector_or_false(data, position, final)
        if byte in b"tT":
            return self._lex_true(data, position, final)
        if byte == 0x3B:
            return _WAIT, position + 2, (_SKIP, None)
        if byte == 0x7C:
            ending = BlockCommentEnd(position + 2)
            end = ending.find(data)
            if end < 0:
                if final:
                    raise self._incomplete("unterminated block comment", data, position, "'|#'")
                return _MORE, position, ending
            return _READ_ON, end, None
        if byte | 0x20 in _RADIXES or byte | 0x20 in _EXACTNESS:
            return self._lex_prefixed_number(data, position, final)
        if byte == 0x60:
            return _WAIT, position + 2, (_PREFIX, _QUASISYNTAX)
        if byte == 0x2B:
            return _WAIT, position + 2, (_FEATURE, None)
        if byte == 0x23:
            return self._lex_qualified(data, position, final)
        if byte == 0x25 and self.version == 4:
            plain = self._plain_token(data, position + 1, final)
            if plain is None:
                return self._more(PlainTokenEnd(position + 1), data, position)
            return _VALUE, plain[0], _symbol(b"#" + plain[1])
        if byte in b"$:!<cC":
            if position + 2 >= len(data):
                if final:
                    raise self._incomplete(f"lone #{chr(byte)}", data, position, f"what follows #{chr(byte)}")
                return _MORE, position, _ANY
            return self._lex_hash_two(data, position, final, byte, data[position + 2])
        if byte in _DIGITS:
            raise self._error("numbered # syntax", position, "no #1= or #1#: CHICKEN has no datum labels")
        shown = chr(byte) if 0x20 < byte < 0x7F else f"byte 0x{byte:02x}"
        raise self._error(f"invalid # syntax, # and {shown}", position, "a datum")

    def _lex_hash_two(self, data: bytes, position: int, final: bool, byte: int, following: int) -> _Found:
        """What begins with `#` and one of `$:!<cC`, with the byte that follows."""
        if byte == 0x24:
            if following != 0x7B:
                return _WAIT, position + 2, (_PREFIX, _LOCATION)
            ending = ByteEnd(position + 3, b"}")
            end = ending.find(data)
            if end < 0:
                if final:
                    raise self._incomplete("unterminated blob", data, position, "'}'")
                return _MORE, position, ending
            try:
                return _VALUE, end, parse_blob(data[position + 3 : end - 1])
            except VectorError as error:
                raise self._error(str(error), position + 3 + error.offset, error.expected) from None
        if byte == 0x3A:
            token = self._token(data, position + 2, final, keywords=False)
            if token is None:
                return self._more(TokenEnd(position + 2), data, position)
            end, name, _ = token
            if not name and following != 0x7C:
                raise self._error("empty keyword", position, "a name behind #: (the empty one is #:||)")
            return _VALUE, end, Keyword(decode(name))
        if byte == 0x21:
            if following in _WHITE or following == 0x2F:
                return self._line_comment(data, position, final, _READ_ON)
            plain = self._plain_token(data, position + 2, final)
            if plain is None:
                return self._more(PlainTokenEnd(position + 2), data, position)
            end, name = plain
            if name == b"eof":
                return _VALUE, end, EOF
            if name in (b"optional", b"rest", b"key"):
                return _VALUE, end, _symbol(b"#!" + name)
            raise self._error("unknown #! syntax", position, "#!eof, #!optional, #!rest or #!key")
        if byte == 0x3C:
            return self._lex_angle(data, position, final, following)
        if following not in b"is":
            raise self._error("illegal case prefix", position, "#ci or #cs")
        return _WAIT, position + 3, (_CASE, following == 0x69)

    def _lex_char(self, data: bytes, position: int, final: bool) -> _Found:
        start = position + 2
        if start == len(data):
            if final:
                raise self._incomplete("lone #\\", data, position, "a character")
            return _MORE, position, _ANY
        first = data[start]
        if first in _WHITE:
            # CHICKEN leaves white space unread behind itself, which changes nothing but where it stops.
            return _VALUE, start, Char(chr(first))
        if first in _TERMINATORS:
            return _VALUE, start + 1, Char(chr(first))
        plain = self._plain_token(data, start, final)
        if plain is None:
            return self._more(PlainTokenEnd(start), data, position)
        end, token = plain
        if len(token) == 1:
            return _VALUE, end, Char(chr(first))
        code: Any = None
        if first in b"xuU":
            digits = token[1:]
            if self.version == 5 and digits[:1] == b"#":
                digits = b""
            code = escape_code(digits, self.version, 16)
        if code is None:
            code = _utf8_char(token)
        if code is None:
            code = NAMED_CHARS.get(token)
        if code is None:
            raise self._error(f"unknown character #\\{decode(token[:20])}", position, "a character or its name")
        code &= 0x1FFFFF
        if code > 0x10FFFF:
            raise self._error(f"character with code 0x{code:x}", position, "a code point up to 0x10ffff")
        return _VALUE, end, Char(chr(code))

    def _lex_true(self, data: bytes, position: int, final: bool) -> _Found:
        """`#t`, and `#true`, which CHICKEN does not know. `#tx` is true and a symbol behind it."""
        rest = data[position + 1 : position + 6]
        if b"true".startswith(rest[:4]) and rest:
            if len(rest) < 5 and not final:
                return _MORE, position, _ANY
            if rest[:4] == b"true" and (len(rest) < 5 or rest[4] in _DELIMITERS):
                return _VALUE, position + 5, True
        return _VALUE, position + 2, True

    def _lex_vector_or_false(self, data: bytes, position: int, final: bool) -> _Found:
        """`#f`, `#false`, `#u8` and its kin."""
        fold, self.fold = self.fold, False
        try:
            token = self._token(data, position + 1, final)
        finally:
            self.fold = fold
        if token is None:
            return self._more(TokenEnd(position + 1), data, position)
        end, name, is_keyword = token
        if not is_keyword:
            if name in (b"f", b"F", b"false"):
                return _VALUE, end, False
            tag = name.decode("latin-1")
            if tag in TAGS[self.version]:
                simple = _SIMPLE_VECTOR.match(data, end)
                if simple:
                    vector = parse_simple(tag, simple[1])
                    if vector is not None:
                        return _VALUE, simple.end(), vector
                return _WAIT, end, (_NUMBERS, tag)
        tags = ", ".join("#" + tag for tag in sorted(TAGS[self.version]))
        raise self._error("illegal number vector", position, f"#f or one of {tags}")

    def _lex_qualified(self, data: bytes, position: int, final: bool) -> _Found:
        """`##a#b`: in CHICKEN 4 a symbol whose name begins with the length of its prefix; in CHICKEN 5 as it is."""
        plain = self._plain_token(data, position + 2, final)
        if plain is None:
            return self._more(PlainTokenEnd(position + 2), data, position)
        end, token = plain
        if self.version == 5:
            return _VALUE, end, _symbol(b"##" + token)
        length = token.find(b"#")
        if not 0 <= length <= _MAX_NAMESPACE:
            raise self._error("invalid qualified symbol", position, "##prefix#name")
        name = token[:length] + token[length + 1 :]
        if length == 0:
            return _VALUE, end, Keyword(decode(name))
        return _VALUE, end, _symbol(bytes((length,)) + name)

    def _lex_angle(self, data: bytes, position: int, final: bool, following: int) -> _Found:
        """`#<<TAG`, `#<#TAG`, the unspecified value, and what no reader takes."""
        if following == 0x3C:
            here = HereStringEnd(position + 3)
            end = here.find(data)
            if end < 0 and not final:
                return _MORE, position, here
            if end >= 0:
                return _VALUE, end, decode(data[here.text : max(here.last - 1, here.text)])
            return _VALUE, len(data), decode(_unended_here_string(data, here))
        if following == 0x23:
            ending = LineEnd(position + 3)
            end = ending.find(data)
            if end < 0:
                if final:
                    raise self._incomplete("unterminated #<# string", data, position, "a line with its tag")
                return _MORE, position, ending
            return _WAIT, end, (_HERE_TEXT, _HereText(data[position + 3 : end - 1]))
        if data.startswith(_UNSPECIFIED, position):
            return _VALUE, position + len(_UNSPECIFIED), None
        if not final and _UNSPECIFIED.startswith(data[position:]):
            return _MORE, position, _ANY
        match = _UNREADABLE.match(data, position)
        what = decode(match[0]) + (">" if match[0][-1:] != b">" else "") if match else "#<…>"
        raise self._error(f"{what} has no external representation", position, "a datum")

    def _lex_closing(self, data: bytes, position: int, final: bool, items: Any, start: int) -> _Found:
        """The closer of a dotted list, with nothing but white space and line comments before it."""
        list_items, tail, kind = items
        match = _SPACE.match(data, position)
        assert match is not None
        position = match.end()
        if position == len(data):
            return _MORE, position, _ANY
        byte = data[position]
        if byte == 0x3B:
            return self._line_comment(data, position, final, _COMMENT)
        if chr(byte) != _CLOSERS[kind]:
            problem = f"more than one datum behind the dot of a list opened at byte {start}"
            raise self._error(problem, position, f"'{_CLOSERS[kind]}'")
        if type(tail) is list:
            list_items += tail
            return _VALUE, position + 1, tuple(list_items) if kind == _VECTOR else list_items
        if kind == _VECTOR:
            raise self._error("dot in a vector", position, "a vector without a tail")
        if type(tail) is Dotted:
            return _VALUE, position + 1, Dotted(list_items + tail.items, tail.tail)
        return _VALUE, position + 1, Dotted(list_items, tail)

    def _lex_here(self, data: bytes, position: int, final: bool, here: _HereText, start: int) -> _Found:
        """The text of a `#<#` string up to the next embedded datum or to its end."""
        while True:
            if here.in_braces:
                end = data.find(b"}", position)
                if end < 0:
                    if final:
                        raise ReadError("unterminated #{…} in a #<# string", self.base + len(data), "'}'")
                    return _MORE, len(data), _ANY
                position = end + 1
                here.in_braces = False
            match = _HERE_STOP.search(data, position)
            if not match:
                here.current += data[position:]
                if final:
                    return _VALUE, len(data), self._here_value(here, start)
                return _MORE, len(data), _ANY
            here.current += data[position : match.start()]
            position = match.end()
            if match[0] == b"\n":
                if here.current == here.tag:
                    return _VALUE, position, self._here_value(here, start)
                here.pieces += bytes(here.current), b"\n"
                here.current.clear()
                continue
            if position == len(data):
                if not final:
                    return _MORE, position - 1, _ANY
                raise self._incomplete("lone # in a #<# string", data, position - 1, "a datum")
            following = data[position]
            if following == 0x23:
                here.current += b"#"
                position += 1
            elif following == 0x7B:
                return _WAIT, position + 1, (_HERE_DATUM, True)
            else:
                return _WAIT, position, (_HERE_DATUM, False)

    def _here_value(self, here: _HereText, start: int) -> list[Any]:
        if not here.pieces:
            raise ReadError("#<# string without a line", start, "a line before the tag")
        if len(self.stack) + 2 * here.embedded > self.max_depth:
            raise ReadError(f"nesting deeper than {self.max_depth:,}", start)
        return here.expression(self.version)


def _utf8_char(token: bytes) -> int | None:
    """The code point of the one character that `token` is in UTF-8, as CHICKEN finds it: it trusts what follows."""
    lead = token[0]
    if not 0xC0 <= lead <= 0xF7:
        return None
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if len(token) != size:
        return None
    code = lead & (0xFF >> size)
    for byte in token[1:]:
        code = code << 6 | byte & 0x3F
    return code


def _unended_here_string(data: bytes, here: HereStringEnd) -> bytes:
    """The text of a `#<<` string that the input ends in: CHICKEN drops the line that has no newline, and is content."""
    if here.text < 0:
        return b""
    end = data.rfind(b"\n", here.text)
    return data[here.text : end] if end >= 0 else b""


def parse(
    data: bytes, offset: int = 0, *, dialect: Dialect = CHICKEN_4, max_depth: int = DEFAULT_MAX_DEPTH
) -> tuple[Any, int]:
    """Reads one datum from the middle of some bytes, without copying them. Part of the low level.

    Args:
        data: the bytes; their end ends a last symbol or number.
        offset: where to begin; white space and comments there are skipped.
        dialect: whose syntax.
        max_depth: how deep the datum may nest.

    Returns:
        The datum, and the offset just behind it.

    Raises:
        ReadError: if there is no datum, or if it does not read; its offset counts from the start of `data`.
    """
    machine = _Machine(dialect, max_depth)
    value = machine.run(data, offset, True)
    if value is _NO_DATUM:
        raise IncompleteError("no datum", len(data), "a datum")
    return value, machine.position


def skip_atmosphere(data: bytes, offset: int = 0, *, dialect: Dialect = CHICKEN_4) -> int:
    """Skips white space and whole comments: `;…`, `#|…|#`, `#;datum`, `#!/…` and `#! …`. Part of the low level.

    Args:
        data: the bytes.
        offset: where to begin.
        dialect: whose syntax (that of the datum behind `#;`).

    Returns:
        The offset of the first byte that is neither, or the length of `data`.

    Raises:
        ReadError: if a comment from `#|` is not closed, or what follows `#;` does not read.
    """
    size = len(data)
    while True:
        match = _SPACE.match(data, offset)
        assert match is not None
        offset = match.end()
        if offset == size:
            return size
        byte = data[offset]
        if byte == 0x3B:
            offset = data.find(b"\n", offset) + 1 or size
        elif byte == 0x23 and offset + 1 < size:
            following = data[offset + 1]
            if following == 0x7C:
                end = BlockCommentEnd(offset + 2).find(data)
                if end < 0:
                    raise IncompleteError(f"unterminated block comment (begun at byte {offset})", size, "'|#'")
                offset = end
            elif following == 0x3B:
                _, offset = parse(data, offset + 2, dialect=dialect)
            elif following == 0x21 and offset + 2 < size and data[offset + 2] in b" \t\n\v\f\r/":
                offset = data.find(b"\n", offset) + 1 or size
            else:
                return offset
        else:
            return offset


def read_list_head(
    data: bytes,
    count: int,
    offset: int = 0,
    *,
    dialect: Dialect = CHICKEN_4,
    max_depth: int = DEFAULT_MAX_DEPTH,
) -> tuple[list[Any], int]:
    """Reads the opening of a list and its first elements, whatever stands behind them. Part of the low level.

    It serves a receiver that has a message whose rest does not read, and must find out whom it is for.

    Args:
        data: the bytes.
        count: how many elements.
        offset: where to begin; white space and comments there are skipped, and between the elements too.
        dialect: whose syntax.
        max_depth: how deep the elements may nest, the list itself counted.

    Returns:
        The elements, and the offset just behind the last of them.

    Raises:
        ReadError: if there is no list, it has too few elements, or one of them does not read.
    """
    position = skip_atmosphere(data, offset, dialect=dialect)
    if data[position : position + 1] not in (b"(", b"[", b"{"):
        raise ReadError("no list", position, "'('")
    position += 1
    machine = _Machine(dialect, max_depth - 1)
    elements: list[Any] = []
    while len(elements) < count:
        value = machine.run(data, position, True)
        if value is _NO_DATUM:
            raise IncompleteError(f"list of only {len(elements)} elements", len(data), f"{count} elements")
        elements.append(value)
        position = machine.position
    return elements, position


def loads(data: BytesLike | str, *, dialect: Dialect = CHICKEN_4, max_depth: int = DEFAULT_MAX_DEPTH) -> Any:
    """Reads exactly one datum.

    Args:
        data: the datum's external representation, with any white space and comments around it. A `str` is taken as the
            bytes that it is in UTF-8 (`surrogateescape`).
        dialect: whose syntax.
        max_depth: how deep it may nest.

    Returns:
        The value, as the table in the package's documentation has it.

    Raises:
        ReadError: if there is no datum, if it does not read, or if something stands behind it. The offset counts bytes.
        TypeError: if `data` is neither bytes nor `str`.
    """
    if isinstance(data, str):
        try:
            data = data.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            where = len(data[: error.start].encode("utf-8", "surrogateescape"))
            raise ReadError("lone surrogate that escapes no byte", where, "text") from None
    elif type(data) is not bytes:
        data = _as_bytes(data)
    machine = _Machine(dialect, max_depth)
    value = machine.run(data, 0, True)
    if value is _NO_DATUM:
        raise IncompleteError("no datum", len(data), "a datum")
    position = machine.position
    if position < len(data):
        position = skip_atmosphere(data, position, dialect=dialect)
        if position < len(data):
            raise ReadError("more behind the datum", position, "the end of the input")
    return value


def load(file: IO[Any], *, dialect: Dialect = CHICKEN_4, max_depth: int = DEFAULT_MAX_DEPTH) -> Any:
    """Reads exactly one datum from a file, to its end. The same as `loads` of its content.

    Args:
        file: a file open for reading, binary or text.
        dialect: whose syntax.
        max_depth: how deep the datum may nest.

    Raises:
        ReadError: as `loads`.
    """
    return loads(file.read(), dialect=dialect, max_depth=max_depth)


class Reader:
    """Reads the datums of a stream as their bytes arrive, in pieces of any size.

    A datum is returned by the call that completes it: a list with its closing parenthesis, a symbol or a number with the
    delimiter behind it, or by `close`. Of the input, only a token that is not complete is kept.

    Args:
        dialect: whose syntax.
        max_depth: how deep a datum may nest.
        max_size: how many bytes a datum that is not complete may take.

    After an error the reader is of no more use: every further call raises the same error. If one piece of input holds
    complete datums and then an error, `feed` returns the datums first, and the next call raises the error, so that what
    is read does not depend on how the input is cut.
    """

    def __init__(
        self,
        *,
        dialect: Dialect = CHICKEN_4,
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_size: int = DEFAULT_MAX_SIZE,
    ) -> None:
        self._machine = _Machine(dialect, max_depth)
        self._max_size = max_size
        self._tail = bytearray()
        self._failure: ReadError | None = None
        self._closed = False

    def feed(self, data: BytesLike) -> list[Any]:
        """Takes the next bytes of the stream.

        Args:
            data: any number of bytes.

        Returns:
            The datums that are complete now, in order; often none.

        Raises:
            ReadError: if the stream does not read; the offset counts from its first byte.
            ValueError: if the reader has been closed.
        """
        if self._failure:
            raise self._failure
        if self._closed:
            raise ValueError("this Reader is closed")
        return self._read(data if type(data) is bytes else _as_bytes(data), False)

    def close(self) -> list[Any]:
        """Takes note that the stream has ended. Closing twice does no harm.

        Returns:
            The last datum, if the end of the stream is what completes it; else nothing.

        Raises:
            IncompleteError: if the stream ended within a datum.
            ReadError: as `feed`.
        """
        if self._failure:
            raise self._failure
        if self._closed:
            return []
        self._closed = True
        return self._read(b"", True)

    def _read(self, data: bytes, final: bool) -> list[Any]:
        machine, tail = self._machine, self._tail
        datums: list[Any] = []
        if tail:
            tail += data
            if not final and machine.ending.find(tail) < 0:
                self._check_size()
                return datums
            data = bytes(tail)
            tail.clear()
        position = 0
        try:
            while (value := machine.run(data, position, final)) is not _NEED_MORE and value is not _NO_DATUM:
                datums.append(value)
                position = machine.position
            position = machine.position
            machine.base += position
            if value is _NEED_MORE:
                machine.ending.shift(position)
                tail += data[position:]
                self._check_size()
        except ReadError as error:
            self._failure = error
            if not datums:
                raise
        return datums

    def _check_size(self) -> None:
        since = self._machine.open_since
        base = self._machine.base
        if base + len(self._tail) - (base if since is None else since) > self._max_size:
            self._failure = ReadError(
                f"datum of more than {self._max_size:,} bytes", base if since is None else since, "its end"
            )
            raise self._failure


def _as_bytes(data: object) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"bytes are read, not {type(data).__name__}")
