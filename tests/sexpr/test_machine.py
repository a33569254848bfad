"""Nesting: lists and vectors, dots, quotes, datum comments, what is dropped, and the limit of depth."""

from __future__ import annotations

from typing import Any

import pytest

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_5,
    DEFAULT_MAX_DEPTH,
    Dialect,
    Dotted,
    IncompleteError,
    Keyword,
    Reader,
    ReadError,
    Symbol,
    loads,
    parse,
)
from bokbok.sexpr.frames import BRACKETS, LIST
from bokbok.sexpr.machine import NEED_MORE, PAUSED, Machine
from tests.support.tagged import same

both = pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_5], ids=str)
A, B, C, DOT, QUOTE = (Symbol(name) for name in ("a", "b", "c", ".", "quote"))


@both
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"()", []),
        (b"( )", []),
        (b"(a (b) ())", [A, [B], []]),
        (b"[a {b}]", [A, [B]]),
        (b"#()", ()),
        (b"#(a #(b) (c))", (A, (B,), [C])),
        (b"(a(b)c)", [A, [B], C]),
        (b'(a"b"c)', [A, "b", C]),
        (b"(a;b\nc)", [A, C]),
        (b"(\t\n\x0b\x0c\ra )", [A]),
        # dots
        (b"(a . b)", Dotted([A], B)),
        (b"(a b . c)", Dotted([A, B], C)),
        (b"[a . b]", Dotted([A], B)),
        (b"{a . b}", Dotted([A], B)),
        (b"(a .(b))", [A, B]),
        (b'(a ."b")', Dotted([A], "b")),
        (b"(a .;c\n b)", Dotted([A], B)),
        (b"(a . (b c))", [A, B, C]),
        (b"(a . (b . c))", Dotted([A, B], C)),
        (b"(a . [b . (c)])", [A, B, C]),
        (b"(a . ())", [A]),
        (b"(a . 'b)", [A, QUOTE, B]),
        (b"(a . #(b))", Dotted([A], (B,))),
        (b"(a . b ;c\n)", Dotted([A], B)),
        (b"(a . #;b c)", Dotted([A], C)),
        (b"(a . #|b|# c)", Dotted([A], C)),
        (b"(a .b)", [A, Symbol(".b")]),
        (b"(a .b . c)", Dotted([A, Symbol(".b")], C)),
        (b"(.5 .)", ReadError),
        (b"(a .5)", [A, 0.5]),
        (b"(a .5.6)", [A, Symbol(".5.6")]),
        (b"(a .|5|)", [A, Symbol(".5")]),
        (b"(a .'b)", [A, DOT, [QUOTE, B]]),
        (b"(a .[b])", [A, DOT, [B]]),
        (b"[a .]", [A, DOT]),
        (b"(a ...)", [A, Symbol("...")]),
        (b"(.a:)", [Keyword(".a")]),
        (b"(.:)", [Keyword(".")]),
        (b"(.5:)", [Keyword(".5")]),
        (b"(.\\:)", [Keyword(".")]),
        (b"#(a . (b))", (A, B)),
        # prefixes
        (b"'a", [QUOTE, A]),
        (b"' a", [QUOTE, A]),
        (b"`a", [Symbol("quasiquote"), A]),
        (b",a", [Symbol("unquote"), A]),
        (b",@a", [Symbol("unquote-splicing"), A]),
        (b", @a", [Symbol("unquote"), Symbol("@a")]),
        (b"#`a", [Symbol("quasisyntax"), A]),
        (b"#$a", [Symbol("location"), A]),
        (b"''a", [QUOTE, [QUOTE, A]]),
        (b"'(a 'b)", [QUOTE, [A, [QUOTE, B]]]),
        (b"'#;a b", [QUOTE, B]),
        (b"'#|a|# b", [QUOTE, B]),
        (b"#+a b", [Symbol("cond-expand"), [A, B], [Symbol("else")]]),
        (b"(#+(and a b) c)", [[Symbol("cond-expand"), [[Symbol("and"), A, B], C], [Symbol("else")]]]),
        # datum comments
        (b"(a #;b c)", [A, C]),
        (b"(a #;b)", [A]),
        (b"(#;a)", []),
        (b"(a #;#;b c)", [A]),
        (b"(a #; #;b c c)", [A, C]),
        (b"(a #;(b (c)) c)", [A, C]),
        (b"(a #;'b c)", [A, C]),
        (b"#(#;a b)", (B,)),
        (b"(a #|b|# #|c|# c)", [A, C]),
        (b"(a #|b|#)", [A]),
        (b"(a #! b\n c)", [A, C]),
        (b"(#|x|# .5)", [0.5]),
        (b"(#|x|# a . b)", Dotted([A], B)),
        (b"(a #|x|# (b) . c)", Dotted([A, [B]], C)),
        (b"(a #|x|# (b . c))", [A, Dotted([B], C)]),
        (b"(a #;x b . c)", Dotted([A, B], C)),
        # what waits for a datum is dropped where its list ends
        (b"(a ')", [A]),
        (b"(a '`,)", [A]),
        (b"(a #;)", [A]),
        (b"(a '#;)", [A]),
        (b"(#+ a)", []),
        (b"(#+)", []),
        (b"#(a ')", (A,)),
        (b"[a ']", [A]),
        (b"(A #ci)", [Symbol("A")]),
        (b"((a #ci ') A)", [[A], A]),
        (b"(#ci(A B) A)", [[A, B], Symbol("A")]),
        (b"(#ci'A A)", [[QUOTE, A], Symbol("A")]),
        (b"(#ciA A)", [A, Symbol("A")]),
    ],
)
def test_what_nests_how(dialect: Dialect, data: bytes, value: Any) -> None:
    if value is ReadError:
        with pytest.raises(ReadError):
            loads(data, dialect=dialect)
    else:
        assert same(loads(data, dialect=dialect), value)


