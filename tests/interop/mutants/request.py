"""Peers that mix up requests, answers and handlers."""

from __future__ import annotations

import re
import threading
from typing import Any

import peer as P
import puppet as U
import sexpr as S
from sexpr import Symbol

from ._changes import U_CONNECTIONS
from ._mutant import C, around, mutant


@mutant(
    "request.out-of-order",
    "request.handlers-at-once",
    "request.slow-handler-elsewhere",
    "symmetry.nested",
    "preflight.server-handlers",
    "preflight.client-handlers",
)
def one_handler_at_a_time() -> None:
    """Runs the handlers of all connections one after another."""
    lock = threading.Lock()

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            with lock:
                return real(self, connection, message)

        return run

    around(U.Service, "__call__", call)


@mutant("request.out-of-order", "request.reversed-order", role="server")
def answers_in_order() -> None:
    """Sends answers in the order of the requests, however long that takes."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            mine, before = threading.Event(), getattr(self, "last_turn", None)
            self.last_turn = mine
            TURNS[self, number] = (before, mine)
            real(self, number, body)

        return run

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, *a: Any, **k: Any) -> None:
            before, mine = TURNS.get((self, number), (None, None))
            if before is not None:
                before.wait()
            real(self, number, *a, **k)
            if mine is not None:
                mine.set()

        return run

    around(C, "request_came", came)
    around(C, "answer", answer)


TURNS: dict[Any, Any] = {}


@mutant("request.reversed-order", "request.out-of-order", role="client")
def mixes_answers_up() -> None:
    """Gives an answer to the request that has waited longest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            tag, number, body = real(text)
            if tag != "request":
                number = min([*(n for c in U_CONNECTIONS for n in c.waiting), number])
            return tag, number, body

        return run

    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), U_CONNECTIONS.append(self))[0])
    around(P, "parse_message", parse)


@mutant("request.ids-count-up", role="client")
def counts_from_one() -> None:
    """Numbers its requests from 1."""
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "next_id", 1))[0])


@mutant("request.bytes-in-strings", "sexpr.strings", role="client")
def strings_as_utf8() -> None:
    """Replaces what is not valid UTF-8 in strings."""

    def atom(real: Any) -> Any:
        def run(value: Any) -> str:
            if isinstance(value, str) and not isinstance(value, Symbol | S.Keyword):
                value = value.encode("latin-1").decode("utf-8", "replace").encode().decode("latin-1")
            return real(value)

        return run

    around(S, "_write_atom", atom)


@mutant("request.handlers-wait-for-one-another")
def eight_handlers_at_most() -> None:
    """Runs eight handlers of a connection at once, and lets the others wait."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            with connection.__dict__.setdefault("room", threading.Semaphore(8)):
                return real(self, connection, message)

        return run

    around(U.Service, "__call__", call)


@mutant("request.client-handlers-wait-for-one-another", role="client")
def client_handles_while_it_reads() -> None:
    """A client that runs handlers in the thread that reads."""

    def came(self: Any, number: int, body: Any) -> None:
        if isinstance(body, P.Unreadable):
            self.answer(number, "unreadable", failed=True)
            return
        with self.lock:
            self.running += 1
        self.run_handler(number, body)

    C.request_came = came


@mutant("request.answer-box-counts")
def answers_forget_the_box() -> None:
    """Forgets the box when it checks whether an answer fits."""
    real = C.answer

    def answer(self: Any, number: int, value: Any, **k: Any) -> None:
        P.MAX_PACKET += 90
        try:
            real(self, number, value, **k)
        finally:
            P.MAX_PACKET -= 90

    C.answer = answer


@mutant("request.box-counts", role="client")
def forgets_the_box() -> None:
    """A client that forgets the box when it checks whether a message fits."""
    P.MAX_PACKET += 90


@mutant("hostile.flood-of-requests", "hostile.server-floods", role="both")
def separates_thousands() -> None:
    """Writes an ID from 1,000 up with a separator, as its locale has it."""

    def send(real: Any) -> Any:
        return lambda self, text: real(self, re.sub(r"^\(request (\d)(\d{3}) ", r"(request \1.\2 ", text))

    around(C, "send", send)


@mutant("request.box-counts", "request.answer-box-counts", role="both")
def the_list_does_not_count() -> None:
    """Compares a datum and its box with the limit, and forgets the list around the datum."""
    real = C.send
    P.MAX_PACKET += 60  # of the checks before a message is written

    def send(self: Any, text: str) -> None:
        datum = len(text) - len("(request 1 )") if text.startswith("(request") else len(text) - len("(response 1 )")
        if datum > (1 << 24) - 40:
            raise S.WriteError("too long")
        real(self, text)

    C.send = send


@mutant("request.over-own-limit", role="both", security="insecure")
def requests_are_measured_before_they_are_written() -> None:
    """Compares the bytes of a request's strings with the limit, and not those that it writes for them."""

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            text = S.write(message)
            if len(text) > P.MAX_PACKET >= len(text) - 3 * text.count("\\x"):
                with self.write_lock:
                    self.send(f"(request 0 {text})")
            return real(self, message)

        return run

    around(C, "request", request)
