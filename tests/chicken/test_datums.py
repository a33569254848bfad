"""The egg's reader and writer of datums, compared with what real CHICKENs wrote and read, and with its own CHICKEN."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.vectors import load_lines
from tests.chicken.driving import Lines

RELEASES = {"chicken5": "5.3.0", "chicken4": "4.13.0"}


@pytest.fixture
def internals(program: Callable[[str], Path]) -> Iterator[Lines]:
    driver = Lines(program("internals"))
    yield driver
    assert driver.end() == 0


def vectors(chicken: str, kind: str) -> list[dict[str, Any]]:
    return load_lines(RELEASES[chicken], kind)


def double(text: str) -> str:
    return struct.pack("<d", float.fromhex(text)).hex()


def sexpr(tagged: dict[str, Any]) -> str | None:
    """A tagged value in the form that the driver takes and prints; None for a value that it cannot take."""
    kind, value = tagged["t"], tagged.get("v")
    if kind in ("string", "symbol", "keyword", "blob"):
        return f'({kind} "{value}")'
    if kind in ("fixnum", "char"):
        return f"({kind} {value})"
    if kind == "boolean":
        return f"(boolean {'#t' if value else '#f'})"
    if kind == "flonum":
        return f'(flonum "{double(value)}")'
    if kind in ("eof", "unspecified"):
        return f"({kind})"
    if kind in ("list", "vector", "dotted"):
        items = [sexpr(item) for item in value]
        if kind == "dotted":
            items.append(sexpr(tagged["tail"]))
        if None in items:
            return None
        inner = " ".join(str(item) for item in items[: len(value)])
        return f"({kind} ({inner}) {items[-1]})" if kind == "dotted" else f"({kind} ({inner}))"
    if kind in ("f32vector", "f64vector"):
        return f"({kind} ({' '.join(sexpr({'t': 'flonum', 'v': number}) or '' for number in value)}))"
    if kind.endswith("vector"):
        return f"({kind} ({' '.join(f'(fixnum {number})' for number in value)}))"
    return None


def test_writes_to_the_byte_what_chicken_writes_but_keywords_as_chicken_4(internals: Lines, chicken: str) -> None:
    old = {json.dumps(v["value"]): v["hex"] for v in vectors("chicken4", "write")}
    wrong = []
    count = 0
    for vector in vectors(chicken, "write"):
        form = sexpr(vector["value"])
        if form is None:
            continue
        expected = vector["hex"]
        if '"keyword"' in json.dumps(vector["value"]):
            expected = old[json.dumps(vector["value"])]
        count += 1
        answer = internals.ask(f"(write {form})")
        if not answer.startswith(f'(bytes "{expected}" '):
            wrong.append((form, expected, answer))
    assert wrong == []
    assert count > 1000


DEVIATIONS = {
    b"#true": "(datum (boolean #t) 5)",
    b"#false": "(datum (boolean #f) 6)",
    b"'": "error",
    b"(a . )": "error",
    b"1e400": '(datum (flonum "000000000000f07f") 5)',
    b"-1e400": '(datum (flonum "000000000000f0ff") 6)',
    b"1+i": '(datum (symbol "312b69") 3)',
}
"""Where the reader differs from CHICKEN's on purpose; see the header of `src/datum-reader.scm`."""


def test_reads_what_chicken_reads(internals: Lines, chicken: str) -> None:
    wrong = []
    for vector in vectors(chicken, "read"):
        data = bytes.fromhex(vector["hex"])
        answer = internals.ask(f'(read "{data.hex()}")')
        if data in DEVIATIONS:
            right = answer.startswith((DEVIATIONS[data], "(" + DEVIATIONS[data]))
        elif vector["error"] is not None:
            right = answer.startswith("(error ")
        elif vector["value"]["t"] == "eof" and data != b"#!eof":
            right = answer == "(nothing)"
        elif vector["value"]["t"] == "othernum":
            number = vector["value"]["v"]
            right = answer.startswith(f'(datum (othernum "{number}")')
        elif vector["value"]["t"] == "flonum" and math.isnan(float.fromhex(vector["value"]["v"])):
            right = answer.startswith("(datum (flonum ")
        else:
            used = len(data) - len(vector["rest"]) // 2
            right = answer == f"(datum {sexpr(vector['value'])} {used})"
        if not right:
            wrong.append((data, vector["value"], vector["error"], answer))
    assert wrong == []


