"""The grammar of docs/sexpr.md, read from there: each text that it derives is one datum, and it derives what is
written."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bokbok.sexpr import CHICKEN_4, DIALECTS, Reader, ReadError, loads
from bokbok_interop.vectors import load_dialect, load_lines
from tests.support.datums import chicken_bytes
from tests.support.grammar import documented
from tests.support.tagged import same

GRAMMAR = documented()
VECTORS = load_dialect()
HEIGHT = 14
"""How many productions nest in a derived text: enough for each of them to occur."""


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Any text that the grammar derives."""
    return GRAMMAR.derive("text", lambda count: draw(st.integers(0, count - 1)), draw(st.integers(6, HEIGHT)))


def read_in_pieces(data: bytes, cuts: list[int], dialect: Any = CHICKEN_4) -> list[Any]:
    reader = Reader(dialect=dialect)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = []
    for start, end in itertools.pairwise(edges):
        found += reader.feed(data[start:end])
    return found + reader.close()


def reads(data: bytes) -> bool:
    try:
        loads(data)
    except ReadError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(texts(), st.lists(st.integers(0, 200), max_size=6))
def test_what_the_grammar_derives_is_one_datum_whole_and_in_pieces(text: bytes, cuts: list[int]) -> None:
    value = loads(text)
    assert same(read_in_pieces(text, cuts), [value])
    assert same(read_in_pieces(text, list(range(len(text)))), [value])


def test_every_alternative_of_the_grammar_is_derived_and_read() -> None:
    used: set[Any] = set()
    choose = random.Random(1).randrange
    for _ in range(3000):
        text = GRAMMAR.derive("text", choose, HEIGHT, used)
        try:
            loads(text)
        except ReadError as error:
            pytest.fail(f"{text!r}: {error}")
    assert GRAMMAR.alternatives() - used == set()


def test_what_the_dialect_writes_is_in_the_grammar() -> None:
    recorded = len(load_lines("4.13.0", "write"))
    lines = VECTORS[:recorded:4] + VECTORS[recorded:]  # following all of them takes too long
    assert [line for line in lines if not GRAMMAR.recognises("text", bytes.fromhex(line["hex"]))] == []


def test_the_grammar_takes_what_the_reader_takes_of_the_recorded_inputs_and_nothing_else() -> None:
    inputs = [bytes.fromhex(line["hex"]) for line in load_lines("4.13.0", "read")]
    # Of the three that are longer one nests thousands of lists, which the recogniser follows by recursion.
    inputs = [data for data in inputs if len(data) < 200]
    assert [data for data in inputs if GRAMMAR.recognises("text", data) != reads(data)] == []


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A text of the grammar with some bytes dropped, changed, or put in."""
    text = bytearray(draw(texts()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        text[start : start + draw(st.integers(0, 2))] = draw(chicken_bytes(2))
    return bytes(text)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
@settings(max_examples=100, deadline=None)
@given(data=mutants(), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_a_mutated_text_raises_nothing_but_a_read_error(dialect: Any, data: bytes, cuts: list[int]) -> None:
    for read in (lambda: loads(data, dialect=dialect), lambda: read_in_pieces(data, cuts, dialect)):
        with contextlib.suppress(ReadError):
            read()


@settings(max_examples=60, deadline=None)
@given(mutants())
def test_a_mutated_text_that_the_grammar_still_derives_is_still_read(data: bytes) -> None:
    # A here-string ends at the first line that is its tag, which a mutated line may be.
    assume(b"#<" not in data)
    assert reads(data) or not GRAMMAR.recognises("text", data)
