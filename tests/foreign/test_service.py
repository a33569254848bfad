"""The foreign conformance service answers as the table of requests says, on both sides of a connection."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.foreign import INFERRED_1, INFERRED_1_INSECURE, Answer, Format, record
from tests.support.foreign.sexpr import Char, Dotted, Keyword, Numbers, Symbol, read, write


def asked(request: str, fmt: Format = INFERRED_1) -> Answer:
    """What becomes of a request to the server."""
    capture = record(fmt, [request], Random(1), connections=1)
    (answer,) = [exchange.answer for exchange in capture.exchanges[0] if exchange.request == read(request)]
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ('("echo" (a #(b)))', "(a #(b))"),
        ('("ping" "x")', '("pong" "x")'),
        ('("sleep" 5 done)', "done"),
        ('("count" "n")', "1"),
        ('("callback" 2 x)', "((0 x) (1 x))"),
        ('("callback" 0 x)', "()"),
        ('("relay" 0 x)', "x"),
        ('("relay" 4 x)', "x"),
        ('("whoami")', '"myuser"'),
        ('("unspecified")', "()"),
        ('("asynch")', "()"),
    ],
)
def test_a_request_and_its_answer(request_: str, answer: str) -> None:
    found = asked(request_)
    assert (found.outcome, write(found.value).decode()) == ("answer", answer)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ('("fail" "oh no")', "oh no"),
        ('("raise" (a "b"))', '(a "b")'),
        ('("no-such" 1)', '("no-such" 1)'),
        ("whatever", "whatever"),
        ('("unwritable")', "no external representation"),
        ('("callback" x y)', "TypeError"),
    ],
)
def test_a_request_and_its_error(request_: str, text: str) -> None:
    found = asked(request_)
    assert found.outcome == "error"
    assert text in str(found.value)


def test_nobody_is_on_an_insecure_connection() -> None:
    assert asked('("whoami")', INFERRED_1_INSECURE) == Answer("answer", False)


def test_close_closes_and_loses_the_request() -> None:
    assert asked('("close")').outcome == "lost"


def test_a_counter_is_the_programs_not_the_connections() -> None:
    capture = record(INFERRED_1, ['("count" "n")'] * 2, Random(1), connections=2, overlap=False)
    answers = [exchange.answer.value for exchanges in capture.exchanges for exchange in exchanges if exchange.answer]
    assert answers == [1, 2, 3, 4]


def test_the_demo_calls_back_three_times_after_its_answer() -> None:
    capture = record(INFERRED_1, ['("asynch")'], Random(1), connections=1)
    asked_back = [exchange for exchange in capture.exchanges[0] if exchange.asker == "server"]
    assert [exchange.request for exchange in asked_back] == [["callback", number] for number in "123"]
    assert [exchange.answer for exchange in asked_back] == [Answer("answer", [])] * 3


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "boolean"),
        (1, "fixnum"),
        (1.5, "flonum"),
        ("s", "string"),
        (b"b", "blob"),
        ([1], "list"),
        ([], "null"),
        ((1,), "vector"),
        (Symbol("s"), "symbol"),
        (Keyword("k"), "keyword"),
        (Char(97), "char"),
        (Dotted((1,), 2), "pair"),
        (Numbers("u8", (1,)), "u8vector"),
    ],
)
def test_type_names(value: object, name: str) -> None:
    assert asked(write(["type", value]).decode()) == Answer("answer", name)  # type: ignore[list-item]
