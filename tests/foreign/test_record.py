"""Recordings: the file's format, its segments and times, what it holds beside the bytes, and how it can end early."""

from __future__ import annotations

import json
import pathlib
from random import Random

import pytest

from tests.foreign.conversing import converse, faults, short_script
from tests.support.foreign import (
    CONFORMANCE,
    DEMO,
    INFERRED_1,
    INFERRED_1_INSECURE,
    SEGMENTATIONS,
    USER,
    Behaviour,
    Capture,
    Endpoint,
    Format,
    Nonsense,
    full_script,
    interesting_formats,
    random_format,
    record,
)
from tests.support.foreign.endpoint import Opened
from tests.support.foreign.layers.framing import Integer
from tests.support.foreign.state import REQUEST

SIMPLE = ['("ping" "12345")', '("echo" (a b))', '("callback" 2 "x")']


def test_the_lines_of_a_recording(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "capture.jsonl"
    record(INFERRED_1, SIMPLE, Random(1)).save(path)
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert header == {"bokbok-capture": 1, "transport": "tcp"}
    for line in lines:
        assert line["from"] in ("client", "server")
        assert line["conn"] in (0, 1)
        assert line.keys() == {"t", "from", "conn", "eof" if "eof" in line else "data"}
        assert line.get("eof", True) is True
        assert bytes.fromhex(line.get("data", "00"))
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)


def test_a_recording_reads_back(tmp_path: pathlib.Path) -> None:
    capture = record(INFERRED_1, SIMPLE, Random(1), transport="unix")
    capture.save(tmp_path / "capture.jsonl")
    again = Capture.load(tmp_path / "capture.jsonl")
    assert (again.transport, again.records) == ("unix", capture.records)


def test_one_connection_needs_no_number() -> None:
    capture = record(INFERRED_1, SIMPLE, Random(1), connections=1)
    assert all("conn" not in line for line in capture.records)
    assert capture.connections() == [0]


def test_the_same_seed_gives_the_same_recording() -> None:
    for seed in range(10):
        fmt = random_format(Random(seed))
        one, other = (record(fmt, short_script(seed), Random(seed)).lines() for _ in range(2))
        assert one == other


def test_every_connection_ends_with_an_end_of_file_of_both_sides() -> None:
    capture = record(INFERRED_1, SIMPLE, Random(4), connections=3)
    ends = [(line["conn"], line["from"]) for line in capture.records if line.get("eof")]
    assert sorted(ends) == [(conn, side) for conn in range(3) for side in ("client", "server")]
    for conn in range(3):
        for side in ("client", "server"):
            mine = [line for line in capture.records if (line["conn"], line["from"]) == (conn, side)]
            assert mine[-1].get("eof")


def requests_heard(fmt: Format, data: bytes, cut: int) -> list[object]:
    """The requests that a fresh server finds in what a client sent, taken in pieces of `cut` bytes."""
    server = Endpoint(fmt, "server", random=bytes, users={USER: "mypassphrase"} if fmt.secure else None)
    events = [event for at in range(0, len(data), cut) for event in server.feed(data[at : at + cut])]
    assert isinstance(events[0], Opened)
    return [event.payload for event in events[1:] if not isinstance(event, Opened) and event.kind == REQUEST]


@pytest.mark.parametrize("name", list(interesting_formats()))
def test_what_was_recorded_can_be_understood_again_whatever_the_cuts(name: str) -> None:
    fmt = interesting_formats()[name]
    # Without callbacks a server is never asked to answer an answer, so that a fresh one can listen.
    script = [datum for datum in CONFORMANCE if datum[0] not in ("callback", "relay")]  # type: ignore[index]
    capture = record(fmt, script, Random(3), connections=1)
    data = capture.stream("client")
    for cut in (1, 7, len(data)):
        assert requests_heard(fmt, data, cut) == script


@pytest.mark.parametrize("segmentation", list(SEGMENTATIONS))
def test_no_byte_is_lost_in_cutting(segmentation: str) -> None:
    rng = Random(1)
    writes = [rng.randbytes(size) for size in (1, 4, 500, 5000)] + [b'(request 0 ("ping" "12345"))']
    segments = SEGMENTATIONS[segmentation](writes, rng)
    assert b"".join(segments) == b"".join(writes)
    assert all(segments)


