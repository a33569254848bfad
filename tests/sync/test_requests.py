"""Requests of threads that are interrupted, and handlers that raise what would end a program."""

from __future__ import annotations

import signal
import struct
import sys
import threading
import time
from typing import Any

import pytest

from bokbok.errors import RemoteError
from bokbok.sync.receiving import Receiving
from tests.support.fronts import Gates
from tests.support.leaks import eventually
from tests.support.peers import SOON


def test_an_interrupted_request_stops_waiting_and_its_answer_is_dropped(
    serve: Any, connect: Any, interruptible: None
) -> None:
    gates = Gates()
    main = threading.main_thread()

    def interrupt() -> None:
        gates.arrived.get(timeout=SOON)
        # Once the main thread waits, which shows by its standing still.
        seen, frame = None, sys._current_frames()[main.ident]
        while (here := (frame, frame.f_lasti)) != seen:
            seen = here
            time.sleep(0.02)
            frame = sys._current_frames()[main.ident]
        signal.pthread_kill(main.ident, signal.SIGINT)

    connection = connect(serve(gates))
    for warm_up in range(3):
        gates[warm_up].set()
        assert connection.request(warm_up) == gates.arrived.get(timeout=SOON)
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        connection.request("interrupted")
    interrupter.join()
    gates["interrupted"].set()
    gates["another"].set()
    assert connection.request("another") == "another"


def test_a_thread_that_waits_for_long_does_not_wake_up_in_between(
    serve: Any, connect: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bokbok.sync.receiving._STAY", struct.pack("ll", 0, 1000))  # of a millisecond
    gates = Gates()
    looks, waits = [], threading.Event()
    look, wait = Receiving.receive_kept, Receiving.await_bytes

    def looked(receiving: Receiving) -> bytes | None:
        looks.append(threading.get_ident())
        return look(receiving)

    def waited(receiving: Receiving, deadline: float | None) -> bool:
        waits.set()
        return wait(receiving, deadline)

    monkeypatch.setattr(Receiving, "receive_kept", looked)
    monkeypatch.setattr(Receiving, "await_bytes", waited)
    connection = connect(serve(gates))
    asking = spawn(connection.request, "slow")
    assert gates.arrived.get(timeout=SOON) == "slow"
    assert waits.wait(SOON)
    gates["slow"].set()
    assert asking.result(SOON) == "slow"
    assert len(looks) == 1


@pytest.mark.parametrize("milliseconds", range(12))
def test_a_connection_that_is_interrupted_anywhere_goes_on_or_ends_but_does_not_hang(
    serve: Any, connect: Any, interruptible: None, milliseconds: int
) -> None:
    connection = connect(serve())
    busy = threading.Event()
    main: Any = threading.main_thread().ident

    def interrupt() -> None:
        busy.wait(SOON)
        time.sleep(milliseconds / 1000)
        signal.pthread_kill(main, signal.SIGINT)

    def keep_asking() -> None:
        busy.set()
        while True:
            connection.request("x")

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        keep_asking()
    interrupter.join()
    if not connection.closed:
        assert connection.request("another") == "another"
    else:
        assert connection.close_reason.startswith("interrupted while ")


@pytest.mark.parametrize(
    ("error", "text"), [(SystemExit(1), "SystemExit: 1"), (KeyboardInterrupt(), "KeyboardInterrupt")]
)
def test_what_would_end_a_program_is_an_error_of_its_request(
    serve: Any, connect: Any, error: BaseException, text: str
) -> None:
    def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise error
        return message

    connection = connect(serve(on_request))
    with pytest.raises(RemoteError) as raised:
        connection.request("fail")
    assert raised.value.message == text
    assert connection.request("x") == "x"


@pytest.mark.parametrize("late", [False, True])
def test_the_poller_leaves_a_connection_that_stands_still_also_where_it_always_comes_late(
    serve: Any, connect: Any, late: bool
) -> None:
    connection = connect(serve())
    assert connection.request("x", timeout=SOON) == "x"
    eventually(lambda: not connection._looked_after, "the poller itself has left it")
    assert not all(connection._look(late) for _ in range(100))
    assert not connection._looked_after
