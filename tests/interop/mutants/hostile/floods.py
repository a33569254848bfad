"""Peers that are held up by too much at once."""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
from typing import Any

import peer as P

from .._mutant import C, around, claim, mutant


@mutant("hostile.never-reads")
def one_lock_for_all_writing() -> None:
    """Has one lock for the writing of all its connections."""
    claim("hardening")
    lock = threading.RLock()
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "write_lock", lock))[0])


@mutant("hostile.many-silent-connections", security="insecure")
def three_hundred_connections_at_most() -> None:
    """Serves three hundred connections, and closes any more."""

    def welcome(real: Any) -> Any:
        def run(self: Any, sock: Any, name: Any) -> None:
            with self.lock:
                room = len(self.connections) < 300
                if not room:
                    self.pending.discard(sock)
            if room:
                real(self, sock, name)
            else:
                sock.close()

        return run

    around(P.Server, "welcome", welcome)


@mutant("hostile.server-never-reads", role="client")
def client_one_lock_for_all_writing() -> None:
    """A client that has one lock for the writing of all its connections."""
    one_lock_for_all_writing()


@mutant("hostile.flood-of-requests")
def drops_requests_under_load() -> None:
    """Silently drops requests when many run."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if self.running < 500:
                real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.server-floods", role="client")
def client_drops_requests_under_load() -> None:
    """A client that silently drops requests when many run."""
    drops_requests_under_load()


@mutant("hostile.running-limit")
def runs_100_handlers() -> None:
    """Runs 100 handlers of one connection at once."""
    P.MAX_RUNNING = 100


@mutant("hostile.server-fills-handlers", role="client")
def client_runs_any_number_of_handlers() -> None:
    """A client that runs any number of handlers at once."""
    P.MAX_RUNNING = 1_000_000


@mutant("hostile.waiting-limit")
def any_number_waits() -> None:
    """Lets any number of requests wait for a handler."""
    P.MAX_WAITING = 1_000_000


@mutant("hostile.server-fills-the-queue", role="client")
def client_lets_fewer_wait() -> None:
    """A client that lets 1,000 requests wait for a handler."""
    P.MAX_WAITING = 1_000


def _drops_the_queue_at_the_end_of_file() -> None:
    def read(real: Any) -> Any:
        def run(self: Any) -> None:
            real(self)
            self.take_queue()

        return run

    around(C, "read_packets", read)


@mutant("hostile.half-close-with-a-queue")
def drops_the_queue_at_the_end_of_file() -> None:
    """Drops the requests that wait for a handler at an end of file."""
    _drops_the_queue_at_the_end_of_file()


@mutant("hostile.server-half-closes-with-a-queue", role="client")
def client_drops_the_queue_at_the_end_of_file() -> None:
    """A client that drops the requests that wait for a handler at an end of file."""
    _drops_the_queue_at_the_end_of_file()


@mutant("hostile.protocol-error-drops-the-queue")
def handles_the_queue_after_a_protocol_error() -> None:
    """Handles the requests that wait for a handler after a protocol error as well."""
    C.take_queue = lambda self: []


@mutant("hostile.servers-error-drops-the-queue", role="client")
def client_handles_the_queue_after_a_protocol_error() -> None:
    """A client that handles the requests that wait for a handler after a protocol error as well."""
    C.take_queue = lambda self: []


@mutant("hostile.close-drops-the-queue", "hostile.client-close-drops-the-queue", role="both")
def handles_the_queue_after_its_own_close() -> None:
    """Handles the requests that wait for a handler when its own side has closed."""

    def close(self: Any) -> None:
        with self.lock:
            self.closed_here = True
        self.end("this side closed the connection")

    C.close = close


@mutant("hostile.stop-with-a-queue")
def handles_the_queue_while_it_stops() -> None:
    """Handles the requests that wait for a handler when its server is asked to stop."""
    C.take_queue = lambda self: []


@mutant("hostile.stop-with-a-queue")
def forgets_the_queue_when_it_stops() -> None:
    """Drops the requests that wait for a handler when its server is asked to stop, without an answer."""
    around(C, "take_queue", lambda real: lambda self: real(self)[:0])


def _ends_slow_readers() -> None:
    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, **more: Any) -> None:
            size = len(value) if isinstance(value, str) else 0
            self.piled = self.__dict__.get("piled", 0) + size
            if self.piled > 32 * 1024 * 1024:
                self.end("the other end does not read")
            real(self, number, value, **more)
            self.piled -= size

        return run

    around(C, "answer", answer)


@mutant("hostile.slow-reader")
def ends_slow_readers() -> None:
    """Ends a connection for which 32 MiB of handlers' answers have piled up."""
    _ends_slow_readers()


@mutant("hostile.server-reads-slowly", role="client")
def client_ends_slow_readers() -> None:
    """A client that ends a connection for which 32 MiB of handlers' answers have piled up."""
    _ends_slow_readers()


@mutant("hostile.running-limit", "hostile.server-fills-handlers", role="both")
def a_failed_handler_calls_nobody() -> None:
    """Lets the next request that waits begin only when a handler has succeeded, and not when one has failed."""

    def run_handler(self: Any, number: int, body: Any) -> None:
        try:
            while True:
                try:
                    self.answer(number, self.on_request(self, body))
                except Exception as error:
                    self.answer(number, str(error), failed=True)
                    return
                with self.lock:
                    if not self.queue:
                        return
                    number, body = self.queue.popleft()
        finally:
            with self.lock:
                self.running -= 1
                self.idle.notify_all()

    C.run_handler = run_handler


class _CountsUp(collections.deque[Any]):
    """A queue whose length is how many were ever in it."""

    ever = 0

    def append(self, item: Any) -> None:
        self.ever += 1
        super().append(item)

    def __len__(self) -> int:
        return self.ever

    def __bool__(self) -> bool:
        return super().__len__() > 0


@mutant("hostile.waiting-limit", "hostile.server-fills-the-queue", role="both")
def those_that_waited_keep_their_place() -> None:
    """Counts the requests that wait for a handler, and does not count down when one begins."""
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "queue", _CountsUp()))[0])


@mutant("hostile.many-refusals", "hostile.servers-many-refusals", role="both")
def refusals_are_counted_for_ever() -> None:
    """Ends a connection once 4,096 requests were refused, whether the errors were read or not."""

    def refuse(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            self.refused = self.__dict__.get("refused", 0) + 1
            if self.refused > P.MAX_WAITING:
                raise P.ProtocolError("too many refused requests")
            real(self, *a)

        return run

    around(C, "refuse", refuse)


@mutant("hostile.close-drops-the-queue", "hostile.client-close-drops-the-queue", role="both")
def handles_what_comes_after_its_own_close() -> None:
    """Shuts down its own direction when it closes, and goes on handling what comes until the other end closes, too."""

    def close(self: Any) -> None:
        with self.lock:
            self.closed_here = True
        self.take_queue()
        self.over("this side closed the connection")
        self.silent = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    C.close = close


@mutant("hostile.stop-with-a-queue")
def refuses_one_that_waits_when_it_stops() -> None:
    """Answers only the first of the requests that wait for a handler when its server is asked to stop."""
    around(C, "take_queue", lambda real: lambda self: real(self)[:1])
