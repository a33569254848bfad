"""Peers that mistake an end."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Any

import peer as P

from .._mutant import C, around, claim, mutant
from ..lifecycle import drops_answers_at_the_end


@mutant("hostile.vanishes", transport="tcp")
def resets_are_ignored() -> None:
    """Ignores a reset: neither ends the connection nor runs the close handler."""
    claim("hardening")

    def exactly(real: Any) -> Any:
        def run(sock: Any, count: int) -> Any:
            try:
                return real(sock, count)
            except OSError:
                threading.Event().wait()

        return run

    around(P, "read_exactly", exactly)


@mutant("hostile.server-closes-at-once", "hostile.server-speaks-first", role="client")
def client_hangs_on_early_ends() -> None:
    """A client that does not notice an end before the first answer."""
    claim("hardening")

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if self.server is None and self.next_id == 0 and not self.closed_here:
                return
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.server-half-closes", role="client")
def client_drops_answers_at_the_end() -> None:
    """A client that closes at once at an end of file, whatever handlers still run."""
    drops_answers_at_the_end()


@mutant("hostile.leaves-nothing-open")
def never_closes_its_sockets() -> None:
    """Ends connections, and leaves their descriptors open."""
    claim("hardening")
    kept: list[Any] = []

    def read_all(real: Any) -> Any:
        def run(self: Any) -> None:
            kept.append(self.sock.dup())
            real(self)

        return run

    around(C, "read_all", read_all)


def _shuts_down_at_once() -> None:
    def just_shut(sock: Any) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    P.drop_the_rest = just_shut


@mutant("hostile.protocol-error-is-no-reset")
def resets_after_a_protocol_error() -> None:
    """Closes after a protocol error with bytes still unread."""
    _shuts_down_at_once()


@mutant("hostile.servers-error-is-no-reset", role="client")
def client_resets_after_a_protocol_error() -> None:
    """A client that closes after a protocol error with bytes still unread."""
    _shuts_down_at_once()


def _does_not_wait_for_what_it_sends() -> None:
    """Sends large answers in the background, while the end of a connection only waits for handlers."""

    def send(real: Any) -> Any:
        def run(self: Any, text: str) -> None:
            if len(text) < 100_000:
                real(self, text)
                return
            body = text.encode("latin-1")
            body = self.seal(self.box, body) if self.box else body

            def work() -> None:
                with self.__dict__.setdefault("sending", threading.Lock()), contextlib.suppress(OSError):
                    self.sock.sendall(struct.pack(">I", len(body)) + body)

            threading.Thread(target=work, daemon=True).start()

        return run

    around(C, "send", send)


@mutant("hostile.half-close-with-answers-unread")
def loses_unsent_answers_at_the_end() -> None:
    """Closes at an end of file once its handlers have returned, whether their answers are sent or not."""
    _does_not_wait_for_what_it_sends()


@mutant("hostile.server-half-closes-with-answers-unread", role="client")
def client_loses_unsent_answers_at_the_end() -> None:
    """A client that closes at an end of file once its handlers have returned, whether their answers are sent or not."""
    _does_not_wait_for_what_it_sends()


@mutant("hostile.answer-before-a-protocol-error")
def cuts_answers_at_a_protocol_error() -> None:
    """Cuts the answer that is being written when a protocol error comes."""
    C.fall_silent = lambda self: self.sock.shutdown(socket.SHUT_RDWR)


@mutant("hostile.answer-before-a-servers-protocol-error", role="client")
def client_cuts_answers_at_a_protocol_error() -> None:
    """A client that cuts the answer that it is writing when a protocol error comes."""
    C.fall_silent = lambda self: self.sock.shutdown(socket.SHUT_RDWR)


@mutant("hostile.close-while-nothing-is-read", "hostile.client-closes-while-nothing-is-read", role="both")
def closes_once_it_may_write() -> None:
    """Closes only when what is being written has left, so never while the other end does not read."""

    def close(self: Any) -> None:
        with self.lock:
            self.closed_here = True
        self.take_queue()
        with self.write_lock:
            self.end("this side closed the connection")

    C.close = close


@mutant("hostile.keeps-no-messages", "hostile.client-keeps-no-messages", role="both")
def keeps_every_packet() -> None:
    """Keeps every packet that has come, for as long as the program runs."""
    claim("hardening")
    kept: list[bytes] = []
    around(C, "packet_came", lambda real: lambda self, packet: (kept.append(packet), real(self, packet))[1])


@mutant("hostile.breaks-off-before-it-is-accepted", transport="tcp")
def a_client_that_is_gone_ends_accepting() -> None:
    """Asks a new connection for its other end's address, and accepts no more once that fails."""

    def accept_all(self: Any) -> None:
        while True:
            try:
                sock, name = self.sock.accept()
                sock.getpeername()
            except OSError:
                return
            with self.lock:
                self.pending.add(sock)
            threading.Thread(target=self.welcome, args=(sock, name), daemon=True).start()

    P.Server.accept_all = accept_all


