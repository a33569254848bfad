"""`bokbok._front.gate`: which connections are admitted, without a socket or a clock."""

from __future__ import annotations

from typing import Any

import pytest

from bokbok import Limits
from bokbok._front import gate as gate_module
from bokbok._front.gate import Gate, Source, source_of

FAR, OTHER, NEAR = Source("192.0.2.1", False), Source("192.0.2.2", False), Source("127.0.0.1", True)


def gate(draw: float = 0.0, **limits: Any) -> Gate:
    return Gate(Limits(**limits), lambda: draw)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (("tcp", "192.0.2.7", 1), Source("192.0.2.7", False)),
        (("tcp", "2001:db8:1:2:3:4:5:6", 1), Source("2001:db8:1:2::/64", False)),
        (("tcp", "2001:db8:1:2::7", 1), Source("2001:db8:1:2::/64", False)),
        (("tcp", "fe80::1%eth0", 1), Source("fe80::/64", False)),
        (("tcp", "::ffff:192.0.2.7", 1), Source("192.0.2.7", False)),
        (("tcp", "127.0.0.1", 1), Source("127.0.0.1", True)),
        (("tcp", "127.8.9.10", 1), Source("127.8.9.10", True)),
        (("tcp", "::1", 1), Source("::1", True)),
        (("unix", "/run/s"), Source("unix", True)),
        (("tcp", None, 1), Source("", False)),
    ],
)
def test_a_source_is_an_address_or_a_network_of_ipv6_or_this_machine(address: Any, source: Source) -> None:
    assert source_of(address) == source


# Connections.


def test_a_source_has_so_many_connections_and_others_theirs() -> None:
    one = gate(connections_per_address=2)
    assert [one.arrive(FAR, 0, hello=False) for _ in range(2)] == [None, None]
    assert one.arrive(FAR, 0, hello=False) == (
        "connections_per_address",
        "2 connections of this source are there already",
    )
    assert one.arrive(OTHER, 0, hello=False) is None
    one.leave(FAR, None)
    assert one.arrive(FAR, 0, hello=False) is None


def test_this_machine_has_a_limit_only_where_it_is_set() -> None:
    one = gate()
    for _ in range(gate_module.CONNECTIONS_PER_ADDRESS):
        assert one.arrive(FAR, 0, hello=False) is one.arrive(NEAR, 0, hello=False) is None
    assert one.arrive(FAR, 0, hello=False) is not None
    assert one.arrive(NEAR, 0, hello=False) is None
    one = gate(connections_per_address=1)
    assert one.arrive(NEAR, 0, hello=False) is None
    assert one.arrive(NEAR, 0, hello=False) is not None


def test_a_user_has_so_many_connections() -> None:
    one = gate(connections_per_user=1)
    assert one.enter("alice") is None
    assert one.enter("alice") == ("connections_per_user", "1 connections of this user are there already")
    assert one.enter("bob") is None
    one.arrive(FAR, 0, hello=False)
    one.leave(FAR, "alice")
    assert one.enter("alice") is None


@pytest.mark.parametrize(("connections", "most"), [(4096, 3641), (9, 8), (8, 8), (1, 1)])
def test_one_user_leaves_room_for_others(connections: int, most: int) -> None:
    one = gate(connections=connections)
    for _ in range(most):
        assert one.enter("crowd") is None
    assert one.enter("crowd") == ("connections_per_user", f"{most} connections of this user are there already")
    assert one.enter("alice") is None


def test_a_user_may_be_given_all_connections() -> None:
    one = gate(connections=9, connections_per_user=9)
    assert [one.enter("alice") for _ in range(9)] == [None] * 9


# Hellos.


def test_hellos_take_a_part_of_the_room_that_others_leave() -> None:
    one = gate(0.999, connections=1000, hellos=512, hellos_full=2048)
    for _ in range(800):
        assert one.arrive(NEAR, 0, hello=False) is None
    came = 0
    while one.arrive(NEAR, 0, hello=True) is None:
        came += 1
    assert came == 100  # half of the room, where none of those between an eighth and a half is drawn
    one = gate(0.0, connections=1000)
    for _ in range(800):
        one.arrive(NEAR, 0, hello=False)
    came = 0
    while one.arrive(NEAR, 0, hello=True) is None:
        came += 1
    assert came == 25
    for _ in range(800):
        one.leave(NEAR, None)
    assert one.arrive(NEAR, 0, hello=True) is None


def test_however_little_room_there_is_a_few_hellos_are_under_way() -> None:
    one = gate(0.0, connections=2)
    assert [one.arrive(NEAR, 0, hello=True) for _ in range(8)] == [None] * 8
    assert one.arrive(NEAR, 0, hello=True) is not None


