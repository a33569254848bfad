"""Long tokens are read in pieces, and mean the same."""

from __future__ import annotations

from typing import Any

import pytest

from bokbok.sexpr import CHICKEN_4, CHICKEN_5, Dialect, ReadError, long, machine
from bokbok.sexpr.long import LongTokens
from bokbok.sexpr.machine import PAUSED, Machine
from tests.support.syntaxes import all_syntaxes

SYNTAXES = dict(all_syntaxes())
EVERYTHING = 1 << 60
LONG_TOKENS = [name for name in SYNTAXES if name.endswith(" long")]


def read(data: bytes, dialect: Dialect, piece: int | None) -> tuple[str, int]:
    """The datum, or why it cannot be read; and how many stops there were."""
    reader = Machine(dialect, 10_000, 1 << 26)
    position = stops = 0
    try:
        while (value := reader.run(data, position, True, piece and position + piece)) is PAUSED:
            position = reader.position
            stops += 1
    except ReadError as error:
        return str(error), stops
    return f"{value!r} {reader.position}", stops


@pytest.fixture
def long_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets from how many bytes on a token is long."""

    def set_to(size: int) -> None:
        monkeypatch.setattr(machine, "LONG", size)
        monkeypatch.setattr(long, "LONG", size)

    return set_to


@pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_5], ids=["4", "5"])
@pytest.mark.parametrize("how", ["whole", "cut", "within", "tail", "broken"])
def test_what_is_read_in_pieces_means_the_same(long_from: Any, dialect: Dialect, how: str) -> None:
    different = []
    for name, text in SYNTAXES.items():
        data = text(400)
        data = {
            "whole": data,
            "cut": data[:-40],
            "within": b"(x " + data + b" y)",
            "tail": b"(x . " + data + b")",
            "broken": data[:150] + b"\xff#<" + data[150:],
        }[how]
        long_from(EVERYTHING)
        expected, _ = read(data, dialect, None)
        long_from(40)
        if read(data, dialect, None)[0] != expected or read(data, dialect, 64)[0] != expected:
            different.append(name)
    assert not different


@pytest.mark.parametrize("name", LONG_TOKENS)
def test_a_long_token_is_not_read_in_one_go(name: str) -> None:
    data = SYNTAXES[name](300_000)
    _, stops = read(data, CHICKEN_4, 4096)
    if stops <= 10:
        # What one search for a byte finds, or what the first bytes rule out, takes no time.
        assert data.startswith((b";", b"#!/", b"#<a", b"#<#aa", b"#<#X\n#{a  ")), stops


def test_a_list_from_which_a_vector_is_made_is_looked_at_in_pieces() -> None:
    data = b"#u8 (" + b"#x1 " * 50_000 + b")"
    _, stops = read(data, CHICKEN_4, EVERYTHING)
    assert stops > 10


def test_tokens_that_are_not_long_are_left_to_the_usual_way() -> None:
    tokens = LongTokens()
    tokens.version, tokens.base, tokens.fold, tokens.sought = 4, 0, False, None
    for name, text in SYNTAXES.items():
        if name.endswith("side by side"):
            data = text(200)[1:-2].strip() + b" " + b"x " * 100_000
            assert tokens.begin_long(data, 0, True) is None, name