@both
@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b")", 0, "unexpected '\\)'"),
        (b"')", 1, "unexpected '\\)'"),
        (b"#;)", 2, "unexpected '\\)'"),
        (b"(a]", 2, "'\\]' in a list opened at byte 0 at byte 2; expected '\\)'"),
        (b"[a)", 2, "expected '\\]'"),
        (b"{a)", 2, "expected '}'"),
        (b"#(a]", 3, "expected '\\)'"),
        (b"(a '])", 4, "expected '\\)'"),
        (b"(a . )", 5, "'\\)' right after a dot"),
        (b"(a . ')", 6, "'\\)' right after a dot"),
        (b"(a . #;b)", 8, "'\\)' right after a dot"),
        (b"( . a)", 2, "dot at the beginning"),
        (b"(.)", 1, "dot at the beginning"),
        (b"#( . a)", 3, "dot at the beginning"),
        (b"(a . b c)", 7, "more than one datum after the dot"),
        (b"(a . b . c)", 7, "more than one datum after the dot"),
        (b"(a . b #;c)", 7, "more than one datum after the dot"),
        (b"(a . b]", 6, "more than one datum after the dot"),
        (b"(a . . b)", 5, "unexpected dot"),
        (b"(a '. b)", 4, "unexpected dot"),
        (b"(a #;c . b)", 7, "unexpected dot"),
        (b"(a #|c|# . b)", 9, "unexpected dot"),
        (b"(a #|c|# ;d\n . b)", 13, "unexpected dot"),
        (b"(a #! c\n. b)", 8, "unexpected dot"),
        (b"(#|c|# . b)", 7, "unexpected dot"),
        (b"(.111" + b"1" * 5000 + b")", 1, "more than 4,300 digits"),
        (b"#(a . b)", 7, "dot in a vector"),
        (b"#(a . (b . c))", 13, "dot in a vector"),
        (b"(#u8 )", 5, "unexpected '\\)'"),
        (b"#u8')", 4, "unexpected '\\)'"),
        (b"(a #<procedure> b)", 3, "has no external representation"),
    ],
)
def test_a_structure_that_is_none_is_an_error(dialect: Dialect, data: bytes, offset: int, message: str) -> None:
    with pytest.raises(ReadError, match=message) as caught:
        loads(data, dialect=dialect)
    assert caught.value.offset == offset


