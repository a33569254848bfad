"""`bokbok._handlers`: which request may start now, which waits, which is turned away."""

import pytest

from bokbok._handlers import STOPPING, Admission, error_text
from bokbok.errors import RemoteError


def test_requests_start_at_once_until_enough_handlers_run():
    admission = Admission(2, 5, held=False)
    assert admission.idle
    assert admission.admit(0, "a") is True
    assert admission.admit(1, "b") is True
    assert admission.admit(2, "c") is False
    assert admission.running == 2
    assert not admission.idle


def test_a_waiting_request_starts_when_a_handler_has_finished_in_order():
    admission = Admission(1, 5, held=False)
    for id in range(3):
        admission.admit(id, f"message {id}")
    assert admission.finished() == (1, "message 1")
    assert admission.finished() == (2, "message 2")
    assert admission.running == 1
    assert admission.finished() is None
    assert admission.idle


def test_too_many_requests_are_turned_away_with_a_text_that_says_so():
    admission = Admission(1, 1, held=False)
    assert admission.admit(0, None) is True
    assert admission.admit(1, None) is False
    assert admission.admit(2, None) == "too many requests: 1 handlers are running and 1 requests waiting"
    admission.finished()
    assert admission.admit(3, None) is False


def test_no_request_may_wait_where_the_limit_is_zero():
    admission = Admission(1, 0, held=False)
    assert admission.admit(0, None) is True
    assert isinstance(admission.admit(1, None), str)


def test_requests_wait_for_the_open_handler_then_start_together():
    admission = Admission(2, 5, held=True)
    assert not admission.idle  # the open handler runs
    for id in range(3):
        assert admission.admit(id, str(id)) is False
    assert list(admission.release()) == [(0, "0"), (1, "1")]
    assert not admission.held
    assert admission.running == 2
    assert admission.admit(3, "3") is False
    assert admission.finished() == (2, "2")


def test_what_is_released_may_finish_at_once():
    # A plain handler of the asyncio front end has finished before the next one is asked for.
    admission = Admission(1, 5, held=True)
    admission.admit(0, "a")
    admission.admit(1, "b")
    for job in admission.release():
        assert job == (0, "a")
        assert admission.finished() == (1, "b")
    assert admission.running == 1


def test_draining_admits_no_more_and_names_those_that_waited():
    admission = Admission(1, 5, held=False)
    for id in (4, 5, 6):
        admission.admit(id, None)
    assert admission.drain() == [5, 6]
    assert admission.draining
    assert admission.admit(7, None) == STOPPING
    assert not admission.idle
    assert admission.finished() is None
    assert admission.idle
    assert admission.drain() == []


def test_forgetting_those_that_wait_leaves_it_open():
    admission = Admission(1, 5, held=False)
    admission.admit(0, None)
    admission.admit(1, None)
    assert admission.clear() == [1]
    assert admission.admit(2, None) is False


class _Mute(Exception):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such user"), "ValueError: no such user"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "SystemExit: 3"),
        (RemoteError("from further away"), "from further away"),
        (RemoteError(""), ""),
        (_Mute(), "_Mute"),
    ],
)
def test_an_error_is_told_by_its_type_and_text_and_a_remote_one_by_its_message_alone(error, text):
    assert error_text(error) == text
