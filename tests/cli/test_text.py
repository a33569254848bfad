"""`bokbok.cli._text`: what reaches a terminal, and how it is divided into lines."""

import array
import dataclasses
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.cli._text import pretty, printable
from bokbok.sexpr import CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5, Char, Dotted, Keyword, Symbol, dumps, loads
from tests.support.datums import datums
from tests.support.tagged import same


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text, ünïcödé, 日本語", "plain text, ünïcödé, 日本語"),
        ("two\nlines\r\tthree", r"two\nlines\r\tthree"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\xff"),
        ("\ud800", r"\ud800"),
        ("\0", r"\x00"),
    ],
)
def test_text_is_shown_without_what_a_terminal_would_act_on(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_but_printable_characters_is_ever_shown(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def shown(value, width=80, *, dialect=CHICKEN_4, ascii_only=False):
    return pretty(dumps(value, dialect=dialect), width, ascii_only=ascii_only)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\x1b[31m\n", r'"\x1b[31m\n"'),
        ("\x9b31m", r'"\xc2\x9b31m"'),
        ("a\u202eb", r'"a\xe2\x80\xaeb"'),
        ("\udcff", r'"\xff"'),
        ("é日本", '"é日本"'),
        (Symbol("\x1b[31m"), r"|\x1b[31m|"),
        (Symbol("a\x9bb"), r"|a\xc2\x9bb|"),
        (Symbol("a b\u202e"), r"|a b\xe2\x80\xae|"),
        (Symbol("\x7f"), r"|\x7f|"),
        (Symbol("é"), "é"),
        (Keyword("\udc9b"), r"|\x9b|:"),
        (Keyword("a\u202e b"), r"|a\xe2\x80\xae b|:"),
        (Char("\x85"), r"#\x85"),
        (Char("é"), r"#\xe9"),
        (Char("\x1b"), r"#\escape"),
        (Char("("), r"#\("),
    ],
    ids=repr,
)
def test_what_a_terminal_would_act_on_is_escaped_as_scheme_has_it(value, text):
    assert shown(value) == text
    assert loads(shown(value)) == value


def test_keywords_of_chicken_5_are_escaped_behind_their_prefix():
    assert shown(Keyword("a\x9b"), dialect=CHICKEN_5) == r"#:|a\xc2\x9b|"


def test_a_raw_control_character_of_the_exact_dialect_gets_bars():
    assert dumps(Symbol("\n"), dialect=CHICKEN_4_EXACT) == b"\n"
    assert shown([Symbol("\n"), Symbol("\x1b")], dialect=CHICKEN_4_EXACT) == r"(|\x0a| |\x1b|)"


def test_a_terminal_without_utf_8_is_shown_ascii():
    value = ["é", Symbol("日"), Keyword("ü"), "a"]
    assert shown(value, ascii_only=True) == r'("\xc3\xa9" |\xe6\x97\xa5| |\xc3\xbc|: "a")'
    assert loads(shown(value, ascii_only=True)) == value


# Lines.


def test_what_fits_stays_on_one_line():
    value = ["pong", [1, 2], (Symbol("a"), "b"), Dotted([1], 2), b"\1\2", array.array("B", [1, 2])]
    assert shown(value) == dumps(value).decode()


def test_a_list_that_does_not_fit_has_an_element_on_each_line_below_the_first():
    assert shown(["pong", ["one", "two"], [1, 2]], 16) == '("pong"\n ("one" "two")\n (1 2))'


def test_only_lists_that_do_not_fit_are_broken():
    value = [[Symbol("name"), "x" * 10], [Symbol("list"), [1, 2, 3], ["y" * 20]]]
    assert shown(value, 34).splitlines() == [
        '((name "xxxxxxxxxx")',
        " (list",
        "  (1 2 3)",
        '  ("yyyyyyyyyyyyyyyyyyyy")))',
    ]


def test_atoms_fill_the_lines():
    assert shown(list(range(10)), 12).splitlines() == ["(0 1 2 3 4 5", " 6 7 8 9)"]
    assert shown(tuple(range(100, 106)), 12).splitlines() == ["#(100 101", "  102 103", "  104 105)"]
    assert shown(array.array("B", range(9)), 12).splitlines() == ["#u8(0 1 2 3", "    4 5 6 7", "    8)"]


def test_the_closing_parentheses_count():
    value = [["aaa", "bbb"]]
    assert shown(value, 15) == '(("aaa" "bbb"))'
    assert shown(value, 14) == '(("aaa"\n  "bbb"))'


def test_a_dot_stands_with_its_tail():
    assert shown(Dotted(["a" * 10], "b" * 10), 20) == '("aaaaaaaaaa"\n . "bbbbbbbbbb")'


def test_an_atom_is_never_broken():
    assert shown(["x" * 50], 10) == '("' + "x" * 50 + '")'
    assert shown(Symbol("a b" * 20), 10) == "|" + "a b" * 20 + "|"


def test_wide_characters_take_two_columns_and_combining_ones_none():
    assert unicodedata.east_asian_width("日") == "W"
    assert shown(["日日", "日日"], 15) == '("日日" "日日")'
    assert shown(["日日", "日日"], 14) == '("日日"\n "日日")'
    assert shown(["e\u0301e\u0301", "aa"], 11) == '("e\u0301e\u0301" "aa")'


def test_parentheses_quotes_and_bars_within_atoms_are_no_structure():
    value = ["(", ')"\\', Symbol("a|b(c"), Char("("), Char(")"), Char('"'), Keyword("k)(")]
    for width in (5, 20, 80):
        assert loads(shown(value, width)) == value


def test_a_datum_of_any_depth_is_laid_out_and_its_indentation_has_a_bound():
    depth = 10_000
    value = []
    for _ in range(depth - 1):
        value = [value, "x"]
    text = shown(value, 80, dialect=CHICKEN_4)
    assert "".join(text.split()) == "".join(dumps(value).decode().split())
    assert max(len(line) - len(line.lstrip()) for line in text.splitlines()) == 40


def test_a_terminal_of_no_width_does_no_harm():
    assert loads(shown([1, [2, 3]], 0)) == [1, [2, 3]]


# The dialects that the command writes: those that print what reads back.
_dialects = [CHICKEN_4, dataclasses.replace(CHICKEN_5, exact=False)]


@given(st.data(), st.sampled_from(_dialects), st.integers(1, 60), st.booleans())
def test_what_is_shown_is_printable_and_reads_as_the_same_datum(data, dialect, width, ascii_only):
    value = data.draw(datums(CHICKEN_5 if dialect.version == 5 else CHICKEN_4))
    text = pretty(dumps(value, dialect=dialect), width, ascii_only=ascii_only)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.isascii() or not ascii_only
    assert same(loads(text, dialect=dialect), value)


_words = st.from_regex(r"[a-z]{1,12}", fullmatch=True).map(lambda name: Symbol(name))
_trees = st.recursive(
    _words,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.tuples(st.lists(inner, min_size=1, max_size=3), _words).map(lambda pair: Dotted(*pair)),
    ),
    max_leaves=30,
)


@given(_trees, st.integers(1, 60))
def test_only_a_line_of_a_single_atom_is_longer_than_the_terminal_is_wide(value, width):
    lines = pretty(dumps(value), width).splitlines()
    assert all(" " not in line.strip().removeprefix(". ") for line in lines if len(line) > width)
    if len(dumps(value)) <= width:
        assert lines == [dumps(value).decode()]
