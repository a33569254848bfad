"""The value classes: equality, hashing, immutability, `repr`, pickling."""

from __future__ import annotations

import copy
import pickle
from array import array
from fractions import Fraction
from typing import Any

import pytest
import sexpdata

from bokbok.sexpr import EOF, Char, Dotted, EofType, Keyword, Symbol, type_name

VALUES = [Keyword("foo"), Keyword(""), Char("x"), Char("\ud800"), Dotted([Symbol("a"), 1], "b"), EOF]


def test_symbol_is_sexpdatas_own() -> None:
    assert Symbol is sexpdata.Symbol


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_repr_evaluates_to_an_equal_value(value: Any) -> None:
    names = {"Keyword": Keyword, "Char": Char, "Dotted": Dotted, "EOF": EOF, "Symbol": Symbol}
    assert eval(repr(value), names) == value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_pickling_and_copying_give_an_equal_value(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize(
    ("value", "attribute"),
    [(Keyword("a"), "name"), (Char("a"), "value"), (Dotted([1], 2), "tail"), (Dotted([1], 2), "items"), (EOF, "x")],
)
def test_attributes_cannot_be_set_or_deleted(value: Any, attribute: str) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, attribute, "b")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(value, attribute)


def test_equal_values_have_equal_hashes() -> None:
    assert len({Keyword("a"), Keyword("a"), Char("a"), Char("a"), Dotted([1], 2), Dotted((1,), 2), EOF, EofType()}) == 4


@pytest.mark.parametrize("other", ["a", Symbol("a"), Keyword("b"), Char("a"), None])
def test_a_keyword_equals_keywords_of_its_name_only(other: object) -> None:
    assert Keyword("a") == Keyword("a")
    assert Keyword("a") != other


@pytest.mark.parametrize("other", ["a", Symbol("a"), Char("b"), Keyword("a"), 97])
def test_a_char_equals_chars_of_its_code_point_only(other: object) -> None:
    assert Char("a") == Char("a")
    assert Char("a") != other


@pytest.mark.parametrize("other", [[1, 2], (1, 2), Dotted([1], 3), Dotted([2], 2), Dotted([1, 2], 2)])
def test_a_dotted_list_equals_those_of_equal_items_and_tail(other: object) -> None:
    assert Dotted([1], 2) == Dotted([1], 2)
    assert Dotted([1], 2) != other


def test_a_dotted_list_of_unhashable_items_is_unhashable() -> None:
    with pytest.raises(TypeError):
        hash(Dotted([[1]], 2))


def test_a_dotted_list_keeps_a_list_of_its_own() -> None:
    items = [1]
    value = Dotted(items, 2)
    items.append(3)
    assert value.items == [1]


def test_a_dotted_list_needs_an_item() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        Dotted([], 1)


def test_the_name_of_a_keyword_is_a_str() -> None:
    with pytest.raises(TypeError, match="bytes"):
        Keyword(b"a")  # type: ignore[arg-type]
    assert type(Keyword(Symbol("a")).name) is str


@pytest.mark.parametrize("value", ["", "ab"])
def test_a_char_is_one_code_point(value: str) -> None:
    with pytest.raises(ValueError, match=f"not {len(value)}"):
        Char(value)


def test_a_char_is_made_of_a_str() -> None:
    with pytest.raises(TypeError, match="int"):
        Char(97)  # type: ignore[arg-type]
    assert Char("é").code_point == 233


def test_there_is_one_end_of_file_object() -> None:
    assert EofType() is EOF
    assert pickle.loads(pickle.dumps(EOF)) is EOF


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "boolean"), (1, "integer"), (1.0, "flonum"), (Fraction(1, 2), "ratnum"), ("a", "string"),
        (Symbol("a"), "symbol"), (Keyword("a"), "keyword"), (Char("a"), "char"), (b"a", "blob"), ([], "list"),
        ((), "vector"), (Dotted([1], 2), "dotted"), (array("B"), "srfi-4 vector"), (EOF, "eof"), (None, "unspecified"),
        ({}, "dict"),
    ],
)  # fmt: skip
def test_a_value_has_the_name_of_its_type_in_scheme(value: object, name: str) -> None:
    assert type_name(value) == name
