r"""Strings: bytes to `str` and back, and every escape."""

from __future__ import annotations

import pytest

from bokbok.sexpr.problems import DatumError
from bokbok.sexpr.text import decode, encode, unescape


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"abc", "abc"),
        ("日本語".encode(), "日本語"),
        (b"\xff\xfe", "\udcff\udcfe"),
        (b"\xc3", "\udcc3"),
        (b"\xed\xa0\x80", "\udced\udca0\udc80"),
        (b"\xed\xb3\x83", "\udced\udcb3\udc83"),
        (b"\xf4\x90\x80\x80", "\udcf4\udc90\udc80\udc80"),
        (b"\x00", "\x00"),
    ],
)
def test_bytes_and_str_are_two_forms_of_one_string(data: bytes, text: str) -> None:
    assert decode(data) == text
    assert encode(text) == data


def test_every_byte_alone_comes_back() -> None:
    for byte in range(256):
        assert encode(decode(bytes((byte,)))) == bytes((byte,))


def test_escaped_bytes_that_form_utf_8_denote_the_string_that_they_spell() -> None:
    assert encode("\udcc3\udca9") == "é".encode() == b"\xc3\xa9"
    assert decode(encode("\udcc3\udca9")) == "é"


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDC7F, 0xDD00, 0xDFFF])
def test_a_surrogate_that_escapes_no_byte_has_no_bytes(code: int) -> None:
    text = "a" + chr(code)
    with pytest.raises(UnicodeEncodeError):
        encode(text)


COMMON = [
    (rb"", b""),
    (rb"\a\b\t\n\v\f\r", b"\a\b\t\n\v\f\r"),
    (rb"\\\"\'\|", b"\\\"'|"),
    (rb"\q\8\9\e\-", b"q89e-"),
    (b"\\\xc3\xa9", b"\xc3\xa9"),
    (rb"\x41\xfF\x00", b"A\xff\x00"),
    (rb"\x41;", b"A;"),
    (rb"\u00e9\u65e5\u0041", "é日A".encode()),
    (rb"\ud83d\ude00", "😀".encode()),
    (rb"\uD83D\uDE00x", "😀x".encode()),
    (rb"\U0001f600", "😀".encode()),
    (rb"\U00110000", b"\xf4\x90\x80\x80"),
    (rb"\Uffffffff", b"\xf7\xbf\xbf\xbf"),
    (rb"\101\000\377\777", b"A\x00\xff\xff"),
    (rb"\x+f", b"\x0f"),
    (rb"\x-1", b"\xff"),
    (rb"\u#x12", b"\x12"),
    (b"a\\\n  b", b"ab"),
    (b"a\\  \n \t b", b"ab"),
    (b"a\\\r\n b", b"ab"),
    (b"a\\\r b", b"ab"),
    (b"a\\\n\n b", b"a\n b"),
    (b"a\\ b", b"ab"),
    (b"a\\\n\\\n b", b"ab"),
    (b"a\\ \\n", b"a\n"),
]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(("raw", "data"), COMMON)
def test_an_escape_stands_for_its_bytes(version: int, raw: bytes, data: bytes) -> None:
    assert unescape(raw, version) == data


def test_white_space_before_the_digits_passes_in_4_only() -> None:
    assert unescape(rb"\x 1", 4) == b"\x01"
    with pytest.raises(DatumError):
        unescape(rb"\x 1", 5)


@pytest.mark.parametrize(
    ("raw", "offset", "message"),
    [
        (rb"ab\x4", 2, "too few digits"),
        (rb"\x", 0, "too few digits"),
        (rb"\u123", 0, "too few digits"),
        (rb"\U1234567", 0, "too few digits"),
        (rb"\07", 0, "too few digits"),
        (rb"\x\"41", 0, "too few digits"),
        (rb"\xgg", 0, "not digits"),
        (rb"\08x", 0, "not digits"),
        (rb"\u00g0", 0, "not digits"),
        (rb"\x1#", 0, "not digits"),
        (rb"\ud83d", 0, "unpaired"),
        (rb"\ud83dxx", 0, "unpaired"),
        (rb"\ud83d\x41", 0, "unpaired"),
        (rb"\ud83d\u0041", 0, "bad pair of escaped surrogates"),
        (rb"\ude00\ud83d", 0, "bad pair of escaped surrogates"),
        (rb"\ud83d\ude0", 6, "too few digits"),
        (rb"\U0000d800", 0, "escaped surrogate"),
    ],
)
def test_a_bad_escape_is_an_error_with_its_offset(raw: bytes, offset: int, message: str) -> None:
    with pytest.raises(DatumError, match=message) as caught:
        unescape(raw, 4)
    assert caught.value.offset == offset
    assert caught.value.expected
