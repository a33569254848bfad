"""Every reason for which bytes do not read, in one table: the exact texts of the errors.

Another reader of the same input (in another language, for speed) must fail at the same byte with the same text, so the
texts stand nowhere else. `{…}` in a text is a field that the place of the error fills in.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from bokbok.errors import IncompleteError, ReadError

__all__ = ["PROBLEMS", "DatumError", "Problem"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One reason.

    Attributes:
        text: what is wrong, with fields in braces; `at byte N` is added.
        expected: what would have been right, with fields in braces; `None` where many things would.
        incomplete: whether the input ended too early, so that more of it could have made it right.
    """

    text: str
    expected: str | None
    incomplete: bool = False

    def at(self, offset: int, **fields: Any) -> ReadError:
        """The error for this reason.

        Args:
            offset: where, in bytes from the start of the input; for an incomplete datum, the end of the input.
            fields: what stands for the fields of the texts.
        """
        expected = None if self.expected is None else self.expected.format(**fields)
        return (IncompleteError if self.incomplete else ReadError)(self.text.format(**fields), offset, expected)


class DatumError(ValueError):
    """What a token's text does not denote, found by a module that does not know where the token stands.

    Attributes:
        problem: why.
        expected: what would have been right.
        offset: where, in bytes from the start of what that module was given.
        fields: what stands for the fields of the problem's texts.
    """

    def __init__(self, problem: Problem, offset: int = 0, **fields: Any) -> None:
        error = problem.at(offset, **fields)
        super().__init__(str(error))
        self.expected = error.expected
        self.problem = problem
        self.offset = offset
        self.fields = fields

    def at(self, base: int) -> ReadError:
        """The error, where that text begins at `base`."""
        return self.problem.at(base + self.offset, **self.fields)


def _incomplete(text: str, expected: str) -> Problem:
    return Problem(text, expected, incomplete=True)


