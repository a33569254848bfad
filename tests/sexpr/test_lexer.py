"""Single tokens, as `read` reads them. If the versions differ, both results are given.

The expectations were taken from CHICKEN 4.13.0 and 5.3.0 themselves, except for those that `docs/sexpr.md` lists.
"""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Any

import pytest

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_5,
    EOF,
    Char,
    Dialect,
    IncompleteError,
    Keyword,
    ReadError,
    Symbol,
    loads,
    parse,
)
from bokbok.sexpr.lexer import SYMBOLS
from tests.support.tagged import same

DIALECT = {4: CHICKEN_4, 5: CHICKEN_5}
both = pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_5], ids=str)
QUOTE = Symbol("quote")


@both
@pytest.mark.parametrize(
    ("data", "value", "rest"),
    [
        # symbols
        (b"foo", Symbol("foo"), b""),
        (b"FOO", Symbol("FOO"), b""),
        (b"a.b", Symbol("a.b"), b""),
        (b"a#b", Symbol("a#b"), b""),
        (b"a`b", Symbol("a`b"), b""),
        (b"a'b", Symbol("a"), b"'b"),
        (b'a"b', Symbol("a"), b'"b'),
        (b"a;b", Symbol("a"), b";b"),
        (b"a,b", Symbol("a"), b",b"),
        (b"a]b", Symbol("a"), b"]b"),
        (b"a{b", Symbol("a"), b"{b"),
        (b"a\x0bb", Symbol("a"), b"\x0bb"),
        (b"a\x00b", Symbol("a\x00b"), b""),
        (b"\xff", Symbol("\udcff"), b""),
        ("日本語".encode(), Symbol("日本語"), b""),
        (b"\xef\xbb\xbfa", Symbol("\ufeffa"), b""),
        (b"|a b|", Symbol("a b"), b""),
        (b"||", Symbol(""), b""),
        (b"a|b c|d", Symbol("ab cd"), b""),
        (rb"|a\|b\\\x41\n|", Symbol("a|b\\A\n"), b""),
        (rb"a\ b\|c", Symbol("a b|c"), b""),
        (b"\\:", Symbol(":"), b""),
        (b"a\\:", Symbol("a:"), b""),
        (b"|a:|", Symbol("a:"), b""),
        (b":|a|", Symbol(":a"), b""),
        (b"-|x|", Symbol("-x"), b""),
        (b"-", Symbol("-"), b""),
        (b"...", Symbol("..."), b""),
        (b"1+", Symbol("1+"), b""),
        (b"|1|", Symbol("1"), b""),
        (b"|1|2", Symbol("12"), b""),
        (b"@", Symbol("@"), b""),
        (b"|\x00|", Symbol("\x00"), b""),
        # keywords
        (b"foo:", Keyword("foo"), b""),
        (b":", Symbol(":"), b""),
        (b"::", Keyword(":"), b""),
        (b":::", Keyword("::"), b""),
        (b":a", Symbol(":a"), b""),
        (b":a:", Keyword(":a"), b""),
        (b"|a b|:", Keyword("a b"), b""),
        (b"foo||:", Keyword("foo"), b""),
        (b".:", Keyword("."), b""),
        (b"+:", Keyword("+"), b""),
        (b"1:", Keyword("1"), b""),
        (b"#:foo", Keyword("foo"), b""),
        (b"#:foo:", Keyword("foo:"), b""),
        (b"#:||", Keyword(""), b""),
        (b"#:|a b|c", Keyword("a bc"), b""),
        (b"#:a(", Keyword("a"), b"("),
        (b"#xabc:", Keyword("abc"), b""),
        # booleans
        (b"#t", True, b""),
        (b"#T1", True, b"1"),
        (b"#tru", True, b"ru"),
        (b"#true", True, b""),
        (b"#true)", True, b")"),
        (b"#truex", True, b"ruex"),
        (b"#f", False, b""),
        (b"#F(", False, b"("),
        (b"#false", False, b""),
        (b"#f;", False, b";"),
        # numbers
        (b"1|2|", 12, b""),
        (b"1\\2", 12, b""),
        (b".|5|", 0.5, b""),
        (b"12345678901234567890", 12345678901234567890, b""),
        (b"-0", 0, b""),
        (b"#x-FF", -255, b""),
        (b"#X1f", 31, b""),
        (b"#b101", 5, b""),
        (b"#o17", 15, b""),
        (b"#d1.5", 1.5, b""),
        (b"#i1", 1.0, b""),
        (b"#I1/2", 0.5, b""),
        (b"#E1e2", 100, b""),
        (b"#x#e10", 16, b""),
        (b"#e#x10", 16, b""),
        (b"#i#b11", 3.0, b""),
        (b"#x|ff|", 255, b""),
        (b"#d1(", 1, b"("),
        (b"1/2", Fraction(1, 2), b""),
        (b"1e400", math.inf, b""),
        # strings
        (b'"a"b', "a", b"b"),
        (b'"\\\\"x', "\\", b"x"),
        (b'"\\"\\\\\\""', '"\\"', b""),
        (b'"\xff\x00\n"', "\udcff\x00\n", b""),
        # characters
        (b"#\\a", Char("a"), b""),
        (b"#\\A ", Char("A"), b" "),
        (b"#\\x", Char("x"), b""),
        (b"#\\(a", Char("("), b"a"),
        (b"#\\;", Char(";"), b""),
        (b'#\\"', Char('"'), b""),
        (b"#\\ a", Char(" "), b" a"),
        (b"#\\\n", Char("\n"), b"\n"),
        (b"#\\#", Char("#"), b""),
        (b"#\\|", Char("|"), b""),
        (b"#\\\\", Char("\\"), b""),
        (b"#\\x41", Char("A"), b""),
        (b"#\\u3bb", Char("λ"), b""),
        (b"#\\U1F600", Char("😀"), b""),
        (b"#\\x+41", Char("A"), b""),
        (b"#\\xd800", Char("\ud800"), b""),
        ("#\\日".encode(), Char("日"), b""),
        ("#\\\u07ff".encode(), Char("\u07ff"), b""),
        ("#\\\u0800".encode(), Char("\u0800"), b""),
        ("#\\\uffff".encode(), Char("\uffff"), b""),
        ("#\\\U00010000".encode(), Char("\U00010000"), b""),
        ("#\\\U0010ffff".encode(), Char("\U0010ffff"), b""),
        ("#\\😀)".encode(), Char("😀"), b")"),
        (b"#\\\xff", Char("\xff"), b""),
        (b"#\\\xc3", Char("\xc3"), b""),
        (b"#\\\xc3a", Char("\xe1"), b""),
        *[(b"#\\" + name, Char(chr(code)), b"") for name, code in {
            b"space": 32, b"tab": 9, b"newline": 10, b"linefeed": 10, b"return": 13, b"null": 0, b"nul": 0,
            b"escape": 27, b"esc": 27, b"delete": 127, b"alarm": 7, b"backspace": 8, b"vtab": 11, b"page": 12,
        }.items()],
        # blobs and number vectors
        (b"#${}", b"", b""),
        (b"#${616}x", b"a\x06", b"x"),
        (b"#u8(1 2)", array("B", [1, 2]), b""),
        (b"#u8()", array("B"), b""),
        (b"#u8 ; c\n (1)", array("B", [1]), b""),
        (b"#u8[1]", array("B", [1]), b""),
        (b"#u8(1 . (2))", array("B", [1, 2]), b""),
        (b"#u8(#;x #x10)", array("B", [16]), b""),
        (b"#s|8|(-1)", array("b", [-1]), b""),
        (b"#s8(200)", array("b", [-56]), b""),
        (b"#f64(1 2.5 .5 +inf.0)", array("d", [1.0, 2.5, 0.5, math.inf]), b""),
        (b"#f32(1e39)", array("f", [math.inf]), b""),
        # special objects
        (b"#!eof", EOF, b""),
        (b"#!eof(", EOF, b"("),
        (b"#!optional", Symbol("#!optional"), b""),
        (b"#!rest", Symbol("#!rest"), b""),
        (b"#!key", Symbol("#!key"), b""),
        (b"#<unspecified>", None, b""),
        (b"#<unspecified>)", None, b")"),
        # strings that stand on lines of their own
        (b"#<<X\nab\nc\nX\nrest", "ab\nc", b"rest"),
        (b"#<<X\nX\n", "", b""),
        (b"#<<\na\n\nb", "a", b"b"),
        (b"#<<X\nXX\n X\nX\n", "XX\n X", b""),
        (b"#<<X\nab\nX", "ab", b""),
        (b"#<<X\nab\n", "ab", b""),
        (b"#<<X\nab", "", b""),
        (b"#<<X", "", b""),
        # comments before the datum
        (b"; c\n a", Symbol("a"), b""),
        (b"#| c |# a", Symbol("a"), b""),
        (b"#| a #| b |# c |# d", Symbol("d"), b""),
        (b"#|x||y|# a", Symbol("a"), b""),
        (b"#;b a", Symbol("a"), b""),
        (b"#;#;b c a", Symbol("a"), b""),
        (b"#! c\na", Symbol("a"), b""),
        (b"#!/bin/x\na", Symbol("a"), b""),
        # case
        (b"#ciFoo|Bar|\\X", Symbol("fooBarX"), b""),
        (b"#ci #csFoo", Symbol("Foo"), b""),
        (b"#CiFoo:", Keyword("foo"), b""),
        (b"#ci#\\SPACE", Char(" "), b""),
        (b"#ci#\\A", Char("A"), b""),
        (b"#ci#!EOF", EOF, b""),
        (b"#ci Foo Bar", Symbol("foo"), b" Bar"),
    ],
)  # fmt: skip
def test_a_token_in_both_versions(dialect: Dialect, data: bytes, value: Any, rest: bytes) -> None:
    found, end = parse(data, dialect=dialect)
    assert same(found, value)
    assert data[end:] == rest


