from __future__ import annotations

import threading
from typing import Any

from bokbok._front.budget import REQUEST, Budget
from tests.support.peers import SOON

MIB = 1024 * 1024


def test_a_request_is_held_until_it_is_done() -> None:
    budget = Budget(100 * MIB)
    account = budget.account(50 * MIB)
    assert account.admit(0, MIB)
    assert account.held == MIB + REQUEST
    assert budget.held == MIB + REQUEST
    account.done(0)
    assert account.held == 0
    assert budget.held == 0


def test_what_is_done_was_admitted_once() -> None:
    account = Budget(100 * MIB).account(50 * MIB)
    account.admit(0, MIB)
    account.done(1)
    account.done(0)
    account.done(0)
    assert account.held == 0


def test_a_connection_holds_no_more_than_it_may() -> None:
    account = Budget(1000 * MIB).account(10 * MIB)
    admitted = [id for id in range(20) if account.admit(id, MIB)]
    assert admitted == list(range(9))  # each request takes a little more than its message
    assert not account.over
    account.note(partial=2 * MIB)
    assert account.over
    account.note(partial=0)
    account.done(0)
    assert account.admit(20, MIB)


def test_all_connections_hold_no_more_than_the_server_may() -> None:
    budget = Budget(64 * MIB)
    accounts = [budget.account(64 * MIB) for _ in range(10)]
    for id in range(100):
        for account in accounts:
            account.admit(id, MIB)
    assert budget.held <= budget.most
    assert budget.held > 0.8 * budget.most
    shares = [account.held for account in accounts]
    assert max(shares) - min(shares) <= 2 * MIB


def test_who_holds_most_is_refused_first() -> None:
    budget = Budget(64 * MIB)
    heavy, light = budget.account(64 * MIB), budget.account(64 * MIB)
    id = 0
    while heavy.admit(id, MIB):
        id += 1
    assert heavy.held > 48 * MIB  # seven ninths
    assert light.admit(0, MIB)
    assert not heavy.admit(id, MIB)


def test_little_is_never_too_much() -> None:
    budget = Budget(MIB)
    full, little = budget.account(64 * MIB), budget.account(64 * MIB)
    full.note(partial=2 * MIB)
    assert budget.left < 0
    assert little.admit(0, 100)
    assert little.may_send(100)
    assert not little.over
    assert not little.admit(1, 100_000)


