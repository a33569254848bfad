from __future__ import annotations

import pytest

from bokbok._front.clocks import PAUSED, IdleClock, PacketClock, SendClock


def test_a_packet_has_its_time_from_its_first_byte_on() -> None:
    clock = PacketClock(30, 1000)
    assert clock.left(0) is None
    assert clock.note(100, 1, whole=False)
    assert clock.left(100) == pytest.approx(30.001)
    assert not clock.note(110, 2, whole=False)
    assert clock.left(120) == pytest.approx(10.002)
    left = clock.left(131)
    assert left is not None
    assert left < 0


def test_who_is_slow_but_steady_passes() -> None:
    clock = PacketClock(30, 1000)
    for second in range(1, 10_000):
        clock.note(second, 1000 * second, whole=False)
        left = clock.left(second)
        assert left is not None
        assert left > 0


def test_who_is_slower_than_that_does_not() -> None:
    clock = PacketClock(30, 1000)
    late = next(
        second
        for second in range(1, 10_000)
        if (clock.note(second, 500 * second, whole=False), (clock.left(second) or 0) <= 0)[1]
    )
    assert 55 < late < 65


def test_each_packet_has_its_own_time() -> None:
    clock = PacketClock(30, 1000)
    clock.note(0, 1, whole=False)
    assert clock.note(20, 1, whole=True)
    assert clock.left(20) == pytest.approx(30.001)


def test_between_packets_no_time_goes_on() -> None:
    clock = PacketClock(30, 1000)
    clock.note(0, 1, whole=False)
    assert not clock.note(1, 0, whole=True)
    assert clock.left(1000) is None


def test_while_nothing_is_read_it_has_the_time_out_and_no_more() -> None:
    clock = PacketClock(30, 1000)
    clock.note(0, 1_000_000, whole=False)
    clock.pause(100)
    clock.pause(102)
    assert clock.left(102) == PAUSED - 2
    clock.go_on(120)
    assert clock.left(120) == pytest.approx(30 + 1000 - 100)  # the time between was not the packet's
    assert clock.paused is None


def test_what_is_read_of_a_whole_packet_has_time_while_it_is_paused() -> None:
    clock = PacketClock(30, 1000)
    clock.pause(100)
    assert clock.left(120) == PAUSED - 20
    clock.go_on(120)
    assert clock.left(120) is None


def test_who_takes_anything_has_time_anew() -> None:
    clock = SendClock(60)
    clock.start(0, 1000)
    assert clock.left(30, 1000) == 30
    assert clock.left(59, 1001) == 60
    assert clock.left(100, 1001) == 19
    assert clock.left(119, 1001) == 0


def test_what_was_taken_before_does_not_count() -> None:
    clock = SendClock(60)
    clock.start(0, 1000)
    clock.left(10, 2000)
    clock.start(100, 2000)
    assert clock.left(160, 2000) == 0


def test_an_idle_connection_has_its_time_from_the_last_byte_on() -> None:
    clock = IdleClock(600)
    clock.note(100)
    assert clock.left(400) == 300
    clock.note(400)
    assert clock.left(1000) == 0
