"""`bokbok._front.admission`: which request may start now, which waits, which is refused."""

import pytest

from bokbok._front.admission import STOPPING, Admission, error_text
from bokbok._front.slots import Slots
from bokbok.errors import RemoteError


def test_requests_start_until_enough_handlers_run_and_the_rest_waits():
    admission = Admission(2, 5, held=False)
    assert admission.idle
    assert not admission.ready
    for id in range(3):
        assert admission.queue(id, f"message {id}") is None
    assert admission.ready
    assert admission.start() == (0, "message 0")
    assert admission.start() == (1, "message 1")
    assert not admission.ready
    assert admission.start() is None
    assert admission.running == 2
    assert not admission.idle


def test_a_waiting_request_starts_when_a_handler_has_finished_in_order():
    admission = Admission(1, 5, held=False)
    for id in range(3):
        admission.queue(id, None)
    for id in range(3):
        assert admission.start() == (id, None)
        assert admission.start() is None
        admission.finish()
    assert admission.idle


def test_too_many_requests_are_turned_away_with_a_text_that_says_so():
    admission = Admission(1, 1, held=False)
    assert admission.queue(0, None) is None
    admission.start()
    assert admission.queue(1, None) is None
    assert admission.queue(2, None) == "too many requests: 1 handlers are running and 1 requests waiting"
    admission.finish()
    admission.start()
    assert admission.queue(3, None) is None


def test_what_may_start_but_has_not_yet_does_not_count_as_waiting():
    admission = Admission(2, 1, held=False)
    assert [admission.queue(id, None) for id in range(3)] == [None] * 3
    assert isinstance(admission.queue(3, None), str)


def test_no_request_may_wait_where_the_limit_is_zero():
    admission = Admission(1, 0, held=False)
    assert admission.queue(0, None) is None
    admission.start()
    assert isinstance(admission.queue(1, None), str)


def test_requests_wait_for_the_open_handler():
    admission = Admission(2, 1, held=True)
    assert not admission.idle  # the open handler runs
    assert admission.queue(0, "a") is None
    assert isinstance(admission.queue(1, "b"), str)
    assert not admission.ready
    assert admission.start() is None
    admission.held = False
    assert admission.start() == (0, "a")


def test_a_request_starts_alone_only_where_nothing_else_runs_waits_or_is_held_back():
    idle = Admission(2, 10, held=False)
    assert idle.start_alone()
    assert idle.running == 1
    assert not idle.start_alone()
    idle.finish()
    assert idle.idle
    idle.queue(1, "x")
    assert not idle.start_alone()
    assert not Admission(2, 10, held=True).start_alone()
    stopping = Admission(2, 10, held=False)
    stopping.drain()
    assert not stopping.start_alone()


def test_draining_admits_no_more_and_names_those_that_waited():
    admission = Admission(1, 5, held=False)
    for id in (4, 5, 6):
        admission.queue(id, None)
    admission.start()
    assert admission.drain() == [5, 6]
    assert admission.draining
    assert admission.queue(7, None) == STOPPING
    assert not admission.idle
    admission.finish()
    assert admission.idle
    assert admission.drain() == []


def test_forgetting_those_that_wait_leaves_it_open():
    admission = Admission(1, 5, held=False)
    admission.queue(0, None)
    assert admission.forget() == [0]
    assert admission.queue(2, None) is None


def test_a_request_that_the_server_has_no_slot_for_waits_and_may_start_once_one_is_kept():
    slots = Slots(1, 1)
    other = slots.share(lambda: None)
    woken = []
    admission = Admission(5, 1, held=False, share=slots.share(lambda: woken.append(admission.start())))
    assert other.take()
    assert admission.queue(0, "a") is None
    assert admission.ready
    assert admission.start() is None
    assert not admission.ready  # the connection that gives a slot back will say so
    assert admission.queue(1, "b") == "too many requests: 0 handlers are running and 1 requests waiting"
    other.give()
    assert woken == [(0, "a")]
    assert admission.running == 1


def test_a_parked_handler_does_not_count_as_running_but_the_connection_is_not_idle():
    admission = Admission(1, 5, held=False, share=Slots(1, 1).share(lambda: None))
    admission.queue(0, "a")
    admission.queue(1, "b")
    assert admission.start() == (0, "a")
    assert admission.park()
    assert admission.start() == (1, "b")
    assert not admission.park()
    admission.finish()
    assert not admission.idle
    admission.unpark()
    admission.finish()
    assert admission.idle


def in_line_behind_another():
    """A connection whose request waits for the only slot, and what has it."""
    slots = Slots(1, 1)
    other = slots.share(lambda: None)
    admission = Admission(5, 5, held=False, share=slots.share(lambda: None))
    other.take()
    admission.queue(0, "a")
    admission.start()
    return admission, other


def test_a_connection_that_is_over_gives_back_the_slot_that_was_kept_for_it():
    admission, other = in_line_behind_another()
    other.give()
    assert not other.take()
    admission.close()
    assert other.take()


def test_nothing_starts_while_the_other_end_does_not_take_its_answers():
    admission = Admission(2, 1, held=False)
    admission.congested = True
    assert not admission.start_alone()
    assert admission.queue(0, "a") is None
    assert not admission.ready
    assert admission.start() is None
    assert isinstance(admission.queue(1, "b"), str)
    admission.congested = False
    assert admission.start() == (0, "a")


def test_a_slot_that_was_kept_for_a_connection_that_cannot_use_it_is_given_back():
    admission, other = in_line_behind_another()
    admission.congested = True
    other.give()
    assert admission.ready
    assert admission.start() is None
    assert not admission.ready
    assert other.take()
    other.give()
    admission.congested = False
    assert admission.start() == (0, "a")


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
