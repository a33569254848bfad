"""What is written in every dialect, and what is refused, with the place."""

from __future__ import annotations

import collections
import contextlib
import enum
import io
import math
import sys
from array import array
from fractions import Fraction
from typing import Any

import pytest
import sexpdata

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    CHICKEN_5,
    EOF,
    FIXNUM_MAX,
    FIXNUM_MIN,
    Char,
    Dialect,
    Dotted,
    Keyword,
    Symbol,
    WriteError,
    dump,
    dumps,
    dumps_between,
    loads,
    writer,
)
from bokbok.sexpr.pieces import BRIEF, TakesLong
from tests.support.pure import pure
from tests.support.tagged import same


class Colour(enum.IntEnum):
    RED = 7


class Name(str):
    def __str__(self) -> str:
        return "not asked"

    __repr__ = __str__


class Shade(str, enum.Enum):
    DARK = "dark"


class Half(float):
    def __repr__(self) -> str:
        return "not asked"


class Items(list[Any]):
    pass


class Odd(Symbol):  # type: ignore[misc]
    pass


class OddKeyword(Keyword):
    __slots__ = ()


class OddChar(Char):
    __slots__ = ()


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5], ids=str)
@pytest.mark.parametrize(
    ("value", "data"),
    [
        (True, b"#t"),
        (False, b"#f"),
        (None, b"()"),
        ([], b"()"),
        ((), b"#()"),
        (EOF, b"#!eof"),
        (0, b"0"),
        (FIXNUM_MAX, b"4611686018427387903"),
        (FIXNUM_MIN, b"-4611686018427387904"),
        (1.5, b"1.5"),
        (math.nan, b"+nan.0"),
        ("", b'""'),
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("\a\b\t\n\v\f\r\x00\x1f\x7f", b'"\\a\\b\\t\\n\\v\\f\\r\\x00\\x1f\\x7f"'),
        ("é\udcff", b'"\xc3\xa9\xff"'),
        (b"\x00\xff", b"#${00ff}"),
        (b"", b"#${}"),
        ([1, [2, []], "a"], b'(1 (2 ()) "a")'),
        ((1, (2, ()), []), b"#(1 #(2 #()) ())"),
        (Dotted([1, 2], 3), b"(1 2 . 3)"),
        ([Symbol("quote"), Symbol("a")], b"(quote a)"),
        (Char("a"), b"#\\a"),
        (Char(" "), b"#\\space"),
        (Char("\x01"), b"#\\x1"),
        (Char("é"), b"#\\\xe9"),
        (Char("\xff"), b"#\\\xff"),
        (Char("\u0100"), b"#\\x100"),
        (Char("λ"), b"#\\x3bb"),
        (Char("\ud800"), b"#\\xd800"),
        (array("B", [1, 255]), b"#u8(1 255)"),
        (array("b"), b"#s8()"),
        (array("d", [1.0, 0.5]), b"#f64(1.0 0.5)"),
        (Symbol(""), b"||"),
        (Symbol("a b"), b"|a b|"),
        (Symbol("a|b\\"), b"|a\\|b\\\\|"),
        (Symbol("é"), b"\xc3\xa9"),
        (Symbol("é "), b"|\\xc3\\xa9 |"),
        (Symbol("1"), b"|1|"),
        (Symbol("a:"), b"|a:|"),
    ],
)
def test_a_value_has_one_representation_in_every_dialect(dialect: Dialect, value: Any, data: bytes) -> None:
    assert dumps(value, dialect=dialect) == data