@pytest.mark.parametrize(
    ("data", "in_4", "in_5"),
    [
        (b"||:", Symbol(":"), Keyword("")),
        (b"#%foo", Symbol("#%foo"), ReadError),
        (b"#%", Symbol("#%"), ReadError),
        (b"##foo", ReadError, Symbol("##foo")),
        (b"##foo#bar", Symbol("\x03foobar"), Symbol("##foo#bar")),
        (b"###bar", Keyword("bar"), Symbol("###bar")),
        (b"##" + b"a" * 31 + b"#b", Symbol("\x1f" + "a" * 31 + "b"), Symbol("##" + "a" * 31 + "#b")),
        (b"##" + b"a" * 32 + b"#b", ReadError, Symbol("##" + "a" * 32 + "#b")),
        (b"+i", Symbol("+i"), ReadError),
        (b"1/0", math.inf, Symbol("1/0")),
        (b"#e1.5", ReadError, Fraction(3, 2)),
        (b"#x+inf.0", ReadError, math.inf),
        (b"#u8(256)", array("B", [0]), ReadError),
        (b"#u32(1.0)", array("I", [1]), ReadError),
        (b"#f32(1/2)", array("f", [0.5]), ReadError),
        (b"#u64(1)", ReadError, array("Q" if array("L").itemsize < 8 else "L", [1])),
        (b"#s64(-1)", ReadError, array("q" if array("l").itemsize < 8 else "l", [-1])),
        (b"#\\x#d65", Char("A"), ReadError),
        (b'"\\x 1"', "\x01", ReadError),
    ],
)
def test_a_token_that_the_versions_read_differently(data: bytes, in_4: Any, in_5: Any) -> None:
    for version, expected in ((4, in_4), (5, in_5)):
        if expected is ReadError:
            with pytest.raises(ReadError):
                loads(data, dialect=DIALECT[version])
        else:
            assert same(loads(data, dialect=DIALECT[version]), expected)


