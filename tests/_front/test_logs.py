"""The library's logs are looked up when there is something to tell, and a program's `logging` is configured before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bokbok._front import logs


@pytest.fixture(autouse=True)
def _nothing_to_do() -> Iterator[None]:
    yield
    logs.before_first(None)


def test_it_has_what_the_logger_of_its_name_has(caplog: pytest.LogCaptureFixture) -> None:
    logs.Log("bokbok.test").warning("%s happened", "this")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("bokbok.test", "WARNING", "this happened")
    ]
    assert caplog.records[0].funcName == "test_it_has_what_the_logger_of_its_name_has"
    assert (logs.DEBUG, logs.INFO, logs.WARNING, logs.ERROR) == (
        logging.DEBUG,
        logging.INFO,
        logging.WARNING,
        logging.ERROR,
    )


def test_a_program_configures_once_before_the_first_look() -> None:
    done: list[str] = []
    logs.before_first(lambda: done.append("replaced"))
    logs.before_first(lambda: done.append("configured"))
    log = logs.Log("bokbok.test")
    assert not done
    log.isEnabledFor(logs.ERROR)
    log.isEnabledFor(logs.ERROR)
    assert done == ["configured"]


def test_what_was_configured_meanwhile_stays() -> None:
    done: list[str] = []
    logs.before_first(lambda: done.append("configured"))
    logs.before_first(None)
    logs.Log("bokbok.test").isEnabledFor(logs.ERROR)
    assert not done