# The input as a whole.
NO_DATUM = _incomplete("no datum", "a datum")
MORE_AFTER_DATUM = Problem("more after the datum", "the end of the input")
TOO_DEEP = Problem("nesting deeper than {limit:,} levels, the limit", None)
TOO_MUCH_MEMORY = Problem("datum that takes more than {limit:,} bytes of memory, the limit", None)
TOO_LONG = Problem("datum of more than {limit:,} bytes, the limit", None)
LONE_SURROGATE = Problem("lone surrogate U+{code:04X}, which does not stand for a byte", "text")
# Lists and vectors.
UNTERMINATED_LIST = _incomplete("unterminated {kind} (opened at byte {start})", "'{closer}'")
NOT_A_LIST = Problem("not a list", "'('")
LIST_TOO_SHORT = _incomplete("list of only {count} elements", "{wanted} elements")
UNEXPECTED_CLOSER = Problem("unexpected '{closer}'", "a datum")
WRONG_CLOSER = Problem("'{closer}' in a list opened at byte {start}", "'{expected}'")
DOT_FIRST = Problem("dot at the beginning of a list", "a datum before the dot")
DOT_LAST = Problem("'{closer}' right after a dot", "the tail of the list")
DOT_IN_VECTOR = Problem("dot in a vector", "a vector without a tail")
UNEXPECTED_DOT = Problem("unexpected dot", "a datum")
TWO_TAILS = Problem("more than one datum after the dot of a list opened at byte {start}", "'{expected}'")
# What waits for a datum.
NOTHING_FOLLOWS = _incomplete("end of input", "{what} (from byte {start})")
# Strings and symbols.
UNTERMINATED_STRING = _incomplete("unterminated string (begun at byte {start})", "'\"'")
UNTERMINATED_BARS = _incomplete("unterminated |…| in a symbol (begun at byte {start})", "'|'")
LONE_BACKSLASH = _incomplete(
    "backslash at the end of a symbol (begun at byte {start})", "the character that the backslash escapes"
)
NUL_IN_TOKEN = Problem("NUL byte in a token", "text")
FEW_ESCAPE_DIGITS = Problem("escape with too few digits", "{count} {radix} digits")
BAD_ESCAPE_DIGITS = Problem("escape with characters that are not digits", "{count} {radix} digits")
UNPAIRED_SURROGATE = Problem("unpaired escaped surrogate", "a second \\u with the low surrogate")
BAD_SURROGATE_PAIR = Problem("bad pair of escaped surrogates", "a high surrogate, then a low one")
ESCAPED_SURROGATE = Problem("escaped surrogate", "a code point that is not a surrogate")
QUALIFIED_SYMBOL = Problem("invalid qualified symbol", "##prefix#name, with a prefix of at most 31 bytes")
EMPTY_KEYWORD = Problem("empty keyword", "a name after #: (the empty one is #:||)")
# Here-strings.
UNTERMINATED_HERE_STRING = _incomplete("unterminated #<# string (begun at byte {start})", "a line with its tag")
EMPTY_HERE_STRING = Problem("#<# string without a line", "a line before the tag")
UNTERMINATED_HERE_BRACES = _incomplete("unterminated #{{…}} in a #<# string", "'}}'")
LONE_HERE_HASH = _incomplete("lone # in a #<# string (begun at byte {start})", "a datum")
# What begins with #.
LONE_HASH = _incomplete("lone {shown} (begun at byte {start})", "what follows {shown}")
INVALID_HASH = Problem("invalid # syntax, # and {shown}", "a datum")
DATUM_LABEL = Problem("datum label (#1= or #1#), which CHICKEN does not have", "a datum")
UNKNOWN_BANG = Problem("unknown #! syntax", "#!eof, #!optional, #!rest or #!key")
CASE_PREFIX = Problem("illegal case prefix", "#ci or #cs")
UNREADABLE_OBJECT = Problem("{shown} has no external representation", "a datum")
UNTERMINATED_COMMENT = _incomplete("unterminated block comment (begun at byte {start})", "'|#'")
# Characters.
LONE_CHARACTER = _incomplete("lone #\\ (begun at byte {start})", "a character")
UNKNOWN_CHARACTER = Problem("unknown character #\\{shown}", "a character or its name")
CHARACTER_TOO_LARGE = Problem("character with the code 0x{code:x}", "a code point up to 0x10ffff")
CHARACTER_NOT_A_FIXNUM = Problem("character whose code is not a fixnum", "a code point up to 0x10ffff")
# Numbers.
TOO_MANY_DIGITS = Problem("number of more than {limit:,} digits", None)
TOO_MANY_DIGITS_HERE = Problem("number of more digits than this process converts (sys.set_int_max_str_digits)", None)
TOO_MANY_EXACT_DIGITS = Problem("exact number of more than {limit:,} digits", None)
NO_EXACT_VALUE = Problem("inexact number after #e that has no exact value in CHICKEN 4", None)
COMPLEX_NUMBER = Problem("complex number, for which there is no Python type here", None)
NOT_IN_RADIX = Problem("illegal number syntax", "a number in radix {radix}")
SECOND_PREFIX = Problem("illegal second prefix of a number", "{prefixes}")
# Number vectors and blobs.
UNKNOWN_VECTOR = Problem("illegal number vector", "#f or one of {tags}")
VECTOR_WITHOUT_LIST = Problem("#{tag} without a list of elements", "'('")
NOT_A_FLONUM_ELEMENT = Problem("element of a flonum vector that is not a number", "flonums and integers")
NOT_AN_INTEGER_ELEMENT = Problem("element of #{tag}(…) that is not an integer", "integers of {bits} bits")
FLONUM_OUT_OF_RANGE = Problem("flonum out of the range of #{tag}(…)", "integers of {bits} bits")
INTEGER_OUT_OF_RANGE = Problem("integer out of the range of #{tag}(…)", "integers of {bits} bits")
BLOB_DIGIT = Problem("invalid digit in a blob", "hexadecimal digits")
UNTERMINATED_BLOB = _incomplete("unterminated blob (begun at byte {start})", "'}}'")

PROBLEMS: Final = {name: value for name, value in sorted(globals().items()) if isinstance(value, Problem)}
"""All of them by name."""
