"""Peers that accept answers that were not asked for."""

from __future__ import annotations

import threading
from typing import Any

import peer as P

from .._mutant import C, around, mutant


@mutant("hostile.unasked-answer", "hostile.second-answer", "hostile.reflected-response")
def ignores_unasked_answers() -> None:
    """Ignores an answer to a question that it never asked."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            try:
                real(self, packet)
            except P.ProtocolError as error:
                if "never asked" not in str(error):
                    raise

        return run

    around(C, "packet_came", came)


@mutant("hostile.answers-in-any-order")
def wants_answers_in_order() -> None:
    """Treats an answer that comes before an earlier request's as a protocol error."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            body = self.box.decrypt(packet) if self.box else packet
            tag, number, _ = P.parse_message(body.decode("latin-1"))
            if tag != "request" and self.waiting and number != min(self.waiting):
                raise P.ProtocolError("an answer out of order")
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.server-never-answers", role="client")
def client_gives_up_soon() -> None:
    """A client whose requests fail after a tenth of a second, and that cannot close while one waits."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            if self.waiting:
                threading.Event().wait()
            real(self)

        return run

    around(C, "close", close)


@mutant("hostile.server-answers-in-any-order", role="client")
def client_wants_answers_in_order() -> None:
    """A client that treats an answer that comes before an earlier request's as a protocol error."""
    wants_answers_in_order()


def _takes_what_does_not_read_for_an_answer() -> None:
    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            body = self.box.decrypt(packet) if self.box else packet
            try:
                tag, number, datum = P.parse_message(body.decode("latin-1"))
            except P.ProtocolError:
                tag, number, datum = "", 0, None
            if tag == "response" and isinstance(datum, P.Unreadable) and number not in self.waiting:
                return
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.unasked-unreadable-answer")
def ignores_unasked_answers_that_do_not_read() -> None:
    """Ignores an unreadable answer to a question that it never asked."""
    _takes_what_does_not_read_for_an_answer()


@mutant("hostile.server-answers-unasked-unreadably", role="client")
def client_ignores_unasked_answers_that_do_not_read() -> None:
    """A client that ignores an unreadable answer to a question that it never asked."""
    _takes_what_does_not_read_for_an_answer()
