"""`bokbok._front.settings`: arguments of another type than they should be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bokbok import Guards, Limits
from bokbok._front.settings import Settings


@pytest.mark.parametrize("name", ["on_request", "user_to_key", "on_open", "on_close"])
def test_a_handler_is_a_function(name: str) -> None:
    given: Any = {name: 1}
    with pytest.raises(TypeError, match=f"{name}: expected a function, got int"):
        Settings(**given)


def test_of_a_dict_of_keys_its_method_is_one() -> None:
    keys: Any = {"me": None}
    with pytest.raises(TypeError, match=re.escape("expected a function, got dict; of a dict, `.get` is one")):
        Settings(user_to_key=keys)
    Settings(user_to_key=keys.get)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"limits": 100}, "limits: expected a bokbok.Limits, got int"),
        ({"limits": Limits}, "limits: expected a bokbok.Limits, got type"),
        ({"guards": {"hello_replay": False}}, "guards: expected a bokbok.Guards, got dict"),
    ],
)
def test_limits_and_guards_are_such_objects(given: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)):
        Settings(**given)
    Settings(limits=Limits(), guards=Guards())
