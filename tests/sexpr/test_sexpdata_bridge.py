"""To and from sexpdata's own structures."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import sexpdata
from hypothesis import given

from bokbok.sexpr import EOF, Char, Dotted, Keyword, Symbol, WriteError, from_sexpdata, loads, to_sexpdata
from tests.support.datums import datums
from tests.support.tagged import same

Brackets, Quoted = sexpdata.Brackets, sexpdata.Quoted

PAIRS = [
    ([1, "a", Symbol("b"), [True, 1.5]], [1, "a", Symbol("b"), [True, 1.5]]),
    ([], []),
    ((1, [2], ()), Brackets([1, [2], Brackets([])])),
    (Dotted([1, 2], 3), [1, 2, Symbol("."), 3]),
    (Dotted([Dotted([1], 2)], (3,)), [[1, Symbol("."), 2], Symbol("."), Brackets([3])]),
    ([Symbol("quote"), [1]], Quoted([1])),
    ([Symbol("a"), [Symbol("quote"), Symbol("b")]], [Symbol("a"), Quoted(Symbol("b"))]),
    ([Symbol("quote"), 1, 2], [Symbol("quote"), 1, 2]),
    (Keyword("a"), Symbol(":a")),
    (Symbol(":"), Symbol(":")),
    ([Char("a"), b"x", EOF], [Char("a"), b"x", EOF]),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=repr)
def test_the_two_forms_of_a_value(ours: Any, theirs: Any) -> None:
    assert to_sexpdata(ours) == theirs
    assert type(to_sexpdata(ours)) is type(theirs)
    assert same(from_sexpdata(theirs), ours)


@pytest.mark.parametrize("text", ['(a (b . c) [1 2 (3)] \'d "e")', "'('a . b)", '(1 2.5 :key "v")', "()", "[[]]"])
def test_what_sexpdata_reads_comes_back_to_it(text: str) -> None:
    theirs = sexpdata.loads(text)
    assert to_sexpdata(from_sexpdata(theirs)) == theirs


def test_sexpdata_writes_what_was_converted() -> None:
    assert sexpdata.dumps(to_sexpdata(loads(b'(request 1 (\'a . "b") #(1 2))'))) == '(request 1 (\'a . "b") [1 2])'


def test_strings_and_parentheses_of_sexpdata_are_plain() -> None:
    assert same(from_sexpdata([sexpdata.String("a"), sexpdata.Parens([1])]), ["a", [1]])
    assert same(from_sexpdata((1, 2)), [1, 2])


def test_what_is_sexpdatas_already_stays_as_it_is() -> None:
    value = [Quoted(1), Brackets([2])]
    assert to_sexpdata(value) == value


def test_a_dot_before_a_list_joins_it() -> None:
    assert from_sexpdata([1, Symbol("."), [2, 3]]) == [1, 2, 3]
    assert from_sexpdata([1, Symbol("."), [2, Symbol("."), 3]]) == Dotted([1, 2], 3)


def test_the_argument_is_not_changed() -> None:
    value: list[Any] = [[1], (2, [Symbol("quote"), 3])]
    to_sexpdata(value)
    assert value == [[1], (2, [Symbol("quote"), 3])]
    assert to_sexpdata(value)[0] is not value[0]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([Symbol("quote"), Symbol(":a")], "message[1]"),
        ([Keyword("")], "message[0]"),
        ([[1, Symbol("."), 2]], "message[0]"),
        ((0, [Symbol(":b")]), "message[1][0]"),
    ],
)
def test_what_sexpdata_could_not_tell_apart_is_refused(value: Any, path: str) -> None:
    with pytest.raises(WriteError) as caught:
        to_sexpdata(value)
    assert caught.value.path == path


@pytest.mark.parametrize("convert", [to_sexpdata, from_sexpdata])
def test_a_cycle_is_refused_with_its_place(convert: Any) -> None:
    value: list[Any] = [1]
    value.append([value])
    with pytest.raises(WriteError, match="cycle") as caught:
        convert(value)
    assert caught.value.path == "message[1][0]"


@pytest.mark.parametrize("convert", [to_sexpdata, from_sexpdata])
def test_nesting_deeper_than_any_recursion_limit_is_converted(convert: Any) -> None:
    value: list[Any] = []
    for _ in range(50_000):
        value = [value]
    converted = convert(value)
    depth = 0
    while converted:
        converted = converted[0]
        depth += 1
    assert depth == 50_000


def holds_what_sexpdata_cannot_tell(value: Any) -> bool:
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, Symbol) and (value.startswith(":") or value == Symbol(".") or value == Symbol("quote")):
            return True
        if isinstance(value, Keyword) and not value.name:
            return True
        if isinstance(value, Dotted):
            pending += [*value.items, value.tail]
        elif isinstance(value, (list, tuple)):
            pending += value
    return False


@given(datums().filter(lambda value: not holds_what_sexpdata_cannot_tell(value)))
def test_any_other_value_comes_back_from_sexpdata(value: Any) -> None:
    assert same(from_sexpdata(to_sexpdata(value)), value)


def test_arrays_stay_as_they_are() -> None:
    value = array("B", [1])
    assert to_sexpdata(value) is value
    assert from_sexpdata(value) is value