@both
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"(a", r"unterminated list \(opened at byte 0\) at byte 2; expected '\)'"),
        (b"(a [b", r"unterminated list \(opened at byte 3\) at byte 5; expected ']'"),
        (b" #(a", r"unterminated vector \(opened at byte 1\)"),
        (b"{", "expected '}'"),
        (b"(a .", "unterminated list"),
        (b"(a . ", "the tail after a dot"),
        (b"(a . b", r"unterminated list \(opened at byte 0\)"),
        (b"(a . b ", "unterminated list"),
        (b"(a . b ;c", "unterminated list"),
        (b"(a #;b", "unterminated list"),
        (b"(a #|b|#", "unterminated list"),
        (b"(a .b", "unterminated list"),
        (b"'", "a quoted datum"),
        (b"(a '", "a quoted datum"),
        (b",", "a quoted datum"),
        (b",@", "a quoted datum"),
        (b"'#|x|#", "a quoted datum"),
        (b"#;", "a datum to skip"),
        (b"#ci", "after #ci"),
        (b"#+", "the requirement"),
        (b"#+a", "the datum after #\\+"),
        (b"#u8", "the elements of a number vector"),
        (b"#u8(1", "unterminated list"),
        (b"", "no datum"),
        (b"  ; c", "no datum"),
        (b"#;a", "no datum"),
        (b"#|a|#", "no datum"),
    ],
)
def test_an_end_of_input_within_a_structure_is_an_incomplete_error(dialect: Dialect, data: bytes, message: str) -> None:
    with pytest.raises(IncompleteError, match=message) as caught:
        loads(data, dialect=dialect)
    assert caught.value.offset == len(data)


@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [
        (b"(", b"", b")"),
        (b"[", b"", b"]"),
        (b"#(", b"", b")"),
        (b"(a . (", b"", b"))"),
        (b"'", b"a", b""),
        (b"#;", b"a", b" a"),
        (b"#+a ", b"a", b""),
        (b"(a #;", b"a", b" b)"),
        (b"#ci", b"a", b""),
        (b"#<#X\n#{", b"a", b"}\nX\n"),
    ],
)
def test_nesting_to_the_limit_is_read_and_no_deeper(opening: bytes, middle: bytes, closing: bytes) -> None:
    loads(opening * 20 + middle + closing * 20, max_depth=60)
    with pytest.raises(ReadError, match="nesting deeper than 60"):
        loads(opening * 61 + middle + closing * 61, max_depth=60)


def test_the_default_limit_is_met_exactly() -> None:
    depth = DEFAULT_MAX_DEPTH
    value, end = parse(b"(" * depth + b")" * depth)
    assert end == 2 * depth
    while value:
        value = value[0]
    with pytest.raises(ReadError, match="nesting deeper than 10,000") as caught:
        parse(b"(" * (depth + 1) + b")" * (depth + 1))
    assert caught.value.offset == depth


@pytest.mark.parametrize(
    "opening", [b"(", b"[", b"#(", b"'", b"#;", b"(a . (", b"#u8", b"#+", b"#ci", b"(#;", b"#<#\n#"]
)
def test_nesting_without_end_is_refused_not_followed(opening: bytes) -> None:
    with pytest.raises(ReadError):
        loads(opening * 1_000_000)


def test_depth_beyond_pythons_recursion_limit_is_read_if_allowed() -> None:
    value = loads(b"(" * 100_000 + b")" * 100_000, max_depth=100_000)
    depth = 1
    while value:
        value = value.pop()
        depth += 1
    assert depth == 100_000


