"""The syntax of numbers, as CHICKEN's `string->number` takes it, and the one way flonums are printed.

It knows which tokens are numbers in CHICKEN 4.13.0 and in 5.3.0 (they differ in corners: `+i`, `1/0`, `+.#`), and which
value each has here. Where a token begins and ends is for `lexer` to find.

Two rules hold for every dialect, and differ from CHICKEN 4 on purpose: integers are exact whatever their size, and
fractions are exact (`fractions.Fraction`). Flonums that overflow are infinities, as in CHICKEN 5; decimal digits are
rounded correctly, as in CHICKEN 4 (5.3.0 may be off by a unit or two in the last place: it rounds twice).
"""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Final, Literal

from bokbok._later import pattern
from bokbok.sexpr import problems
from bokbok.sexpr.problems import DatumError

__all__ = [
    "FIXNUM_MAX",
    "FIXNUM_MIN",
    "MAX_DIGITS",
    "escape_code",
    "flonum_text",
    "is_number",
    "parse_number",
]

if TYPE_CHECKING:
    from fractions import Fraction

    Number = int | float | Fraction
Exactness = Literal["e", "i", None]

FIXNUM_MAX: Final = 2**62 - 1
"""The largest fixnum of a 64-bit CHICKEN: 63 bits, two's complement."""

FIXNUM_MIN: Final = -(2**62)
"""The smallest fixnum of a 64-bit CHICKEN."""

MAX_DIGITS: Final = 4300
"""How many digits a number may have: Python's own default limit for `int()` of a decimal string, which is there because
the conversion takes time quadratic in the digits. It bounds the size of `#e1e…` too."""

# CHICKEN 5 refuses larger exponents of exact numbers itself ("to prevent memory exhaustion attacks").
_MAX_EXACT_EXPONENT: Final = 10_000

# CHICKEN 4 copies the token into a C buffer of 4096 bytes; longer ones are symbols.
_CHICKEN_4_BUFFER: Final = 4095

_INTEGER: Final = pattern(rb"[+-]?[0-9]+")
_UDECIMAL: Final = rb"(?:[0-9]+\#+(?:\.\#*)?|[0-9]+(?:\.[0-9]*\#*)?|\.[0-9]+\#*)(?:[esfdlESFDL][+-]?[0-9]+)?"
_URATIO: Final = rb"[0-9]+\#*/[0-9]+\#*"
_DECIMAL: Final = {
    # In CHICKEN 4 a `#` counts as the digit 0 wherever the scan lets it pass, so `+.#` is a number.
    4: pattern(rb"[+-]?" + _UDECIMAL + rb"|[+-]\.\#+(?:[esfdlESFDL][+-]?[0-9]+)?"),
    5: pattern(rb"[+-]?" + _UDECIMAL),
}
_RATIO: Final = pattern(rb"([+-]?[0-9]+)(\#*)/([0-9]+)(\#*)")
_SPECIAL: Final = {
    # CHICKEN 4 compares letter by letter against sets, so `+inn.0` passes for an infinity; a `#` is a 0.
    4: pattern(rb"[+-][iInN][aAnN](?:[nN]|(?<=[nN])[fF])\.[0#]"),
    5: pattern(rb"[+-](?:inf|nan)\.0", re.IGNORECASE),
}
_REAL5: Final = rb"(?:[+-]?(?:" + _URATIO + rb"|" + _UDECIMAL + rb")|[+-](?i:inf|nan)\.0)"
_RECTANGULAR: Final = rb"(" + _REAL5 + rb")?([+-](?:" + _URATIO + rb"|" + _UDECIMAL + rb"|(?i:inf|nan)\.0)?)[iI]"
_POLAR: Final = rb"(" + _REAL5 + rb")@(" + _REAL5 + rb")"
_DIGITS: Final = {2: rb"[01]", 8: rb"[0-7]", 16: rb"[0-9a-fA-F]"}
_EXPONENT_MARKERS: Final = bytes.maketrans(b"sfdlSFDLE#", b"eeeeeeeee0")
_RADIX_PREFIXES: Final = {"b": 2, "o": 8, "d": 10, "x": 16}


# What is rare is compiled when it is first met: together it takes as long as the rest of this module's import.


@functools.cache
def _complex() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Rectangular and polar numbers."""
    return re.compile(_RECTANGULAR), re.compile(_POLAR)


@functools.cache
def _of_radix(radix: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Integers and fractions of a radix other than 10."""
    digit = _DIGITS[radix]
    return re.compile(rb"([+-]?%b+)(\#*)" % digit), re.compile(rb"([+-]?%b+)(\#*)/(%b+)(\#*)" % (digit, digit))