def test_an_unbuffered_write_makes_dozens_of_segments() -> None:
    capture = record(INFERRED_1_INSECURE, ['("echo" (1 2 3 4 5 6 7 8 9 10 11))'], Random(2), segmentation="unbuffered")
    sent = [line for line in capture.records if line["from"] == "client" and "data" in line and line["conn"] == 0]
    assert len(sent) > 24


def test_coalesced_segments_hold_more_than_one_packet() -> None:
    counts = []
    for seed in range(8):
        capture = record(INFERRED_1, DEMO, Random(seed), segmentation="coalesced", connections=1)
        first = next(line for line in capture.records if line["from"] == "client")
        counts.append(len(bytes.fromhex(first["data"])))
    assert min(counts) == 4 + len(USER) + 4 + 72, "the hello alone"
    assert max(counts) > min(counts), "the first request along with it"


def test_a_truncated_recording_is_the_beginning_of_the_whole_one() -> None:
    whole = record(INFERRED_1, SIMPLE, Random(1), overlap=False)
    cut = record(INFERRED_1, SIMPLE, Random(1), overlap=False, truncate=0.4)
    size = sum(len(whole.stream(side, conn)) for side in ("client", "server") for conn in (0, 1))
    kept = 0
    for side in ("client", "server"):
        for conn in (0, 1):
            assert whole.stream(side, conn).startswith(cut.stream(side, conn))
            kept += len(cut.stream(side, conn))
    assert kept == int(size * 0.4)
    assert not any(line.get("eof") for line in cut.records if line["conn"] == 1)


def test_connections_may_live_at_the_same_time_or_after_each_other() -> None:
    for overlap in (True, False):
        capture = record(INFERRED_1, CONFORMANCE, Random(1), overlap=overlap)
        first_end = max(line["t"] for line in capture.records if line["conn"] == 0)
        second_start = min(line["t"] for line in capture.records if line["conn"] == 1)
        assert (second_start < first_end) == overlap


def test_what_does_not_fit_is_not_sent_and_said_so() -> None:
    small = Format(framing=Integer(1))
    capture = converse(small, 1, full_script(Random(1)))
    assert capture.unsent()
    assert all(len(str(request)) > 100 for request in capture.unsent())


def test_a_long_answer_that_does_not_fit_is_answered_by_an_error() -> None:
    small = Format(framing=Integer(1))
    capture = record(small, ['("callback" 9 "as long as it may be in so small a packet")'], Random(1), connections=1)
    answer = next(exchange.answer for exchange in capture.exchanges[0] if exchange.asker == "client")
    assert answer is not None
    assert (answer.outcome, answer.value) == ("error", "too long")


def test_answers_may_overtake_each_other() -> None:
    script = [["echo", number] for number in range(30)]
    behaviour = Behaviour(window=10, shuffle=0.5)
    capture = record(INFERRED_1_INSECURE, script, Random(1), behaviour=behaviour, connections=1, segmentation="whole")
    assert faults(capture) == []
    answers = [line for line in capture.records if line["from"] == "server" and "data" in line]
    numbers = [int(bytes.fromhex(line["data"])[4:].split()[1]) for line in answers]
    assert sorted(numbers) == list(range(30))
    assert numbers != sorted(numbers)


def test_what_was_really_said_is_kept_beside_the_bytes() -> None:
    capture = record(INFERRED_1, SIMPLE, Random(1))
    for exchanges in capture.exchanges:
        assert [exchange.request for exchange in exchanges if exchange.asker == "client"] == [
            ["ping", "12345"],
            ["echo", [*map(type(exchanges[1].request[1][0]), ("a", "b"))]],  # type: ignore[index]
            ["callback", 2, "x"],
        ]
        assert [exchange.request for exchange in exchanges if exchange.asker == "server"] == [
            ["echo", [0, "x"]],
            ["echo", [1, "x"]],
        ]


def test_the_user_and_the_passphrase_are_those_given() -> None:
    capture = record(INFERRED_1, SIMPLE, Random(1), user="somebody else", passphrase="päss", connections=1)
    assert faults(capture) == []
    assert b"somebody else" in capture.stream("client")
    server = Endpoint(INFERRED_1, "server", random=bytes, users={"somebody else": "another"})
    with pytest.raises(Nonsense, match="does not open"):
        server.feed(capture.stream("client"))
