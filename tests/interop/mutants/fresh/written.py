"""Fresh faults in how datums are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sexpr as S
from sexpr import Char, Keyword, Numbers, Symbol

from .._mutant import around, mutant


def _written(change: Callable[[Any, Callable[[Any], str]], str | None]) -> None:
    """Write an atom in another way: `change(value, real)`; `None` leaves it unchanged."""
    around(S, "_write_atom", lambda real: lambda value: change(value, real) or real(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Symbol | Keyword)


@mutant("sexpr.characters", role="client")
def page_by_its_number() -> None:
    """Has no name for the character 12."""
    del S.CHAR_NAMES[12]


@mutant("sexpr.characters")
def delete_as_it_is() -> None:
    """Writes the character 127 without an escape."""
    del S.CHAR_NAMES[127]


@mutant("sexpr.characters", role="client")
def high_characters_by_number() -> None:
    """Writes the characters 128 to 159 by their numbers."""
    _written(lambda v, _: f"#\\x{v.code:x}" if isinstance(v, Char) and 128 <= v.code < 160 else None)


def _flonum(change: Callable[[float, str], str]) -> None:
    around(S, "write_flonum", lambda real: lambda value: change(value, real(value)))


@mutant("sexpr.flonums")
def exponents_without_a_plus() -> None:
    """Writes 1e21 for 1e+21."""
    _flonum(lambda value, text: text.replace("e+", "e"))


@mutant("sexpr.flonums", role="client")
def exponents_of_one_digit() -> None:
    """Writes 1e-7 for 1e-07."""
    _flonum(lambda value, text: re.sub(r"e([+-])0(\d)", r"e\1\2", text))


@mutant("sexpr.flonums")
def seventeen_digits_always() -> None:
    """Writes flonums with 17 digits whether they need them or not."""
    _flonum(lambda value, text: f"{value:.17g}" if "." in text and "n" not in text and "e" not in text else text)


@mutant("sexpr.flonums", role="client")
def fifteen_digits_always() -> None:
    """Writes flonums with 15 digits, even those that need more."""
    _flonum(lambda value, text: f"{value:.15g}" if len(text) > 17 and "n" not in text else text)


@mutant("sexpr.flonums")
def whole_flonums_in_full() -> None:
    """Writes whole flonums up to 2⁶³ without an exponent."""
    _flonum(
        lambda value, text: f"{int(value)}.0" if "e" in text and abs(value) < 2**63 and value == int(value) else text
    )


@mutant("sexpr.flonums", role="client")
def subnormals_are_zero() -> None:
    """Writes subnormal flonums as zero."""
    _flonum(lambda value, text: "0.0" if 0 < abs(value) < 2.2250738585072014e-308 else text)


def _symbols(change: Callable[[str, Callable[[str], str]], str | None]) -> None:
    around(S, "write_symbol", lambda real: lambda name: change(name, real) or real(name))


@mutant("sexpr.symbols")
def no_bars_for_hashes() -> None:
    """Writes a symbol that begins with a hash sign without bars."""
    _symbols(lambda name, real: "#" + real("x" + name[1:])[1:] if re.match(r"#[a-z]*\Z", name) else None)


@mutant("sexpr.symbols", role="client")
def no_bars_for_a_dot() -> None:
    """Writes the symbol of one dot without bars."""
    _symbols(lambda name, real: "." if name == "." else None)


@mutant("sexpr.symbols")
def bars_for_capitals() -> None:
    """Writes symbols with capital letters between bars."""
    _symbols(lambda name, real: f"|{name}|" if re.fullmatch(r"[a-z]*[A-Z][A-Za-z]*", name) else None)


@mutant("sexpr.symbols", role="client")
def no_bars_for_a_backquote() -> None:
    """Writes a symbol with a backquote without bars."""
    _symbols(lambda name, real: name if re.fullmatch(r"x`y", name) else None)


@mutant("sexpr.symbols")
def high_bytes_raw_between_bars() -> None:
    """Writes bytes from 128 up without escapes if a symbol has bars."""
    for code in range(128, 256):
        del S.SYMBOL_ESCAPES[code]


@mutant("sexpr.keywords", role="client")
def keywords_without_bars() -> None:
    """Writes keywords with blanks in them without bars."""
    _written(lambda v, _: f"{v}:" if isinstance(v, Keyword) and v else None)


@mutant("sexpr.strings")
def vertical_tabs_by_number() -> None:
    """Writes the byte 11 of a string by its number."""
    S.STRING_ESCAPES[11] = "\\x0b"


@mutant("sexpr.strings", role="client")
def delete_in_strings_raw() -> None:
    """Writes the byte 127 of a string without an escape."""
    del S.STRING_ESCAPES[127]


@mutant("sexpr.strings")
def escapes_in_capitals() -> None:
    """Writes the bytes of a string by numbers in capital letters."""
    for code in (14, 15, 26, 27, 28, 29, 30, 31):
        S.STRING_ESCAPES[code] = f"\\x{code:02X}"


@mutant("sexpr.blobs-and-numeric-vectors", role="client")
def unsigned_elements() -> None:
    """Writes the negative elements of number vectors as unsigned ones."""

    def change(value: Any, real: Callable[[Any], str]) -> str | None:
        if isinstance(value, Numbers) and value.tag[0] == "s":
            items = [item % (1 << int(value.tag[1:])) for item in value.items]
            return f"#{value.tag}({' '.join(map(str, items))})"
        return None

    _written(change)


@mutant("sexpr.blobs-and-numeric-vectors")
def whole_elements_of_f64() -> None:
    """Writes whole elements of f64vectors without a point."""

    def change(value: Any, real: Callable[[Any], str]) -> str | None:
        if isinstance(value, Numbers) and value.tag == "f64":
            return f"#f64({' '.join(real(item).removesuffix('.0') for item in value.items)})"
        return None

    _written(change)


@mutant("sexpr.blobs-and-numeric-vectors")
def blobs_in_capitals() -> None:
    """Writes blobs in capital letters."""
    _written(lambda v, _: "#${" + v.hex().upper() + "}" if isinstance(v, bytes) else None)


@mutant("sexpr.vectors", "request.empty-things", role="client")
def empty_vectors_are_lists() -> None:
    """Writes the empty vector as the empty list."""
    around(S, "write", lambda real: lambda value: real(value).replace("#()", "()"))


@mutant("sexpr.lists")
def no_blank_before_a_tail() -> None:
    """Does not write a blank between the dot of a list and its tail if that is a string or a vector."""
    around(S, "write", lambda real: lambda value: re.sub(r' \. (["#])', r" .\1", real(value)))


@mutant("sexpr.lists")
def quotes_are_abbreviated() -> None:
    """Abbreviates quotes."""
    around(S, "write", lambda real: lambda value: re.sub(r"\(quote ([^() ]+)\)", r"'\1", real(value)))
