"""`bokbok._front.server`: a server's connections, without a socket."""

from __future__ import annotations

from bokbok._front.server import Roster


def test_there_is_room_up_to_the_limit_and_again_when_a_connection_is_over() -> None:
    roster: Roster[str] = Roster(2)
    roster.add("first")
    assert not roster.full
    roster.add("second")
    assert roster.full
    roster.remove("first")
    assert not roster.full
    roster.remove("first")


def test_a_server_has_stopped_once_it_was_asked_listens_no_more_and_has_no_connection() -> None:
    roster: Roster[str] = Roster(2)
    roster.add("first")
    assert roster.stop()
    assert not roster.stop()
    assert not roster.stopped
    roster.listening = False
    assert not roster.stopped
    roster.remove("first")
    assert roster.stopped


def test_a_server_that_was_not_asked_to_stop_has_not_stopped() -> None:
    roster: Roster[str] = Roster(2)
    roster.listening = False
    assert not roster.stopped


def test_a_forked_child_has_no_server_and_no_connection() -> None:
    roster: Roster[str] = Roster(2)
    roster.add("first")
    roster.forked()
    assert roster.stopped
