"""The fixture `front`, as `tests/front` has it."""

from __future__ import annotations

from tests.front.conftest import *  # noqa: F403
