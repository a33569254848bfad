"""`bokbok profile`, and the options that say which format is spoken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bokbok.wire import INFERRED_1
from bokbok.wire.profile import profile_schema
from tests.support.strategies import write_pieces


@pytest.fixture
def files(tmp_path: Any) -> Any:
    write_pieces(tmp_path)
    return tmp_path


def test_the_schema_is_printed(bokbok: Any) -> None:
    assert json.loads(bokbok("profile", "schema").out) == profile_schema()


def test_the_digest_is_printed(bokbok: Any) -> None:
    assert bokbok("profile", "digest").out.decode() == f"{INFERRED_1.digest()}\n"


def test_a_profile_with_a_strategy_of_ones_own_is_taken_where_its_file_is_named(finished: Any, files: Any) -> None:
    options = ("--strategies", files / "pieces.py", "--profile", files / "pieces.toml")
    result = finished("profile", "digest", *options)
    assert (result.status, len(result.out)) == (0, 65)
    assert b"pieces" in finished("profile", "schema", *options[:2]).out


def test_without_it_the_profile_is_refused_in_one_line(finished: Any, files: Any) -> None:
    result = finished("profile", "digest", "--profile", files / "pieces.toml")
    assert result.status == 2
    assert "[framing] strategy: expected one of length, " in result.err
    assert "; got 'pieces'" in result.err
    assert "Traceback" not in result.err


def test_a_file_of_strategies_that_fails_is_a_wrong_usage(finished: Any, files: Any) -> None:
    (files / "wrong.py").write_text("1 / 0")
    result = finished("profile", "schema", "--strategies", files / "wrong.py")
    assert result.status == 2
    assert "wrong.py': ZeroDivisionError: division by zero" in result.err
