"""Finding ends in pieces: every search continues where it stopped, and finds what a single search finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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

CASES: list[tuple[Callable[[], Ending], bytes, int]] = [
    (lambda: AnyEnd(0), b"ab", 2),
    (lambda: ByteEnd(0, b"}"), b"ab}c", 3),
    (lambda: ByteEnd(0, b"}"), b"ab", -1),
    (lambda: LineEnd(0), b"; c\nx", 4),
    (lambda: QuotedEnd(1, b'"'), b'""', 2),
    (lambda: QuotedEnd(1, b'"'), b'"abc" d', 5),
    (lambda: QuotedEnd(1, b'"'), b'"a\\"b" c', 6),
    (lambda: QuotedEnd(1, b'"'), b'"a\\\\" c', 5),
    (lambda: QuotedEnd(1, b'"'), b'"a\\\\\\"" c', 7),
    (lambda: QuotedEnd(1, b'"'), b'"\\"\\"\\""', 8),
    (lambda: QuotedEnd(1, b'"'), b'"a\\"', -1),
    (lambda: QuotedEnd(1, b'"'), b'"a\\\\\\"b', -1),
    (lambda: QuotedEnd(1, b"|"), b'|a"\\|b|', 7),
    (lambda: PlainTokenEnd(0), b"a|b\\c(d", 5),
    (lambda: PlainTokenEnd(0), b"abc", -1),
    (lambda: TokenEnd(0), b"abc d", 3),
    (lambda: TokenEnd(0), b"(", 0),
    (lambda: TokenEnd(0), b"a|b c|d e", 7),
    (lambda: TokenEnd(0), b"a|b\\|c d|e;", 10),
    (lambda: TokenEnd(0), b"a\\ b\\(c)", 7),
    (lambda: TokenEnd(0), b"a\\|b|c d|e)", 10),
    (lambda: TokenEnd(0), b"abc", -1),
    (lambda: TokenEnd(0), b"a|b c", -1),
    (lambda: TokenEnd(0), b"abc\\", -1),
    (lambda: BlockCommentEnd(2), b"#| a |# b", 7),
    (lambda: BlockCommentEnd(2), b"#||#", 4),
    (lambda: BlockCommentEnd(2), b"#| #| |# |# b", 11),
    (lambda: BlockCommentEnd(2), b"#| a ||# b", -1),
    (lambda: BlockCommentEnd(2), b"#| a |||# b", 9),
    (lambda: BlockCommentEnd(2), b"#| ##| |# b", 9),
    (lambda: BlockCommentEnd(2), b"#| a |", -1),
    (lambda: BlockCommentEnd(2), b"#| a #", -1),
    (lambda: HereStringEnd(3), b"#<<X\nab\nX\nc", 10),
    (lambda: HereStringEnd(3), b"#<<X\nX\nc", 7),
    (lambda: HereStringEnd(3), b"#<<XY\nX\nXYZ\n XY\nXY\n", 19),
    (lambda: HereStringEnd(3), b"#<<\n\nc", 5),
    (lambda: HereStringEnd(3), b"#<<X\nab\nX", -1),
    (lambda: HereStringEnd(3), b"#<<X", -1),
]


def searched(ending: Ending) -> int:
    """How far the bytes have been searched."""
    return ending.quoted.seek if isinstance(ending, TokenEnd) and ending.quoted else ending.seek


@pytest.mark.parametrize(("make", "data", "end"), CASES, ids=lambda value: repr(value)[:30])
def test_an_end_is_found_at_once(make: Callable[[], Ending], data: bytes, end: int) -> None:
    assert make().find(data) == end


@pytest.mark.parametrize(("make", "data", "end"), CASES, ids=lambda value: repr(value)[:30])
def test_an_end_is_found_byte_by_byte_and_no_byte_is_searched_twice(
    make: Callable[[], Ending], data: bytes, end: int
) -> None:
    ending = make()
    if isinstance(ending, AnyEnd):
        assert ending.find(b"a") == 1
        return
    first = ending.seek
    before = first
    for size in range(first, len(data) + 1):
        found = ending.find(bytearray(data[:size]))
        if found >= 0:
            assert found == end
            return
        seek = searched(ending)
        assert seek >= before
        # Only what may belong to the end is looked at again: a backslash, half a mark, a tag.
        assert size - seek <= 5
        before = seek
    assert end == -1


@pytest.mark.parametrize(("make", "data", "end"), CASES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("cut", [1, 2, 4, 6])
def test_an_end_is_found_after_bytes_were_dropped_in_front(
    make: Callable[[], Ending], data: bytes, end: int, cut: int
) -> None:
    ending = make()
    front = b"xyz"
    ending.shift(-len(front))  # as if the token had come after them
    if ending.find(front + data[:cut]) >= 0:
        return
    ending.shift(len(front))
    assert ending.find(data) == (len(data) if isinstance(ending, AnyEnd) else end)


def test_a_search_in_bytes_that_keep_arriving_takes_time_in_proportion() -> None:
    ending = QuotedEnd(1, b'"')
    buffer = bytearray(b'"')
    looked_at = 0
    for _ in range(2000):
        buffer += b"\\" * 100
        before = ending.seek
        assert ending.find(buffer) == -1
        looked_at += len(buffer) - before
    assert looked_at <= 2 * len(buffer)
    buffer += b'"'
    assert ending.find(buffer) == len(buffer)


def test_a_here_string_with_a_long_tag_is_searched_once_however_it_comes() -> None:
    looked_at = 0

    class Counting(bytearray):
        def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
            nonlocal looked_at
            stop = len(self) if end is None else min(end, len(self))
            found = super().find(what, start, stop)
            looked_at += (stop if found < 0 else found + len(what)) - start
            return found

    tag = b"T" * 10_000
    text = tag + b"\n" + b"text\n" * 2_000 + tag + b"\n"
    buffer, ending = Counting(), HereStringEnd(0)
    found = -1
    for start in range(0, len(text), 10):
        assert found < 0
        buffer += text[start : start + 10]
        found = ending.find(buffer)
    assert found == len(text)
    assert looked_at < 5 * len(text)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("tag", [b"X", b"XX", b"X" * 300, b""])
def test_a_here_string_ends_at_its_tag_wherever_it_is_cut(tag: bytes, step: int) -> None:
    text = tag + b"\nab\nY" + tag + b"\n" + tag + b"Y\nc\n" + tag + b"\nrest\n"
    whole = HereStringEnd(0)
    end = whole.find(text)
    cut, found, start = HereStringEnd(0), -1, 0
    while found < 0 and start < len(text):
        start += step
        found = cut.find(text[:start])
    assert (found, cut.last, cut.text) == (end, whole.last, whole.text)
