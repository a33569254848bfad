"""`bokbok.wire._limits`: what they are unless said otherwise, and what they cannot be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bokbok.wire import DEFAULT_LIMITS, Limits


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert dataclasses.asdict(DEFAULT_LIMITS) == {
        "packet": 16 * 1024 * 1024,
        "depth": 10_000,
        "message_memory": 64 * 1024 * 1024,
        "running": 1024,
        "waiting": 4096,
        "hello_timeout": 10.0,
        "send_timeout": 60.0,
        "unsent": 32 * 1024 * 1024,
        "connections": 4096,
    }


@pytest.mark.parametrize(
    "name", ["packet", "depth", "message_memory", "running", "connections", "hello_timeout", "send_timeout", "unsent"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_above_0(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"limit {name}: expected a number above 0, got {value!r}"):
        Limits(**{name: value})


def test_nothing_may_wait() -> None:
    assert Limits(waiting=0).waiting == 0
    with pytest.raises(ValueError, match="limit waiting: expected a number from 0 up, got -1"):
        Limits(waiting=-1)


def test_limits_cannot_be_changed_under_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_LIMITS.packet = 1  # type: ignore[misc]
