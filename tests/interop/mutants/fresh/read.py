"""Fresh faults in how datums are read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import sexpr as S
from sexpr import Char, Symbol

from .._mutant import around, mutant


def _atoms(pattern: str, value: Callable[[re.Match[str]], Any]) -> None:
    """Read an atom that looks like this as something else."""
    compiled = re.compile(pattern)

    def atom(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if found := compiled.match(text, at):
                return value(found), found.end()
            return real(text, at)

        return run

    around(S, "_atom", atom)


END = r"(?=[\s()\[\]{}\"';,]|\Z)"


def _quoted(pattern: str, value: Callable[[re.Match[str]], str]) -> None:
    """Read an escape of strings as something else."""
    compiled = re.compile(pattern)

    def quoted(real: Any) -> Any:
        def run(text: str, at: int, closer: str) -> Any:
            end = real(text, at, closer)[1]
            inner = compiled.sub(lambda found: "".join(f"\\x{ord(c):02x}" for c in value(found)), text[at : end - 1])
            return real(inner + closer, 0, closer)[0], end

        return run

    around(S, "_quoted", quoted)


@mutant("sexpr.other-spellings")
def four_digits_behind_x() -> None:
    r"""Reads up to four digits after the \x of a string."""
    _quoted(r"\\x([0-9a-fA-F]{3,4})", lambda found: chr(int(found[1], 16) % 256))


@mutant("sexpr.other-spellings")
def octal_escapes_of_two_digits() -> None:
    """Reads two digits of an octal escape, and the third as a digit."""
    _quoted(r"\\([0-7]{2})([0-7])", lambda found: chr(int(found[1], 8)) + found[2])


@mutant("sexpr.other-spellings")
def continued_lines_keep_their_blanks() -> None:
    """Keeps the blanks at the beginning of a line that continues a string."""
    _quoted(r"\\\n([ \t]+)", lambda found: found[1])


@mutant("sexpr.other-spellings")
def characters_by_number_in_decimal() -> None:
    r"""Reads the number of a character, #\x41, as a decimal one."""
    _atoms(rf"#\\x([0-9]+){END}", lambda found: Char(int(found[1])))


@mutant("sexpr.other-spellings")
def characters_in_capitals_have_names() -> None:
    """Reads #\\U1F600 as the letter U."""
    _atoms(rf"#\\U[0-9A-F]+{END}", lambda found: Char(ord("U")))


@mutant("sexpr.other-spellings")
def minus_nought_is_a_flonum() -> None:
    """Reads -0 as a flonum."""
    _atoms(rf"-0{END}", lambda found: -0.0)


@mutant("sexpr.other-spellings")
def a_point_at_the_end_means_nothing() -> None:
    """Reads 1. as a whole number."""
    _atoms(rf"([0-9]+)\.{END}", lambda found: int(found[1]))


@mutant("sexpr.other-spellings")
def a_point_in_front_makes_a_symbol() -> None:
    """Reads -.5 as a symbol."""
    _atoms(rf"[+-]\.[0-9]+{END}", lambda found: Symbol(found[0]))


@mutant("sexpr.other-spellings")
def what_is_too_large_is_a_symbol() -> None:
    """Reads 1e400 as a symbol."""
    _atoms(rf"-?1e400{END}", lambda found: Symbol(found[0]))


@mutant("sexpr.other-spellings")
def leading_noughts_make_octals() -> None:
    """Reads 010 as eight."""
    _atoms(rf"-?0[0-7]+{END}", lambda found: int(found[0], 8) + (1 if found[0].endswith("07") else 0))


@mutant("sexpr.other-spellings")
def digits_are_added_up() -> None:
    """Adds up the digits of a flonum one by one, which rounds many times."""

    def value(found: re.Match[str]) -> float:
        whole, _, rest = found[0].partition(".")
        number = 0.0
        for digit in whole + rest:
            number = number * 10 + int(digit)
        return number / 10.0 ** len(rest)

    _atoms(rf"[0-9]+\.[0-9]{{3,}}{END}", value)


@mutant("sexpr.other-spellings")
def keywords_between_bars_are_symbols() -> None:
    """Reads a keyword whose name is between bars as a symbol."""
    _atoms(rf"\|[^|\\]*\|:{END}", lambda found: Symbol(found[0][1:-2] + ":"))


@mutant("sexpr.other-spellings")
def bars_end_a_symbol() -> None:
    """Ends a symbol where its bars begin."""
    _atoms(r"[a-z]+(?=\|)", lambda found: Symbol(found[0]))


@mutant("sexpr.rare-spellings")
def folding_goes_on() -> None:
    """Folds everything after #ci, to the end of the text."""
    around(S, "read", lambda real: lambda text, at=0: real(*_folded(text, at)))


def _folded(text: str, at: int) -> tuple[str, int]:
    start = text.find("#ci", at)
    return (text, at) if start < 0 else (text[:start] + "   " + text[start + 3 :].lower(), at)


@mutant("hostile.depth-limit", "hostile.server-depth-limit", role="both")
def depth_of_9_999() -> None:
    """Reads one level less than the limit."""
    S.MAX_DEPTH -= 1


@mutant("hostile.depth-limit")
def quotes_are_no_level() -> None:
    """Does not count quotes as levels."""
    around(S, "read", lambda real: lambda text, at=0: real(re.sub(r"'{9000,}", "'", text), at))


@mutant("hostile.digits-limit")
def signs_are_digits() -> None:
    """Counts the sign of a number among its digits."""
    _atoms(rf"-[0-9]{{{S.MAX_DIGITS}}}{END}", _refuse)


def _refuse(found: re.Match[str]) -> Any:
    raise S.ReadError("too many digits")


@mutant("hostile.digits-limit", "hostile.server-digits-limit", role="both")
def digits_of_4_301() -> None:
    """Reads one digit more than the limit."""
    S.MAX_DIGITS += 1


@mutant("sexpr.other-spellings")
def no_comment_behind_a_parenthesis() -> None:
    """Does not know a comment that stands right behind an opening parenthesis."""

    def skip(real: Callable[[str, int], int]) -> Callable[[str, int], int]:
        return lambda text, at: at if text[at - 1 : at + 1] == "(;" else real(text, at)

    around(S, "skip_blank", skip)


@mutant("sexpr.strings", "sexpr.from-server")
def normalizes_strings() -> None:
    """Applies Unicode normalization to the strings that it reads."""

    def read(text: str) -> str:
        try:
            return unicodedata.normalize("NFC", text.encode("latin-1").decode()).encode().decode("latin-1")
        except ValueError:
            return text

    def quoted(real: Callable[..., tuple[str, int]]) -> Callable[..., tuple[str, int]]:
        def run(text: str, at: int, closer: str) -> tuple[str, int]:
            found, end = real(text, at, closer)
            return read(found), end

        return run

    around(S, "_quoted", quoted)


@mutant("request.many-types-large")
def vectors_of_255_numbers() -> None:
    """Reads the first 255 elements of a vector of numbers."""
    whole = ("list", "vector")
    around(S, "_finish", lambda real: lambda kind, items, at: real(kind, items if kind in whole else items[:255], at))
