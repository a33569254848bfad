"""Peers that read or write datums incorrectly."""

from __future__ import annotations

import re
from typing import Any

import sexpr as S

from ._mutant import around, mutant


@mutant("sexpr.symbols", role="client")
def symbols_without_bars() -> None:
    """Writes symbols without bars."""
    S.write_symbol = str


@mutant("sexpr.flonums", role="client")
def flonums_of_python() -> None:
    """Writes flonums as Python does."""
    S.write_flonum = repr


@mutant("sexpr.beyond-fixnums")
def fixnums_of_64_bits() -> None:
    """Writes whole numbers of 64 bits, although CHICKEN 4 has 63."""

    def atom(real: Any) -> Any:
        def run(value: Any) -> str:
            large = isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63
            return str(value) if large else real(value)

        return run

    around(S, "_write_atom", atom)


@mutant("sexpr.other-spellings")
def f32_as_doubles() -> None:
    """Does not round the elements of an f32vector to their size."""

    def finish(real: Any) -> Any:
        def run(kind: str, items: list[Any], at: int) -> Any:
            return S.Numbers("f32", items) if kind == "f32" else real(kind, items, at)

        return run

    around(S, "_finish", finish)


@mutant("sexpr.flonums", "sexpr.flonums-exact", role="client")
def loses_the_sign_of_zero() -> None:
    """Writes a negative zero as zero."""
    around(S, "write_flonum", lambda real: lambda value: real(value + 0.0))


@mutant("sexpr.characters", role="client")
def characters_of_16_bits() -> None:
    """Keeps 16 bits of a character."""
    around(S, "_character", lambda real: lambda *a: real(*a) & 0xFFFF)


@mutant("sexpr.symbols", role="client")
def folds_symbols() -> None:
    """Reads symbols as lower case."""

    def token(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            value, at = real(text, at)
            return (S.Symbol(value.lower()) if isinstance(value, S.Symbol) else value), at

        return run

    around(S, "_token", token)


@mutant("request.empty-things", "sexpr.vectors", role="client")
def vectors_are_lists() -> None:
    """Reads vectors as lists."""

    def finish(real: Any) -> Any:
        return lambda kind, items, at: list(items) if kind == "vector" else real(kind, items, at)

    around(S, "_finish", finish)


@mutant("sexpr.keywords", role="client")
def keywords_are_symbols() -> None:
    """Reads keywords as symbols that end in a colon."""

    def token(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            value, at = real(text, at)
            return (S.Symbol(value + ":") if isinstance(value, S.Keyword) else value), at

        return run

    around(S, "_token", token)


@mutant("sexpr.other-spellings")
def no_datum_comment_behind_a_dot() -> None:
    """Takes a commented datum behind the dot of a list for the tail."""
    around(S, "read", lambda real: lambda text, at=0: real(text.replace(" . #;b c)", " . b)"), at))


@mutant("sexpr.symbols", "sexpr.from-server", role="server")
def symbols_of_4096_bytes() -> None:
    """Has room for 4,096 bytes of a symbol that it reads, and cuts longer ones."""

    def token(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            value, end = real(text, at)
            return (S.Symbol(value[:4_096]) if isinstance(value, S.Symbol) else value), end

        return run

    around(S, "_token", token)


@mutant("sexpr.other-spellings")
def characters_end_at_blanks() -> None:
    """Ends the name of a character only at white space and at a closing parenthesis."""

    def atom(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if text.startswith("#\\", at):
                end = at + 3
                while end < len(text) and text[end] not in " \t\n\v\f\r)":
                    end += 1
                return S.Char(S._character(text[at + 2 : end], at)), end
            return real(text, at)

        return run

    around(S, "_atom", atom)


@mutant("sexpr.other-spellings")
def no_quote_as_a_tail() -> None:
    """Does not read a quote behind the dot of a list."""

    def read(real: Any) -> Any:
        def run(text: str, at: int = 0) -> Any:
            if re.search(r"\(a \. ['`,]", text):
                raise S.ReadError("a dot that is not followed by exactly one datum")
            return real(text, at)

        return run

    around(S, "read", read)
