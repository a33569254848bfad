"""Peers that break on a datum."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import peer as P
import sexpr as S
from sexpr import Symbol

from .._mutant import C, around, claim, mutant


@mutant("hostile.unreadable-request")
def unreadable_requests_close() -> None:
    """Closes if one request's datum cannot be read."""
    around(
        C,
        "request_came",
        lambda real: (
            lambda self, n, body: real(self, n, body) if not isinstance(body, P.Unreadable) else self.end("unreadable")
        ),
    )


@mutant("hostile.unreadable-request", "hostile.unreadable-answer")
def any_bracket_closes() -> None:
    """Accepts any closing bracket for what is open."""
    real = S.read

    def read(text: str, at: int = 0) -> tuple[Any, int]:
        try:
            return real(text, at)
        except S.ReadError:
            if '"' in text.replace('"echo"', ""):
                raise
            return real(text.translate(str.maketrans("[]{}", "()()")), at)

    S.read = read


@mutant("hostile.unreadable-answer", "hostile.server-sends-unreadable-answer", role="client")
def unreadable_answers_close() -> None:
    """Closes if one answer's datum cannot be read."""
    _unreadable(lambda real, text, found: _protocol_error())


def _protocol_error() -> Any:
    raise P.ProtocolError("unreadable")


def _unreadable(act: Callable[[Any, str, Any], Any]) -> None:
    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            found = real(text)
            return act(real, text, found) if isinstance(found[2], P.Unreadable) else found

        return run

    around(P, "parse_message", parse)


@mutant("hostile.server-sends-unreadable-request", role="client")
def unreadable_requests_are_ignored() -> None:
    """Does not answer a request that it cannot read."""
    around(
        C,
        "request_came",
        lambda real: lambda self, n, body: real(self, n, body) if not isinstance(body, P.Unreadable) else None,
    )


@mutant("hostile.deep-nesting", "hostile.endless-nesting")
def reads_by_recursion() -> None:
    """Reads nested datums by recursion, and dies of a stack overflow."""

    def read(real: Any) -> Any:
        def run(text: str, at: int = 0) -> Any:
            if text.count("(") > 100_000 or text.count("'") > 100_000:
                os._exit(139)  # what a C stack does
            return real(text, at)

        return run

    around(S, "read", read)


@mutant("hostile.server-sends-huge-things", role="client")
def client_reads_by_recursion() -> None:
    """A client that reads nested datums by recursion, and dies of a stack overflow."""
    reads_by_recursion()


@mutant("hostile.huge-numbers")
def numbers_take_for_ever() -> None:
    """Needs hours for a number of thousands of digits."""

    def token(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if text[at : at + 3_000].isdigit():
                time.sleep(3_600)
            return real(text, at)

        return run

    around(S, "_token", token)


@mutant("hostile.million-symbols")
def interns_symbols_slowly() -> None:
    """Keeps every symbol in a list that it searches from the start."""
    claim("hardening")
    table: list[str] = []

    class Interned(str):
        __slots__ = ()

        def __new__(cls, name: str) -> Any:
            if len(table) > 2_000:
                time.sleep(0.0005)
            table.append(name)
            return str.__new__(cls, name)

    real = S._token

    def token(text: str, at: int) -> Any:
        value, at = real(text, at)
        if isinstance(value, Symbol):
            Interned(value)
        return value, at

    S._token = token


@mutant("hostile.depth-limit", security="insecure")
def counts_the_message_as_a_level() -> None:
    """Counts the list of the message itself as a level of nesting."""
    S.MAX_DEPTH -= 1


@mutant("hostile.server-depth-limit", role="client", security="insecure")
def client_reads_a_level_too_many() -> None:
    """A client that reads one level of nesting more than the limit."""
    S.MAX_DEPTH += 1


@mutant("hostile.digits-limit", security="insecure")
def reads_fewer_digits() -> None:
    """Reads numbers of one digit less than the limit."""
    S.MAX_DIGITS -= 1


@mutant("hostile.server-digits-limit", role="client", security="insecure")
def client_reads_5000_digits() -> None:
    """A client that reads numbers of 5,000 digits."""
    S.MAX_DIGITS = 5_000


@mutant("hostile.odd-values", "hostile.server-sends-odd-values", role="both")
def large_characters_end_the_reader() -> None:
    """Dies of a character beyond Unicode in the thread that reads, and leaves the connection as it is."""
    around(S, "_character", lambda real: lambda *a: ord(chr(real(*a))))


@mutant("hostile.depth-limit", "hostile.server-depth-limit", role="both")
def writes_by_recursion() -> None:
    """Reads what is 10,000 levels deep, but writes 3,000 at most."""

    def write(real: Any) -> Any:
        def run(value: Any) -> Any:
            text = real(value)
            if "(" * 3_000 in text or "#(" * 3_000 in text:
                raise RecursionError("too deep")
            return text

        return run

    around(S, "write", write)


@mutant("hostile.depth-limit", "hostile.server-depth-limit", role="both")
def quotes_leave_their_level() -> None:
    """Counts a level where a quote begins, and does not count it down where the quote ends."""

    def read(real: Any) -> Any:
        def run(text: str, at: int = 0) -> Any:
            if text.count("'x") > S.MAX_DEPTH:
                raise S.ReadError("nested deeper than the limit")
            return real(text, at)

        return run

    around(S, "read", read)


def _reads_answers_in_its_own_way(change: Callable[[Any, str], Any]) -> None:
    def parse(real: Any) -> Any:
        return lambda text: real(text) if text.startswith("(request") else change(real, text)

    around(P, "parse_message", parse)


@mutant("hostile.depth-limit", "hostile.server-depth-limit", role="both")
def answers_of_any_depth() -> None:
    """Asks for the limit of nesting in requests, and not in answers."""

    def change(real: Any, text: str) -> Any:
        limit, S.MAX_DEPTH = S.MAX_DEPTH, 1 << 40
        try:
            return real(text)
        finally:
            S.MAX_DEPTH = limit

    _reads_answers_in_its_own_way(change)


@mutant("hostile.digits-limit", "hostile.server-digits-limit", role="both")
def answers_of_any_digits() -> None:
    """Asks for the limit of digits in requests, and not in answers."""
    _reads_answers_in_its_own_way(lambda real, text: real(re.sub(r"\d{4000,}", "7", text)))


@mutant("hostile.unreadable-answer", "hostile.server-sends-unreadable-answer", role="both")
def unreadable_errors_close() -> None:
    """Closes if the message of one error cannot be read."""

    def change(real: Any, text: str) -> Any:
        found = real(text)
        if found[0] == "error" and isinstance(found[2], P.Unreadable):
            raise P.ProtocolError("an error that does not read")
        return found

    _reads_answers_in_its_own_way(change)
