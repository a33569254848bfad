"""The steps of a meeting: each is done once, in order, and steps that need a failed one are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok.errors import BokbokError
from bokbok_meet import steps
from bokbok_meet.folder import Folder
from bokbok_meet.steps import Meeting, Options
from bokbok_meet.target import Target


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three steps: the second needs the first, and the third needs the second. Also what was tried."""
    done: list[str] = []

    def step(name: str) -> Callable[[Meeting], str]:
        def run(meeting: Meeting) -> str:
            done.append(name)
            if meeting.folder.file(f"no-{name}").exists():
                raise BokbokError(f"{name} does not work")
            return f"{name} is there"

        return run

    made: list[Any] = [
        steps._Step("one", "does one", step("one")),
        steps._Step("two", "does two", step("two"), ("one",)),
        steps._Step("three", "does three", step("three"), ("two",)),
    ]
    monkeypatch.setattr(steps, "_STEPS", made)
    return done


def met(folder: Path, *again: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    meeting = Meeting(Target("egg", "egg", "docker:egg"), Folder(folder, "egg"), Options(), said.append)
    return meeting.run(again), said


def test_each_step_says_what_it_does_and_what_came_of_it(tried: list[str], tmp_path: Path) -> None:
    fine, said = met(tmp_path)
    assert fine
    assert tried == ["one", "two", "three"]
    assert said[:2] == ["one: does one", "  done: one is there"]


def test_what_is_done_is_not_done_again(tried: list[str], tmp_path: Path) -> None:
    met(tmp_path)
    tried.clear()
    fine, said = met(tmp_path)
    assert fine
    assert tried == []
    assert said[0] == "one: done before: one is there"


def test_it_goes_on_where_it_stopped(tried: list[str], tmp_path: Path) -> None:
    (tmp_path / "no-two").touch()
    fine, said = met(tmp_path)
    assert not fine
    assert "  failed: two does not work" in said
    assert "  left out: it needs two, which is not done" in said
    (tmp_path / "no-two").unlink()
    tried.clear()
    assert met(tmp_path)[0]
    assert tried == ["two", "three"]


def test_a_step_is_done_again_with_what_needs_it(tried: list[str], tmp_path: Path) -> None:
    met(tmp_path)
    tried.clear()
    met(tmp_path, "two")
    assert tried == ["two", "three"]


def test_the_readme_says_what_is_open(tried: list[str], tmp_path: Path) -> None:
    (tmp_path / "no-two").touch()
    met(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| one | does one | done: one is there |" in text
    still = text.split("## Still open")[1]
    assert "- two: failed: two does not work" in still
    assert "- three: left out" in still
    assert "- one:" not in still