@both
@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b".", 0, "unexpected dot"),
        (b" '.", 2, "unexpected dot"),
        (b"#:", 2, "lone #:; expected|lone #:"),
        (b"#: a", 0, "empty keyword"),
        (b'#:"a"', 0, "empty keyword"),
        (b"#a", 0, "invalid # syntax, # and a"),
        (b"#\xff", 0, "byte 0xff"),
        (b"#'a", 0, "invalid # syntax"),
        (b"#[a]", 0, "invalid # syntax"),
        (b"#1=a", 0, "datum label"),
        (b"#1#", 0, "datum label"),
        (b"#x", 0, "illegal number syntax"),
        (b"#xg", 0, "a number in radix 16"),
        (b"#b2", 0, "a number in radix 2"),
        (b"#x.", 0, "unexpected dot"),
        (b"#x#x1", 0, "expected #e or #i"),
        (b"#x#E1", 0, "expected #e or #i"),
        (b"#e#i1", 0, "expected #x, #d, #o or #b"),
        (b"#e#x#b1", 0, "illegal number syntax"),
        (b"#e+inf.0", 0, "illegal number syntax"),
        (b"1" * 5000, 0, "more than 4,300 digits"),
        (b"#e1e999999999", 0, "illegal|no exact|more than"),
        (b"#ffoo", 0, "illegal number vector"),
        (b"#f:", 0, "illegal number vector"),
        (b"#u9(1)", 0, "illegal number vector"),
        (b"#U8(1)", 0, "illegal number vector"),
        (b"#u8 5", 0, "without a list"),
        (b"#u8#(1)", 0, "illegal number vector"),
        (b"#u8 #(1)", 0, "without a list"),
        (b"#u8(1 . 2)", 0, "without a list"),
        (b"#u8(a)", 0, "not an integer"),
        (b"  #u8(-1)", 2, "out of the range"),
        (b"#f64(a)", 0, "not a number"),
        (b"#\\foo", 0, r"unknown character #\\foo"),
        (b"#\\rubout", 0, "unknown character"),
        (b"#\\ca", 0, "unknown character"),
        ("#\\日x".encode(), 0, "unknown character"),
        (b"#\\x1#", 0, "unknown character"),
        (b"#\\x110000", 0, "code point up to 0x10ffff"),
        (b"#\\x15188713242605643440", 0, "not a fixnum"),
        (b"#\\a\x00", 3, "NUL byte"),
        (b"#!bwp", 0, "unknown #! syntax"),
        (b"#!", 2, "lone #!"),
        (b"#!(", 0, "unknown #! syntax"),
        (b"#cx", 0, "#ci or #cs"),
        (b"#${6g}", 4, "invalid digit in a blob"),
        (b'"\\x4"', 1, "too few digits"),
        (b'  "a\\ug"', 4, "too few digits"),
        (b"a|b\\xzz|", 3, "not digits"),
        (b"#<procedure>", 0, "#<procedure> has no external representation"),
        (b"#<procedure (foo bar)>", 0, "#<procedure> has no external representation"),
        (b"#<>", 0, "has no external representation"),
        (b"#<" + b"a" * 100 + b">", 0, "#<" + "a" * 40 + "> has no"),
        (b"]", 0, "unexpected ']'"),
    ],
)
def test_an_error_says_what_and_where(dialect: Dialect, data: bytes, offset: int, message: str) -> None:
    with pytest.raises(ReadError, match=message) as caught:
        loads(data, dialect=dialect)
    assert caught.value.offset == offset
    assert f"at byte {offset}" in str(caught.value)


