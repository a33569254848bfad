"""`bokbok.sync.turns`: whose turn it is to parse, and how many stay with a connection. No socket, no thread."""

from __future__ import annotations

from bokbok.sync.turns import Places, Turns


class Entrant:
    def __init__(self, name: str, came: list[str], has_thread: bool = True) -> None:
        self._name, self._came, self._has_thread = name, came, has_thread

    def _turn_came(self) -> bool:
        self._came.append(self._name)
        return self._has_thread


def test_so_many_turns_are_taken_at_once_and_the_others_stand_in_line_in_their_order() -> None:
    came: list[str] = []
    turns = Turns(2)
    assert turns.enter(Entrant("a", came))
    assert turns.enter(Entrant("b", came))
    for name in "cde":
        assert not turns.enter(Entrant(name, came))
    assert came == []
    turns.leave()
    assert came == ["c"]
    turns.leave()
    turns.leave()
    assert came == ["c", "d", "e"]


def test_whoever_has_more_to_read_lines_up_behind_all_others() -> None:
    came: list[str] = []
    turns = Turns(1)
    heavy, light = Entrant("heavy", came), Entrant("light", came)
    assert turns.enter(heavy)
    assert not turns.enter(light)
    assert not turns.try_to_enter()  # its own second slice
    assert not turns.enter(heavy)
    turns.leave()
    turns.leave()
    assert came == ["light", "heavy"]


def test_a_turn_is_free_again_when_nobody_stands_in_the_line() -> None:
    turns = Turns(1)
    assert turns.try_to_enter()
    assert not turns.try_to_enter()
    turns.leave()
    assert turns.try_to_enter()


def test_a_turn_for_which_there_is_no_thread_is_the_next_ones() -> None:
    came: list[str] = []
    turns = Turns(1)
    assert turns.try_to_enter()
    for name in "ab":
        turns.enter(Entrant(name, came, has_thread=False))
    turns.enter(Entrant("c", came))
    turns.leave()
    assert came == ["a", "b", "c"]
    turns.leave()
    assert turns.try_to_enter()


def test_places_are_taken_without_waiting() -> None:
    places = Places(2)
    assert places.take()
    assert places.take()
    assert not places.take()
    places.give()
    assert places.take()
