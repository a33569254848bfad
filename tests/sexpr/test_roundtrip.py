"""What holds for every value and every input, tested with many."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    CHICKEN_5,
    DIALECTS,
    Reader,
    ReadError,
    Symbol,
    dumps,
    loads,
    parse,
    skip_atmosphere,
)
from tests.support.datums import TELLING_BYTES, chicken_bytes, datums, decode, nearly_same
from tests.support.tagged import same

PIECES_OF_SYNTAX = [
    b"(", b")", b"[", b"]", b"{", b"}", b"#(", b"'", b"`", b",", b",@", b"#;", b"#|", b"|#", b";", b'"', b"a",
    b"foo:", b"#:k", b"|", b"\\", b"1", b"-.5", b"1e400", b"1/2", b"#", b"##a#b", b"#x", b"#e1.5", b"#\\", b".",
    b"#t", b"#true", b"#fa", b"#${61", b"#s8", b"#f64(", b"#!eof", b"#!", b"#$", b"#+", b"#ci", b"ABC",
    b"#<unspecified>", b"#<p", b"#1=", b"\\x4", b"\\u", b"\xff", b"\x00", b" ", b"\n", b"#u8(1 2)",
    b"#<<X\nab\nX\n", b"#<#X\na #{b} ##\nX\n",
]  # fmt: skip
INPUTS = (
    st.lists(st.sampled_from(PIECES_OF_SYNTAX), max_size=12).map(b"".join)
    | st.lists(st.sampled_from(TELLING_BYTES), max_size=16).map(bytes)
    | st.binary(max_size=24)
)
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


@given(datums(CHICKEN_4))
def test_what_chicken_4_writes_reads_back_exactly(value: Any) -> None:
    assert same(loads(dumps(value)), value)


@given(datums(CHICKEN_4))
def test_what_chicken_4_writes_reads_back_exactly_in_every_dialect(value: Any) -> None:
    data = dumps(value)
    assert same(loads(data, dialect=CHICKEN_4_EXACT), value)
    assert same(loads(data, dialect=CHICKEN_5), value)


@given(datums(CHICKEN_4_EXACT))
def test_what_chicken_4_exact_writes_reads_back_to_15_digits(value: Any) -> None:
    assert nearly_same(loads(dumps(value, dialect=CHICKEN_4_EXACT), dialect=CHICKEN_4_EXACT), value)


@given(datums(CHICKEN_5))
def test_what_chicken_5_writes_reads_back_to_15_digits(value: Any) -> None:
    assert nearly_same(loads(dumps(value, dialect=CHICKEN_5), dialect=CHICKEN_5), value)


@given(datums(CHICKEN_4))
def test_a_written_value_is_one_line_without_control_characters(value: Any) -> None:
    assert not set(dumps(value)) & set(range(0x20))


@given(st.binary())
@example(b"\xc3\xa9")
@example(b"\xed\xb3\x83")
def test_bytes_come_back_from_a_str_as_they_were(data: bytes) -> None:
    text = loads(b'"' + b"".join(b"\\x%02x" % byte for byte in data) + b'"')
    assert text == decode(data)
    assert loads(dumps(text)) == text
    assert text.encode("utf-8", "surrogateescape") == data


@given(chicken_bytes())
def test_a_symbol_of_any_bytes_comes_back(data: bytes) -> None:
    symbol = Symbol(decode(data))
    assert same(loads(dumps(symbol)), symbol)


@dialects
@given(data=INPUTS)
def test_no_input_raises_anything_but_a_read_error(dialect: Any, data: bytes) -> None:
    offset = 0
    try:
        loads(data, dialect=dialect)
    except ReadError as error:
        offset = error.offset
    assert 0 <= offset <= len(data)


@dialects
@given(data=INPUTS, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_a_reader_finds_the_same_however_the_input_is_cut(dialect: Any, data: bytes, cuts: list[int]) -> None:
    assert outcome(dialect, pieces(data, cuts)) == outcome(dialect, [data])


@dialects
@given(data=INPUTS)
def test_a_reader_fed_byte_by_byte_finds_what_parse_finds_one_after_the_other(dialect: Any, data: bytes) -> None:
    expected: list[str] = []
    offset = 0
    try:
        while (offset := skip_atmosphere(data, offset, dialect=dialect)) < len(data):
            value, offset = parse(data, offset, dialect=dialect)
            expected.append(repr(value))
    except ReadError as error:
        expected.append(repr(error))
    assert outcome(dialect, [data[i : i + 1] for i in range(len(data))]) == expected


@given(st.lists(datums(CHICKEN_4, max_leaves=6), max_size=5), st.lists(st.integers(0, 200), max_size=8))
def test_a_stream_of_written_values_reads_back_in_order(values: list[Any], cuts: list[int]) -> None:
    reader = Reader()
    read = []
    for piece in pieces(b" ".join(map(dumps, values)), cuts):
        read += reader.feed(piece)
    read += reader.close()
    assert same(read, values)


@given(INPUTS)
def test_skipping_atmosphere_moves_forward_and_stops_at_something_else(data: bytes) -> None:
    try:
        offset = skip_atmosphere(data)
    except ReadError:
        return
    assert 0 <= offset <= len(data)
    assert skip_atmosphere(data, offset) == offset
    assert data[offset : offset + 1] not in (b" ", b"\n", b";")


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at these offsets."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def outcome(dialect: Any, parts: list[bytes]) -> list[str]:
    """The results of a reader for these pieces: the datums, then the error if there was one."""
    reader = Reader(dialect=dialect)
    found: list[str] = []
    try:
        for part in parts:
            found += map(repr, reader.feed(part))
        found += map(repr, reader.close())
    except ReadError as error:
        found.append(repr(error))
    return found
