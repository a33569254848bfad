from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bokbok_traffic.capture import Capture, CaptureError
from bokbok_traffic.recording import Recorded, from_capture, load_recording
from tests.support.calibrating import saved


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recorded = [Recorded(1, b"to", b"fro", {"client", "server"}), Recorded(2, b"again", b"", {"client", "server"})]
    assert load_recording(saved(recorded, tmp_path / "r.jsonl")).connections == recorded


def test_a_connection_on_which_nothing_was_said_is_left_out() -> None:
    capture = Capture("tcp")
    capture.add(0, 1, "client", None)
    capture.add(0, 2, "client", b"x")
    assert from_capture(capture) == [Recorded(2, b"x", b"", set())]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1, column 1: expected .*bokbok-capture.*, found an empty file"),
        (b"not json\n", "line 1, column 1: expected .*bokbok-capture.*or a packet capture"),
        (b"\x7fELF\xff\xfe", "line 1, column 1: expected .*bokbok-capture.*or a packet capture"),
        (
            b'{"bokbok-capture": 1}\n{"from": "nobody"}\n',
            "line 2, column 2: .*, found 'nobody'",
        ),
    ],
)
def test_what_is_no_recording_is_refused_with_the_files_name(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=problem) as raised:
        load_recording(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        load_recording(tmp_path / "nothing")


def test_of_a_long_recording_the_beginning_is_in_memory_and_the_rest_on_disk() -> None:
    capture = Capture("tcp")
    for number in range(100):
        capture.add(number, 1, "client", bytes([number]) * 10_000)
        capture.add(number, 1, "server", bytes([number]) * 10)
    capture.add(100, 1, "server", None)
    (one,) = from_capture(capture, beginning=500_000)
    assert (len(one.client), len(one.server), one.size("client"), one.size("server")) == (499_510, 1000, 10**6, 1000)
    assert b"".join(one.pieces("client")) == capture.stream(1, "client")
    assert (one.more, one.ended) == ({"client"}, {"server"})
    assert b"".join(one.beginning().pieces("client")) == one.client


def test_of_a_direction_that_comes_behind_the_other_in_the_file_there_is_a_beginning_too() -> None:
    capture = Capture("tcp")
    capture.add(0, 1, "client", bytes(10_000))
    capture.add(0, 1, "server", b"answers")
    (one,) = from_capture(capture, beginning=500)
    assert (len(one.client), one.server) == (10_000, b"answers")  # both are short


def test_a_recording_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = [Recorded(1, b"to", b"fro", {"client", "server"})]
    monkeypatch.setattr("sys.stdin", open(saved(recorded, tmp_path / "r.jsonl")))  # noqa: SIM115 - read to its end
    with sys.stdin:
        assert load_recording("-").connections == recorded
