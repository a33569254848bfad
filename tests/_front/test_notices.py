"""`bokbok._front.notices`: which events get a line in the log."""

from __future__ import annotations

from bokbok._front.notices import INTERVAL, MOST_LINE, MOST_TOLD, Notices, bounded, shown


def test_something_of_one_kind_and_source_is_told_once_in_a_while() -> None:
    notices = Notices()
    assert notices.note("hello", "a", 0) == 0
    assert notices.note("hello", "a", 1) is None
    assert notices.note("hello", "b", 1) == 1  # the one that was not logged
    assert notices.note("protocol", "a", 1) == 0
    assert notices.note("hello", "a", 2) is None
    assert notices.note("hello", "a", INTERVAL) == 1
    assert notices.counts == {"hello": 5, "protocol": 1}


def test_there_are_so_many_lines_at_the_most_whoever_causes_them() -> None:
    notices = Notices()
    told = [notices.note("hello", str(number), 0) for number in range(10 * MOST_TOLD)]
    assert told.count(0) == MOST_TOLD
    assert told.count(None) == 9 * MOST_TOLD
    assert len(notices._told) == MOST_TOLD
    assert notices.note("hello", "x", INTERVAL) == 9 * MOST_TOLD
    assert notices.counts["hello"] == 10 * MOST_TOLD + 1


def test_a_strangers_name_is_escaped_and_cut() -> None:
    assert shown("alice") == "'alice'"
    assert shown("\x1b[31m\n") == r"'\x1b[31m\n'"
    assert len(shown("\x00" * 255)) < 400
    assert shown("x" * 255).endswith("x…'")


def test_a_line_is_cut_and_says_how_long_it_was() -> None:
    assert bounded("short") == "short"
    assert bounded("x" * 5000) == "x" * MOST_LINE + "… (5000 characters)"
