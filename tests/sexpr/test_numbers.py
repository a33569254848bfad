"""Which tokens are numbers, which numbers they are, and how flonums are printed."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any

import pytest

from bokbok.sexpr.numbers import MAX_DIGITS, escape_code, flonum_text, is_number, parse_number
from bokbok.sexpr.problems import DatumError
from tests.support.tagged import same

BOTH = [
    ("0", 0), ("-0", 0), ("+17", 17), ("007", 7), ("9223372036854775808", 2**63),
    ("-4611686018427387905", -(2**62) - 1),
    ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("+.5", 0.5), ("-0.0", -0.0), ("0e5", 0.0), ("1e3", 1000.0),
    ("1E3", 1000.0), ("1d3", 1000.0), ("1f3", 1000.0), ("1l3", 1000.0), ("1s3", 1000.0), ("1.e1", 10.0), ("1e+5", 1e5),
    ("1e-5", 1e-5), ("1e400", math.inf), ("-1e400", -math.inf), ("1e999999999", math.inf), ("1e-999999999", 0.0),
    ("1.79769313486232e+308", math.inf), ("1#", 10.0), ("1##", 100.0), ("1#.", 10.0), ("1#.#", 10.0), ("1.5#", 1.5),
    ("1.#", 1.0), (".5#", 0.5), ("1#e2", 1000.0), ("1/2", Fraction(1, 2)), ("-1/2", Fraction(-1, 2)), ("4/2", 2),
    ("1#/2", 5.0), ("1/1#", 0.1), ("1#/0", math.inf), ("-1/0#", -math.inf), ("0/0#", math.nan), ("+inf.0", math.inf),
    ("-inf.0", -math.inf), ("+nan.0", math.nan), ("-nan.0", math.nan), ("+INF.0", math.inf), ("-NaN.0", math.nan),
]  # fmt: skip
NEITHER = [
    "", "+", "-", "..", "...", "1a", "a1", "1e", "1e+", "e5", ".e5", "+.e5", "1.2.3", "1e5.5", "1e5e5", "--1", "+-1",
    "1/", "/2", "1/-2", "1/2/3", "1.5/2", "1/2.5", "1e3/2", "#", ".#", "1#5", "1#.5", "1/#", "1e#", "inf.0", "+inf",
    "+inf.00",
    "-inf.0e1", "1_000", "0x10", "1 ", " 1", "nan", "++i", "1:2",
]  # fmt: skip


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(("token", "value"), BOTH)
def test_a_number_has_its_value_in_both_versions(version: int, token: str, value: Any) -> None:
    assert same(parse_number(token.encode(), version), value)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("token", NEITHER)
def test_what_is_no_number_is_none_in_either_version(version: int, token: str) -> None:
    assert parse_number(token.encode(), version) is None
    assert not is_number(token.encode(), version)


@pytest.mark.parametrize(
    ("token", "in_4", "in_5"),
    [
        ("+.#", 0.0, None),
        ("-.#e5", -0.0, None),
        ("+inn.0", math.inf, None),
        ("-inf.#", -math.inf, None),
        ("+nan.#", math.nan, None),
        ("-Ian.0", -math.inf, None),
        ("+nnf.0", math.nan, None),
        ("1/0", math.inf, None),
        ("-1/0", -math.inf, None),
        ("0/0", math.nan, None),
        ("+0i", None, 0),
        ("1+0i", None, 1),
        ("1/2-0/3i", None, Fraction(1, 2)),
        ("1+0.0i", None, 1.0),
        ("+1/0i", None, None),
        ("1/0+i", None, None),
        ("1/0@1", None, None),
        ("1@1/0", None, None),
        ("2@0", None, 2.0),
        ("0@1", None, 0.0),
    ],
)
def test_a_token_is_a_number_in_one_version_only(token: str, in_4: Any, in_5: Any) -> None:
    assert same(parse_number(token.encode(), 4), in_4)
    assert same(parse_number(token.encode(), 5), in_5)


@pytest.mark.parametrize(
    ("token", "radix", "exactness", "value"),
    [
        ("0@9", 10, None, -0.0),  # the cosine of 9 is below zero
        ("0@1", 10, None, 0.0),
        ("-1@0.0", 10, None, -1.0),
        ("0-0.0i", 10, None, -0.0),
        ("-0e1i", 10, None, -0.0),
        ("1-0.0i", 10, None, 1.0),
        ("-0#/5", 10, None, -0.0),
        ("-0/5#", 10, None, 0.0),
        ("-0", 10, "i", 0.0),
        ("-0", 16, "i", 0.0),
        ("-0#", 16, None, -0.0),
        ("-0#", 16, "i", -0.0),
        ("1" * 400 + "+0.0i", 10, None, math.inf),
        ("1/" + "1" * 400 + "@0", 10, None, 0.0),
    ],
)
def test_a_zero_of_chicken_5_has_the_sign_that_read_gives_it(
    token: str, radix: int, exactness: Any, value: float
) -> None:
    assert same(parse_number(token.encode(), 5, radix, exactness), value)


@pytest.mark.parametrize(
    ("token", "radix", "exactness", "value"),
    [
        ("-0#", 10, None, 0.0),  # an integer at first, as in C
        ("-0#/5", 10, None, 0.0),
        ("-0", 10, "i", 0.0),
        ("-0#", 16, None, 0.0),
        ("-0#", 2, "i", 0.0),
        ("-0#.", 10, None, -0.0),
        ("-0.#", 10, None, -0.0),
        ("-0#e5", 10, None, -0.0),
        ("-0.0", 10, "i", -0.0),
    ],
)
def test_a_zero_of_chicken_4_has_the_sign_that_read_gives_it(
    token: str, radix: int, exactness: Any, value: float
) -> None:
    assert same(parse_number(token.encode(), 4, radix, exactness), value)


@pytest.mark.parametrize("token", ["+inf.0@0", "1e400@0", "+nan.0@0", "1" * 400 + "@0", "0@" + "1" * 400])
def test_a_polar_number_without_end_is_complex(token: str) -> None:
    with pytest.raises(DatumError, match="complex"):
        parse_number(token.encode(), 5)


@pytest.mark.parametrize(
    "token", ["+i", "-I", "1+i", "1-2i", "+2.5i", "1e5+1/2i", "+inf.0i", "1+nan.0i", "1@2", "1.5+1/0i", "0@+inf.0"]
)
def test_a_complex_number_is_a_symbol_in_4_and_an_error_in_5(token: str) -> None:
    assert parse_number(token.encode(), 4) is None
    with pytest.raises(DatumError, match="complex"):
        parse_number(token.encode(), 5)


@pytest.mark.parametrize(
    ("token", "radix", "value"),
    [
        ("ff", 16, 255), ("-FF", 16, -255), ("+101", 2, 5), ("17", 8, 15), ("f/3", 16, 5), ("1/3", 16, Fraction(1, 3)),
        ("1#", 16, 16.0), ("ffffffffffffffffffff", 16, 2**80 - 1), ("e5", 16, 0xE5), ("1#/1", 2, 2.0), ("1e1", 2, None),
        ("8", 8, None), ("2", 2, None), ("1.8", 16, None), ("", 16, None), ("-", 16, None), ("g", 16, None),
        ("0x1", 16, None), ("1/", 16, None), ("\u00e9", 16, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [4, 5])
def test_a_number_in_another_radix(version: int, token: str, radix: int, value: Any) -> None:
    assert same(parse_number(token.encode(), version, radix), value)


def test_infinities_behind_a_radix_are_numbers_in_5_only() -> None:
    assert parse_number(b"+inf.0", 5, 16) == math.inf
    assert parse_number(b"+inf.0", 4, 16) is None
    assert parse_number(b"+inf.0", 5, 16, "e") is None


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("token", "radix", "value"),
    [("1", 10, 1.0), ("1/4", 10, 0.25), ("ff", 16, 255.0), ("-0", 10, -0.0), ("1" * 400, 10, math.inf)],
)
def test_i_makes_a_flonum(version: int, token: str, radix: int, value: float) -> None:
    found = parse_number(token.encode(), version, radix, "i")
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize("version", [4, 5])
def test_i_makes_infinities_of_what_is_too_large(version: int) -> None:
    huge = b"9" * 400
    assert parse_number(huge + b"/3", version, 10, "i") == math.inf
    assert parse_number(b"-" + b"f" * 400, version, 16, "i") == -math.inf
    assert parse_number(b"-" + huge + b"/3", version, 10, "i") == -math.inf


@pytest.mark.parametrize(
    ("token", "in_4", "in_5"),
    [
        ("1.0", 1, 1),
        ("1e3", 1000, 1000),
        ("1e18", 10**18, 10**18),
        ("12#", 120, 120),
        ("4/2", 2, 2),
        ("0.0", 0, 0),
        ("9223372036854775808", 2**63, 2**63),
        ("1.5", DatumError, Fraction(3, 2)),
        (".1", DatumError, Fraction(1, 10)),
        ("1e30", DatumError, 10**30),
        ("1.5e-3", DatumError, Fraction(3, 2000)),
        ("1/2", DatumError, Fraction(1, 2)),
        ("1e400", DatumError, 10**400),
        ("0e999999999", 0, 0),
        ("+inf.0", None, None),
        ("1/0", None, None),
    ],
)
def test_e_makes_an_exact_number_or_fails(token: str, in_4: Any, in_5: Any) -> None:
    for version, expected in ((4, in_4), (5, in_5)):
        if expected is DatumError:
            with pytest.raises(DatumError, match="no exact value"):
                parse_number(token.encode(), version, 10, "e")
        else:
            assert same(parse_number(token.encode(), version, 10, "e"), expected)


@pytest.mark.parametrize("token", ["1e999999999", "1e-999999999", "1.5e10001", "1e5000", "1e" + "9" * 4000])
def test_an_exact_number_of_too_many_digits_is_refused_at_once(token: str) -> None:
    with pytest.raises(DatumError, match="more than"):
        parse_number(token.encode(), 5, 10, "e")
    if token != "1e-999999999":  # zero, in CHICKEN 4
        with pytest.raises(DatumError):
            parse_number(token.encode(), 4, 10, "e")


@pytest.mark.parametrize("version", [4, 5])
def test_the_limit_of_digits(version: int) -> None:
    assert parse_number(b"9" * MAX_DIGITS, version) == 10**MAX_DIGITS - 1
    assert parse_number(b"-" + b"9" * MAX_DIGITS, version) == -(10**MAX_DIGITS) + 1
    for token in (b"9" * (MAX_DIGITS + 1), b"1." + b"0" * MAX_DIGITS, b"1/" + b"1" * (MAX_DIGITS + 1), b"0" * 5000):
        with pytest.raises(DatumError, match="more than 4,300 digits"):
            parse_number(token, version)
    with pytest.raises(DatumError, match="more than 4,300 digits"):
        parse_number(b"1" * (MAX_DIGITS + 1), version, 2)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no limit on digits")
def test_a_lower_limit_of_the_process_is_a_number_error_too() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(DatumError, match="digits"):
            parse_number(b"1" * 1000, 4)
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    ("token", "in_4", "in_5"),
    [
        ("1e5", True, True),
        ("1e400", False, True),
        ("9" * 400, False, True),
        ("9" * 4096, False, True),
        ("1" * 300, True, True),
        ("1/2", True, True),
        ("1/0", True, False),
        ("1#/0", True, True),
        ("9" * 400 + "/1", False, True),
        ("+.#", True, False),
        ("-i", False, True),
        ("1@2", False, True),
        ("1+2i", False, True),
        ("1/0+2i", False, False),
        ("1/0+2.0i", False, True),
        ("+1/0i", False, False),
        ("1@0/0", False, False),
        ("+inf.0", True, True),
        ("+inn.0", True, False),
    ],
)
def test_what_string_to_number_takes(token: str, in_4: bool, in_5: bool) -> None:
    assert is_number(token.encode(), 4) is in_4
    assert is_number(token.encode(), 5) is in_5


@pytest.mark.parametrize(
    ("digits", "code"),
    [
        (b"41", 0x41), (b"fF", 255), (b"-1", -1), (b"+f", 15), (b"", None), (b"4g", None), (b"1#", None), (b"#d10", 10),
        (b"#x10", 16), (b"#e10", 16), (b"#i10", None), (b"#q10", None), (b"#x#e#b1", None), (b"#x#d1", None),
        (b"#b", None),        (b"9" * 5000, None), (b".5", None),
    ],
)  # fmt: skip
def test_the_code_of_an_escape(digits: bytes, code: int | None) -> None:
    assert escape_code(digits, 5, 16) == code


def test_the_code_of_an_escape_where_the_versions_differ() -> None:
    assert escape_code(b" 41", 4, 16) == 0x41
    assert escape_code(b" 41", 5, 16) is None
    assert escape_code(b"4/2", 4, 16) is None
    assert escape_code(b"4/2", 5, 16) == 2
    assert escape_code(b" 1", 4, 10) is None


@pytest.mark.parametrize(
    ("value", "safe", "exact_4", "exact_5"),
    [
        (0.0, "0.0", "0.0", "0.0"),
        (-0.0, "-0.0", "-0.0", "-0.0"),
        (0.1, "0.1", "0.1", "0.1"),
        (0.1 + 0.2, "0.30000000000000004", "0.3", "0.3"),
        (1 / 3, "0.3333333333333333", "0.333333333333333", "0.333333333333333"),
        (1e15, "1e+15", "1e+15", "1000000000000000.0"),
        (123456789012345.0, "123456789012345.0", "123456789012345.0", "123456789012345.0"),
        (1234567890123456.0, "1234567890123456.0", "1.23456789012346e+15", "1234567890123456.0"),
        (12345678901234568.0, "12345678901234568.0", "1.23456789012346e+16", "12345678901234568.0"),
        (123456789012345678.0, "1.2345678901234568e+17", "1.23456789012346e+17", "123456789012345680.0"),
        (2.0**63, "9.223372036854776e+18", "9.22337203685478e+18", "9223372036854775808.0"),
        (2.0**64, "1.8446744073709552e+19", "1.84467440737096e+19", "1.84467440737096e+19"),
        (1e21, "1e+21", "1e+21", "1e+21"),
        (1e-5, "1e-05", "1e-05", "1e-05"),
        (0.0001, "0.0001", "0.0001", "0.0001"),
        (1.5e-7, "1.5e-07", "1.5e-07", "1.5e-07"),
        (5e-324, "4.94065645841247e-324", "4.94065645841247e-324", "4.94065645841247e-324"),
        (sys.float_info.max, "1.7976931348623157e+308", "1.79769313486232e+308", "1.79769313486232e+308"),
        (math.inf, "+inf.0", "+inf.0", "+inf.0"),
        (-math.inf, "-inf.0", "-inf.0", "-inf.0"),
        (math.nan, "+nan.0", "+nan.0", "+nan.0"),
        (-math.nan, "+nan.0", "+nan.0", "+nan.0"),
    ],
)
def test_how_a_flonum_is_printed(value: float, safe: str, exact_4: str, exact_5: str) -> None:
    assert flonum_text(value, 4, exact=False) == safe
    assert flonum_text(value, 4, exact=True) == exact_4
    assert flonum_text(value, 5, exact=True) == exact_5


@pytest.mark.parametrize("power", range(-320, 309, 7))
@pytest.mark.parametrize("mantissa", [1.0, 1.2345678901234567, 9.999999999999999, 9.9999999999999])
def test_the_digits_are_those_of_the_smallest_sufficient_precision(mantissa: float, power: int) -> None:
    value = float(f"{mantissa}e{power}")
    for precision in (15, 16, 17):
        text = f"{value:.{precision}g}"
        if float(text) == value:
            break
    expected = text if "." in text or "e" in text else text + ".0"
    assert flonum_text(value, 4, exact=False) == expected