def test_some_hellos_are_refused_then_more_then_all() -> None:
    limits = {"hellos": 10, "hellos_drop": 30, "hellos_full": 20, "hellos_per_address": 1000}
    shares = []
    for under_way in range(22):
        drawn = 0
        for percent in range(100):
            one = gate((percent + 0.5) / 100, **limits)
            one.hellos = under_way
            drawn += one.arrive(FAR, 0, hello=True) is not None
        shares.append(drawn)
    assert shares[:10] == [0] * 10
    assert shares[10:20] == [30, 37, 44, 51, 58, 65, 72, 79, 86, 93]
    assert shares[20:] == [100, 100]


def test_the_hellos_of_one_source_leave_room_for_others() -> None:
    one = gate(hellos_per_address=3)
    assert [one.arrive(FAR, 0, hello=True) for _ in range(3)] == [None] * 3
    refusal = one.arrive(FAR, 0, hello=True)
    assert refusal == ("hellos_per_address", "3 hellos of this source are under way already")
    assert one.arrive(OTHER, 0, hello=True) is None
    one.greeted(FAR)
    assert one.arrive(FAR, 0, hello=True) is None


def test_who_need_not_say_hello_is_not_counted_among_them() -> None:
    one = gate(hellos=1, hellos_full=1, hellos_per_address=1)
    assert one.arrive(FAR, 0, hello=True) is None
    assert one.arrive(OTHER, 0, hello=True) is not None
    assert one.arrive(FAR, 0, hello=False) is None


# Penalties.


def test_refusals_add_up_and_from_so_many_seconds_on_the_source_is_shut_out_until_they_are_over() -> None:
    one = gate(penalty=5, penalty_from=15)
    for second in (0, 0):
        one.penalise(FAR, second)
        assert one.arrive(FAR, second, hello=False) is None
    one.penalise(FAR, 0)
    assert one.arrive(FAR, 5, hello=False) == ("penalty", "this source was refused too often; another 10 s")
    assert one.arrive(OTHER, 5, hello=False) is None
    assert one.arrive(FAR, 14.9, hello=False) is not None
    assert one.arrive(FAR, 15, hello=False) is None
    assert one.penalised == 0


def test_refusals_that_are_far_apart_do_not_add_up() -> None:
    one = gate(penalty=5, penalty_from=15)
    for second in range(0, 1000, 6):
        one.penalise(FAR, second)
        assert one.arrive(FAR, second, hello=False) is None


def test_a_penalty_has_an_end_however_often_somebody_is_refused() -> None:
    one = gate(penalty=5, penalty_from=15, penalty_most=60)
    for _ in range(1000):
        one.penalise(FAR, 0)
    assert one.arrive(FAR, 59, hello=False) is not None
    assert one.arrive(FAR, 60, hello=False) is None


@pytest.mark.parametrize("now", [8191.123456789, 8191.3, 16383.7, 99.1, 1e6 + 1 / 3])
def test_a_penalty_is_whole_whatever_time_it_is(now: float) -> None:
    one = gate(penalty=100, penalty_from=100)
    one.penalise(FAR, now)
    assert one.arrive(FAR, now + 1, hello=False) is not None


def test_this_machine_is_penalised_only_where_that_is_set_and_nobody_where_it_is_0() -> None:
    for limits, sources in (({}, {FAR}), ({"penalty": 20}, {FAR, NEAR}), ({"penalty": 0}, set())):
        one = gate(**limits)
        for source in (FAR, NEAR):
            for _ in range(3):
                one.penalise(source, 0)
        assert {source for source in (FAR, NEAR) if one.arrive(source, 1, hello=False)} == sources


# Memory.


def test_nobody_is_remembered_who_is_not_there_and_was_not_refused() -> None:
    one = gate()
    for number in range(1000):
        source = Source(f"192.0.2.{number}", False)
        one.arrive(source, 0, hello=True)
        one.enter(str(number))
        one.greeted(source)
        one.leave(source, str(number))
    assert not one._by_source
    assert not one._hellos_by_source
    assert not one._by_user
    assert one.hellos == 0


def test_refusals_are_remembered_of_so_many_sources_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MOST_PENALTIES", 100)
    one = gate(penalty=20)
    for number in range(1000):
        one.penalise(Source(str(number), False), 0)
        one.penalise(FAR, 0)  # a source that goes on is not forgotten
    assert one.penalised == 100
    assert one.arrive(Source("0", False), 0, hello=False) is None
    assert one.arrive(Source("999", False), 0, hello=False) is not None
    assert one.arrive(FAR, 0, hello=False) is not None
