"""A search whose long parts others do comes to the same answer, whatever it is."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest

from bokbok.wire import INFERRED_1
from bokbok.wire.boxes import Counted
from bokbok_calibrate.clock import Clock, OutOfTime
from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.hands import Away, Hands
from bokbok_calibrate.script import known_datums
from bokbok_calibrate.search.answer import Answer
from bokbok_calibrate.search.solve import solve
from bokbok_calibrate.session_key import Oracle
from bokbok_traffic.recording import Recorded
from tests.support import foreign
from tests.support.calibrating import INSECURE, SECRETS, recording
from tests.support.fresh import recorded_foreign


class Eager(Hands):
    """Does everything some parts ahead, with nothing but what a worker would be sent."""

    away = True

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def ahead(
        self, work: Callable[..., Any], calls: Iterable[tuple[Any, ...]], clock: Clock
    ) -> Generator[Any, None, None]:
        waiting = iter(calls)
        ready: list[Any] = []
        while True:
            for arguments in itertools.islice(waiting, 5 - len(ready)):
                sent, values = pickle.loads(pickle.dumps((work, arguments)))
                self.done[getattr(sent, "func", sent).__name__] += 1
                ready.append(pickle.loads(pickle.dumps(sent(*values, Clock(60, alone=False)))))
            if not ready:
                return
            yield ready.pop(0)


def both(recorded: list[Recorded], secrets: Secrets, hands: Hands) -> tuple[Answer, Answer]:
    """Without hands, and with."""
    alone = solve(recorded, secrets, known_datums(), patience=300)
    together = solve(recorded, secrets, known_datums(), patience=300, hands=hands)
    return dataclasses.replace(alone, seconds=0), dataclasses.replace(together, seconds=0)


@pytest.mark.parametrize(
    ("profile", "secure"),
    [
        (INFERRED_1, True),
        (INFERRED_1, False),
        (dataclasses.replace(INFERRED_1, nonces=Counted("key", client=1, server=1, key="front")), True),
    ],
    ids=["secure", "insecure", "counted"],
)
def test_what_is_found_is_the_same(profile: Any, secure: bool) -> None:
    alone, together = both(recording(profile, secure=secure), SECRETS if secure else INSECURE, Eager())
    assert alone.profiles
    assert repr(together) == repr(alone)


def test_where_no_box_opens_the_report_is_the_same() -> None:
    hands = Eager()
    alone, together = both(recording(INFERRED_1, passphrase="another", connections=1), SECRETS, hands)
    assert not alone.profiles
    assert hands.done["first_that_opens"] > 10
    assert repr(together) == repr(alone)


@pytest.mark.parametrize("seed", [5, 7])
def test_a_format_that_is_in_no_table_is_reported_the_same(seed: int) -> None:
    rng = random.Random(seed)
    fmt = foreign.foreign_format(rng)
    secrets = Secrets(b"myuser", fmt.derivation.example.encode()) if fmt.secure else Secrets()
    hands = Eager()
    alone, together = both(recorded_foreign(fmt, rng), secrets, hands)
    assert hands.done
    assert repr(together) == repr(alone)


def test_a_box_that_lies_beyond_the_attempts_is_not_found_by_others_either(monkeypatch: pytest.MonkeyPatch) -> None:
    # Others look as far as the attempts go by windows; which of them are left is this process's to say.
    monkeypatch.setattr("bokbok_calibrate.session_key._SHARE", 30)
    recorded = recording(INFERRED_1)
    for most in (30, 300):
        monkeypatch.setattr("bokbok_calibrate.session_key.MOST_ATTEMPTS", most)
        monkeypatch.setattr("bokbok_calibrate.search.secure.MOST_ATTEMPTS", most)
        alone, together = both(recorded, SECRETS, Eager())
        assert repr(together) == repr(alone)


def test_a_search_that_has_begun_goes_on_where_others_have_seen_nothing() -> None:
    packets = recording(INFERRED_1)[0].client
    hello = [packets[4:10], packets[14:86]]
    keys = SECRETS.keys()
    alone, told = Oracle(keys, Clock()), Oracle(keys, Clock())
    found = alone.find(hello, b"myuser", 0)
    assert found is not None
    shares = [number for share in told.shares(hello, b"myuser", 0) for number in share]
    told.take_back()
    look = Oracle(keys, Clock()).first_that_opens(tuple(hello), b"myuser", 0, shares)
    assert look is not None
    assert told.find(hello, b"myuser", 0, shut=look) == found
    assert (told.left, told.keys) == (alone.left, alone.keys)


class Slow:
    """Workers that never come to an end."""

    def ahead(self, work: Any, calls: Any, check: Callable[[], None]) -> Generator[Any, None, None]:
        while True:
            check()
        yield


def test_a_search_is_given_up_in_time_whatever_workers_do() -> None:
    hands = Away(Slow())  # type: ignore[arg-type]
    with pytest.raises(OutOfTime):
        next(hands.ahead(print, [()], Clock(0.1)))
    answer = solve(recording(INFERRED_1), SECRETS, known_datums(), patience=0.2, hands=hands)
    assert any("given up" in note for note in answer.notes)
