"""`bokbok._front.race`: when each address is tried, without a socket or a clock."""

from __future__ import annotations

from bokbok._front.race import ATTEMPT_DELAY, Race

FOUR, SIX = 2, 10


def test_families_take_turns_and_the_systems_first_choice_comes_first() -> None:
    race = Race([(SIX, "a"), (SIX, "b"), (SIX, "c"), (FOUR, "d"), (FOUR, "e")])
    order = []
    while (candidate := race.start(0)) is not None:
        order.append(candidate[1])
        race.failed()
    assert order == ["a", "d", "b", "e", "c"]


def test_an_address_has_some_time_for_itself_before_the_next_one_is_tried_beside_it() -> None:
    race = Race([(FOUR, "a"), (FOUR, "b")])
    assert race.start(10) == (FOUR, "a")
    assert race.start(10) is None
    assert race.wait(10) == ATTEMPT_DELAY
    assert race.start(10 + ATTEMPT_DELAY) == (FOUR, "b")
    assert race.wait(11) is None
    assert race.start(100) is None


def test_where_one_has_failed_the_next_need_not_wait() -> None:
    race = Race([(FOUR, "a"), (FOUR, "b"), (FOUR, "c")])
    race.start(0)
    race.failed()
    assert race.wait(0) == 0
    assert race.start(0) == (FOUR, "b")
    assert race.start(0) is None
