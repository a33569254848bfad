"""The fixture `front`, as in `tests/front`."""

from __future__ import annotations

from tests.front.conftest import *  # noqa: F403