def test_a_user_may_hold_its_equal_part_whatever_others_hold() -> None:
    budget = Budget(64 * MIB)
    crowd = [budget.account(64 * MIB) for _ in range(100)]
    for account in crowd:
        account.join("mallory")
    good = budget.account(64 * MIB)
    good.join("alice")
    for account in crowd:
        account.note(partial=MIB)  # counted when it is here: more than there is
    assert budget.held > budget.most
    assert not good.over
    admitted = [id for id in range(10) if good.admit(id, MIB)]
    assert admitted == [0, 1, 2]  # each takes a little more than its message; a sixteenth is 4 MiB
    assert good.may_send(MIB // 2)
    assert good.may_keep
    assert not good.over
    assert crowd[0].over
    assert not crowd[0].admit(0, MIB)
    good.note(partial=2 * MIB)
    assert good.over


def test_an_answer_needs_room_beside_those_that_wait() -> None:
    account = Budget(1000 * MIB).account(10 * MIB)
    account.note(unsent=9 * MIB)
    assert account.may_send(MIB)
    assert not account.may_send(2 * MIB)
    account.note(unsent=0)
    assert account.may_send(2 * MIB)


def test_who_waits_is_called_once_something_is_let_go() -> None:
    budget = Budget(10 * MIB)
    one, other = budget.account(10 * MIB), budget.account(10 * MIB)
    woken: list[str] = []
    one.note(partial=9 * MIB)
    other.note(partial=MIB)
    assert other.over
    other.wait(lambda: woken.append("other"))
    one.note(partial=9 * MIB + 1)
    assert woken == []
    one.note(partial=0)
    assert woken == ["other"]
    assert not other.over
    one.note(partial=MIB)
    one.note(partial=0)
    assert woken == ["other"]


def test_of_a_crowd_that_waits_so_many_are_called_as_there_is_memory_for_and_they_call_the_others() -> None:
    budget = Budget(64 * MIB)
    full = budget.account(128 * MIB)
    crowd = [budget.account(128 * MIB) for _ in range(200)]
    woken: list[int] = []
    for account in crowd:
        account.note(partial=20_000)
    full.note(partial=60 * MIB)
    for number, account in enumerate(crowd):
        assert account.over
        account.wait(lambda number=number: woken.append(number))  # type: ignore[misc]
    full.note(partial=full.partial - 2 * MIB)
    assert woken == []  # there is still more than may be
    left = 1 * MIB
    full.note(partial=full.partial + budget.left - left)
    assert len(woken) == 5  # with 256 KiB each
    for account in crowd:
        account.note(partial=100)
    assert sorted(woken) == list(range(200))


def test_who_may_read_again_is_found_among_those_who_may_not() -> None:
    budget = Budget(64 * MIB)
    heavy = [budget.account(128 * MIB) for _ in range(3)]
    light = budget.account(128 * MIB)
    for account in heavy:
        account.join("mallory")
        account.note(partial=19 * MIB)
    light.join("alice")
    light.note(partial=5 * MIB)
    woken: list[str] = []
    for account in heavy:
        assert account.over
        account.wait(lambda: woken.append("heavy"))
    assert light.over
    light.wait(lambda: woken.append("light"))
    heavy[0].note(partial=10 * MIB)
    assert woken == ["light"]


def test_whoever_frees_memory_while_another_thread_looks_waits_for_nothing_and_that_one_looks_again() -> None:
    budget = Budget(64 * MIB)
    full, waiting = budget.account(64 * MIB), budget.account(MIB)
    full.note(partial=63 * MIB)
    waiting.note(partial=MIB // 2)
    woken: list[str] = []
    waiting.wait(lambda: woken.append("it"))
    assert not woken
    look = budget._take_some_that_wait
    looks: list[int] = []

    def slowly() -> Any:
        found = look()
        looks.append(len(found))
        if len(looks) == 1:
            thread = threading.Thread(target=full.note, kwargs={"partial": 0})
            thread.start()
            thread.join(SOON)
            assert not thread.is_alive()
        return found

    budget._take_some_that_wait = slowly  # type: ignore[method-assign]
    full.note(partial=62 * MIB)
    assert looks == [0, 1]
    assert woken == ["it"]


def test_one_that_is_over_while_it_waits_is_not_called() -> None:
    budget = Budget(64 * MIB)
    full, waiting = budget.account(64 * MIB), budget.account(MIB)
    full.note(partial=56 * MIB)
    waiting.note(partial=MIB // 2)
    woken: list[str] = []
    waiting.wait(lambda: woken.append("it"))
    waiting.close()
    full.note(partial=0)
    assert not woken
    assert not budget._line


def test_it_tells_when_much_less_is_held_than_was() -> None:
    budget = Budget(1024 * MIB)
    account = budget.account(1024 * MIB)
    fell: list[int] = []
    budget.fell = lambda: fell.append(budget.held)
    account.note(partial=100 * MIB)
    account.note(partial=40 * MIB)
    assert not fell
    account.note(partial=35 * MIB)
    assert fell == [35 * MIB]
    account.note(partial=0)
    assert len(fell) == 1  # compared with 35


def test_who_begins_to_wait_when_it_need_not_is_called_at_once() -> None:
    account = Budget(64 * MIB).account(MIB)
    woken: list[str] = []
    account.wait(lambda: woken.append("it"))
    assert woken == ["it"]


def test_a_connection_that_is_over_holds_what_its_handlers_still_hold() -> None:
    budget = Budget(100 * MIB)
    account = budget.account(50 * MIB)
    account.admit(0, MIB)
    account.note(partial=49 * MIB, unsent=MIB)
    woken: list[str] = []
    account.wait(lambda: woken.append("itself"))
    account.close()
    assert budget.held == MIB + REQUEST
    account.done(0)
    assert budget.held == 0
    assert woken == []


def test_connections_of_one_user_hold_together_what_one_of_them_might() -> None:
    budget = Budget(1_000_000)
    crowd = [budget.account(1_000_000) for _ in range(20)]
    for account in crowd:
        account.join("mallory")
    other = budget.account(1_000_000)
    other.join("alice")
    admitted = sum(account.admit(id, 50_000) for id in range(5) for account in crowd)
    assert 0 < budget.left < 200_000  # seven ninths
    assert admitted < 20
    assert not any(account.admit(9, 50_000) for account in crowd)
    assert not crowd[-1].may_send(50_000)
    assert other.admit(0, 50_000)


def test_what_handlers_hold_of_a_connection_that_is_over_counts_for_its_user() -> None:
    budget = Budget(1_000_000)
    first = budget.account(1_000_000)
    first.join("mallory")
    while first.admit(0, 50_000):
        pass
    first.close()
    second = budget.account(1_000_000)
    second.join("mallory")
    assert not second.admit(0, 50_000)
    first.done(0)
    assert second.admit(0, 50_000)
    second.close()
    second.done(0)
    assert not budget.held
    assert not budget._groups


def test_answers_that_wait_for_room_have_a_bound_of_their_own_and_count_for_the_server() -> None:
    budget = Budget(1_000_000)
    account = budget.account(300_000)
    assert account.keep(200_000)
    assert account.may_keep
    assert not account.keep(200_000)
    assert account.may_send(300_000)  # those that wait do not keep the first of them from being sent
    assert account.keep(100_000)
    assert not account.may_keep
    assert budget.held == 300_000
    others = [budget.account(300_000) for _ in range(4)]
    assert sum(other.keep(250_000) for other in others) == 2
    assert not others[-1].may_send(200_001)
    account.let_go(300_000)
    assert budget.held == 500_000
    assert account.may_keep
