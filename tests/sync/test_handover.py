"""`bokbok.sync.handover`: which thread reads a connection, and how that changes. Without sockets and threads."""

from __future__ import annotations

import pytest

from bokbok.sync.handover import CALLED, CALLER, LEFT, LENT, OVER, PARKED, WORKER, Pace, Role

STATES = (PARKED, CALLED, WORKER, CALLER, LENT, LEFT, OVER)

MOVES = {
    # Only if just the poller reads: a worker that is on its way checks by itself.
    "park": {PARKED: None, CALLED: None, WORKER: PARKED, CALLER: PARKED, LENT: PARKED, LEFT: PARKED, OVER: None},
    # One worker is called at a time, and none once it is over.
    "call": {PARKED: CALLED, CALLED: None, WORKER: CALLED, CALLER: CALLED, LENT: CALLED, LEFT: CALLED, OVER: None},
    # What the poller has seen may be outdated: only if it still waits.
    "bytes_came": {PARKED: CALLED, CALLED: None, WORKER: None, CALLER: None, LENT: None, LEFT: None, OVER: None},
    # A worker that was called may find the connection over.
    "come": {PARKED: None, CALLED: WORKER, WORKER: None, CALLER: None, LENT: None, LEFT: None, OVER: None},
    "lend": {PARKED: None, CALLED: None, WORKER: LENT, CALLER: None, LENT: None, LEFT: None, OVER: None},
    # Whatever took the role while the handler ran keeps it.
    "resume": {PARKED: None, CALLED: None, WORKER: None, CALLER: None, LENT: WORKER, LEFT: None, OVER: None},
    # A worker that is on its way, or reads, reads for all.
    "ask": {PARKED: CALLER, CALLED: None, WORKER: None, CALLER: None, LENT: CALLER, LEFT: CALLER, OVER: None},
    "leave": {PARKED: None, CALLED: None, WORKER: LEFT, CALLER: LEFT, LENT: None, LEFT: None, OVER: None},
    # The socket of a thread that reads must not be closed.
    "end": {PARKED: OVER, CALLED: OVER, WORKER: None, CALLER: None, LENT: OVER, LEFT: OVER, OVER: OVER},
}


def in_state(state: str) -> Role:
    role = Role()
    role.state = state
    return role


@pytest.mark.parametrize(
    ("move", "before", "after"),
    [(move, before, after) for move, table in MOVES.items() for before, after in table.items()],
)
def test_a_move_is_made_where_it_may_be_and_changes_nothing_elsewhere(
    move: str, before: str, after: str | None
) -> None:
    role = in_state(before)
    assert getattr(role, move)() is (after is not None)
    assert role.state == (after or before)


def test_every_move_is_in_the_table_for_every_state() -> None:
    moves = {name for name, value in vars(Role).items() if callable(value) and not name.startswith("_")}
    assert moves == {*MOVES, "stop"}
    assert all(set(table) == set(STATES) for table in MOVES.values())


@pytest.mark.parametrize("state", STATES)
def test_whoever_stops_reading_ends_the_role_whatever_it_was(state: str) -> None:
    role = in_state(state)
    role.stop()
    assert role.state == OVER


@pytest.mark.parametrize(
    ("state", "stray", "in_use"),
    [
        (PARKED, False, False),
        (CALLED, False, False),
        (WORKER, False, True),
        (CALLER, False, True),
        (LENT, True, False),
        (LEFT, True, False),
        (OVER, False, False),
    ],
)
def test_a_role_is_looked_after_by_one_of_poller_thread_and_look(state: str, stray: bool, in_use: bool) -> None:
    role = in_state(state)
    assert (role.is_stray, role.in_use) == (stray, in_use)


def test_bytes_that_come_while_a_slow_handler_runs_are_read_by_another_worker() -> None:
    role = Role()
    assert role.park()
    assert role.bytes_came()
    assert role.come()
    assert role.lend()  # its handler runs …
    assert role.is_stray
    assert role.park()  # … and nothing has moved from one look to the next
    assert role.bytes_came()
    assert role.come()
    assert not role.resume()  # the handler returns, and its worker leaves


def test_a_handler_that_asks_back_reads_for_itself() -> None:
    role = in_state(WORKER)
    assert role.lend()
    assert role.ask()
    assert role.leave()
    assert not role.resume()
    assert role.park()


def test_handlers_are_taken_to_be_quick_at_first() -> None:
    assert Pace().is_quick


def test_a_handler_that_stood_still_makes_the_next_ones_slow_until_many_were_quick() -> None:
    pace = Pace()
    pace.stands_still()
    for _ in range(99):
        pace.took(0.0001)
        assert not pace.is_quick
    pace.took(0.0001)
    assert pace.is_quick


def test_a_quick_handler_that_is_interrupted_now_and_then_stays_quick() -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(0.1)
        assert pace.is_quick
        for _ in range(100):
            pace.took(0.0001)


def test_handlers_of_which_most_are_slow_are_slow() -> None:
    pace = Pace()
    for _ in range(3):
        pace.took(0.001)
    assert not pace.is_quick
