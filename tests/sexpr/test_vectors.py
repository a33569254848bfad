"""SRFI-4 vectors and blobs."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Any

import pytest

from bokbok.sexpr.problems import DatumError
from bokbok.sexpr.vectors import TYPE_CODES, make_vector, parse_blob, parse_simple, tag_of
from bokbok_interop.vectors import SIZES


@pytest.mark.parametrize("tag", SIZES)
def test_the_type_code_of_a_tag_has_its_size_and_sign(tag: str) -> None:
    made = array(TYPE_CODES[tag], [1])
    assert made.itemsize == SIZES[tag]
    assert tag_of(made.typecode) == tag
    if tag[0] == "u":
        with pytest.raises(OverflowError):
            made.append(-1)


@pytest.mark.parametrize("typecode", "bBhHiIlLqQfd")
def test_every_type_code_of_numbers_has_a_tag_of_its_size(typecode: str) -> None:
    tag = tag_of(typecode)
    assert tag is not None
    assert SIZES[tag] == array(typecode).itemsize


def test_arrays_of_characters_have_no_tag() -> None:
    assert tag_of("u") is None


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("tag", ["u8", "s8", "u16", "s16", "u32", "s32"])
def test_the_extremes_of_a_type_fit(version: int, tag: str) -> None:
    bits = 8 * SIZES[tag]
    low = 0 if tag[0] == "u" else -(1 << (bits - 1))
    assert make_vector(tag, [low, low + (1 << bits) - 1], version).tolist() == [low, low + (1 << bits) - 1]


@pytest.mark.parametrize(
    ("tag", "item", "in_4", "in_5"),
    [
        ("u8", 256, 0, None),
        ("u8", 511, 255, None),
        ("u8", -1, None, None),
        ("s8", 128, -128, -128),
        ("s8", 255, -1, -1),
        ("s8", 256, 0, None),
        ("s8", -129, 127, 127),
        ("s8", -257, -1, None),
        ("u16", 65536, 0, None),
        ("s16", -32769, 32767, 32767),
        ("u32", 4294967296, 0, None),
        ("u32", -1, None, 4294967295),
        ("s32", 2147483648, -2147483648, -2147483648),
        ("s32", 4294967296, 0, None),
        ("u8", 2**62, None, None),
        ("s32", 2**62, None, None),
        ("u32", 1.0, 1, None),
        ("s32", -1.0, -1, None),
        ("u32", 4e9, 4000000000, None),
        ("u32", 5e9, None, None),
        ("s32", 3e9, None, None),
        ("u32", 1.5, None, None),
        ("u32", math.inf, None, None),
        ("u8", 1.0, None, None),
        ("u8", "1", None, None),
        ("u8", True, None, None),
        ("s16", Fraction(1, 2), None, None),
    ],
)
def test_what_is_stored_of_an_element_that_does_not_fit(
    tag: str, item: Any, in_4: int | None, in_5: int | None
) -> None:
    for version, expected in ((4, in_4), (5, in_5)):
        if expected is None:
            with pytest.raises(DatumError) as caught:
                make_vector(tag, [1, item], version)
            assert caught.value.expected
        else:
            assert make_vector(tag, [1, item], version).tolist() == [1, expected]


@pytest.mark.parametrize(
    ("tag", "item", "expected"),
    [
        ("u64", 2**64 - 1, 2**64 - 1),
        ("u64", -1, 2**64 - 1),
        ("u64", 2**64, None),
        ("u64", -(2**63), None),
        ("s64", 2**64 - 1, -1),
        ("s64", -(2**63), -(2**63)),
        ("s64", 2**64, None),
    ],
)
def test_vectors_of_64_bits_in_5(tag: str, item: int, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(DatumError):
            make_vector(tag, [item], 5)
    else:
        assert make_vector(tag, [item], 5).tolist() == [expected]


@pytest.mark.parametrize("version", [4, 5])
def test_flonum_vectors_take_integers_and_infinities(version: int) -> None:
    assert make_vector("f64", [1, -2.5, math.inf, 10**400, -(10**400)], version).tolist() == [
        1.0, -2.5, math.inf, math.inf, -math.inf,
    ]  # fmt: skip
    assert make_vector("f32", [1e39, 0.1], version).tolist() == [math.inf, 0.10000000149011612]


def test_flonum_vectors_take_fractions_in_4_only() -> None:
    assert make_vector("f64", [Fraction(1, 2)], 4).tolist() == [0.5]
    with pytest.raises(DatumError):
        make_vector("f64", [Fraction(1, 2)], 5)


@pytest.mark.parametrize("item", [True, "1", None, [1]])
def test_flonum_vectors_take_nothing_else(item: object) -> None:
    for version in (4, 5):
        with pytest.raises(DatumError, match="not a number"):
            make_vector("f32", [item], version)


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        ("u8", b"", []),
        ("u8", b"1 2 255", [1, 2, 255]),
        ("u8", b" 1\n2\t 3 ", [1, 2, 3]),
        ("s16", b"-1 0 -32768", [-1, 0, -32768]),
        ("f64", b"1 2.5 -1e3 1e400 -0", [1.0, 2.5, -1000.0, math.inf, 0.0]),
        ("f32", b"1.5", [1.5]),
    ],
)
def test_plain_numbers_are_read_in_one_go(tag: str, text: bytes, expected: list[float]) -> None:
    made = parse_simple(tag, text)
    assert made is not None
    assert made.typecode == TYPE_CODES[tag]
    assert made.tolist() == expected


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("u8", b"256"),
        ("u8", b"-1"),
        ("u8", b"1.5"),
        ("u16", b"1.0"),
        ("u8", b"+1"),
        ("u8", b"01"),
        ("f64", b".5"),
        ("u8", b"-"),
        ("f64", b"1."),
        ("s8", b"1 200"),
        ("u32", b"1" * 5000),
        ("u8", b"1-2"),
    ],
)
def test_the_less_plain_is_left_to_the_general_way(tag: str, text: bytes) -> None:
    assert parse_simple(tag, text) is None


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"", b""),
        (b"00ffAb", b"\x00\xff\xab"),
        (b" 61\n62\x0b ", b"ab"),
        (b"616", b"a\x06"),
        (b"6", b"\x06"),
        (b"6 1", b"\x06\x01"),
        (b"616 2", b"a\x06\x02"),
    ],
)
def test_a_blob_is_its_digits(text: bytes, data: bytes) -> None:
    assert parse_blob(text) == data


@pytest.mark.parametrize(("text", "offset"), [(b"6g", 1), (b"61\xff", 2), (b"(61)", 0), (b"61;", 2)])
def test_a_blob_has_no_other_characters(text: bytes, offset: int) -> None:
    with pytest.raises(DatumError) as caught:
        parse_blob(text)
    assert caught.value.offset == offset
