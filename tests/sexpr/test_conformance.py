"""Every recorded vector of both CHICKENs: what `write` printed, byte for byte, and what `read` returned.

The deviations of `read` are those of `docs/sexpr.md`. Each is listed here by its input; any other deviation fails.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    CHICKEN_5,
    Reader,
    ReadError,
    dumps,
    loads,
    parse,
    skip_atmosphere,
)
from bokbok_interop.vectors import load_lines, untag
from tests.support.tagged import same

WRITE = [(CHICKEN_4_EXACT, line) for line in load_lines("4.13.0", "write")]
WRITE += [(CHICKEN_5, line) for line in load_lines("5.3.0", "write")]
READ = [(dialect, line) for dialect in (CHICKEN_4, CHICKEN_4_EXACT) for line in load_lines("4.13.0", "read")]
READ += [(CHICKEN_5, line) for line in load_lines("5.3.0", "read")]

# The deviations: by version, the value of the input here, or the class of the error.
EVERYWHERE: dict[bytes, Any] = {
    b"#true": True,
    b"#false": False,
    b"(a . )": ReadError,
    b"'": ReadError,
    b"": ReadError,
    b" ": ReadError,
}
DEVIATIONS: dict[int, dict[bytes, Any]] = {
    4: EVERYWHERE
    | {
        b"1/2": Fraction(1, 2),
        b"4/2": 2,
        b"4611686018427387904": 4611686018427387904,
        b"1e400": math.inf,
        b"-1e400": -math.inf,
    },
    5: EVERYWHERE | {b"1+i": ReadError},
}


def identify(value: object) -> str:
    if isinstance(value, dict):
        return (value["hex"] or "empty")[:40]
    return str(value)


@pytest.mark.parametrize(("dialect", "line"), WRITE, ids=identify)
def test_a_value_is_written_as_write_prints_it(dialect: Any, line: dict[str, Any]) -> None:
    assert dumps(untag(line["value"]), dialect=dialect) == bytes.fromhex(line["hex"])


@pytest.mark.parametrize("line", load_lines("4.13.0", "write"), ids=identify)
def test_a_value_written_safely_reads_back_in_every_dialect(line: dict[str, Any]) -> None:
    value = untag(line["value"])
    for dialect in (CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5):
        assert same(loads(dumps(value), dialect=dialect), value)


@pytest.mark.parametrize(("dialect", "line"), READ, ids=identify)
def test_bytes_are_read_as_read_does(dialect: Any, line: dict[str, Any]) -> None:
    data = bytes.fromhex(line["hex"])
    if data in DEVIATIONS[dialect.version]:
        expected = DEVIATIONS[dialect.version][data]
        if expected is ReadError:
            with pytest.raises(ReadError):
                loads(data, dialect=dialect)
        else:
            assert same(loads(data, dialect=dialect), expected)
    elif line["value"] is None:
        with pytest.raises(ReadError):
            parse(data, dialect=dialect)
    else:
        value, end = parse(data, dialect=dialect)
        assert same(value, untag(line["value"]))
        assert data[end:] == bytes.fromhex(line["rest"])


READABLE = [
    (dialect, line)
    for dialect, line in READ
    if line["value"] is not None and bytes.fromhex(line["hex"]) not in DEVIATIONS[dialect.version]
]


@pytest.mark.parametrize(("dialect", "line"), READABLE, ids=identify)
def test_loads_refuses_anything_but_white_space_and_comments_behind_a_datum(dialect: Any, line: dict[str, Any]) -> None:
    data = bytes.fromhex(line["hex"])
    rest = bytes.fromhex(line["rest"])
    if rest.strip(b" \t\n\v\f\r") and not rest.startswith(b";"):
        with pytest.raises(ReadError) as caught:
            loads(data, dialect=dialect)
        assert caught.value.offset == skip_atmosphere(data, len(data) - len(rest))
    else:
        assert same(loads(data, dialect=dialect), untag(line["value"]))


@pytest.mark.parametrize(("dialect", "line"), READ, ids=identify)
def test_a_reader_fed_byte_by_byte_finds_the_same_first_datum(dialect: Any, line: dict[str, Any]) -> None:
    data = bytes.fromhex(line["hex"])
    reader = Reader(dialect=dialect)
    found: list[Any] = []
    try:
        for i in range(len(data)):
            found += reader.feed(data[i : i + 1])
        found += reader.close()
    except ReadError:
        pass
    try:
        expected = [parse(data, dialect=dialect)[0]]
    except ReadError:
        expected = []
    assert same(found[:1], expected)
