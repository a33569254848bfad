"""Peers in which one connection holds up others."""

from __future__ import annotations

import threading
from typing import Any

import peer as P

from .._mutant import C, around, claim, mutant


def _one_packet_at_a_time() -> None:
    lock = threading.Lock()

    def read_exactly(real: Any) -> Any:
        def run(sock: Any, count: int) -> Any:
            first = real(sock, 1)
            if first is None or count == 1:
                return first
            with lock:
                rest = real(sock, count - 1)
            return None if rest is None else first + rest

        return run

    around(P, "read_exactly", read_exactly)


@mutant("hostile.slow-packets")
def one_packet_at_a_time() -> None:
    """Waits for the rest of a packet that has begun, and does not read from other connections meanwhile."""
    claim("hardening")
    _one_packet_at_a_time()


@mutant("hostile.server-sends-slowly", role="client")
def client_one_packet_at_a_time() -> None:
    """A client that waits for the rest of a packet, and does not read from other connections meanwhile."""
    claim("hardening")
    _one_packet_at_a_time()


def _all_share_the_slots() -> None:
    slots = threading.Semaphore(P.MAX_RUNNING)

    def run_handler(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            with slots:
                real(self, number, body)

        return run

    around(C, "run_handler", run_handler)


@mutant("hostile.handlers-full-beside-others")
def all_connections_share_the_slots() -> None:
    """Has only as many slots for handlers as one connection may use, and waiting handlers keep theirs."""
    claim("hardening")
    _all_share_the_slots()


@mutant("hostile.server-fills-handlers-beside-others", role="client")
def client_connections_share_the_slots() -> None:
    """A client that has only as many slots for handlers as one connection may use."""
    claim("hardening")
    _all_share_the_slots()


@mutant("hostile.unread-answers-beside-others")
def four_answers_are_written_at_once() -> None:
    """Has four slots for writing answers, and a peer that does not read keeps them."""
    claim("hardening")
    slots = threading.Semaphore(4)

    def answer(real: Any) -> Any:
        def run(self: Any, *args: Any, **more: Any) -> None:
            with slots:
                real(self, *args, **more)

        return run

    around(C, "answer", answer)


@mutant("hostile.stop-with-an-unanswered-callback")
def forgets_questions_when_it_stops() -> None:
    """A handler whose question was not answered waits on, although its connection has ended."""
    claim("hardening")

    def fail(real: Any) -> Any:
        def run(self: Any, error: Any) -> None:
            if not isinstance(error, P.NetworkError):
                real(self, error)

        return run

    around(P.Waiter, "fail", fail)
