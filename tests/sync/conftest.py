"""Tests of what only `bokbok.sync` does. `tests/front` has tests of what both front ends do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fixtures import *  # noqa: F403
from tests.support.fronts import Threads


@pytest.fixture
def front() -> Any:
    """The front end that the other fixtures use."""
    return Threads()
