from __future__ import annotations

import json
from pathlib import Path

import pytest

from bokbok_traffic import capture as module
from bokbok_traffic.capture import Capture, CaptureError, read_capture


def recorded() -> Capture:
    capture = Capture("tcp")
    capture.add(0.0, 1, "client", b"\x00\x01")
    capture.add(0.25, 1, "server", b"abc")
    capture.add(0.5, 1, "client", None)
    return capture


def test_the_file_is_json_lines_with_a_header(tmp_path: Path) -> None:
    recorded().write(tmp_path / "c.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert lines == [
        {"bokbok-capture": 1, "transport": "tcp"},
        {"t": 0.0, "from": "client", "data": "0001"},
        {"t": 0.25, "from": "server", "data": "616263"},
        {"t": 0.5, "from": "client", "eof": True},
    ]


def test_several_connections_are_numbered() -> None:
    capture = recorded()
    capture.add(1.0, 2, "client", b"x")
    assert json.loads(list(capture.lines())[-1])["conn"] == 2
    assert json.loads(list(capture.lines())[1])["conn"] == 1


def test_what_is_written_reads_back() -> None:
    again = read_capture(recorded().lines())
    assert again.chunks == recorded().chunks
    assert again.transport == "tcp"


def test_a_stream_is_one_direction_of_one_connection() -> None:
    capture = recorded()
    capture.add(1.0, 2, "client", b"other")
    capture.add(1.0, 1, "client", b"\x02")
    assert capture.stream(1, "client") == b"\x00\x01\x02"
    assert capture.connections() == [1, 2]


def test_a_recording_has_a_limit_and_says_what_it_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 4)
    capture = recorded()
    assert capture.stream(1, "server") == b""
    assert capture.dropped == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2 is no JSON"),
        ("[]", "line 2: expected a JSON object"),
        ('{"t": 0, "from": "nobody", "data": ""}', "line 2: \"from\" is 'nobody'"),
        ('{"t": 0, "from": "client", "data": "xy"}', 'line 2: expected "data" in hexadecimal'),
        ('{"t": 0, "from": "client"}', 'line 2: expected "data" in hexadecimal'),
        ('{"t": "x", "from": "client", "data": ""}', "line 2: "),
    ],
)
def test_a_bad_line_is_named(line: str, problem: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read_capture(['{"bokbok-capture": 1, "transport": "tcp"}', line])
    assert problem in str(caught.value)


@pytest.mark.parametrize("lines", [[], ['{"t": 0, "from": "client", "data": ""}']])
def test_a_file_without_header_is_no_recording(lines: list[str]) -> None:
    with pytest.raises(CaptureError, match="bokbok-capture"):
        read_capture(lines)
