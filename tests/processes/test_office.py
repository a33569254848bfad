"""`bokbok.processes._office`: what is counted over all workers, without real processes."""

from __future__ import annotations

from typing import Any

from bokbok import Limits
from bokbok._front.gate import Source
from bokbok.processes._office import Office

FAR, OTHER = Source("192.0.2.1", False), Source("192.0.2.2", False)


def office(*workers: str, **limits: Any) -> Office:
    made = Office(Limits(**limits), lambda: 0.0)
    for worker in workers:
        made.joined(worker)
    return made


def arrive(one: Office, worker: str, visit: int, source: Source = FAR, *, hello: bool = False) -> list[Any]:
    """The answers so far. Later ones are added to the list."""
    answers: list[Any] = []
    one.arrive(worker, visit, source, hello, 0, answers.append)
    return answers


def test_connections_of_a_source_are_counted_over_all_workers() -> None:
    one = office("a", "b", connections_per_address=2)
    assert arrive(one, "a", 1) == [1]
    assert arrive(one, "b", 1) == [0]
    assert arrive(one, "a", 2) == [["connections_per_address", "2 connections of this source are there already"]]
    assert arrive(one, "a", 3, OTHER) == [1]
    one.leave("b", 1, 0)
    assert arrive(one, "a", 4) == [3]


def test_hellos_that_are_under_way_are_counted_over_all_workers() -> None:
    one = office("a", "b", hellos_per_address=1)
    assert arrive(one, "a", 1, hello=True) == [1]
    assert arrive(one, "b", 1, hello=True)[0][0] == "hellos_per_address"
    one.greeted("a", 1)
    one.greeted("a", 1)
    assert arrive(one, "b", 2, hello=True) == [0]


def test_connections_of_a_user_are_counted_over_all_workers() -> None:
    one = office("a", "b", connections_per_user=1)
    for worker, refused in (("a", False), ("b", True)):
        arrive(one, worker, 1)
        answer = one.enter(worker, 1, "alice", None)
        assert (answer is not None) == refused
    assert answer == ["connections_per_user", "1 connections of this user are there already"]
    one.leave("b", 1, 0)  # a refused connection does not count
    one.leave("a", 1, 0)
    arrive(one, "b", 2)
    assert one.enter("b", 2, "alice", None) is None


def test_a_hello_passes_once_whichever_worker_has_it() -> None:
    one = office("a", "b")
    arrive(one, "a", 1)
    arrive(one, "b", 1)
    assert one.enter("a", 1, "alice", b"digest") is None
    assert one.enter("b", 1, "alice", b"digest") == "replay"


def test_a_penalty_holds_at_every_worker() -> None:
    one = office("a", "b", penalty=10, penalty_from=10)
    arrive(one, "a", 1)
    one.penalise("a", 1, 0)
    assert arrive(one, "b", 1)[0][0] == "penalty"
    assert arrive(one, "b", 2, OTHER) == [0]


def test_nothing_of_a_worker_that_has_died_counts() -> None:
    one = office("a", "b", connections_per_address=1, connections_per_user=1, hellos_per_address=1)
    arrive(one, "a", 1, hello=True)
    one.enter("a", 1, "alice", None)
    assert arrive(one, "b", 1)[0][0] == "connections_per_address"
    one.gone("a", 0)
    assert (one.connections, one.gate.hellos) == (0, 0)
    assert arrive(one, "b", 2, hello=True) == [0]
    assert one.enter("b", 2, "alice", None) is None


def test_where_the_server_is_full_the_next_one_waits_for_room() -> None:
    one = office("a", "b", connections=1)
    assert arrive(one, "a", 1) == [1]
    waiting, behind = arrive(one, "b", 1), arrive(one, "a", 2)
    assert (waiting, behind) == ([], [])
    one.leave("a", 1, 0)
    assert (waiting, behind) == ([1], [])
    one.leave("b", 1, 0)
    assert behind == [1]


def test_one_that_waits_for_room_may_leave_or_die() -> None:
    one = office("a", "b", connections=1)
    arrive(one, "a", 1)
    left, dead, patient = arrive(one, "a", 2), arrive(one, "b", 1), arrive(one, "a", 3)
    one.leave("a", 2, 0)
    one.gone("b", 0)
    one.leave("a", 1, 0)
    assert (left, dead, patient) == ([], [], [0])
    assert one.connections == 1


def test_more_connections_are_called_in_when_the_limit_rises() -> None:
    one = office("a", connections=1)
    arrive(one, "a", 1)
    waiting = arrive(one, "a", 2)
    one.limit(Limits(connections=2), 0)
    assert waiting == [0]


def test_a_worker_that_retires_is_nobodys_measure() -> None:
    one = office("old", "new")
    one.retires("old")
    assert arrive(one, "new", 1) == [0]


def test_what_ends_while_its_hello_opens_is_nobodys() -> None:
    one = office("a")
    arrive(one, "a", 1)
    one.leave("a", 1, 0)
    assert one.enter("a", 1, "alice", b"digest") is None
    one.greeted("a", 1)
    one.penalise("a", 1, 0)
    assert one.gate.penalised == 0