@pytest.mark.parametrize(
    ("name", "safe", "exact_4", "exact_5"),
    [
        ("-i", "|-i|", "-i", "|-i|"),
        ("1@2", "|1@2|", "1@2", "|1@2|"),
        ("1e400", "|1e400|", "1e400", "|1e400|"),
        ("1/0", "|1/0|", "|1/0|", "1/0"),
        ("+.#", "|+.#|", "|+.#|", "+.#"),
        (":a", ":a", ":a", "|:a|"),
        (":", ":", ":", ":"),
        ("::", "|::|", "|::|", "|::|"),
        ("\x01", r"|\x01|", "\x01", r"|\x01|"),
        ("\t", r"|\x09|", "\t", r"|\x09|"),
        ("\x7f", "\x7f", "\x7f", "\x7f"),
        ("\x00", r"|\x00|", "||:", r"|\x00|"),
        ("\x00ab", r"|\x00ab|", "ab:", r"|\x00ab|"),
        ("\x01ab", r"|\x01ab|", "##a#b", r"|\x01ab|"),
        ("\x02ab", r"|\x02ab|", "##ab#", r"|\x02ab|"),
        ("\x03ab", r"|\x03ab|", "\x03ab", r"|\x03ab|"),
        ("#", "|#|", "|#|", "|#|"),
        ("#a", "|#a|", "|#a|", "|#a|"),
        ("#%a", "|#%a|", "#%a", "|#%a|"),
        ("#!rest", "|#!rest|", "|#!rest|", "#!rest"),
        ("#!eof", "|#!eof|", "|#!eof|", "|#!eof|"),
        ("##a", "|##a|", "|##a|", "##a"),
        ("###a", "|###a|", "|###a|", "|###a|"),
        ("##", "|##|", "|##|", "|##|"),
        (".", "|.|", "|.|", "|.|"),
        ("..", "..", "..", ".."),
        ("-", "-", "-", "-"),
        ("+a", "+a", "+a", "+a"),
        ("a#b", "a#b", "a#b", "a#b"),
    ],
)
def test_a_symbol_gets_bars_where_its_dialect_needs_them(name: str, safe: str, exact_4: str, exact_5: str) -> None:
    assert dumps(Symbol(name)) == safe.encode()
    assert dumps(Symbol(name), dialect=CHICKEN_4_EXACT) == exact_4.encode()
    assert dumps(Symbol(name), dialect=CHICKEN_5) == exact_5.encode()


@pytest.mark.parametrize("code", [*range(0x21), 0x7F])
def test_a_symbol_of_one_control_byte_or_space_reads_back(code: int) -> None:
    symbol = Symbol(chr(code))
    for dialect in (CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5):
        assert same(loads(dumps(symbol), dialect=dialect), symbol)


@pytest.mark.parametrize(
    ("name", "safe", "exact_4", "exact_5"),
    [
        ("foo", "foo:", "foo:", "#:foo"),
        ("", "#:||", "||:", "#:||"),
        ("a b", "|a b|:", "|a b|:", "#:|a b|"),
        ("a:", "|a:|:", "|a:|:", "#:|a:|"),
        (":", "::", "::", "#::"),
        ("1", "|1|:", "|1|:", "#:|1|"),
        ("-i", "-i:", "-i:", "#:|-i|"),
        ("#x", "|#x|:", "|#x|:", "#:|#x|"),
        ("#%x", "|#%x|:", "#%x:", "#:|#%x|"),
        ("\x01ab", r"|\x01ab|:", r"|\x01ab|:", r"#:|\x01ab|"),
        (".", "|.|:", "|.|:", "#:|.|"),
    ],
)
def test_a_keyword_is_written_in_the_style_of_its_dialect(name: str, safe: str, exact_4: str, exact_5: str) -> None:
    assert dumps(Keyword(name)) == safe.encode()
    assert dumps(Keyword(name), dialect=CHICKEN_4_EXACT) == exact_4.encode()
    assert dumps(Keyword(name), dialect=CHICKEN_5) == exact_5.encode()


def test_the_style_of_keywords_can_be_chosen() -> None:
    suffix = Dialect("chicken-5-suffix", 5, True, "suffix")
    assert dumps([Keyword("a"), Keyword("")], dialect=suffix) == b"(a: #:||)"
    assert str(suffix) == "chicken-5-suffix"


def test_flonums_have_15_digits_in_the_exact_dialects_only() -> None:
    assert dumps([0.1 + 0.2, 1e15]) == b"(0.30000000000000004 1e+15)"
    assert dumps([0.1 + 0.2, 1e15], dialect=CHICKEN_4_EXACT) == b"(0.3 1e+15)"
    assert dumps([0.1 + 0.2, 1e15], dialect=CHICKEN_5) == b"(0.3 1000000000000000.0)"


