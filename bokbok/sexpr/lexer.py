"""One token at a time: what stands at an offset of the input, as CHICKEN's `read` takes it.

What this module knows: the syntax of every token with its oddities, where it ends, and what value it is. Nesting is in
`machine`. Whether the input is whole or a piece of a stream matters only at its end.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from bokbok._later import pattern
from bokbok.errors import ReadError
from bokbok.sexpr import problems
from bokbok.sexpr.frames import (
    BRACES,
    BRACKETS,
    CASE,
    CLOSE,
    COMMENT,
    DOT,
    FEATURE,
    HERE_TEXT,
    MORE,
    NUMBERS,
    OPEN,
    PREFIX,
    READ_ON,
    SKIP,
    VALUE,
    VECTOR,
    WAIT,
    Found,
)
from bokbok.sexpr.numbers import FIXNUM_MAX, FIXNUM_MIN, Exactness, escape_code, parse_number
from bokbok.sexpr.pieces import LONG, PIECE, at_once
from bokbok.sexpr.problems import DatumError, Problem
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
from bokbok.sexpr.text import NAMED_CHARS, decode, unescape, unescape_in_pieces
from bokbok.sexpr.types import EOF, Char, Keyword, Symbol
from bokbok.sexpr.vectors import TAGS, parse_blob, parse_simple

_SIMPLE_VECTOR: Final = pattern(rb"\(([-+.e0-9 \t\n\v\f\r]*)\)")
_WHITE: Final = frozenset(b" \t\n\v\f\r")
_TERMINATORS: Final = frozenset(b",;()'\"[]{}")
_DELIMITERS: Final = _WHITE | _TERMINATORS
_DIGITS: Final = frozenset(b"0123456789")
NUMBER_STARTS: Final = frozenset(b"0123456789+-.")
_VECTOR_TAG_STARTS: Final = frozenset(b"usfUSF")
_RADIXES: Final = {ord("x"): 16, ord("d"): 10, ord("o"): 8, ord("b"): 2}
PREFIXES: Final = {b"'": Symbol("quote"), b"`": Symbol("quasiquote"), b",": Symbol("unquote")}
"""The symbols for which one character stands, by it."""
UNQUOTE_SPLICING: Final = Symbol("unquote-splicing")
_QUASISYNTAX: Final = Symbol("quasisyntax")
_LOCATION: Final = Symbol("location")
_EXACTNESS: Final[dict[int, Exactness]] = {ord("e"): "e", ord("i"): "i"}
_RUN: Final = pattern(rb"[^|\\]+")
_PARTS: Final = 2048
"""Parts of a name between two moments at which a reader in pieces stops."""
_UNSPECIFIED: Final = b"#<unspecified>"
ANY: Final = AnyEnd(0)
# CHICKEN 4's limit for the prefix of a qualified symbol.
_MAX_NAMESPACE: Final = 31
# How much of an unreadable object is shown.
_SHOWN: Final = 42
_UNREADABLE: Final = pattern(rb"#<[^\s()\[\]{}\"';,>]{0,40}")

# Symbols that come again and again are made once. The cache is small, so that a peer cannot fill memory with it.
_SYMBOL_CACHE_SIZE: Final = 1024
_SYMBOL_CACHE_NAME: Final = 32
SYMBOLS: dict[bytes, Symbol] = {}


def make_symbol(name: bytes) -> Symbol:
    """The symbol of this name, from the cache if it is there."""
    symbol = SYMBOLS.get(name)
    if symbol is None:
        symbol = Symbol(name.decode("utf-8", "surrogateescape"))
        if len(name) <= _SYMBOL_CACHE_NAME:
            if len(SYMBOLS) >= _SYMBOL_CACHE_SIZE:
                SYMBOLS.clear()
            SYMBOLS[name] = symbol
    return symbol


def found_in_pieces(ending: Ending, data: bytes, position: int) -> Generator[None, None, int]:
    """`Ending.find` as a generator, which stops every `PIECE` bytes from `position` on."""
    size = len(data)
    while (end := ending.find(data, position + PIECE)) < 0:
        position += PIECE
        if position >= size:
            break
        yield
    return end


class Lexer:
    """Finds tokens.

    Attributes:
        version: 4 or 5.
        base: the offset in the stream of the first byte of the input, for errors.
        fold: whether names are folded to lower case, as behind `#ci`.
        sought: the search for the end of the token that is about to be read, where that was done beforehand (`long`).
    """

    __slots__ = ("base", "fold", "sought", "version")
    base: int
    fold: bool
    sought: TokenEnd | PlainTokenEnd | None
    version: int

    def error(self, problem: Problem, position: int, **fields: Any) -> ReadError:
        """The error for what stands at `position` of the input."""
        return problem.at(self.base + position, **fields)

    def incomplete(self, problem: Problem, data: bytes, position: int, **fields: Any) -> ReadError:
        """The error for a token that begins at `position` and that the input ends in."""
        return problem.at(self.base + len(data), start=self.base + position, **fields)

    def lex(self, data: bytes, position: int, final: bool, dots: bool) -> Found:
        """Finds out what begins at `position`, which is not white space; `dots`: whether a dot may be a list's."""
        byte = data[position]
        if byte == 0x22:
            end = data.find(b'"', position + 1)
            if end > 0 and data.find(b"\\", position + 1, end) < 0:  # nothing is escaped in it, as in most
                return VALUE, end + 1, decode(data[position + 1 : end])
            ending = QuotedEnd(position + 1, b'"')
            end = ending.find(data)
            if end < 0:
                return self._unended(ending, problems.UNTERMINATED_STRING, data, position, final)
            text = self._unescape(data[position + 1 : end - 1], position + 1)
            return VALUE, end, decode(text)
        if byte == 0x23:
            if position + 1 == len(data):
                return self._unended(ANY, problems.LONE_HASH, data, position, final, shown="#")
            return self._lex_hash(data, position, final)
        if byte == 0x3B:
            return self.line_comment(data, position, final, COMMENT)
        if byte in NUMBER_STARTS:
            if byte == 0x2E and dots:
                return self._lex_dot(data, position, final)
            return self._lex_number(data, position, position, final, None, None)
        if byte == 0x2C:
            if position + 1 == len(data) and not final:
                return MORE, position, ANY
            if data[position + 1 : position + 2] == b"@":
                return WAIT, position + 2, (PREFIX, UNQUOTE_SPLICING)
            return WAIT, position + 1, (PREFIX, PREFIXES[b","])
        if byte == 0x5B:
            return OPEN, position + 1, BRACKETS
        if byte == 0x7B:
            return OPEN, position + 1, BRACES
        if byte in b")]}":
            return CLOSE, position + 1, chr(byte)
        token = self._token(data, position, final)
        if token is None:
            return self._more(TokenEnd(position), data, position)
        end, name, is_keyword = token
        return VALUE, end, Keyword(decode(name)) if is_keyword else make_symbol(name)

    def _more(self, ending: Ending, data: bytes, position: int) -> Found:
        """Asks for more input; `ending` has not found its end in `data`."""
        ending.find(data)
        return MORE, position, ending

    def _unended(
        self, ending: Ending, problem: Problem, data: bytes, position: int, final: bool, **fields: Any
    ) -> Found:
        """Asks for more input, to where `ending` says; raises the problem if there is none."""
        if final:
            raise self.incomplete(problem, data, position, **fields)
        return MORE, position, ending

    def _unescape(self, raw: bytes, position: int) -> bytes:
        try:
            return unescape(raw, self.version)
        except DatumError as error:
            raise error.at(self.base + position) from None

    def line_comment(self, data: bytes, position: int, final: bool, code: int) -> Found:
        """A comment to the end of the line, found as `code`."""
        ending = LineEnd(position)
        end = ending.find(data)
        if end < 0:
            return (code, len(data), None) if final else (MORE, position, ending)
        return code, end, None

    def _token(self, data: bytes, position: int, final: bool, keywords: bool = True) -> tuple[int, bytes, bool] | None:
        """The token at `position`, which may be empty.

        Returns:
            Where it ends, its text without bars and backslashes, whether it is a keyword by its colon (which the text
            then lacks); `None` if more input is needed.
        """
        ending = self.sought if type(self.sought) is TokenEnd else TokenEnd(position)
        end = ending.find(data)
        if end < 0:
            if not final:
                return None
            if ending.quoted:
                raise self.incomplete(problems.UNTERMINATED_BARS, data, position)
            if ending.seek < len(data):
                raise self.incomplete(problems.LONE_BACKSLASH, data, position)
            end = len(data)
        if ending.plain:
            name = data[position:end]
            if self.fold:
                name = name.lower()
            colon = name[-1:] == b":"
            barred = False
        else:
            name, colon, barred = ending.unbarred or self.unbar(data, position, end)
        if keywords and colon and (len(name) > 1 or (barred and self.version == 5)):
            return end, name[:-1], True
        return end, name, False

    def unbar(self, data: bytes, position: int, end: int) -> tuple[bytes, bool, bool]:
        """The text of a token with bars or backslashes, whether a bare colon ends it, whether it has bars."""
        return at_once(self.unbar_in_pieces(data, position, end))

    def unbar_in_pieces(self, data: bytes, position: int, end: int) -> Generator[None, None, tuple[bytes, bool, bool]]:
        """`unbar` as a generator, which stops now and then, and goes on when it is asked to."""
        pieces: list[bytes] = []
        colon = barred = False
        while position < end:
            if len(pieces) % _PARTS == _PARTS - 1:
                yield
            byte = data[position]
            if byte == 0x7C:
                ending = QuotedEnd(position + 1, b"|")
                stop = ending.find(data, position + LONG)
                if stop < 0:
                    stop = yield from found_in_pieces(ending, data, position + LONG)
                piece = data[position + 1 : stop - 1]
                if b"\\" in piece:
                    try:
                        if len(piece) > LONG:
                            piece = yield from unescape_in_pieces(piece, self.version)
                        else:
                            piece = unescape(piece, self.version)
                    except DatumError as error:
                        raise error.at(self.base + position + 1) from None
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
        ending = self.sought if type(self.sought) is PlainTokenEnd else PlainTokenEnd(position)
        end = ending.find(data)
        if end < 0:
            if not final:
                return None
            end = len(data)
        token = data[position:end]
        nul = token.find(b"\0")
        if nul >= 0:
            raise self.error(problems.NUL_IN_TOKEN, position + nul)
        return end, token.lower() if self.fold else token

    def _lex_number(
        self, data: bytes, begin: int, position: int, final: bool, radix: int | None, exactness: Exactness
    ) -> Found:
        """A number, or the symbol or keyword that looks like one; `begin` is where its prefix begins."""
        token = self._token(data, position, final)
        if token is None:
            return self._more(TokenEnd(position), data, begin)
        end, name, is_keyword = token
        if is_keyword:
            return VALUE, end, Keyword(decode(name))
        if name == b".":
            raise self.error(problems.UNEXPECTED_DOT, begin)
        try:
            value = None if name[:1] == b"#" else parse_number(name, self.version, radix or 10, exactness)
        except DatumError as error:
            raise error.at(self.base + begin) from None
        if value is None:
            if radix:
                raise self.error(problems.NOT_IN_RADIX, begin, radix=radix)
            return VALUE, end, make_symbol(name)
        return VALUE, end, value

    def _lex_prefixed_number(self, data: bytes, position: int, final: bool) -> Found:
        """A number behind `#x`, `#e` and the like, one of each sort at most."""
        if len(data) < position + 4 and not final:
            return MORE, position, ANY
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
                prefixes = "#e or #i" if radix else "#x, #d, #o or #b"
                raise self.error(problems.SECOND_PREFIX, position, prefixes=prefixes)
            start += 2
        return self._lex_number(data, position, start, final, radix or 10, exactness)

    def _lex_dot(self, data: bytes, position: int, final: bool) -> Found:
        """A dot at the beginning of a token in a list, where CHICKEN has special rules for it."""
        if position + 1 == len(data):
            return MORE, len(data) if final else position, ANY
        following = data[position + 1]
        if following in _WHITE or following in b'()";':
            return DOT, position + 1, None
        token = self._token(data, position + 1, final)
        if token is None:
            return self._more(TokenEnd(position + 1), data, position)
        end, name, is_keyword = token
        if is_keyword:
            return VALUE, end, Keyword(decode(b"." + name))
        if name == b":":
            return VALUE, end, Keyword(".")
        name = b"." + name
        if following in _DIGITS:
            try:
                value = parse_number(name, self.version)
            except DatumError as error:
                raise error.at(self.base + position) from None
            if value is not None:
                return VALUE, end, value
        return VALUE, end, make_symbol(name)

    def _lex_hash(self, data: bytes, position: int, final: bool) -> Found:
        """What begins with `#`; there is at least one more byte."""
        byte = data[position + 1]
        if byte == 0x28:
            return OPEN, position + 2, VECTOR
        if byte == 0x5C:
            return self._lex_char(data, position, final)
        if byte in _VECTOR_TAG_STARTS:
            return self._lex_vector_or_false(data, position, final)
        if byte in b"tT":
            return self._lex_true(data, position, final)
        if byte == 0x3B:
            return WAIT, position + 2, (SKIP, None)
        if byte == 0x7C:
            ending = BlockCommentEnd(position + 2)
            end = ending.find(data)
            if end < 0:
                return self._unended(ending, problems.UNTERMINATED_COMMENT, data, position, final)
            return READ_ON, end, None
        if byte | 0x20 in _RADIXES or byte | 0x20 in _EXACTNESS:
            return self._lex_prefixed_number(data, position, final)
        if byte == 0x60:
            return WAIT, position + 2, (PREFIX, _QUASISYNTAX)
        if byte == 0x2B:
            return WAIT, position + 2, (FEATURE, None)
        if byte == 0x23:
            return self._lex_qualified(data, position, final)
        if byte == 0x25 and self.version == 4:
            plain = self._plain_token(data, position + 1, final)
            if plain is None:
                return self._more(PlainTokenEnd(position + 1), data, position)
            return VALUE, plain[0], make_symbol(b"#" + plain[1])
        if byte in b"$:!<cC":
            if position + 2 >= len(data):
                return self._unended(ANY, problems.LONE_HASH, data, position, final, shown=f"#{chr(byte)}")
            return self._lex_hash_two(data, position, final, byte, data[position + 2])
        if byte in _DIGITS:
            raise self.error(problems.DATUM_LABEL, position)
        shown = chr(byte) if 0x20 < byte < 0x7F else f"byte 0x{byte:02x}"
        raise self.error(problems.INVALID_HASH, position, shown=shown)

    def _lex_hash_two(self, data: bytes, position: int, final: bool, byte: int, following: int) -> Found:
        """What begins with `#` and one of `$:!<cC`, with the byte that follows."""
        if byte == 0x24:
            if following != 0x7B:
                return WAIT, position + 2, (PREFIX, _LOCATION)
            ending = ByteEnd(position + 3, b"}")
            end = ending.find(data)
            if end < 0:
                return self._unended(ending, problems.UNTERMINATED_BLOB, data, position, final)
            try:
                return VALUE, end, parse_blob(data[position + 3 : end - 1])
            except DatumError as error:
                raise error.at(self.base + position + 3) from None
        if byte == 0x3A:
            token = self._token(data, position + 2, final, keywords=False)
            if token is None:
                return self._more(TokenEnd(position + 2), data, position)
            end, name, _ = token
            if not name and following != 0x7C:
                raise self.error(problems.EMPTY_KEYWORD, position)
            return VALUE, end, Keyword(decode(name))
        if byte == 0x21:
            if following in _WHITE or following == 0x2F:
                return self.line_comment(data, position, final, READ_ON)
            plain = self._plain_token(data, position + 2, final)
            if plain is None:
                return self._more(PlainTokenEnd(position + 2), data, position)
            end, name = plain
            if name == b"eof":
                return VALUE, end, EOF
            if name in (b"optional", b"rest", b"key"):
                return VALUE, end, make_symbol(b"#!" + name)
            raise self.error(problems.UNKNOWN_BANG, position)
        if byte == 0x3C:
            return self._lex_angle(data, position, final, following)
        if following not in b"is":
            raise self.error(problems.CASE_PREFIX, position)
        return WAIT, position + 3, (CASE, following == 0x69)

    def _lex_char(self, data: bytes, position: int, final: bool) -> Found:
        start = position + 2
        if start == len(data):
            return self._unended(ANY, problems.LONE_CHARACTER, data, position, final)
        first = data[start]
        if first in _WHITE:
            # CHICKEN leaves white space unread behind itself, which changes nothing but where it stops.
            return VALUE, start, Char(chr(first))
        if first in _TERMINATORS:
            return VALUE, start + 1, Char(chr(first))
        plain = self._plain_token(data, start, final)
        if plain is None:
            return self._more(PlainTokenEnd(start), data, position)
        end, token = plain
        if len(token) == 1:
            return VALUE, end, Char(chr(first))
        code: Any = None
        if first in b"xuU":
            digits = token[1:]
            if self.version == 5 and digits[:1] == b"#":
                digits = b""
            code = escape_code(digits, self.version, 16)
            if code is not None and not FIXNUM_MIN <= code <= FIXNUM_MAX:
                raise self.error(problems.CHARACTER_NOT_A_FIXNUM, position)
        if code is None:
            code = _utf8_char(token)
        if code is None:
            code = NAMED_CHARS.get(token)
        if code is None:
            raise self.error(problems.UNKNOWN_CHARACTER, position, shown=decode(token[:20]))
        code &= 0x1FFFFF
        if code > 0x10FFFF:
            raise self.error(problems.CHARACTER_TOO_LARGE, position, code=code)
        return VALUE, end, Char(chr(code))

    def _lex_true(self, data: bytes, position: int, final: bool) -> Found:
        """`#t`, and `#true`, which CHICKEN does not know. `#tx` is true and a symbol behind it."""
        rest = data[position + 1 : position + 6]
        if b"true".startswith(rest[:4]) and rest:
            if len(rest) < 5 and not final:
                return MORE, position, ANY
            if rest[:4] == b"true" and (len(rest) < 5 or rest[4] in _DELIMITERS):
                return VALUE, position + 5, True
        return VALUE, position + 2, True

    def _lex_vector_or_false(self, data: bytes, position: int, final: bool) -> Found:
        """`#f`, `#false`, `#u8` and the like."""
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
                return VALUE, end, False
            tag = name.decode("latin-1")
            if tag in TAGS[self.version]:
                simple = _SIMPLE_VECTOR.match(data, end)
                if simple:
                    vector = parse_simple(tag, simple[1])
                    if vector is not None:
                        return VALUE, simple.end(), vector
                return WAIT, end, (NUMBERS, tag)
        tags = ", ".join("#" + tag for tag in sorted(TAGS[self.version]))
        raise self.error(problems.UNKNOWN_VECTOR, position, tags=tags)

    def _lex_qualified(self, data: bytes, position: int, final: bool) -> Found:
        """`##a#b`: in CHICKEN 4 a symbol whose name begins with the length of its prefix; in CHICKEN 5 as it is."""
        plain = self._plain_token(data, position + 2, final)
        if plain is None:
            return self._more(PlainTokenEnd(position + 2), data, position)
        end, token = plain
        if self.version == 5:
            return VALUE, end, make_symbol(b"##" + token)
        length = token.find(b"#")
        if not 0 <= length <= _MAX_NAMESPACE:
            raise self.error(problems.QUALIFIED_SYMBOL, position)
        name = token[:length] + token[length + 1 :]
        if length == 0:
            return VALUE, end, Keyword(decode(name))
        return VALUE, end, make_symbol(bytes((length,)) + name)

    def _lex_angle(self, data: bytes, position: int, final: bool, following: int) -> Found:
        """`#<<TAG`, `#<#TAG`, the unspecified value, and what no reader takes."""
        if following == 0x3C:
            here = HereStringEnd(position + 3)
            end = here.find(data)
            if end < 0 and not final:
                return MORE, position, here
            if end >= 0:
                return VALUE, end, decode(data[here.text : max(here.last - 1, here.text)])
            return VALUE, len(data), decode(_unended_here_string(data, here))
        if following == 0x23:
            ending = LineEnd(position + 3)
            end = ending.find(data)
            if end < 0:
                return self._unended(ending, problems.UNTERMINATED_HERE_STRING, data, position, final)
            return WAIT, end, (HERE_TEXT, data[position + 3 : end - 1])
        if data.startswith(_UNSPECIFIED, position):
            return VALUE, position + len(_UNSPECIFIED), None
        if not final and _UNSPECIFIED.startswith(data[position:]):
            return MORE, position, ANY
        match = _UNREADABLE.match(data, position)
        assert match is not None
        if match.end() == len(data) and not final and match.end() - position < _SHOWN:
            return MORE, position, ANY  # the name, for the message, goes on
        what = decode(match[0]) + ">" if match.end() - position > 2 else "#<…>"
        raise self.error(problems.UNREADABLE_OBJECT, position, shown=what)


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