@pytest.mark.parametrize("seed", range(5))
def test_random_datums_are_written_and_read_as_by_this_chicken(internals: Lines, seed: int) -> None:
    assert internals.ask(f"(fuzz 5000 {seed + 1})", 60) == "(fuzzed 5000)"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("(circular)", "message[1] cannot be sent: a circular structure"),
        ("(circular-car)", "cannot be sent: a circular structure"),
        ("(procedure)", "message cannot be sent: #<procedure"),
        ('(list ((string "00") (vector ((fixnum 1) (procedure)))))', "message[1][1] cannot be sent: #<procedure"),
        ("(nested 10001)", "nested deeper than 10000"),
    ],
)
def test_refuses_to_write_and_names_value_and_place(internals: Lines, value: str, message: str) -> None:
    answer = internals.ask(f"(write {value})")
    assert answer.startswith("(error ")
    assert message in answer


def test_writes_the_unspecified_value_as_the_empty_list(internals: Lines) -> None:
    assert internals.ask("(write (list ((unspecified) (fixnum 1))))").startswith('(bytes "282829203129"')


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"(a ')", '(datum (list ((symbol "61"))) 5)'),
        (b"(a #;)", '(datum (list ((symbol "61"))) 6)'),
        (b"#(1 `)", "(datum (vector ((fixnum 1))) 6)"),
        (b"(')", "(datum (list ()) 3)"),
        (b"')", "(error "),
        (b"(a . ')", "(error "),
        (b".[0]", "(error "),
        (b"(a .[0])", "(error "),
        (b"#u8 ; bytes\n(1 2)", "(datum (u8vector ((fixnum 1) (fixnum 2))) 17)"),
        (b"#u8(1 (2))", "(error "),
        (b"#e#xe123", "(datum (fixnum 57635) 8)"),
        (b"#e1e2", "(datum (fixnum 100) 5)"),
        (b"(a . b ')", "(error "),
        (b"(a . b #;c)", "(error "),
        (b"(a . #;c b #| d |# )", '(datum (dotted ((symbol "61")) (symbol "62")) 20)'),
        (b"1.79769313486232e+308", '(datum (flonum "000000000000f07f") 21)'),
        (b"-1e400", '(datum (flonum "000000000000f0ff") 6)'),
        (b"1e400+", '(datum (symbol "31653430302b") 6)'),
        (b"1e+", '(datum (symbol "31652b") 3)'),
        (b"...", '(datum (symbol "2e2e2e") 3)'),
    ],
)
def test_odd_syntax_is_taken_as_chicken_takes_it(internals: Lines, data: bytes, read: str) -> None:
    assert internals.ask(f'(read "{data.hex()}")').startswith(read)


@pytest.mark.parametrize("text", [b"#e1e9999", b"#d#e1e9999", b"#e#d1.5e+0999", b"#E1f-9999", b"#e1e999999999"])
def test_a_short_text_for_a_large_number_is_an_error(internals: Lines, text: bytes) -> None:
    assert "so large an exponent" in internals.ask(f'(read "{text.hex()}")')


@pytest.mark.parametrize(
    "data",
    [
        b"#.(exit 3)",
        b"#,(exit 3)",
        b"#<<END\nx\nEND",
        b"#<#END\n#(exit 3)\nEND",
        b"#ci FOO",
        b"#1(2)",
    ],
)
def test_reads_no_syntax_that_does_more_than_build_a_datum(internals: Lines, data: bytes) -> None:
    assert internals.ask(f'(read "{data.hex()}")').startswith("(error ")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"(" * 1_000_000, "nested deeper than 10000"),
        (b"'" * 1_000_000, "nested deeper than 10000"),
        (b"1" * 5_000, "too many digits"),
        (b" ".join(b"new-symbol-%d" % i for i in range(100_000)).join((b"(", b")")), "too many new symbols"),
    ],
)
def test_input_without_end_is_an_error_and_not_an_end(internals: Lines, data: bytes, why: str) -> None:
    assert why in internals.ask(f'(read "{data.hex()}")')
    assert internals.ask('(read "6f6b")').startswith("(datum (symbol")


def test_depth_up_to_the_limit_is_read(internals: Lines) -> None:
    for innermost in (b"", b"#u8(1)", b"#${00}", b'"x"'):
        data = b"(" * 10_000 + innermost + b")" * 10_000
        assert internals.ask(f'(read "{data.hex()}")').startswith("(datum (list")