def test_numbers_that_only_chicken_5_has() -> None:
    value = [2**62, -(10**30), Fraction(-1, 3), Fraction(4, 2), array("Q", [2**64 - 1]), array("q", [-1])]
    expected = b"(4611686018427387904 -1000000000000000000000000000000 -1/3 2 #u64(18446744073709551615) #s64(-1))"
    assert dumps(value, dialect=CHICKEN_5) == expected


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Colour.RED, b"7"),
        (Name('a"b'), b'"a\\"b"'),
        (Shade.DARK, b'"dark"'),
        (Half(0.5), b"0.5"),
        (Items([1, 2]), b"(1 2)"),
        (Items(), b"()"),
        (Point(1, 2), b"#(1 2)"),
        (Odd("a b"), b"|a b|"),
        (OddKeyword("a"), b"a:"),
        (OddChar("a"), b"#\\a"),
        (bytearray(b"ab"), b"#${6162}"),
        (memoryview(b"abcd")[::2], b"#${6163}"),
        (sexpdata.String("a"), b'"a"'),
        (sexpdata.Quoted([1, Symbol("a")]), b"(quote (1 a))"),
        (sexpdata.Parens([1, 2]), b"(1 2)"),
        (sexpdata.Brackets([1, 2]), b"#(1 2)"),
        (sexpdata.Parens([]), b"()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_and_the_structures_of_sexpdata(value: Any, data: bytes) -> None:
    assert dumps(value) == data
    assert dumps([value]) == b"(" + data + b")"


@pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_5], ids=str)
def test_an_int_subclass_keeps_the_range_of_its_dialect(dialect: Dialect) -> None:
    big = enum.IntEnum("Big", {"BIG": 2**62})  # type: ignore[misc]
    if dialect == CHICKEN_5:
        assert dumps(big.BIG, dialect=dialect) == b"4611686018427387904"
    else:
        with pytest.raises(WriteError, match="fixnum"):
            dumps(big.BIG, dialect=dialect)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Dotted([1], [2, 3]), b"(1 2 3)"),
        (Dotted([1], None), b"(1)"),
        (Dotted([1], []), b"(1)"),
        (Dotted([1], Dotted([2], 3)), b"(1 2 . 3)"),
        (Dotted([1], Dotted([2], [3])), b"(1 2 3)"),
        (Dotted([1], sexpdata.Quoted(2)), b"(1 quote 2)"),
        (Dotted([1], sexpdata.Parens([2, 3])), b"(1 2 3)"),
        (Dotted([1], (2,)), b"(1 . #(2))"),
        (Dotted([[1]], Symbol(".")), b"((1) . |.|)"),
    ],
)
def test_a_tail_that_is_a_list_makes_one_list(value: Any, data: bytes) -> None:
    assert dumps(value) == data


@pytest.mark.parametrize("typecode", "bBhHiIlLqQ")
def test_an_array_is_the_vector_of_its_size(typecode: str) -> None:
    values = array(typecode, [1, 2])
    bits = 8 * values.itemsize
    data = b"#%s%d(1 2)" % (b"u" if typecode.isupper() else b"s", bits)
    assert dumps(values, dialect=CHICKEN_5) == data
    if bits == 64:
        with pytest.raises(WriteError, match="CHICKEN 4 has none"):
            dumps(values)
    else:
        assert dumps(values) == data


def test_an_array_of_floats_is_written_as_doubles() -> None:
    values = array("f", [0.1, 1.5, math.inf])
    assert dumps(values) == b"#f32(0.10000000149011612 1.5 +inf.0)"
    assert dumps(values, dialect=CHICKEN_4_EXACT) == b"#f32(0.100000001490116 1.5 +inf.0)"


def cyclic_list() -> Any:
    value: list[Any] = [1]
    value.append([2, value])
    return value


def cyclic_tuple() -> Any:
    value: list[Any] = []
    value.append((0, value))
    return value


def cyclic_tail() -> Any:
    value: list[Any] = [1]
    value.append(Dotted([2], value))
    return value


