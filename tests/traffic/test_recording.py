from __future__ import annotations

from pathlib import Path

import pytest

from bokbok_traffic.capture import Capture, CaptureError
from bokbok_traffic.recording import Recorded, from_capture, load_recording
from tests.support.calibrating import saved


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recorded = [Recorded(1, b"to", b"fro", {"client", "server"}), Recorded(2, b"again", b"", {"client", "server"})]
    assert load_recording(saved(recorded, tmp_path / "r.jsonl")) == recorded


def test_a_connection_on_which_nothing_was_said_is_left_out() -> None:
    capture = Capture("tcp")
    capture.add(0, 1, "client", None)
    capture.add(0, 2, "client", b"x")
    assert from_capture(capture) == [Recorded(2, b"x", b"", set())]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no line at all"),
        (b"not json\n", "line 1 is no JSON"),
        (b"\x7fELF\xff\xfe", "neither a recording .* nor a packet capture"),
        (b'{"bokbok-capture": 1}\n{"from": "nobody"}\n', "line 2: \"from\" is 'nobody'"),
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