@both
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'"abc', r"unterminated string \(begun at byte 0\)"),
        (b' "abc\\', "begun at byte 1"),
        (b'"abc\\"', "unterminated string"),
        (b"a|b", "unterminated |"),
        (b"a\\", "backslash at the end"),
        (b"#", "lone #"),
        (b"#\\", r"lone #\\"),
        (b"#$", "lone #"),
        (b"#:", "lone #:"),
        (b"#<", "lone #<"),
        (b"#c", "lone #c"),
        (b"#| a #| |#", "unterminated block comment"),
        (b"#|a||#", "unterminated block comment"),
        (b"#${61", "unterminated blob"),
        (b"#<#X", "unterminated #<#"),
    ],
)
def test_the_end_of_input_within_a_token_is_an_incomplete_error_at_the_end(
    dialect: Dialect, data: bytes, message: str
) -> None:
    with pytest.raises(IncompleteError, match=message) as caught:
        loads(data, dialect=dialect)
    assert caught.value.offset == len(data)
    assert caught.value.expected


@pytest.mark.parametrize("version", [4, 5])
def test_a_here_string_with_datums_is_an_expression(version: int) -> None:
    name = {4: "\x03sysprint-to-string", 5: "##sys#print-to-string"}[version]
    cons = Symbol("cons")
    data = b"#<#X\na #foo b #{bar baz} ## c\nd\nX\n"
    end = [cons, " # c\nd", [QUOTE, []]]
    expression = [cons, "a ", [cons, Symbol("foo"), [cons, " b ", [cons, Symbol("bar"), end]]]]
    assert same(loads(data, dialect=DIALECT[version]), [Symbol(name), expression])


