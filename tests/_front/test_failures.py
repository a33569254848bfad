"""`bokbok._front.failures`: how much is logged of what fails."""

from __future__ import annotations

import logging

import pytest

from bokbok._front.failures import MOST_FAILURES, Failures
from bokbok._front.notices import INTERVAL

LOG = logging.getLogger("tests.failures")
BOOM = ValueError("boom")


def test_a_failure_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    Failures().tell(LOG, "alice", "%s failed", "it", error=BOOM)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "it failed")
    assert record.exc_info is not None
    assert record.exc_info[1] is BOOM


def test_many_failures_of_one_kind_and_source_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    failures = Failures(lambda: now)
    for _ in range(MOST_FAILURES + 5):
        failures.tell(LOG, "alice", "%s failed", "it", error=BOOM)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["it failed"] * (MOST_FAILURES - 1) + ["it failed (more of this kind are not told for up to 60 s)"]
    failures.tell(LOG, "alice", "%s broke", "it")
    failures.tell(LOG, "bob", "%s failed", "it", error=BOOM)
    assert caplog.records[-2].getMessage() == "it broke"
    assert caplog.records[-1].getMessage() == "it failed (5 more of this kind were not told)"
    now = INTERVAL
    failures.tell(LOG, "alice", "%s failed", "it", error=BOOM)
    assert caplog.records[-1].getMessage() == "it failed"


def test_at_the_level_debug_everything_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG.name)
    failures = Failures()
    for _ in range(MOST_FAILURES + 5):
        failures.tell(LOG, "alice", "%s failed", "it", error=BOOM)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * MOST_FAILURES + [logging.DEBUG] * 5
    assert all(record.exc_info for record in caplog.records)
