from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from bokbok._front.turns import MORE, NOTHING, QUANTUM, Turns, long


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def worker(clock: Clock, done: list[str], name: str, cost: float, times: int) -> Callable[[bool], int]:
    """Work that takes so many turns, each of so many quanta."""
    left = iter(range(times - 1, -1, -1))

    def step(begin: bool) -> int:
        clock.now += cost * QUANTUM
        done.append(name)
        return MORE if next(left) > 0 else NOTHING

    return step


def all_taken(turns: Turns) -> None:
    while turns:
        turns.take()


def test_everybody_has_a_turn_in_the_order_of_the_line() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    for name in "abc":
        turns.join(object(), worker(clock, done, name, 1, 2))
    all_taken(turns)
    assert done == list("abcabc")


def test_who_takes_longer_than_a_turn_lets_the_others_go_first_until_that_is_made_up_for() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    turns.join(object(), worker(clock, done, "slow", 3, 3))
    turns.join(object(), worker(clock, done, "quick", 1, 9))
    all_taken(turns)
    assert done[:8] == ["slow", "quick", "quick", "quick", "slow", "quick", "quick", "quick"]


def test_who_takes_less_than_a_turn_saves_nothing_up() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    turns.join(object(), worker(clock, done, "a", 0.1, 50))
    turns.join(object(), worker(clock, done, "b", 0.1, 50))
    all_taken(turns)
    assert done == ["a", "b"] * 50


@pytest.mark.parametrize("collections", [0, 1, 2], ids=["none", "one", "two"])
def test_a_turn_in_which_the_collector_looked_at_everything_counts_as_one(
    monkeypatch: pytest.MonkeyPatch, collections: int
) -> None:
    clock, done = Clock(), list[str]()
    monkeypatch.setattr("gc.get_stats", lambda: [{"collections": min(collections, done.count("slow"))}])
    turns = Turns(clock)
    turns.join(object(), worker(clock, done, "slow", 30, 4))
    turns.join(object(), worker(clock, done, "quick", 1, 90))
    all_taken(turns)
    begun = [at for at, name in enumerate(done) if name == "slow"]
    waited = [after - before > 20 for before, after in itertools.pairwise(begun)]
    assert waited == [False] * collections + [True] * (3 - collections)


def test_who_is_alone_goes_on_however_long_it_takes() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    turns.join(object(), worker(clock, done, "a", 1000, 3))
    all_taken(turns)
    assert done == list("aaa")


def test_nobody_in_line_is_no_turn() -> None:
    turns = Turns(Clock())
    turns.take()
    assert not turns


def test_who_raises_has_left_the_line() -> None:
    turns = Turns(Clock())

    def fails(begin: bool) -> int:
        raise ZeroDivisionError

    turns.join(object(), fails)
    with pytest.raises(ZeroDivisionError):
        turns.take()
    assert not turns


def test_parties_take_turns_and_within_a_party_those_who_came_first() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    for name in "123":
        turns.join("crowd", worker(clock, done, name, 1, 2))
    turns.join("alice", worker(clock, done, "a", 1, 3))
    all_taken(turns)
    assert done == list("1a2a3a123")


def test_what_one_of_a_party_used_too_much_its_others_wait_for() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    turns.join("crowd", worker(clock, done, "1", 3, 1))
    turns.join("crowd", worker(clock, done, "2", 1, 1))
    turns.join("alice", worker(clock, done, "a", 1, 4))
    all_taken(turns)
    assert done == list("1aaa2a")
    assert not turns._line._credits


MIB = 1 << 20


def reader(done: list[str], name: str, times: int, size: int = MIB) -> Callable[[bool], int]:
    """Reads a long message in so many turns in which it may, and in another one if it was only found in that."""
    left = iter(range(times - 1, -1, -1))
    begun = False

    def step(begin: bool) -> int:
        nonlocal begun
        begun = begun or begin
        done.append(name if begun else name.upper())
        if not begun:
            return long(size, False)
        return long(size, True) if next(left) > 0 else NOTHING

    return step


def test_long_messages_of_a_party_are_read_one_after_the_other() -> None:
    done: list[str] = []
    turns = Turns(Clock())
    for name in "abc":
        turns.join("crowd", reader(done, name, 3), long(MIB, False))
    all_taken(turns)
    assert done == list("aaabbbccc")


def test_a_partys_short_messages_take_turns_with_its_long_ones() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)
    turns.join("crowd", reader(done, "a", 4), long(MIB, False))
    for name in "123":
        turns.join("crowd", worker(clock, done, name, 1, 1))
    all_taken(turns)
    assert done == list("1a2a3aa")


def test_who_finds_a_long_message_while_its_party_reads_one_waits_for_its_end() -> None:
    done: list[str] = []
    turns = Turns(Clock())
    turns.join("crowd", reader(done, "a", 3), long(MIB, True))
    turns.join("crowd", reader(done, "b", 2))
    assert not turns.may_begin("crowd")
    assert turns.may_begin("alice")
    all_taken(turns)
    assert done == list("Baaabb")


def test_a_far_shorter_one_of_the_partys_long_messages_does_not_wait_for_the_longest() -> None:
    done: list[str] = []
    turns = Turns(Clock())
    turns.join("crowd", reader(done, "a", 3), long(MIB, True))
    turns.join("crowd", reader(done, "b", 2, MIB - 1), long(MIB - 1, False))
    turns.join("crowd", reader(done, "c", 2, 5000), long(5000, False))
    turns.join("crowd", reader(done, "d", 2, 5000), long(5000, False))
    all_taken(turns)
    assert done == list("acacadbdb")


def test_long_messages_of_different_parties_are_read_at_once() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(clock)

    def reads(name: str) -> Callable[[bool], int]:
        step = reader(done, name, 3)

        def timed(begin: bool) -> int:
            clock.now += QUANTUM
            return step(begin)

        return timed

    turns.join("crowd", reads("a"), long(MIB, False))
    turns.join("alice", reads("b"), long(MIB, False))
    all_taken(turns)
    assert done == list("ababab")
