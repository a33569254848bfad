"""The common part of fitting messages: numbering, and whether answers suit the questions."""

from __future__ import annotations

import pytest

from bokbok.wire.messages import ERROR, REQUEST, RESPONSE, Shapes
from bokbok_calibrate.message.body import Body, Fit, finished, numbering, progression


@pytest.mark.parametrize(
    ("ids", "step"),
    [([], 0), ([5], 0), ([0, 1, 2], 1), ([1, 3, 5], 2), ([0, 1, 3], None), ([2, 1], None), ([1, 1], None)],
)
def test_the_step_of_a_progression(ids: list[int], step: int | None) -> None:
    assert progression(ids) == step


def ids(client: list[int], server: list[int], conn: int = 1) -> list[tuple[int, str, int]]:
    return [(conn, "client", id) for id in client] + [(conn, "server", id) for id in server]


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        (ids([0, 1, 2], [0, 1]), (0, 0, 1)),
        (ids([2, 4], [3, 5]), (2, 3, 2)),
        (ids([7, 8], []), (7, 7, 1)),
        (ids([0, 2, 4], []), (0, 1, 2)),
        (ids([1, 2, 5], [3, 4, 9]), (1, 0, 1)),
        (ids([5, 6], [1]) + ids([9, 10], [1], 2), (0, 1, 1)),
    ],
)
def test_requests_are_numbered_so_that_none_counts_as_used_before(
    given: list[tuple[int, str, int]], numbers: tuple[int, int, int]
) -> None:
    assert numbering(given)[:3] == numbers


def test_of_a_server_that_was_not_heard_no_number_is_ruled_out() -> None:
    assert numbering(ids([1, 3], []), shown=False)[:3] == (1, 0, 2)


def fit(*said: tuple[str, bytes, int], shapes: Shapes | None = None) -> Fit | None:
    bodies = [Body(1, source, data) for source, data, _ in said]
    return finished(shapes or Shapes(), bodies, [kind for _, _, kind in said], set(), [])


def test_a_failure_that_was_answered_as_if_it_were_none_is_noticed() -> None:
    asked = ("client", b'(request 0 ("fail" "no"))', REQUEST)
    odd = fit(asked, ("server", b'(response 0 (exn "no"))', RESPONSE))
    usual = fit(asked, ("server", b'(error 0 "no")', ERROR))
    assert odd is not None
    assert usual is not None
    assert (odd.unfailing, usual.unfailing) == (True, False)
    assert usual.score > odd.score


def test_texts_that_nothing_tells_from_errors_are_noticed() -> None:
    asked = ("client", b'(request 0 ("own" 1))', REQUEST)
    text = fit(asked, ("server", b'(response 0 "text")', RESPONSE))
    datum = fit(asked, ("server", b"(response 0 (a datum))", RESPONSE))
    assert text is not None
    assert datum is not None
    assert (text.swappable, datum.swappable) == (True, False)


def test_messages_that_decode_otherwise_do_not_fit() -> None:
    assert fit(("client", b"(request 0 x)", RESPONSE)) is None
    assert fit(("client", b"(reqest 0 x)", REQUEST)) is None


def test_what_no_dialect_writes_so_is_counted() -> None:
    found = fit(("client", b"(request 0  x)", REQUEST), ("client", b"(request 1 foo:)", REQUEST))
    assert found is not None
    assert found.spelt == 1
    assert [dialect.name for dialect in found.dialects] == ["chicken-4", "chicken-4-exact"]