def own_tail() -> Any:
    value = Dotted([1], 2)
    object.__setattr__(value, "tail", Dotted([3], value))
    return [value]


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (print, "message", "builtin_function_or_method"),
        ([1, [2, {}]], "message[1][1]", "dict"),
        ((1, [object()]), "message[1][0]", "object"),
        ([0, (1, 2**62)], "message[1][1]", "fixnum"),
        (-(2**62) - 1, "message", "fixnum"),
        ([Fraction(1, 2)], "message[0]", "fraction"),
        ([3 + 4j], "message[0]", "complex"),
        (Dotted([1, {}], 2), "message.items[1]", "dict"),
        ([Dotted([1], {})], "message[0].tail", "dict"),
        (Dotted([1], [2, {}]), "message.tail[1]", "dict"),
        (Dotted([1], Dotted([2, {}], 3)), "message.tail.items[1]", "dict"),
        (Dotted([1], Dotted([2], {})), "message.tail.tail", "dict"),
        (Dotted([1], sexpdata.Quoted({})), "message.tail.x", "dict"),
        (Dotted([1], sexpdata.Parens([2, {}])), "message.tail.I[1]", "dict"),
        (Dotted([[{}]], 1), "message.items[0][0]", "dict"),
        ([sexpdata.Quoted([{}])], "message[0].x[0]", "dict"),
        (sexpdata.Brackets([1, {}]), "message.I[1]", "dict"),
        ([array("u", "ab")] if sys.version_info < (3, 13) else [array("w", "ab")], "message[0]", "type code"),
        (["a", "b\ud800"], "message[1]", "U+D800"),
        ([["a\udc7f"], "b\ud800"], "message[0][0]", "U+DC7F"),
        ([Symbol("\ud83d")], "message[0]", "U+D83D"),
        ([Keyword("\udfff")], "message[0]", "U+DFFF"),
        ([Name("\ud800")], "message[0]", "U+D800"),
        (cyclic_list(), "message[1][1]", "cycle"),
        (cyclic_tuple(), "message[0][1]", "cycle"),
        (cyclic_tail(), "message[1].tail[1]", "cycle"),
        (own_tail(), "message[0]", "cycle"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_place(value: Any, path: str, problem: str) -> None:
    with pytest.raises(WriteError) as caught:
        dumps(value)
    assert caught.value.path == path
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"{path}: ")


def test_an_error_does_not_show_the_value() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(WriteError) as caught:
        dumps(["hunter2", Secret()])
    assert "hunter2" not in str(caught.value)


def test_an_integer_of_too_many_digits_is_refused() -> None:
    assert dumps(-(10**4299), dialect=CHICKEN_5) == b"-1" + b"0" * 4299
    for value in (10**4300, -(10**4300), 10**5000):
        with pytest.raises(WriteError, match="4,300 digits"):
            dumps([value], dialect=CHICKEN_5)


def test_a_value_may_occur_twice_without_being_a_cycle() -> None:
    part: list[Any] = [1]
    assert dumps([part, part, (part, part)]) == b"((1) (1) #((1) (1)))"


def test_a_nesting_deeper_than_any_recursion_limit_is_written() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    data = dumps(value)
    assert data == b"(" * 200_001 + b")" * 200_001
    # Taken apart step by step, since Python's own clean-up of such a value is not under test.
    while value:
        value = value.pop()


def test_dump_writes_what_dumps_returns() -> None:
    file = io.BytesIO()
    dump([1, Keyword("a")], file, dialect=CHICKEN_5)
    assert file.getvalue() == b"(1 #:a)"


def test_dump_writes_nothing_on_an_error() -> None:
    file = io.BytesIO()
    with pytest.raises(WriteError):
        dump(["a", object()], file)
    assert file.getvalue() == b""


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 4094, 4095, 4096, 5000])
@pytest.mark.parametrize(
    "more", ["", "\n", '"', "\\", "\t", "\r", "\0", "\x1f", "\x7f", "é", "\udcff", "é\n", "日\x01"]
)
def test_a_string_of_any_length_is_escaped_alike(size: int, more: str) -> None:
    escapes = {"\n": "\\n", '"': '\\"', "\\": "\\\\", "\t": "\\t", "\r": "\\r"}
    escapes |= {chr(code): f"\\x{code:02x}" for code in (0, 1, 31, 127)}
    written = "".join(escapes.get(character, character) for character in more)
    for value in ("x" * size + more, [more + "x" * size]):
        left, right = ("", written) if isinstance(value, str) else (written, "")
        expected = f'"{left}{"x" * size}{right}"'.encode("utf-8", "surrogateescape")
        assert dumps(value) == (expected if isinstance(value, str) else b"(" + expected + b")")
        assert loads(dumps(value)) == value


