from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.wire._guards import DEFAULT_HELLOS, DEFAULT_WINDOW, Guards, HelloMemory, RequestWindow


def test_a_hello_is_remembered_once() -> None:
    memory = HelloMemory()
    assert memory.remember(b"box")
    assert not memory.remember(b"box")
    assert memory.remember(b"another")


def test_of_copies_that_arrive_at_once_only_one_passes() -> None:
    memory = HelloMemory()
    start = threading.Barrier(8)
    passed: list[bool] = []

    def arrive() -> None:
        start.wait()
        passed.append(memory.remember(b"box"))

    threads = [threading.Thread(target=arrive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [False] * 7 + [True]


def test_a_full_memory_forgets_the_oldest() -> None:
    memory = HelloMemory(2)
    assert memory.remember(b"1")
    assert memory.remember(b"2")
    assert not memory.remember(b"1")  # which makes it the younger one
    assert memory.remember(b"3")
    assert not memory.remember(b"1")
    assert memory.remember(b"2")


def test_a_memory_of_one_hello_forgets_it_for_the_next() -> None:
    memory = HelloMemory(1)
    assert memory.remember(b"1")
    assert not memory.remember(b"1")
    assert memory.remember(b"2")
    assert memory.remember(b"1")


def test_the_sizes_are_those_of_the_documentation() -> None:
    assert (DEFAULT_WINDOW, DEFAULT_HELLOS) == (1024, 65_536)
    assert Guards() == Guards(hello_replay=True, request_replay="window", reflection=True, nonce_reuse=True)


def test_a_memory_holds_something() -> None:
    with pytest.raises(ValueError, match="capacity"):
        HelloMemory(0)


def test_ids_in_succession_pass() -> None:
    window = RequestWindow()
    assert [window.use(id) for id in range(5000)] == [None] * 5000


def test_an_id_is_used_once() -> None:
    window = RequestWindow()
    assert window.use(0) is None
    assert window.use(0) == "request 0 was used before"


def test_gaps_and_a_changed_order_pass() -> None:
    window = RequestWindow()
    for id in (3, 0, 2, 7, 1, 5):
        assert window.use(id) is None
    for id in (3, 0, 2, 7, 1, 5):
        assert window.use(id) is not None


def test_below_the_window_every_id_counts_as_used() -> None:
    window = RequestWindow(size=4)
    assert window.use(10) is None
    assert window.use(6) is not None
    assert window.use(7) is None
    assert window.use(11) is None
    assert window.use(12) is None
    assert window.use(8) is not None
    assert window.use(9) is None


def test_an_enormous_jump_costs_no_more_than_the_window() -> None:
    window = RequestWindow(size=16)
    assert window.use(2**62 - 1) is None
    assert window.use(2**62 - 2) is None
    assert window.use(0) is not None


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 16))
def test_a_window_agrees_with_the_set_of_everything_used(ids: list[int], size: int) -> None:
    window = RequestWindow(size=size)
    used: set[int] = set()
    for id in ids:
        highest = max(used, default=-1)
        expected = id not in used and id > highest - size
        assert (window.use(id) is None) == expected
        if expected:
            used.add(id)


def test_strict_succession_shows_what_is_missing() -> None:
    window = RequestWindow(size=0)
    assert window.use(0) is None
    assert window.use(2) == "request 2 out of succession, expected 1"
    assert window.use(1) is None


def test_a_numbering_may_start_elsewhere_and_go_by_two() -> None:
    window = RequestWindow(size=0, start=1, step=2)
    assert window.use(1) is None
    assert window.use(3) is None
    assert window.use(4) is not None


def test_a_guard_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="request_replay: expected 'window', 'strict' or 'off', got 'of'"):
        Guards(request_replay="of")  # type: ignore[arg-type]
