from __future__ import annotations

import contextlib
import errno
import itertools
import json
import random
import re
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok_traffic.capture import (
    PIECE,
    Capture,
    CaptureError,
    Chunk,
    RecordingReader,
    RecordingWriter,
    read_capture,
)


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
    assert list(again.chunks) == list(recorded().chunks)
    assert again.transport == "tcp"


def test_a_stream_is_one_direction_of_one_connection() -> None:
    capture = recorded()
    capture.add(1.0, 2, "client", b"other")
    capture.add(1.0, 1, "client", b"\x02")
    assert capture.stream(1, "client") == b"\x00\x01\x02"
    assert capture.connections() == [1, 2]


def test_a_direction_that_goes_on_beyond_a_limit_ends_there_with_a_mark() -> None:
    capture = Capture("tcp", limit=4)
    for t, data in enumerate((b"abc", b"defg", b"h")):
        capture.add(t, 1, "client", data)
    capture.add(3, 1, "client", None)
    capture.add(4, 1, "server", b"xyz")
    assert (capture.stream(1, "client"), capture.stream(1, "server")) == (b"abcd", b"")
    assert (capture.size, capture.dropped) == (4, 7)
    assert not capture.ended(1, "client")
    marks = [json.loads(line) for line in capture.lines()][-2:]
    assert [(mark["from"], mark["lost"]) for mark in marks] == [
        ("client", "the recording is limited to 4 bytes"),
        ("server", "the recording is limited to 4 bytes"),
    ]
    again = read_capture(capture.lines())
    assert {direction: mark.lost for direction, mark in again.marks.items()} == {
        (1, "client"): "the recording is limited to 4 bytes",
        (1, "server"): "the recording is limited to 4 bytes",
    }


def test_a_long_recording_lies_on_disk_and_is_whole() -> None:
    piece, count = random.Random(1).randbytes(1 << 18), 120
    tracemalloc.start()
    try:
        capture = Capture("tcp")
        for number in range(count):
            capture.add(number, 1, "client", piece)
        sizes = [len(data) for data in capture.pieces(1, "client")]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == capture.length(1, "client") == count * len(piece)
    assert most < 4 * len(piece)


def test_a_chunk_of_any_size_is_read_in_pieces() -> None:
    data = random.Random(2).randbytes(3 * PIECE + 5)
    text = "".join(
        f"{line}\n"
        for line in (
            '{"bokbok-capture": 1, "transport": "tcp"}',
            f'{{"from": "client", "data": "{data.hex()}", "t": 0}}',
            f'{{"from": "server", "t": 1, "data": "{data.hex(" ")}"}}',
        )
    ).encode()
    reader, capture = RecordingReader(), Capture("tcp")
    for at in range(0, len(text), 70_001):
        capture.take(reader.feed(text[at : at + 70_001]))
    capture.take(reader.finish())
    assert capture.stream(1, "client") == capture.stream(1, "server") == data
    assert max(len(chunk.data or b"") for chunk in capture.chunks) <= PIECE


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2, column 2: expected a JSON object, found something else"),
        ("[]", "line 2, column 1: expected a JSON object"),
        ('{"t": 0, "from": "nobody", "data": ""}', 'line 2, column 10: expected "from" to be "client" or "server"'),
        ('{"t": 0, "from": "client", "data": "xy"}', "line 2, column 37: expected \"data\" in hexadecimal, found 'x'"),
        (
            '{"t": 0, "from": "client", "data": "123"}',
            'line 2, column 40: expected "data" in hexadecimal, found an odd',
        ),
        ('{"t": 0, "from": "client"}', 'line 2, column 1: expected "data" in hexadecimal, or "eof": true, or "lost"'),
        ('{"t": 0, "from": "client", "data": 12}', 'expected "data" in hexadecimal'),
        ('{"t": 0, "from": "client", "data": "00", "eof": true}', "found data and eof"),
        ('{"t": 0, "from": "client", "data": "00", "data": "00"}', "line 2, column 1"),
        ('{"data": "00ff", "t": "x", "from": "client"}', 'line 2, column 18: expected "t" to be a number of seconds'),
        ('{"data": "", "t": 1e999, "from": "client"}', '"t" to be a number of seconds'),
        ('{"data": "", "from": "client", "conn": -1}', '"conn" to be a whole number'),
        ('{"data": "", "from": "client", "conn": true}', '"conn" to be a whole number'),
        ('{"data": "00', "line 2, column 13"),
        ("[" * 60_000, "line 2, column 1: expected a JSON object"),
        ('{"from": "' + "x" * 70_000, "line 2, column 1: expected an entry in less than 65536 bytes"),
        ("\udcff", "line 2, column 1: expected a JSON object, found bytes that are not UTF-8"),
    ],
    ids=range(17),
)
def test_a_bad_line_is_named(line: str, problem: str) -> None:
    with pytest.raises(CaptureError) as caught:
        read_capture(['{"bokbok-capture": 1, "transport": "tcp"}', line])
    assert re.search(problem, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_file_without_header_is_no_recording() -> None:
    for lines in ([], ['{"t": 0, "from": "client", "data": ""}']):
        with pytest.raises(CaptureError, match="bokbok-capture"):
            read_capture(lines)


def test_a_wrong_file_is_not_quoted_since_it_may_hold_a_passphrase() -> None:
    with pytest.raises(CaptureError) as caught:
        read_capture(["correct horse battery staple"])
    assert "horse" not in str(caught.value)


PIECES = st.binary(max_size=3) | st.sampled_from([b'"', b"}", b"\n"])
GOOD = "".join(line + "\n" for line in recorded().lines()).encode()


@given(st.data())
def test_whatever_is_read_is_a_recording_or_the_documented_error(data: st.DataObject) -> None:
    text = bytearray(GOOD)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"}", b"\n"])
        )
        text += b" " * (not text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))

    def read(pieces: Iterable[bytes]) -> Any:
        reader = RecordingReader()
        try:
            return [*itertools.chain.from_iterable(map(reader.feed, pieces)), *reader.finish()]
        except CaptureError as error:
            return str(error)

    whole = read([bytes(text)])
    assert whole == read(bytes(text[a:b]) for a, b in itertools.pairwise([0, *cuts, len(text)]))


def test_what_is_recorded_is_kept_in_a_file_as_it_comes(tmp_path: Path) -> None:
    capture = Capture("unix", limit=6)
    capture.add(0.1, 1, "client", b"abc")
    with contextlib.closing(RecordingWriter(tmp_path / "r.jsonl", "unix")) as writer:
        capture.keep(writer)
        capture.add(0.2, 1, "server", b"defg")
        capture.add(0.3, 1, "client", None)
        written = (tmp_path / "r.jsonl").read_text()
    again = read_capture(written.splitlines())
    assert list(again.chunks) == list(capture.chunks)
    assert again.stream(1, "server") == b"def"


def test_a_file_that_cannot_be_written_any_more_does_not_end_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RecordingWriter, chunk: Chunk) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    capture = Capture("unix")
    with contextlib.closing(RecordingWriter(tmp_path / "r.jsonl", "unix")) as writer:
        capture.keep(writer)
        monkeypatch.setattr(RecordingWriter, "add", full)
        capture.add(0.1, 1, "client", b"abc")
        capture.add(0.2, 1, "client", b"def")
    assert capture.unwritten == "No space left on device"
    assert capture.stream(1, "client") == b"abcdef"