def parse_number(token: bytes, version: int, radix: int = 10, exactness: Exactness = None) -> Number | None:
    """Converts a token to the number it denotes.

    Args:
        token: the token without any prefix.
        version: 4 or 5: whose syntax.
        radix: 2, 8, 10 or 16.
        exactness: `e` or `i` if the token stood behind `#e` or `#i`.

    Returns:
        The number, or `None` if the token is not a number there (without a prefix, it is a symbol then).

    Raises:
        DatumError: if it is a number that has no value here: more than `MAX_DIGITS` digits, a complex number of
            CHICKEN 5, an inexact number behind `#e` that has no exact value.
    """
    if radix != 10:
        return _parse_radix(token, version, radix, exactness)
    if _INTEGER.fullmatch(token):
        return float(token) + 0.0 if exactness == "i" else _integer(token)  # (#i-0 has no sign)
    if _DECIMAL[version].fullmatch(token):
        plain = token.translate(_EXPONENT_MARKERS)
        _check_digits(plain.partition(b"e")[0])
        if exactness == "e":
            return _exact_from_inexact(float(plain)) if version == 4 else _exact(plain)
        if version == 4 and b"#" in token and plain.translate(None, b"+-").isdigit():
            return float(plain) + 0.0  # an integer to CHICKEN 4, at first: -0# has no sign
        return float(plain)
    if match := _RATIO.fullmatch(token):
        return _ratio(match, version, 10, exactness)
    if _SPECIAL[version].fullmatch(token):
        if exactness == "e":
            return None
        return _special(token)
    if version == 5:
        return _real_of_complex(token, exactness)
    return None


def is_number(token: bytes, version: int) -> bool:
    """Tells whether `string->number` of that CHICKEN takes the token (no prefix, radix 10) for a number."""
    if version == 4:
        if len(token) >= _CHICKEN_4_BUFFER:
            return False
        if _INTEGER.fullmatch(token) or _DECIMAL[4].fullmatch(token):
            # CHICKEN 4 refuses a number that overflows, so that `1e400` is a symbol.
            return math.isfinite(float(token.translate(_EXPONENT_MARKERS)))
        if match := _RATIO.fullmatch(token):
            return all(math.isfinite(float(part)) for part in _ratio_parts(match))
        return _SPECIAL[4].fullmatch(token) is not None
    if _INTEGER.fullmatch(token) or _DECIMAL[5].fullmatch(token) or _SPECIAL[5].fullmatch(token):
        return True
    rectangular, polar = _complex()
    if _RATIO.fullmatch(token):
        return not _exact_by_zero([token])
    match = rectangular.fullmatch(token) or polar.fullmatch(token)
    if match is None:
        return False
    return not _exact_by_zero([part or b"0" for part in match.groups()])


def escape_code(digits: bytes, version: int, radix: int) -> int | None:
    r"""The code that the digits of a string escape (`\xHH`, `\uHHHH`, `\OOO`) stand for, or `None` if they are none.

    CHICKEN hands them to `string->number`, so `\x+f` is a control character, and `\u#d10` as well.
    """
    seen_radix = seen_exactness = False
    while len(digits) > 2 and digits[:1] == b"#":
        prefix = chr(digits[1]).lower()
        if prefix in _RADIX_PREFIXES and not seen_radix:
            radix, seen_radix = _RADIX_PREFIXES[prefix], True
        elif prefix in "ei" and not seen_exactness:
            seen_exactness = True
            if prefix == "i":
                return None
        else:
            return None
        digits = digits[2:]
    if version == 4 and b"/" in digits:
        return None  # a flonum there, which makes garbage of the character
    if version == 4 and radix != 10:
        digits = digits.lstrip(b" \t\n\v\f\r")  # as C's strtol has it
    try:
        value = parse_number(digits, version, radix)
    except DatumError:
        return None
    return value if isinstance(value, int) else None


def flonum_text(value: float, version: int, exact: bool) -> str:
    """Prints a flonum: C's `%.15g`, or more digits if not `exact` and the value needs them, and `.0` if it looks whole.

    CHICKEN 5.3.0 prints whole numbers below 2**64 with all their digits.
    """
    if version == 5 and exact and value.is_integer() and (value == 0.0 or math.log2(abs(value)) < 64):
        return f"{value:.1f}"
    if not exact and -1e15 < value < 1e15:
        # Python prints the fewest digits that read back; between 1e-4 and 1e15 it looks as `%g` does.
        text = repr(value)
        if "e" not in text:
            return text
    text = f"{value:.15g}"
    if not exact and float(text) != value and value == value:
        text = f"{value:.16g}"
        if float(text) != value:
            text = f"{value:.17g}"
    if "." in text or "e" in text:
        return text
    if value != value:
        return "+nan.0"
    if text[-1] == "f":
        return "+inf.0" if value > 0 else "-inf.0"
    return text + ".0"


def _check_digits(digits: bytes) -> None:
    if len(digits) > MAX_DIGITS:
        raise DatumError(problems.TOO_MANY_DIGITS, limit=MAX_DIGITS)


def _integer(token: bytes, radix: int = 10) -> int:
    _check_digits(token.lstrip(b"+-"))
    try:
        return int(token, radix)
    except ValueError:  # the process runs with a lower limit (sys.set_int_max_str_digits)
        raise DatumError(problems.TOO_MANY_DIGITS_HERE) from None


