"""Recordings that are longer than the part that is searched, through the command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
MOST_MEMORY = 250 << 20
"""Bytes of memory; 200 MB are measured to take 140 (bench/long_recording.py)."""


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("long_recording", ROOT / "bench" / "long_recording.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calibrated(bench: Any, tmp_path: Path) -> Callable[[Path], tuple[int, dict[str, Any], str]]:
    """Memory, report and text of `calibrate read`."""
    secret = tmp_path / "pass"
    secret.touch(0o600)
    secret.write_text("mypassphrase\n")

    def read(path: Path) -> tuple[int, dict[str, Any], str]:
        _, output, errors, memory = bench.calibrate_read(path, secret)
        return memory, json.loads(output), errors

    return read


def test_a_long_recording_is_explained_to_its_last_byte_in_bounded_memory(
    bench: Any, calibrated: Any, tmp_path: Path
) -> None:
    capture = bench.long_capture(24_000_000, 60_000)
    capture.write(tmp_path / "long.jsonl")
    memory, report, _ = calibrated(tmp_path / "long.jsonl")
    assert (report["status"], report["explained"], report["lost"]) == (0, capture.size, [])
    assert report["profiles"][0]["differs"] == ["framing"]
    assert memory < MOST_MEMORY


def test_messages_longer_than_what_is_searched_do_not_hide_the_framing(
    bench: Any, calibrated: Any, tmp_path: Path
) -> None:
    capture = bench.long_capture(8_000_000, 3_000_000)
    capture.write(tmp_path / "long.jsonl")
    _, report, _ = calibrated(tmp_path / "long.jsonl")
    assert (report["status"], report["explained"]) == (0, capture.size)
    assert report["profiles"][0]["differs"] == ["framing"]


def test_many_short_messages_are_no_longer_search(bench: Any, calibrated: Any, tmp_path: Path) -> None:
    capture = bench.long_capture(1_500_000, 100)
    capture.write(tmp_path / "long.jsonl")
    _, report, _ = calibrated(tmp_path / "long.jsonl")
    assert (report["status"], report["explained"]) == (0, capture.size)


def test_a_recording_that_a_limit_has_ended_says_so_in_the_verdict(bench: Any, calibrated: Any, tmp_path: Path) -> None:
    capture = bench.long_capture(4_000_000, 60_000, limit=3_000_000)
    capture.write(tmp_path / "long.jsonl")
    _, report, text = calibrated(tmp_path / "long.jsonl")
    assert report["status"] == 0
    assert "the recording of 4 directions ends early" in report["verdict"]
    assert "ENDS EARLY: connection 1: the recording of the client's bytes ends early: " in text
    assert "the recording is limited to 3000000 bytes" in text


def test_a_change_behind_what_is_searched_is_no_claim(bench: Any, calibrated: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    bench.long_capture(4_000_000, 60_000).write(path)
    lines = path.read_text().splitlines()
    spoilt = next(n for n in range(len(lines) // 2, len(lines)) if len(lines[n]) > 100_000)
    lines[spoilt] = lines[spoilt][:50_000] + ("0" if lines[spoilt][50_000] != "0" else "1") + lines[spoilt][50_001:]
    path.write_text("\n".join(lines) + "\n")
    _, report, text = calibrated(path)
    assert (report["status"], report["profiles"]) == (4, [])
    assert "bytes are explained, the bytes after them are not" in text
    assert "behind byte" in text
