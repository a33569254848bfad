"""`bokbok._front.slots`: which handler runs next, without a thread or a task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bokbok._front.slots import Share, Slots


class Connection:
    """Starts a handler for each request that it has, as soon as there is a slot."""

    def __init__(self, slots: Slots, key: object = None, *, wants: int = 0) -> None:
        self.share = slots.share(self.start)
        if key is not None:
            self.share.join(key)
        self.wants = wants
        self.running = 0
        self.start()

    def start(self) -> None:
        while self.wants and self.share.take():
            self.wants -= 1
            self.running += 1

    def finish(self) -> None:
        self.running -= 1
        self.share.give()
        self.start()


def crowd_and_other(slots: Slots) -> tuple[Share, Share]:
    """The shares of two users. Eight handlers of the first are parked."""
    crowd, other = slots.share(lambda: None), slots.share(lambda: None)
    crowd.join("crowd")
    other.join("other")
    for _ in range(8):
        assert crowd.take()
        assert crowd.park()
    return crowd, other


def test_slots_are_taken_until_none_is_free_and_again_when_one_is_given_back() -> None:
    slots = Slots(2, 0)
    connection = Connection(slots, wants=3)
    assert (connection.running, slots.running, slots.waiting) == (2, 2, 1)
    connection.finish()
    assert (connection.running, connection.wants, slots.running, slots.waiting) == (2, 0, 2, 0)
    connection.finish()
    connection.finish()
    assert slots.running == 0


def test_who_waits_is_woken_once_with_a_slot_that_is_kept_for_it() -> None:
    slots = Slots(1, 0)
    woken: list[str] = []
    first, second = slots.share(lambda: woken.append("first")), slots.share(lambda: woken.append("second"))
    assert first.take()
    assert not second.take()
    assert not second.take()
    assert second.waiting
    first.give()
    assert woken == ["second"]
    assert not first.take()  # the slot belongs to the other one, though it has not taken it yet
    assert second.take()
    assert woken == ["second"]


def test_connections_take_turns_whatever_they_want() -> None:
    slots = Slots(1, 0)
    flooding = [Connection(slots, wants=1000) for _ in range(8)]
    good = Connection(slots, wants=1)
    turns = 0
    while good.wants:
        next(each for each in flooding if each.running).finish()
        turns += 1
    assert turns <= 9


def test_who_has_fewer_running_comes_first() -> None:
    slots = Slots(2, 0)
    busy = Connection(slots, wants=2)
    other = Connection(slots, wants=1)
    busy.wants = 5
    busy.start()
    busy.finish()
    assert (busy.running, other.running) == (1, 1)


def test_connections_of_one_user_share_what_one_of_another_gets() -> None:
    slots = Slots(12, 0)
    many = [Connection(slots, "mallory", wants=100) for _ in range(50)]
    good = Connection(slots, "alice", wants=100)
    for _ in range(1000):
        next(each for each in [*many, good] if each.running).finish()
    assert sum(each.running for each in many) + good.running == 12
    assert good.running >= 4


def test_one_group_alone_leaves_a_part_free_for_whoever_comes_next() -> None:
    slots = Slots(900, 0)
    hog = Connection(slots, "mallory", wants=10_000)
    assert hog.running == 800
    assert Connection(slots, "alice", wants=1).running == 1


def test_each_connection_of_a_group_gets_its_turn() -> None:
    slots = Slots(1, 0)
    connections = [Connection(slots, "alice") for _ in range(5)]
    for each in connections:
        each.wants = 3
        each.start()
    order = []
    while any(each.running for each in connections):
        running = next(each for each in connections if each.running)
        order.append(connections.index(running))
        running.finish()
    assert order == [0, *[0, 1, 2, 3, 4] * 2, 1, 2, 3, 4]  # the first one was alone


def test_a_parked_handler_gives_its_slot_to_who_waits_and_goes_on_without_waiting() -> None:
    slots = Slots(1, 1)
    asking = Connection(slots, wants=1)
    answering = Connection(slots, wants=1)
    assert answering.running == 0
    assert asking.share.park()
    assert answering.running == 1
    assert (slots.running, slots.parked) == (1, 1)
    asking.share.unpark()
    assert (slots.running, slots.resumed, slots.parked) == (1, 1, 0)  # no more than both limits together
    third = Connection(slots, wants=1)
    asking.finish()
    assert third.running == 0
    answering.finish()
    assert third.running == 1


def test_beyond_the_limit_nobody_may_park() -> None:
    slots = Slots(2, 1)
    first, second = Connection(slots, wants=1), Connection(slots, wants=1)
    assert first.share.park()
    assert not second.share.park()
    assert (slots.running, slots.parked) == (1, 1)
    first.share.unpark()
    assert second.share.park()


def test_who_goes_on_without_a_slot_may_park_again_and_then_others_may_not() -> None:
    slots = Slots(1, 1)
    asking, answering = Connection(slots, wants=1), Connection(slots, wants=1)
    assert asking.share.park()
    asking.share.unpark()
    assert not answering.share.park()
    assert asking.share.park()
    assert (slots.running, slots.resumed, slots.parked) == (1, 0, 1)
    asking.share.unpark()
    asking.finish()
    assert answering.share.park()


def test_handlers_that_go_on_at_one_moment_take_no_slot_from_another_user() -> None:
    slots = Slots(9, 18)
    crowd, other = crowd_and_other(slots)
    for _ in range(8):
        assert crowd.take()
    for _ in range(8):
        crowd.unpark()
    assert (crowd.running, crowd.resumed) == (8, 8)
    assert other.take()
    crowd.give_some(8, unused=0)
    assert (crowd.running, crowd.resumed) == (8, 0)
    crowd.give()
    assert slots.running == 8


def test_handlers_of_one_user_leave_room_for_another_users_to_park() -> None:
    slots = Slots(30, 9)
    crowd, other = crowd_and_other(slots)
    assert crowd.take()
    assert not crowd.park()
    assert other.take()
    assert other.park()


def test_however_they_come_park_and_go_on_there_are_never_more_than_both_limits_together() -> None:
    slots = Slots(3, 4)
    connections = [Connection(slots, wants=10) for _ in range(10)]
    parked: list[Connection] = []
    most = 0
    for step in range(500):
        for each in connections:
            if each.running and step % 3 and each.share.park():
                each.running -= 1
                parked.append(each)
        if parked and step % 2:
            each = parked.pop(0)
            each.share.unpark()
            each.running += 1
        most = max(most, sum(each.running for each in connections) + len(parked))
        running = next((each for each in connections if each.running), None)
        if running is not None and step % 5 == 0:
            running.finish()
    assert most == 7


def test_a_slot_that_is_reserved_is_nobody_elses() -> None:
    slots = Slots(1, 0)
    first, second = slots.share(lambda: None), slots.share(lambda: None)
    assert first.reserve()
    assert first.reserve()  # the same one
    assert not second.reserve()
    assert second.waiting
    assert slots.running == 1
    assert first.take()
    first.give()
    assert second.reserve()
    second.leave()
    assert slots.running == 0


def test_who_leaves_gives_back_what_was_kept() -> None:
    slots = Slots(1, 0)
    first, second = Connection(slots, wants=1), Connection(slots)
    gone = slots.share(lambda: None)
    assert not gone.take()
    second.wants = 1
    second.start()
    first.finish()
    assert (gone.kept, second.running) == (1, 0)
    gone.leave()
    assert (gone.kept, second.running) == (0, 1)


def test_who_leaves_the_line_is_not_woken() -> None:
    slots = Slots(1, 0)
    first = Connection(slots, wants=1)
    gone = slots.share(lambda: pytest.fail("it has left"))
    assert not gone.take()
    gone.leave()
    assert slots.waiting == 0
    first.finish()
    assert slots.running == 0


def test_the_handlers_of_a_connection_that_is_over_count_for_its_user_until_they_return() -> None:
    slots = Slots(9, 9)
    old = Connection(slots, "mallory", wants=8)
    assert old.running == 8
    old.share.close()
    new = Connection(slots, "mallory", wants=8)
    assert new.running == 0
    assert Connection(slots, "alice", wants=1).running == 1
    assert old.share.park()
    old.share.unpark()
    for _ in range(8):
        old.finish()
    assert new.running > 0


def test_groups_are_forgotten_with_their_last_connection() -> None:
    slots = Slots(2, 0)
    for user in range(100):
        connection = Connection(slots, user, wants=1)
        connection.share.close()
        connection.finish()
    assert slots._groups == {}


def test_where_nobody_can_be_woken_the_next_slot_is_tried_again() -> None:
    slots = Slots(2, 0)
    first = Connection(slots, wants=2)
    problems: list[type[Exception]] = [RuntimeError]
    woken: list[Share] = []

    def wake() -> None:
        if problems:
            raise problems.pop()("can't start new thread")
        woken.append(share)

    share = slots.share(wake)
    assert not share.take()
    first.finish()
    assert woken == []
    assert share.waiting
    first.finish()
    assert woken == [share]
    assert share.take()


def test_more_slots_are_handed_out_at_once_and_fewer_end_nothing() -> None:
    slots = Slots(1, 0)
    connections = [Connection(slots, wants=1) for _ in range(3)]
    slots.limit(3, 0)
    assert [each.running for each in connections] == [1, 1, 1]
    slots.limit(1, 0)
    connections[0].finish()
    assert Connection(slots, wants=1).running == 0


@pytest.mark.parametrize("count", [10, 1000])
def test_a_line_of_any_length_keeps_its_order_and_forgets_what_is_over(count: int) -> None:
    slots = Slots(1, 0)
    first = Connection(slots, wants=1)
    order: list[int] = []

    def note(number: int) -> Callable[[], None]:
        return lambda: order.append(number)

    shares = [slots.share(note(number)) for number in range(count)]
    for _ in range(3):
        for share in shares:
            assert not share.take()
            share.leave()
    for share in shares:
        assert not share.take()
    assert len(slots._line._heap) <= 3 * count + 20
    first.finish()
    for share in shares:
        assert share.take()
        share.give()
    assert order == list(range(count))


# The spare slot.


def test_a_slot_that_is_spare_is_not_running_and_is_counted_each_time_that_it_is_used() -> None:
    slots = Slots(1, 0)
    share = slots.share(lambda: None)
    for number in range(1, 4):
        assert share.take()
        assert (slots.running, slots.started) == (1, number)
        share.give()
        assert (slots.running, slots.started) == (0, number)
    share.close()
    assert (slots.running, slots.started) == (0, 3)


@pytest.mark.parametrize("how", ["take", "reserve"])
def test_a_spare_slot_goes_to_whoever_would_be_refused(how: str) -> None:
    slots = Slots(1, 0)
    first, second = slots.share(lambda: None), slots.share(lambda: None)
    for _ in range(2):  # from the second time on without the lock
        assert first.take()
        first.give()
    assert getattr(second, how)()
    assert slots.waiting == 0
    assert not first.take()


def test_lowering_the_limit_takes_spare_slots_back() -> None:
    slots = Slots(3, 0)
    shares = [slots.share(lambda: None) for _ in range(3)]
    for share in shares:
        assert share.take()
    for share in shares:
        share.give()
    slots.limit(1, 0)
    assert [share.take() for share in shares] == [True, False, False]


@pytest.mark.parametrize("before", [True, False])
def test_a_slot_that_becomes_spare_while_somebody_is_refused_is_not_lost(before: bool) -> None:
    slots = Slots(1, 0)
    woken: list[str] = []
    first, second = slots.share(lambda: woken.append("first")), slots.share(lambda: woken.append("second"))

    class Between(list[None]):
        """As if the second one asked in another thread, in the middle of the first one's `give`."""

        def append(self, item: None) -> None:
            if before:
                assert not second.take()
            super().append(item)
            if not before:
                assert second.take()

    assert first.take()
    first.give()
    assert first.take()
    first._spare = Between()
    first.give()
    assert woken == ["second"] * before
    assert slots.waiting == 0
    if before:
        assert second.take()
    assert slots.running == 1
    second.give()
    assert slots.running == 0


def test_a_connection_that_is_over_leaves_no_slot_behind() -> None:
    slots = Slots(1, 0)
    first, second = slots.share(lambda: None), slots.share(lambda: None)
    first.join("user")
    assert first.take()
    first.give()
    first.close()
    assert not slots._groups
    assert not slots._sparing
    assert second.take()