@mutant("hostile.answered-while-it-writes", "hostile.client-answered-while-it-writes", role="both")
def holds_its_table_while_it_writes() -> None:
    """Holds the lock of the requests that wait while it writes."""

    def init(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            real(self, *a)
            self.lock = threading.RLock()
            self.idle = threading.Condition(self.lock)

        return run

    def send(real: Any) -> Any:
        def run(self: Any, text: str) -> None:
            with self.lock:
                real(self, text)

        return run

    around(C, "__init__", init)
    around(C, "send", send)


@mutant("hostile.half-close-with-failures", "hostile.server-half-closes-with-failures", role="both")
def errors_are_dropped_at_an_end() -> None:
    """After an end of file it sends the answers of handlers that run, but not the error of one that fails."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if not (failed and self.closed):
                real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant("hostile.half-close-with-failures", "hostile.server-half-closes-with-failures", role="both")
def refusals_are_dropped_at_an_end() -> None:
    """Leaves the errors of requests that do not read to a thread, for which an end of file does not wait."""

    def refuse(self: Any, number: int, why: str) -> None:
        def late() -> None:
            for _ in range(100):  # ten seconds: on a busy machine the end of file, which is on its way, takes its time
                time.sleep(0.1)
                if self.closed:
                    return
            with self.write_lock:
                self.send(f'(error {number} "does not read")')

        threading.Thread(target=late, daemon=True).start()

    C.refuse = refuse


@mutant("hostile.half-close-with-failures", "hostile.server-half-closes-with-failures", role="both")
def asks_on_after_an_end() -> None:
    """Sends a request that is made after an end of file, and waits for its answer, as long as a handler runs."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            real(self, reason)
            if self.running and reason.startswith("the other end"):
                self.closed = None

        return run

    around(C, "over", over)


@mutant("hostile.unread-for-a-while", "hostile.servers-unread-for-a-while", role="both")
def keeps_the_time_limit_of_the_hello_for_writing() -> None:
    """Has a socket that keeps the ten seconds of a hello as its time limit for writing."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))
            real(self)

        return run

    around(C, "start", start)


@mutant("hostile.wait-after-every-end")
def waits_for_connections_that_broke_the_rules() -> None:
    """Does not take a connection off its table if a protocol error has ended it: a wait never returns."""

    def forget(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            if not str(connection.closed).startswith("protocol error"):
                real(self, connection)

        return run

    around(P.Server, "forget", forget)


@mutant("hostile.wait-after-every-end")
def waits_for_refused_hellos() -> None:
    """Does not take a connection off its table if it has refused the hello: a wait never returns."""

    def wait(real: Any) -> Any:
        def run(self: Any) -> None:
            real(self)
            if refused:
                threading.Event().wait()

        return run

    refused: list[Any] = []
    around(P, "refuse", lambda real: lambda sock: (refused.append(sock), real(sock))[1])
    around(P.Server, "wait", wait)


@mutant("hostile.close-after-an-end", "hostile.client-closes-after-an-end", role="both")
def closes_only_what_is_open() -> None:
    """Does nothing to close a connection whose other end has shut down its direction already."""
    around(C, "close", lambda real: lambda self: None if self.closed else real(self))


@mutant("hostile.close-after-an-end", "hostile.client-closes-after-an-end", role="both")
def an_end_and_a_broken_pipe_are_two() -> None:
    """Runs the close handler at an end of file, and again if an answer cannot be written after it."""

    def end(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if self.closed and reason.startswith("writing failed"):
                self.on_close(self)
            real(self, reason)

        return run

    around(C, "end", end)
