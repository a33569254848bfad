"""`bokbok.sync.turns`: which thread may parse, and how many stay with a connection. Without sockets and threads."""

from __future__ import annotations

import threading

from bokbok._front.turns import QUANTUM
from bokbok.sync.turns import Places, Turns
from tests.support.leaks import eventually
from tests.support.peers import SOON


class Entrant:
    def __init__(self, name: str, came: list[str], has_thread: bool = True) -> None:
        self._name, self._came, self._has_thread = name, came, has_thread

    def _turn_came(self, begin: bool) -> bool:
        self._came.append(self._name)
        return self._has_thread


def test_so_many_turns_are_taken_at_once_and_the_others_stand_in_line_in_their_order() -> None:
    came: list[str] = []
    turns = Turns(2)
    for name in "abcde":
        turns.enter(object(), Entrant(name, came))
    assert came == ["a", "b"]
    turns.leave()
    assert came == ["a", "b", "c"]
    turns.leave()
    turns.leave()
    assert came == ["a", "b", "c", "d", "e"]


def test_whoever_has_more_to_read_lines_up_behind_all_others() -> None:
    came: list[str] = []
    turns = Turns(1)
    heavy, light = Entrant("heavy", came), Entrant("light", came)
    turns.enter(heavy, heavy)
    turns.enter(light, light)
    assert not turns.try_to_enter()  # its own second slice
    turns.enter(heavy, heavy)
    turns.leave()
    turns.leave()
    assert came == ["heavy", "light", "heavy"]


def test_parties_take_turns() -> None:
    came: list[str] = []
    turns = Turns(1)
    for name in "123":
        turns.enter("crowd", Entrant(name, came))
    for name in "abc":
        turns.enter("alice", Entrant(name, came))
    for _ in range(6):
        if came[-1] in "123":
            turns.leave("crowd", QUANTUM)
        else:
            turns.leave("alice", 0.6 * QUANTUM)
    assert came == ["1", "2", "a", "b", "3", "c"]


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
        turns.enter(object(), Entrant(name, came, has_thread=False))
    turns.enter(object(), Entrant("c", came))
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


def test_a_turn_is_given_to_whoever_lines_up_while_it_is_given_back() -> None:
    """Many threads that enter and leave: none is forgotten in the line, and no turn is lost."""
    turns = Turns(2)
    done = threading.Semaphore(0)

    class Hasty:
        def _turn_came(self, begin: bool) -> bool:
            done.release()
            threading.Thread(target=turns.leave).start()
            return True

    def come() -> None:
        for _ in range(50):
            if turns.try_to_enter():
                turns.leave()
            turns.enter(object(), Hasty())

    coming = [threading.Thread(target=come) for _ in range(8)]
    for thread in coming:
        thread.start()
    for thread in coming:
        thread.join()
    for _ in range(8 * 50):
        assert done.acquire(timeout=SOON)
    eventually(lambda: len(turns._free) == 2, "every turn was given back")
