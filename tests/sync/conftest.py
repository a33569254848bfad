"""Tests of what only `bokbok.sync` does. `tests/front` has tests of what both front ends do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fixtures import *  # noqa: F403
from tests.support.fronts import Threads


@pytest.fixture
def front() -> Any:
    """The front end that the other fixtures use."""
    return Threads()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, even if the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
