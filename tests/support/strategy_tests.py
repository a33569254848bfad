"""Tests that every strategy has alike, made from rows: `test_… = refuses((make, problem), …)` in a strategy's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bokbok.errors import BokbokError

__all__ = ["refuses", "says"]


def refuses(*rows: tuple[Callable[[], Any], str]) -> Callable[..., None]:
    """What cannot be made is refused, with this problem."""

    @pytest.mark.parametrize(("make", "problem"), rows)
    def test(make: Callable[[], Any], problem: str) -> None:
        with pytest.raises(BokbokError, match=problem):
            make()

    return test


def says(*rows: tuple[Any, str]) -> Callable[..., None]:
    """A strategy says in these words what it is."""

    @pytest.mark.parametrize(("strategy", "words"), rows, ids=repr)
    def test(strategy: Any, words: str) -> None:
        assert strategy.words() == words

    return test
