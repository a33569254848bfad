"""Plays again the inputs that fuzzing has kept, and runs a fuzzer for a short while, so that it works when needed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import corpora
from tests.fuzz.__main__ import NAMES
from tests.fuzz.targets import TARGETS

_RUNS = 400
"""Inputs of a short run, beyond those that are kept."""


def test_each_target_has_a_corpus() -> None:
    assert {path.stem for path in corpora.FOLDER.iterdir()} == set(NAMES) == set(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_kept_is_read_without_a_fault(name: str) -> None:
    inputs = corpora.read(name)
    assert len(inputs) > 5
    for data in inputs:
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"the input is {data!r}") if sys.version_info >= (3, 11) else None
            raise


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine"
)
@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_of_the_fuzzer_finds_nothing(name: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz", name, "--runs", str(len(corpora.read(name)) + _RUNS), "--seed", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-8000:]
    assert "stat::number_of_executed_units" in done.stderr