@pytest.mark.parametrize(
    ("data", "strings"),
    [(b"#<#X\nabc\nX\n", ["abc"]), (b"#<#X\na\nb\nX\n", ["a\nb"]), (b"#<#X\n\nX\n", [""]), (b"#<#X\nab\ncd", ["ab"])],
)
def test_a_here_string_without_datums_is_an_expression_too(data: bytes, strings: list[str]) -> None:
    assert loads(data, dialect=CHICKEN_5)[1] == [Symbol("cons"), *strings, [QUOTE, []]]


@pytest.mark.parametrize(
    ("text", "string"),
    [
        (b'a#"b"c', "abc"),
        (b'#{"a"}#{"b"}', "ab"),
        (b'##"a"', '#"a"'),
        (b'#"two\nlines"', "two\nlines"),
        (b'#"X"', "X"),
        (b"a#{#\\b}c", "abc"),
        (b"#{#\\xc3}#{#\\xa9}", "\u00e9"),  # the low byte of each
        (b"#{#\\x1041}", "A"),
    ],
)
def test_strings_and_characters_in_a_here_string_become_part_of_its_text(text: bytes, string: str) -> None:
    for dialect in DIALECT.values():
        assert loads(b"#<#X\n" + text + b"\nX\n", dialect=dialect)[1] == [Symbol("cons"), string, [QUOTE, []]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"#<#X\nX\n", ReadError),
        (b"#<#X\nab", ReadError),
        (b"#<#X\n#", IncompleteError),
        (b"#<#X\n#{a", IncompleteError),
        (b"#<#X\n#{a b", IncompleteError),
        (b"#<#X\n#(", IncompleteError),
        (b"#<#X\n#)", ReadError),
        (b"#<#X\n#'", IncompleteError),
    ],
)
def test_a_bad_here_string_is_an_error(data: bytes, error: type[ReadError]) -> None:
    with pytest.raises(error):
        loads(data)


def test_names_come_from_a_cache_that_stays_small() -> None:
    first = loads(b"(a-name-of-this-test a-name-of-this-test)")
    assert first[0] is first[1]
    loads(b"(" + b" ".join(b"name%d" % number for number in range(50_000)) + b")")
    long_name = b"n" * 1000
    assert loads(long_name) == Symbol("n" * 1000)
    assert len(SYMBOLS) <= 1024
    assert max(map(len, SYMBOLS)) <= 32


def test_a_long_name_of_bars_and_backslashes_is_read() -> None:
    assert loads(b"\\a" * 50_000) == Symbol("a" * 50_000)
    assert loads(b"|a|" * 50_000) == Symbol("a" * 50_000)
