"""Messages with a binary header: where tag and ID are in it."""

from __future__ import annotations

import dataclasses

import pytest

from bokbok.sexpr import CHICKEN_4
from bokbok.wire.messages import BinaryHeader
from bokbok_calibrate.clock import Clock
from bokbok_calibrate.message.body import Body, Fit
from bokbok_calibrate.message.fit import fit_messages
from bokbok_calibrate.message.header import fit_binary
from tests.support.calibrating import KNOWN

REQUESTS = (["ping", "12345"], ["echo", "marker"], ["fail", "marker of a failure"])
ANSWERS = (["pong", "12345"], "marker", "marker of a failure")


def bodies(form: BinaryHeader, *, answers: int = 3) -> list[Body]:
    """Three requests, and as many answers as the test wants; the last one is an error."""
    codec = form.bind(CHICKEN_4, 100)
    out = []
    for number, (request, answer) in enumerate(zip(REQUESTS, ANSWERS, strict=True)):
        id = form.first_id + number * form.id_step
        out.append(Body(1, "client", codec.request(id, request)))
        if number < answers:
            text = codec.error(id, str(answer)) if number == 2 else codec.response(id, answer)
            out.append(Body(1, "server", text))
    return out


def fitted(said: list[Body], *, whole: bool = True) -> Fit:
    return fit_messages(said, KNOWN, Clock(), whole=whole)[0]


@pytest.mark.parametrize(
    "form",
    [
        BinaryHeader(),
        BinaryHeader(b"\0", b"\1", b"\2", integer="u16-le"),
        BinaryHeader(integer="u64-be", order="id-tag"),
        BinaryHeader(b"Q", b"A", b"E", integer="u8"),
        BinaryHeader(b"rq", b"rs", b"er"),
        BinaryHeader(message="bytes"),
        BinaryHeader(message="bytes", ending="\n"),
        BinaryHeader(payload="string"),
        BinaryHeader(payload="string", message="text"),
        BinaryHeader(ending="\r\n"),
        BinaryHeader(first_id=2, server_first_id=3, id_step=2),
    ],
    ids=repr,
)
def test_a_header_is_found(form: BinaryHeader) -> None:
    found = fitted(bodies(form))
    assert found.hits == 3
    assert dataclasses.replace(found.messages, server_first_id=form.server_first_id) == form  # type: ignore[type-var]


def test_without_a_failure_the_tag_of_an_error_is_assumed() -> None:
    found = fitted(bodies(BinaryHeader(), answers=2))
    assert "no failed request was seen: the tag of an error is assumed" in found.notes
    assert found.messages == BinaryHeader()


def test_without_answers_their_tags_are_assumed() -> None:
    found = fitted(bodies(BinaryHeader(), answers=0))
    assert "no answer was seen: the tags of answers are assumed" in found.notes


def test_an_answer_that_no_reader_takes_is_one_all_the_same() -> None:
    said = bodies(BinaryHeader())
    said[1] = Body(1, "server", b"\2\0\0\0\0#<thread: thread3>")
    assert fitted(said).messages == BinaryHeader()


def test_answers_to_what_was_not_recorded_are_none_unless_something_is_missing() -> None:
    said = [*bodies(BinaryHeader()), Body(1, "server", b"\2\0\0\0\7late")]
    assert fit_binary(said, KNOWN, Clock(), whole=True) == []
    assert fitted(said, whole=False).messages == BinaryHeader()


@pytest.mark.parametrize(
    "said",
    [
        [Body(1, side, b"\1\0\0\0" + bytes((n,)) + b"(x)") for n in range(3) for side in ("client", "server")],
        [Body(1, "client", b"\1\0\0\0\0#broken("), Body(1, "server", b"\2\0\0\0\0)")],
        [Body(1, "client", b"\1\0")],
        [Body(1, "client", b"\1\xff\xff\xff\xff(x)")],
    ],
    ids=["two sides that only ask", "no datums", "too short", "an ID that nobody reaches"],
)
def test_what_is_no_header_does_not_fit(said: list[Body]) -> None:
    assert all(fit.hits == 0 for fit in fit_binary(said, KNOWN, Clock(), whole=True))
    assert BinaryHeader() not in [fit.messages for fit in fit_binary(said, KNOWN, Clock(), whole=True)]