@pytest.mark.parametrize(
    "leaf",
    [b"a", b"a . b", b"#|c|# a", b"#;b a", b"#;b a #;c", b"#u8(1)", b"#u8(#x1)", b"#u8 ;c\n(1)", b"#ci a", b'"a"'],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_adds_no_level_is_read_at_the_limit_itself(leaf: bytes, size: int) -> None:
    data = b"(" * 50 + leaf + b")" * 50
    reader = Reader(max_depth=50)
    found = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    assert same(found, [loads(data)])
    with pytest.raises(ReadError, match="nesting deeper than 49"):
        loads(data, max_depth=49)


@pytest.mark.parametrize("leaf", [b"'a", b"#(a)", b"[]", b"#+a b"])
def test_what_adds_a_level_is_refused_at_the_limit(leaf: bytes) -> None:
    data = b"(" * 50 + leaf + b")" * 50
    assert loads(data, max_depth=52)
    with pytest.raises(ReadError, match="nesting deeper than 50"):
        loads(data, max_depth=50)


def test_many_comments_are_not_nesting() -> None:
    assert loads(b"(" + b"#|x|#" * 1000 + b"#;y " * 1000 + b"a)", max_depth=4) == [A]


def test_many_embedded_datums_are_nesting() -> None:
    data = b"#<#X\n" + b"#a " * 100 + b"\nX\n"
    assert loads(data, max_depth=300)
    with pytest.raises(ReadError, match="nesting deeper than 100"):
        loads(data, max_depth=100)


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ('"joe"', "joe"), ('""', ""), ("42", 42), ("-1", -1), ("1.5", 1.5), ("-0.0", -0.0), ("b", Symbol("b")),
        ("...", Symbol("...")), ("k:", Keyword("k")), ("#t", True), ("1.5e3", 1500.0), ('"a\\nb"', "a\nb"),
        ("#(1)", (1,)), ('"' + 201 * "z" + '"', 201 * "z"), (20 * "9", int(20 * "9")), ("B", Symbol("B")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spelling", ["(a . %s)", "(a  .  %s )", "(a . #;x %s)", "(a\n.\n%s;\n)", "[a . %s]"])
def test_a_dotted_list_is_the_same_however_it_is_spelt(spelling: str, text: str, tail: Any) -> None:
    data = spelling % text
    assert same(loads(data), Dotted([Symbol("a")], tail))
    assert same(loads(f"(1 {data} 2)"), [1, Dotted([Symbol("a")], tail), 2])


def test_a_dotted_list_is_folded_and_nested_and_skipped_like_any_other() -> None:
    assert same(loads("#ci(A . B)"), Dotted([Symbol("a")], Symbol("b")))
    assert same(loads("'(a . b)"), [Symbol("quote"), Dotted([Symbol("a")], Symbol("b"))])
    assert same(loads("(#;(a . b) (c . d))"), [Dotted([Symbol("c")], Symbol("d"))])
    assert same(loads("((a . b) . (c . d))"), Dotted([Dotted([Symbol("a")], Symbol("b")), Symbol("c")], Symbol("d")))
    for bad in ("( . b)", "#(a . b)", "(a #|c|# . b)", "(a . b c)", "(a . )"):
        with pytest.raises(ReadError):
            loads(bad)


@pytest.mark.parametrize("opening", [b"(a . ", b"[a . ", b"(a . #ci", b"(a b . #;x "])
def test_a_list_behind_a_dot_goes_on_in_the_list_before_it_so_that_nothing_is_copied(opening: bytes) -> None:
    machine = Machine(CHICKEN_4, 1000)
    assert machine.run(opening * 100 + b"(b b ", 0, False) is NEED_MORE
    assert machine.items is machine.stack[1][0]
    lists = {id(items) for items, kind, _ in machine.stack if kind in (LIST, BRACKETS)}
    assert len(lists) == 1


def test_a_token_that_reaches_over_the_pause_and_the_next_look_at_the_memory_does_not_keep_it_from_going_on() -> None:
    machine = Machine(CHICKEN_4, 100, 2_000_000)
    text = b"(a ;" + b"c" * 20_000 + b"\n)"
    position, pauses = 0, 0
    while (value := machine.run(text, position, True, position + 10)) is PAUSED and pauses < 10:
        position = machine.position
        pauses += 1
    assert value == [A]