def _exact(plain: bytes) -> int | Fraction:
    """The exact value of a decimal number, as CHICKEN 5 has it behind `#e`."""
    mantissa, _, exponent_text = plain.partition(b"e")
    whole, _, fraction = mantissa.partition(b".")
    exponent = _integer(exponent_text or b"0") - len(fraction)
    digits = _integer(whole + fraction)
    if digits == 0:
        return 0
    if abs(exponent) > _MAX_EXACT_EXPONENT or len(whole) + len(fraction) + abs(exponent) > MAX_DIGITS:
        raise DatumError(problems.TOO_MANY_EXACT_DIGITS, limit=MAX_DIGITS)
    from fractions import Fraction  # only here, and below: hardly any number is one

    return _simplest(Fraction(digits) * Fraction(10) ** exponent)


def _exact_from_inexact(value: float) -> int:
    """The exact value of a flonum, as CHICKEN 4 has it: a fixnum or an error."""
    if value.is_integer() and FIXNUM_MIN <= value <= FIXNUM_MAX:
        return int(value)
    raise DatumError(problems.NO_EXACT_VALUE)


def _simplest(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def _special(token: bytes) -> float:
    if token[1:2] in b"nN":
        return math.nan
    return -math.inf if token[:1] == b"-" else math.inf


def _ratio_parts(match: re.Match[bytes]) -> tuple[bytes, bytes]:
    return match[1] + b"0" * len(match[2]), match[3] + b"0" * len(match[4])


def _ratio(match: re.Match[bytes], version: int, radix: int, exactness: Exactness) -> Number | None:
    numerator_text, denominator_text = _ratio_parts(match)
    numerator, denominator = _integer(numerator_text, radix), _integer(denominator_text, radix)
    inexact = bool(match[2] or match[4])
    if denominator == 0:
        if exactness == "e" or (version == 5 and not inexact and exactness is None):
            return None
        return _infinity(numerator) if numerator else math.nan
    if exactness == "e" and version == 4 and numerator % denominator:
        raise DatumError(problems.NO_EXACT_VALUE)
    if exactness == "i" or (inexact and exactness != "e"):
        if version == 5 and numerator == 0 and match[2] and match[1][:1] == b"-":
            return -0.0
        try:
            return numerator / denominator
        except OverflowError:
            return _infinity(numerator)
    from fractions import Fraction

    return _simplest(Fraction(numerator, denominator))


def _infinity(sign: int) -> float:
    return math.inf if sign > 0 else -math.inf


def _parse_radix(token: bytes, version: int, radix: int, exactness: Exactness) -> Number | None:
    integer, fraction = _of_radix(radix)
    if match := integer.fullmatch(token):
        value = _integer(match[1] + b"0" * len(match[2]), radix)
        if exactness == "i" or (match[2] and exactness != "e"):
            minus_zero = version == 5 and value == 0 and match[2] and token[:1] == b"-"
            return -0.0 if minus_zero else _to_float(value)
        return value
    if match := fraction.fullmatch(token):
        return _ratio(match, version, radix, exactness)
    if version == 5:
        if _SPECIAL[5].fullmatch(token) and exactness != "e":
            return _special(token)
        return None
    return None


def _to_float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return _infinity(1 if value > 0 else -1)


def _exact_by_zero(parts: list[bytes]) -> bool:
    """Whether a number of CHICKEN 5 is exact and divides by zero in one of its parts, so that it is not a number."""
    ratios = [_RATIO.fullmatch(part) for part in parts]
    exact = all(
        not (ratio[2] or ratio[4]) if ratio else _INTEGER.fullmatch(part) or part in (b"+", b"-")
        for ratio, part in zip(ratios, parts, strict=True)
    )
    return exact and any(ratio and not ratio[3].strip(b"0") for ratio in ratios)


def _real_of_complex(token: bytes, exactness: Exactness) -> Number | None:
    """CHICKEN 5's complex numbers with an imaginary part of zero are real; the others have no value here."""
    rectangular, polar = _complex()
    match = rectangular.fullmatch(token) or polar.fullmatch(token)
    if match is None:
        return None
    parts = [part or b"0" for part in match.groups()]
    if exactness is None and _exact_by_zero(parts):
        return None
    values = [1 if part in (b"+", b"-") else parse_number(part, 5, 10, exactness) for part in parts]
    if None not in values:
        first, second = values
        assert first is not None
        assert second is not None
        magnitude, angle = _to_float(first), _to_float(second)
        if match.re is polar and 0 in (magnitude, angle) and math.isfinite(magnitude) and math.isfinite(angle):
            return magnitude * math.cos(angle)
        if match.re is rectangular and second == 0:
            if isinstance(second, float):
                return -0.0 if first == 0 and b"-" in token else magnitude
            return first
    raise DatumError(problems.COMPLEX_NUMBER)
