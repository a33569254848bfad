"""Tests of what both front ends do are written once, with the fixture `front`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fixtures import *  # noqa: F403
from tests.support.fronts import FRONTS


@pytest.fixture(params=list(FRONTS))
def front(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[Any]:
    """A front end in the blocking shape of `bokbok.sync`."""
    made = FRONTS[request.param]()
    yield made
    made.close()
