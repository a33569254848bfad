"""`bokbok.sync.finishing`: handlers that return at the same moment write their answers in turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bokbok import Limits
from bokbok.sync import sending
from bokbok.sync.finishing import _LOOKS, _PLACES, Finishing, Ticket
from tests.support.held import Held, requests
from tests.support.leaks import eventually
from tests.support.peers import SOON


class Clock:
    """Calls nothing by itself."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, moment: float, function: Callable[[], None]) -> None:
        self.calls.append(function)

    def tick(self, places: Finishing, late: bool = False) -> None:
        """The next look comes on time, however busy the machine is, or late."""
        places._due = time.monotonic() + (-1 if late else SOON)
        calls, self.calls = self.calls, []
        for each in calls:
            each()


class Waiting:
    """A thread that enters, and says so in `came`."""

    def __init__(self, places: Finishing, party: str, came: list[str]) -> None:
        self.ticket: Ticket | None = None
        line = places._turns._line
        before = len(line)

        def enter() -> None:
            self.ticket = places.enter(party)
            came.append(party)

        self._thread = threading.Thread(target=enter, daemon=True)
        self._thread.start()
        eventually(lambda: came or len(line) > before, "it stands in the line")

    def is_in(self) -> None:
        self._thread.join(SOON)
        assert not self._thread.is_alive()


def test_parties_come_in_turn_by_the_time_that_they_took() -> None:
    places = Finishing(1, Clock())
    first = places.enter("crowd")
    came: list[str] = []
    crowd = [Waiting(places, "crowd", came) for _ in range(3)]
    other = Waiting(places, "other", came)
    places.leave(first)
    crowd[0].is_in()
    assert crowd[0].ticket is not None
    crowd[0].ticket.began -= 1.0  # it has taken a second
    places.leave(crowd[0].ticket)
    other.is_in()
    assert came == ["crowd", "other"]
    places.leave(other.ticket)
    for each in crowd[1:]:
        each.is_in()
        places.leave(each.ticket)
    assert places.enter("other") is None


def test_one_more_begins_if_nobody_got_a_turn_for_a_while_and_its_place_is_gone_afterwards() -> None:
    clock = Clock()
    places = Finishing(1, clock)
    slow = places.enter("slow")
    came: list[str] = []
    second, third = Waiting(places, "crowd", came), Waiting(places, "crowd", came)
    assert len(clock.calls) == 1  # one clock for all
    clock.tick(places)
    second.is_in()
    assert came == ["crowd"]
    places.leave(second.ticket)  # the place that was added is taken away
    clock.tick(places)  # somebody got a turn since the last look
    assert came == ["crowd"]
    places.leave(slow)
    third.is_in()
    assert places._turns._free == []
    places.leave(third.ticket)
    clock.tick(places)
    assert clock.calls == []  # nobody waits, so nobody looks
    assert places.enter("crowd") is None


def test_nobody_is_added_by_a_look_that_comes_late() -> None:
    clock = Clock()
    places = Finishing(1, clock)
    slow = places.enter("slow")
    came: list[str] = []
    waiting = Waiting(places, "crowd", came)
    clock.tick(places, late=True)  # the machine is busy
    assert places._turns.waiting
    clock.tick(places)
    waiting.is_in()
    places.leave(slow)
    places.leave(waiting.ticket)


def test_one_is_added_after_a_while_even_if_every_look_comes_late() -> None:
    clock = Clock()
    places = Finishing(1, clock)
    slow = places.enter("slow")
    came: list[str] = []
    waiting = [Waiting(places, "crowd", came) for _ in range(2)]
    for each in waiting:
        for _ in range(_LOOKS):
            clock.tick(places, late=True)
        assert each.ticket is None
        clock.tick(places, late=True)
        each.is_in()
        clock.tick(places, late=True)  # somebody got a turn since the last look
    places.leave(slow)
    for each in waiting:
        places.leave(each.ticket)


def test_without_a_clock_they_wait_until_others_leave() -> None:
    def cannot(moment: float, function: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    places = Finishing(1, cannot)
    slow = places.enter("slow")
    came: list[str] = []
    waiting = Waiting(places, "crowd", came)
    places.leave(slow)
    waiting.is_in()


@pytest.fixture
def finishing(monkeypatch: pytest.MonkeyPatch) -> Finishing:
    """The connections' places while the test lasts, without a clock: what it leaves there, nobody meets later."""
    places = Finishing(call_at=Clock())
    monkeypatch.setattr("bokbok.sync.connection.finishing", places)
    return places


def test_of_many_handlers_that_return_at_once_few_write_their_answers_at_once(
    serve: Any, raw: Any, finishing: Finishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bokbok.sync.connection._AT_ONCE", 0.0)  # the last one may return as soon as it was read
    held, inside, may_go_on = Held(), threading.Semaphore(0), threading.Event()
    server = serve(held)
    peer = raw(server)
    peer.send_message(*requests(20))
    held.begun(20)
    (connection,) = server._roster.connections
    encode = connection._encode

    def slowly(answer: Any) -> bytes:
        inside.release()
        assert may_go_on.wait(SOON)
        written: bytes = encode(answer)
        return written

    connection._encode = slowly
    held.may_answer.set()
    line = finishing._turns._line
    try:
        eventually(lambda: len(line) == 20 - _PLACES, "all others wait")
        for _ in range(_PLACES):
            assert inside.acquire(timeout=SOON)
        assert not inside.acquire(blocking=False)
    finally:
        may_go_on.set()
    assert {peer.receive() for _ in range(20)} == {b"(response %d %d)" % (i, i) for i in range(20)}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_handler_that_returns_at_once_behind_its_reading_does_not_stand_in_line(
    serve: Any, raw: Any, finishing: Finishing, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr("bokbok.sync.connection._AT_ONCE", SOON if at_once else 0.0)
    server = serve()
    peer = raw(server)
    for _ in range(_PLACES):
        assert finishing.try_to_enter()
    peer.send_message(b"(request 0 x)")
    line = finishing._turns._line
    if not at_once:
        eventually(lambda: len(line) == 1, "it waits for a place")
        finishing.leave(None)
    assert peer.receive() == b"(response 0 x)"
    assert not line
    for _ in range(_PLACES - (not at_once)):
        finishing.leave(None)


@pytest.mark.usefixtures("finishing")
def test_whoever_waits_until_the_other_end_reads_keeps_nobody_from_finishing(
    serve: Any, raw: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_PATIENCE", 2 * SOON)  # they wait for longer than this test
    held = Held()

    def on_request(connection: Any, message: Any) -> Any:
        if isinstance(message, int):
            if message:
                held(connection, message)
            return "x" * 1_000_000
        return message

    server = serve(on_request, limits=Limits(memory=2_000_000))
    peers = [raw(server) for _ in range(2)]
    for peer in peers:
        peer.send_message(*reversed(requests(4)))  # the last one is answered at once
    held.begun(3 * len(peers))
    connections = list(server._roster.connections)
    eventually(lambda: all(each._admission.congested for each in connections), "they read nothing")
    held.may_answer.set()
    eventually(lambda: all(each._account.kept for each in connections), "answers wait for room")
    assert connect(server).request("x", timeout=SOON) == "x"
