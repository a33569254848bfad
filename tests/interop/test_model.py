"""What is known of an error that made a cell fail."""

from __future__ import annotations

import asyncio

import pytest

from bokbok_interop.model import Failure, Late, by_clock
from bokbok_interop.peers.base import PuppetFault


def chained(error: BaseException, cause: BaseException) -> BaseException:
    try:
        raise cause
    except BaseException:
        try:
            raise error from None
        except BaseException as raised:
            return raised


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Late("late"), True),
        (asyncio.TimeoutError(), True),
        (PuppetFault("peer", "hung", "did not answer"), True),
        (chained(Failure("not closed"), asyncio.TimeoutError()), True),
        (chained(Failure("a good neighbour is not served"), chained(Failure("nothing"), TimeoutError())), True),
        (Failure("a wrong answer"), False),
        (PuppetFault("peer", "crashed", "died"), False),
        (chained(Failure("a wrong answer"), ValueError()), False),
    ],
)
def test_what_a_clock_told_is_known_at_any_distance(error: BaseException, told: bool) -> None:
    assert by_clock(error) is told
