"""The foreign s-expressions agree with what CHICKEN writes, and know when a datum has not ended yet."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from bokbok_interop.vectors import load_dialect, load_lines
from tests.support.foreign.scripts import random_datum
from tests.support.foreign.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    CHICKEN_5,
    DIALECTS,
    EOF,
    BadDatum,
    Char,
    Datum,
    Dotted,
    Incomplete,
    Keyword,
    Numbers,
    Symbol,
    Unwritable,
    from_bytes,
    read,
    read_all,
    read_prefix,
    same,
    write,
)

FAULTY = [b"\0", b"\t", b"\n", b"\v", b"\f"]
"""Symbols that CHICKEN 4 writes so that it cannot read them itself."""


def untagged(tagged: dict[str, Any]) -> Datum:
    """The value that a vector's tags describe."""
    tag, value = tagged["t"], tagged.get("v")
    if tag in ("string", "symbol", "keyword"):
        name = from_bytes(bytes.fromhex(value))
        return {"string": str, "symbol": Symbol, "keyword": Keyword}[tag](name)
    if tag == "flonum":
        return float.fromhex(value)
    if tag in ("fixnum", "boolean"):
        return value
    if tag in ("list", "vector", "dotted"):
        items = [untagged(item) for item in value]
        if tag == "dotted":
            tail = untagged(tagged["tail"])
            return items if tail is None else Dotted(tuple(items), tail)  # it travels as the empty list
        return items if tag == "list" else tuple(items)
    if tag.endswith("vector"):
        numbers = (float.fromhex(number) if isinstance(number, str) else number for number in value)
        return Numbers(tag.removesuffix("vector"), tuple(numbers))
    return {
        "blob": lambda: bytes.fromhex(value),
        "char": lambda: Char(value),
        "eof": lambda: EOF,
        "unspecified": lambda: None,
    }[tag]()


def written(version: str) -> list[tuple[Datum, bytes]]:
    """What that CHICKEN's `write` prints for which values."""
    return [(untagged(vector["value"]), bytes.fromhex(vector["hex"])) for vector in load_lines(version, "write")]


@pytest.mark.parametrize(("version", "dialect"), [("4.13.0", CHICKEN_4_EXACT), ("5.3.0", CHICKEN_5)])
def test_every_value_is_written_as_chicken_writes_it(version: str, dialect: str) -> None:
    vectors = written(version)
    assert len(vectors) > 1000
    assert [(value, write(value, dialect)) for value, data in vectors if write(value, dialect) != data] == []


def test_what_the_dialect_that_travels_writes_is_read_as_the_value() -> None:
    for line in load_dialect():
        assert same(read(bytes.fromhex(line["hex"])), untagged(line["value"])), line


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_written_reads_back_the_same(dialect: str) -> None:
    for value, _ in written("5.3.0"):
        if dialect == CHICKEN_4_EXACT and isinstance(value, Symbol) and value.name.encode(errors="replace") in FAULTY:
            continue
        data = write(value, dialect)
        assert write(read(data), dialect) == data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_random_datums_read_back_the_same(dialect: str) -> None:
    rng = Random(1)
    for _ in range(500):
        datum = random_datum(rng)
        assert same(read(write(datum, dialect)), datum)


def test_a_flonum_of_chicken_4_takes_as_many_digits_as_it_needs() -> None:
    assert write([0.1, 0.1 + 0.2, 1e21, 2.0], CHICKEN_4) == b"(0.1 0.30000000000000004 1e+21 2.0)"
    assert write(0.1 + 0.2, CHICKEN_4_EXACT) == b"0.3"


def test_a_datum_cut_anywhere_is_incomplete() -> None:
    whole = rb"""(a "b\"\\\n" |c\|d| #\x #u8(1 2) #${00ff} #(1 . (2)) k: -1.5e3 'q #;(x) #| ( |# #t)"""
    for cut in range(len(whole)):
        with pytest.raises(Incomplete):
            read_prefix(whole[:cut])
    assert read_prefix(whole + b" rest")[1] == len(whole)


def test_a_bare_token_ends_only_where_something_follows() -> None:
    with pytest.raises(Incomplete):
        read_prefix(b"12")
    assert read_prefix(b"12 ") == (12, 2)
    assert read_prefix(b"12", at_end=True) == (12, 2)


NO_DATUMS = [b")", b"(1 . 2 3)", b"(. 1)", b'"\\q"', b"#<procedure>", b"#nonsense ", b"#${0}", b"1 2", b""]


@pytest.mark.parametrize("text", NO_DATUMS)
def test_what_is_no_datum_is_refused(text: bytes) -> None:
    with pytest.raises(BadDatum):
        read(text)


def test_the_unspecified_value_is_read_and_written_as_the_empty_list() -> None:
    assert read(b"#<unspecified>") is None
    assert write([None]) == b"(())"


def test_a_script_is_datums_and_comments() -> None:
    assert read_all('; first\n("ping" "1") #| no |# ("asynch")') == [["ping", "1"], ["asynch"]]


def test_what_a_dialect_cannot_hold_is_refused() -> None:
    assert write(2**62, CHICKEN_5) == b"4611686018427387904"
    with pytest.raises(Unwritable):
        write(2**62, CHICKEN_4)
    with pytest.raises(Unwritable):
        write([object()])  # type: ignore[list-item]
