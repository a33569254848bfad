"""`bokbok.wire._limits`: the defaults, and values that are not allowed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from bokbok._front import gate
from bokbok.wire import DEFAULT_LIMITS, Limits

FROM_ZERO = ("waiting", "parked", "penalty")
UNSET = {
    "connections_per_address": gate.CONNECTIONS_PER_ADDRESS,
    "hellos_per_address": gate.HELLOS_PER_ADDRESS,
    "penalty": gate.PENALTY,
}
ROW = re.compile(r"\| `(\w+)` \| ([\d,]+)(?: (MiB|s))?\b")
UNITS = {"MiB": 1024 * 1024, "s": 1, "": 1}
DOCUMENTED = {
    name: int(number.replace(",", "")) * UNITS[unit]
    for name, number, unit in ROW.findall((Path(__file__).parents[2] / "docs/python.md").read_text())
}


def test_the_defaults_are_those_of_the_documentation() -> None:
    defaults = {name: value for name, value in dataclasses.asdict(DEFAULT_LIMITS).items() if value is not None}
    assert defaults | UNSET == DOCUMENTED


def test_other_pages_name_a_limit_without_its_number() -> None:
    """Changing one takes only the files that `CONTRIBUTING.md` names. Rules with numbers are in `docs/protocol.md`."""
    root = Path(__file__).parents[2]
    pages = [*root.glob("*.md"), *root.glob("interop/*.md"), *root.glob("docs/**/*.md")]
    numbers = {name: number for name, number, _ in ROW.findall((root / "docs" / "python.md").read_text())}
    repeated = []
    for page in pages:
        text = page.read_text(encoding="utf-8").replace("-", "_")
        if page.name in ("python.md", "protocol.md", "CHANGELOG.md"):
            continue
        for name, number in numbers.items():
            repeated += re.findall(rf"`{name}`(?: is|:)?\s+\(?{number}\b", text)
            repeated += re.findall(rf"\b{number} (?:s |MiB )?\(`{name}`", text)
    assert repeated == []


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits) if field.name not in FROM_ZERO])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_above_0(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"limit {name}: expected a number above 0, got {value!r}"):
        Limits(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_a_limit_is_a_number(name: str) -> None:
    with pytest.raises(TypeError, match=f"limit {name}: expected a number, got str"):
        Limits(**{name: "16 MiB"})


@pytest.mark.parametrize("name", FROM_ZERO)
def test_what_may_be_forbidden_is_not_below_0(name: str) -> None:
    assert getattr(Limits(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"limit {name}: expected a number from 0 up, got -1"):
        Limits(**{name: -1})


def test_limits_cannot_be_changed_under_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_LIMITS.packet = 1  # type: ignore[misc]
