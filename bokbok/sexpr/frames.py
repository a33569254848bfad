"""What the lexer finds and what the machine keeps on its stack, as small numbers."""

from __future__ import annotations

from typing import Any, Final

# Kinds of frames. Those below TOP gather items; the others wait for one datum. `items` of a waiting frame holds what
# belongs to it.
LIST, VECTOR, BRACKETS, BRACES = range(4)
TOP = 4  # the datum that was asked for
PREFIX = 5  # (items, datum): 'x and the like; items: the symbol
SKIP = 6  # after #;: the datum is dropped, and another one is waited for
TAIL = 7  # behind the dot of a list; items: how many items the list has before it
FEATURE = 8  # behind #+
EXPANSION = 9  # behind #+ and its first datum; items: that datum
CASE = 10  # behind #ci or #cs; items: whether case was folded outside
NUMBERS = 11  # behind #u8 and the like; items: (the tag, whether case was folded outside)
HERE_DATUM = 12  # behind # in a #<# string; items: (whether in braces, whether case was folded outside)
CLOSING = 13  # a dotted list lacks its closer; items: (items, tail, kind of the list, items before the dot)
HERE_TEXT = 14  # in the text of a #<# string; items: the string's state
TOKEN = 15  # in a long token, or a long vector; items: what reads it in pieces

TRANSPARENT: Final = {SKIP: 1, TAIL: 1, CASE: 1, NUMBERS: 2}
"""The frames that add no level to the value, with how many are not counted (a number vector: its list neither)."""

CLOSERS: Final = {LIST: ")", VECTOR: ")", BRACKETS: "]", BRACES: "}"}
WAITING_FOR: Final = {
    PREFIX: "a quoted datum", SKIP: "a datum to skip after #;", TAIL: "the tail after a dot",
    FEATURE: "the requirement after #+", EXPANSION: "the datum after #+ and its requirement",
    CASE: "the datum after #ci or #cs", NUMBERS: "the elements of a number vector",
    HERE_DATUM: "the datum after # in a #<# string",
}  # fmt: skip

# What the lexer finds; with each come where it ends and a payload.
VALUE = 0  # a datum
OPEN = 1  # the start of a list or vector; payload: its kind
CLOSE = 2  # the end of one; payload: the closer
WAIT = 3  # what takes a datum; payload: the kind and items of its frame
COMMENT = 4  # a comment that counts as white space
READ_ON = 5  # a comment after which CHICKEN reads a datum, and takes no dot
DOT = 6  # the dot of a list
MORE = 7  # nothing, since the token is not complete; payload: the search for its end
LOOK = 8  # something that the lexer has to look at

Found = tuple[int, int, Any]
