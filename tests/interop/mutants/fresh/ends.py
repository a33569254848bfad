"""Fresh faults in handlers, in how connections end, and in stopping."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any

import peer as P
import sexpr as S

from .._mutant import C, around, claim, mutant


@mutant("hostile.running-limit", "hostile.server-fills-handlers", role="both")
def runs_1025_handlers() -> None:
    """Runs one handler more than the limit."""
    P.MAX_RUNNING += 1


@mutant("hostile.waiting-limit", "hostile.server-fills-the-queue", role="both")
def lets_4097_wait() -> None:
    """Lets one request more wait than the limit allows."""
    P.MAX_WAITING += 1


@mutant("errors.many")
def unwritable_answers_keep_their_slot() -> None:
    """Does not free the place of a handler whose answer cannot be written."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            try:
                real(self, number, value, failed=failed)
            except S.WriteError:
                with self.lock:
                    self.running += 1
                raise

        return run

    around(C, "answer", answer)


@mutant("lifecycle.close-at-once")
def close_handler_needs_a_request() -> None:
    """Runs the close handler only for connections over which a request came."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if not getattr(self, "asked", False):
                self.closed_here = True
            real(self, reason)

        return run

    def came(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            self.asked = True
            real(self, *a)

        return run

    around(C, "over", over)
    around(C, "request_came", came)


@mutant("hostile.not-a-list", "hostile.server-sends-no-list", role="both")
def no_close_handler_at_a_protocol_error() -> None:
    """Does not run the close handler if a protocol error ended the connection."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error"):
                self.closed_here = True
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.waiting-requests-fail", "hostile.server-sends-no-list", role="both")
def requests_wait_through_a_protocol_error() -> None:
    """Leaves its own requests waiting if a protocol error ended the connection."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error"):
                self.waiting = {}
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.lingers", "hostile.client-lingers", role="both")
def reads_on_for_half_a_second() -> None:
    """Reads on for only half a second when it has ended a connection."""
    P.LINGER_SECONDS = 0.5


@mutant("hostile.lingers", "hostile.client-lingers", role="both")
def reads_on_for_ever() -> None:
    """Reads on as long as the other end does when it has ended a connection."""
    P.LINGER_SECONDS = 3_600


@mutant("hostile.stop-with-an-answer-unread")
def a_stop_cuts_what_is_being_sent() -> None:
    """Closes a connection at a stop once its handlers have returned, whether their answers are sent or not."""
    claim("hardening")

    def finish(self: Any, connection: Any) -> None:
        def run() -> None:
            time.sleep(0.1)
            connection.closed_here = True
            connection.end("the server stopped")

        threading.Thread(target=run, daemon=True).start()

    P.Server.finish = finish


@mutant("connect.two-servers")
def a_stop_ends_all_servers() -> None:
    """Ends all servers of the process when one is asked to stop."""
    servers: list[Any] = []
    around(P.Server, "__init__", lambda real: lambda self, *a: (real(self, *a), servers.append(self))[0])
    around(P.Server, "stop", lambda real: lambda self: [real(each) for each in list(servers)][:0] or None)


@mutant("hostile.wait-for-handlers-of-the-gone")
def does_not_wait_for_handlers_of_the_gone() -> None:
    """wait-until-server-stopped does not wait for the handlers of a connection that is over."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            real(self, reason)
            if self.server:
                self.server.forget(self)

        return run

    around(C, "over", over)


@mutant("lifecycle.wait-blocks")
def wakes_one_of_those_that_wait() -> None:
    """Wakes only one of those that wait for a server's end."""
    told: set[int] = set()
    real = P.Server.wait

    def wait(self: Any) -> None:
        real(self)
        if id(self) in told:
            threading.Event().wait()
        told.add(id(self))

    P.Server.wait = wait


@mutant("hostile.client-leaves-nothing-open", role="client")
def client_leaks_descriptors_of_errors() -> None:
    """A client that leaves the descriptor open when a protocol error has ended a connection."""
    claim("hardening")
    kept: list[int] = []

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error") and not self.closed:
                kept.append(os.dup(self.sock.fileno()))
                kept.append(os.dup(self.sock.fileno()))
            real(self, reason)
            if reason.startswith("protocol error"):
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_WR)

        return run

    around(C, "over", over)


@mutant("hostile.leaves-nothing-open")
def leaks_a_thread_for_each_connection() -> None:
    """Leaves a thread behind for each connection."""
    claim("hardening")
    around(
        C, "start",
        lambda real: lambda self: (real(self), threading.Thread(target=threading.Event().wait, daemon=True).start())[0],
    )  # fmt: skip


@mutant("hostile.packet-just-in-time", "hostile.servers-packet-just-in-time", role="both")
def packets_have_five_seconds() -> None:
    """Allows five seconds for a packet, from its first byte."""
    claim("hardening")
    real = P.read_exactly

    def read_exactly(sock: Any, count: int) -> Any:
        if count != 4:
            return real(sock, count)
        first = real(sock, 1)
        if first is None:
            return None
        before = sock.gettimeout()
        sock.settimeout(2.0)
        try:
            rest = real(sock, 3)
        finally:
            sock.settimeout(before)
        return None if rest is None else first + rest

    P.read_exactly = read_exactly