@pytest.mark.parametrize("value", ["", "text", 'with "quotes"', "x" * 5000, 1, [], ["a", [1]], None, Symbol("a")])
def test_between_two_texts_a_value_is_written_as_alone(value: Any) -> None:
    assert dumps_between("(é ", value, ")\udcff", CHICKEN_4) == "(é ".encode() + dumps(value) + b")\xff"


@pytest.mark.parametrize("value", ["\ud800", "x" * 5000 + "\ud800", ["a", object()]])
def test_between_two_texts_a_value_fails_as_alone(value: Any) -> None:
    with pytest.raises(WriteError) as expected:
        dumps(value)
    with pytest.raises(WriteError) as caught:
        dumps_between("(", value, ")", CHICKEN_4)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17])
@pytest.mark.parametrize(
    "last", ["", "é\udcff", Symbol("sym"), Symbol("b r"), FIXNUM_MAX, True, None, 1.5, [], [["x"]], ()]
)
def test_a_list_of_any_length_and_content_is_written_alike(count: int, last: Any) -> None:
    items = [1, "two", Symbol("three"), 'f"our'] * 4
    value = [*items[:count], last]
    assert dumps(value) == b"(" + b" ".join(dumps(item) for item in value) + b")"


def test_what_is_written_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = [array("B", range(200)), array("h", range(-100, 100)), array("B"), array("B", b"x" * 7)]
    values = ["a\n" * 3000, "\x01" * 5000, [1, ["ü", "\udcff"], 2.5] * 50, *vectors]
    with pure():
        whole = [dumps(value) for value in values]
        monkeypatch.setattr(writer, "_PART", 7)
        assert [dumps(value) for value in values] == whole
    assert [loads(text) for text in whole] == values


@pytest.mark.parametrize("compiled", [False, True], ids=["pure", "native"])
@pytest.mark.parametrize(
    "value",
    [
        [0] * 20_000,
        (0,) * 20_000,
        Dotted([0] * 20_000, 1),
        [[[]]] * 10_000,
        [Items([1])] * 10_000,
        "x" * 600_000,
        "ü" * 600_000,
        "\n" * 600_000,
        ["x" * 200_000] * 4,
        ["ü" * 5000] * 200,
        Name("x" * 600_000),
        bytes(600_000),
        [bytearray(600_000)],
        array("B", bytes(20_000)),
        array("d", bytes(8 * 20_000)),
        [1 << 14_000] * 50,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_takes_long_is_not_written_where_others_wait(value: Any, compiled: bool) -> None:
    with contextlib.nullcontext() if compiled else pure():
        with pytest.raises(TakesLong):
            dumps_between("", [1, value], "", CHICKEN_5, BRIEF)
        with pytest.raises(TakesLong):
            dumps_between("", value, "", CHICKEN_5, BRIEF)
        assert dumps_between("", value, "", CHICKEN_5) == dumps(value, dialect=CHICKEN_5)


@pytest.mark.parametrize("value", ["x" * 100_000, [0] * 1000, [[1, 2.5, "a"]] * 1000, bytes(100_000), object()])
def test_what_is_brief_is_written_alike_where_others_wait(value: Any) -> None:
    if type(value) is object:
        with pytest.raises(WriteError, match="type object"):
            dumps_between("", [value], "", CHICKEN_4, BRIEF)
    else:
        assert dumps_between("", value, "", CHICKEN_4, BRIEF) == dumps(value)


@pytest.mark.parametrize("part", [1, 7])
def test_a_long_string_that_is_not_ascii_is_escaped_in_parts(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'ü\n"\udcff\\x' * 50
    expected = dumps(text)
    with pure():
        monkeypatch.setattr(writer, "_PART", part)
        assert dumps(text) == expected
        with pytest.raises(WriteError, match="lone surrogate U\\+D800") as caught:
            dumps([1, text + "\ud800"])
    assert caught.value.path == "message[1]"
