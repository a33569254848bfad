"""Tokens that are so long that reading them in one go would keep others waiting: strings, names, comments, vectors.

What this module knows: which tokens go on beyond `LONG` bytes, and how to read them in pieces. What they mean is
`lexer`'s; only where that would take long itself (a loop over escapes, bars or numbers) it is done here, by the same
functions. A search for one byte is done in one go: 16 MiB take some milliseconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator
from typing import Any, Final

from bokbok._later import pattern
from bokbok.sexpr import problems
from bokbok.sexpr.frames import NUMBERS, READ_ON, VALUE, WAIT, Found
from bokbok.sexpr.lexer import NUMBER_STARTS, Lexer, found_in_pieces
from bokbok.sexpr.pieces import LONG
from bokbok.sexpr.problems import DatumError
from bokbok.sexpr.scan import BlockCommentEnd, HereStringEnd, PlainTokenEnd, QuotedEnd, TokenEnd
from bokbok.sexpr.text import decode_in_pieces, unescape_in_pieces
from bokbok.sexpr.types import Keyword, Symbol
from bokbok.sexpr.vectors import TAGS, make_vector, parse_blob_in_pieces, parse_simple_in_pieces

__all__ = ["LongToken", "LongTokens", "vector_in_pieces"]

LongToken = Generator[None, None, Found]
"""Reads a token in pieces: what `Lexer.lex` returns is what it returns at its end."""

_NEVER: Final = frozenset(b"()[]{}';,`")
"""What no long token begins with; a comment from `;` is skipped by one search for a byte."""
_STOP: Final = pattern(rb"[ \t\n\v\f\r,;()'\"\[\]{}|\\]")
_QUOTING: Final = b"|\\"
_VECTOR: Final = pattern(rb"#([usf][0-9]{1,2})\(")
_PLAIN_KINDS: Final = frozenset(b"\\!#%")
_RADIX_KINDS: Final = frozenset(b"xdobeiXDOBEI")
_ITEMS: Final = 2048
"""Elements of a vector that are looked at between two stops."""


class LongTokens(Lexer):
    """Finds long tokens."""

    __slots__ = ()

    def begin_long(self, data: bytes, position: int, dots: bool) -> LongToken | None:
        """The token that begins at `position`, to be read in pieces, if it goes on for `LONG` bytes.

        Args:
            data: the whole input.
            position: where it begins, in it.
            dots: as for `lex`.
        """
        byte = data[position]
        if byte in _NEVER:
            return None
        stop = position + LONG
        if byte == 0x23:
            return self._begin_hash(data, position, stop, dots)
        if byte == 0x22:
            end = data.find(b'"', position + 1, stop)
            if end >= 0 and data.find(b"\\", position + 1, end) < 0:
                return None
            string = QuotedEnd(position + 1, b'"')
            return None if string.find(data, stop) >= 0 else self._string(data, position, string)
        return self._begin_token(data, position, position + (byte == 0x2E and dots), stop, dots)

    def _begin_hash(self, data: bytes, position: int, stop: int, dots: bool) -> LongToken | None:
        following = data[position + 1 : position + 2]
        if not following:
            return None
        byte = following[0]
        if byte == 0x7C:
            comment = BlockCommentEnd(position + 2)
            return None if comment.find(data, stop) >= 0 else self._comment(data, position, comment)
        if byte in _PLAIN_KINDS:
            plain = PlainTokenEnd(position + 2)
            return None if plain.find(data, stop) >= 0 else self._token_in_pieces(data, position, 0, plain, dots)
        if byte == 0x3A:
            return self._begin_token(data, position, position + 2, stop, dots)
        if byte in _RADIX_KINDS:
            return self._begin_token(
                data, position, position + (4 if data[position + 2 : position + 3] == b"#" else 2), stop, dots
            )
        if byte == 0x24 and data[position + 2 : position + 3] == b"{":
            return None if data.find(b"}", position, stop) >= 0 else self._blob(data, position)
        if byte == 0x3C and data[position + 2 : position + 3] == b"<":
            here = HereStringEnd(position + 3)
            return None if here.find(data, stop) >= 0 else self._here_string(data, position, here, dots)
        vector = _VECTOR.match(data, position)
        if vector is not None:
            tag = vector[1].decode("ascii")
            if tag not in TAGS[self.version] or data.find(b")", position, stop) >= 0:
                return None
            return self._vector_of_text(data, vector.end(), tag)
        if byte in b"usfUSF":
            return self._begin_token(data, position, position + 1, stop, dots)
        return None

    def _begin_token(self, data: bytes, position: int, start: int, stop: int, dots: bool) -> LongToken | None:
        match = _STOP.search(data, start, stop)
        if match is not None and match[0] not in _QUOTING:
            return None
        ending = TokenEnd(start)
        return None if ending.find(data, stop) >= 0 else self._token_in_pieces(data, position, start, ending, dots)

    def _token_in_pieces(
        self, data: bytes, position: int, start: int, ending: TokenEnd | PlainTokenEnd, dots: bool
    ) -> LongToken:
        """A name or a number, which `lex` reads once its end is known, and its bars are gone."""
        end = yield from found_in_pieces(ending, data, position)
        named = data[position] not in NUMBER_STARTS and data[position] != 0x23
        if isinstance(ending, TokenEnd) and not ending.plain:
            if end < 0 and not ending.quoted and ending.seek == len(data):
                end = len(data)
            if end >= 0:
                ending.unbarred = yield from self.unbar_in_pieces(data, start, end)
        yield
        self.sought = ending
        try:
            if not named:
                return self.lex(data, position, True, dots)
            token = self._token(data, position, True)
        finally:
            self.sought = None
        assert token is not None
        end, name, is_keyword = token
        text = yield from decode_in_pieces(name)
        return VALUE, end, Keyword(text) if is_keyword else Symbol(text)

    def _string(self, data: bytes, position: int, ending: QuotedEnd) -> LongToken:
        end = yield from found_in_pieces(ending, data, position)
        if end < 0:
            raise self.incomplete(problems.UNTERMINATED_STRING, data, position)
        text = data[position + 1 : end - 1]
        if b"\\" in text:
            try:
                text = yield from unescape_in_pieces(text, self.version)
            except DatumError as error:
                raise error.at(self.base + position + 1) from None
        return VALUE, end, (yield from decode_in_pieces(text))

    def _here_string(self, data: bytes, position: int, here: HereStringEnd, dots: bool) -> LongToken:
        end = yield from found_in_pieces(here, data, position)
        if end < 0:
            return self.lex(data, position, True, dots)
        text = yield from decode_in_pieces(data[here.text : max(here.last - 1, here.text)])
        return VALUE, end, text

    def _comment(self, data: bytes, position: int, ending: BlockCommentEnd) -> LongToken:
        end = yield from found_in_pieces(ending, data, position)
        if end < 0:
            raise self.incomplete(problems.UNTERMINATED_COMMENT, data, position)
        return READ_ON, end, None

    def _blob(self, data: bytes, position: int) -> LongToken:
        end = data.find(b"}", position)
        if end < 0:
            raise self.incomplete(problems.UNTERMINATED_BLOB, data, position)
        try:
            return VALUE, end + 1, (yield from parse_blob_in_pieces(data[position + 3 : end]))
        except DatumError as error:
            raise error.at(self.base + position + 3) from None

    def _vector_of_text(self, data: bytes, start: int, tag: str) -> LongToken:
        """A vector of numbers; the general way, by `WAIT`, where there is anything else between its parentheses."""
        end = data.find(b")", start)
        vector = (yield from parse_simple_in_pieces(tag, data[start:end])) if end >= 0 else None
        if vector is None:
            return WAIT, start - 1, (NUMBERS, tag)
        return VALUE, end + 1, vector


def vector_in_pieces(tag: str, items: list[Any], version: int) -> Generator[None, None, array[Any]]:
    """`make_vector` as a generator, which stops now and then, and goes on when it is asked to."""
    vector = make_vector(tag, [], version)
    for start in range(0, len(items), _ITEMS):
        vector += make_vector(tag, items[start : start + _ITEMS], version)
        yield
    return vector
