"""Peers that open, close, stop or wait incorrectly."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U

from ._changes import _unlink_before_binding
from ._mutant import C, around, claim, mutant


@mutant(
    "lifecycle.client-closes", "lifecycle.connection-breaks", "lifecycle.client-killed", "lifecycle.many-open-and-close"
)
def forgets_the_close_handler() -> None:
    """A server never runs its close handler."""
    real = P.Server.__init__

    def init(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, on_close: Any) -> None:
        real(self, a, b, k, on_open, on_request, lambda connection: None)

    P.Server.__init__ = init


@mutant(
    "lifecycle.server-closes",
    "lifecycle.server-killed",
    "symmetry.server-closes",
    "lifecycle.cut-in-a-packet",
    role="client",
)
def client_forgets_the_close_handler() -> None:
    """A client never runs its close handler."""
    around(U, "open_connection", lambda real: lambda a, u, k, r, c: real(a, u, k, r, lambda connection: None))


@mutant("lifecycle.client-closes", "lifecycle.close-at-once", "lifecycle.client-killed")
def close_handler_twice() -> None:
    """Runs the close handler twice."""
    around(
        U.Puppet, "closed", lambda real: lambda self, connection: (real(self, connection), real(self, connection))[0]
    )


@mutant("lifecycle.server-closes", "lifecycle.close-tells-which", "errors.close-inside-handler")
def close_handler_for_own_close() -> None:
    """Runs the close handler even when this side closed."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            self.closed_here = False
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.close-tells-which")
def close_handler_for_another() -> None:
    """Runs the close handler with the connection that opened last."""
    around(U.Puppet, "closed", lambda real: lambda self, connection: real(self, list(self.numbers)[-1]))


@mutant("lifecycle.close-handler-beside-handlers", "lifecycle.half-close")
def close_handler_after_handlers() -> None:
    """Runs the close handler only once all request handlers have finished."""

    def closed(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            with connection.lock:
                while connection.running:
                    connection.idle.wait()
            real(self, connection)

        return run

    around(U.Puppet, "closed", closed)


@mutant("lifecycle.open-once", "lifecycle.close-at-once", "lifecycle.many-open-and-close")
def open_handler_twice() -> None:
    """Runs the open handler twice."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            real(self, a, b, k, lambda connection: (on_open(connection), on_open(connection)), *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.open-before-request")
def open_handler_late() -> None:
    """Runs the open handler at the same time as the first requests, instead of before them."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            def late(connection: Any) -> None:
                threading.Timer(1.0, on_open, (connection,)).start()

            real(self, a, b, k, late, *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.close-at-once")
def opens_with_the_first_request() -> None:
    """Runs the open handler when the first request comes, so never for a silent connection."""
    pending: dict[Any, Callable[[], None]] = {}

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, on_close: Any) -> None:
            def closed(connection: Any) -> None:
                if connection not in pending:
                    on_close(connection)

            real(self, a, b, k, lambda c: pending.setdefault(c, lambda: on_open(c)), on_request, closed)

        return run

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self in pending:
                pending.pop(self)()
            real(self, packet)

        return run

    around(P.Server, "__init__", init)
    around(C, "packet_came", came)


def _no_failing_of_waiters(when: Callable[[Any], bool]) -> None:
    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if when(self):
                self.waiting = {}
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.close-fails-own-requests", role="client")
def own_close_leaves_waiting() -> None:
    """Requests that wait when their own side closes wait for ever."""
    _no_failing_of_waiters(lambda self: bool(self.closed_here))


@mutant(
    "lifecycle.close-fails-others-requests",
    "lifecycle.server-killed",
    "errors.network-error-not-remote",
    "lifecycle.cut-in-a-packet",
    role="client",
)
def lost_connections_leave_waiting() -> None:
    """Requests that wait when the other side closes, or dies, wait for ever."""
    _no_failing_of_waiters(lambda self: not self.closed_here)


@mutant("lifecycle.nothing-resent", "request.handler-runs-once")
def handles_twice() -> None:
    """Runs the handler of every request twice."""
    around(U.Service, "__call__", lambda real: lambda self, c, m: (real(self, c, m), real(self, c, m))[1])


@mutant("lifecycle.half-close", "hostile.half-close")
def drops_answers_at_the_end() -> None:
    """Closes at once at an end of file, whatever handlers still run."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            with contextlib.suppress(OSError):  # before anybody is told of the end, who might let handlers answer first
                self.sock.shutdown(socket.SHUT_RDWR)
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.half-close-fails-own")
def own_requests_wait_at_the_end() -> None:
    """At an end of file its own requests go on waiting until handlers have finished."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("the other end"):
                waiting, self.waiting = self.waiting, {}
                real(self, reason)

                def later() -> None:
                    with self.lock:
                        while self.running:
                            self.idle.wait()
                    for waiter in waiting.values():
                        waiter.fail(P.NetworkError(reason))

                threading.Thread(target=later, daemon=True).start()
            else:
                real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.stop-refuses-new", role="server")
def stop_goes_on_listening() -> None:
    """stop-server! does not stop listening."""
    P.Server.stop = lambda self: setattr(self, "stopping", False)


@mutant("lifecycle.stop-and-start-again")
def stop_leaves_the_socket() -> None:
    """stop-server! leaves the socket's file behind, so that the address cannot be bound again."""
    real = P.os.unlink
    P.os = type("os", (), {"unlink": staticmethod(lambda path: None), "urandom": staticmethod(os.urandom)})
    assert real


@mutant("lifecycle.wait-blocks")
def wait_returns_at_once() -> None:
    """wait-until-server-stopped does not wait."""
    P.Server.wait = lambda self: None


@mutant("lifecycle.wait-blocks", "lifecycle.stop-with-connections", "lifecycle.stop-and-start-again")
def wait_never_returns() -> None:
    """wait-until-server-stopped never returns."""
    P.Server.wait = lambda self: threading.Event().wait()


@mutant("lifecycle.stop-while-handling")
def stop_forgets_handlers() -> None:
    """A request that runs when the server stops is never answered, nor its connection closed."""

    def answer(real: Any) -> Any:
        def run(self: Any, *a: Any, **k: Any) -> None:
            if not (self.server and self.server.stopping):
                real(self, *a, **k)

        return run

    around(C, "answer", answer)
    P.Server.finish = lambda self, connection: None


@mutant("lifecycle.idle", role="client")
def client_keeps_the_time_limit_of_connect() -> None:
    """A client whose socket keeps the twenty seconds that it had for connecting: so long a silence ends it."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            if self.server is None:
                self.sock.settimeout(20.0)
            real(self)

        return run

    around(C, "start", start)


@mutant("lifecycle.idle", role="server")
def closes_idle_connections() -> None:
    """Closes a connection after five seconds of silence."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            self.sock.settimeout(5.0)
            real(self)

        return run

    around(C, "start", start)


@mutant("lifecycle.close-twice", role="client")
def close_twice_crashes() -> None:
    """Closing a second time ends the program."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            if self.closed_here:
                os._exit(70)
            real(self)

        return run

    around(C, "close", close)


@mutant("lifecycle.client-paused")
def waits_with_the_whole_program() -> None:
    """While a server waits for an answer to its own request, it does not handle requests."""
    waiting = threading.RLock()

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            with waiting:
                return real(self, message)

        return run

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, *rest: Any) -> None:
            def handle(connection: Any, message: Any) -> Any:
                with waiting:
                    return on_request(connection, message)

            real(self, a, b, k, on_open, handle, *rest)

        return run

    around(C, "request", request)
    around(P.Server, "__init__", init)


@mutant("lifecycle.peer-paused", role="client")
def impatient() -> None:
    """A request that is not answered within half a second fails."""

    def result(real: Any) -> Any:
        def run(self: Any) -> Any:
            if not self.done.wait(0.25):
                raise P.NetworkError("no answer in time")
            return real(self)

        return run

    around(P.Waiter, "result", result)


@mutant("lifecycle.many-open-and-close", "hostile.many-silent-connections")
def ten_connections_at_most() -> None:
    """Serves ten connections, and closes any more."""
    claim("hardening")

    def welcome(real: Any) -> Any:
        def run(self: Any, sock: Any, name: Any) -> None:
            if len(self.connections) + len(self.pending) > 10:
                sock.close()
                with self.lock:
                    self.pending.discard(sock)
            else:
                real(self, sock, name)

        return run

    around(P.Server, "welcome", welcome)


@mutant("lifecycle.open-before-early-request", "lifecycle.open-before-request")
def open_handler_a_little_late() -> None:
    """Runs the open handler in a separate thread, a quarter of a second late, at the same time as the first
    requests."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            real(self, a, b, k, lambda c: threading.Timer(0.25, on_open, (c,)).start(), *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.close-beside-own-handlers")
def close_waits_for_handlers() -> None:
    """Closing waits for the handlers that run on this side, except for one that closes itself."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            with self.lock:
                while self.running and threading.current_thread().name != "handler":
                    self.idle.wait()
            real(self)

        return run

    def handler(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            threading.current_thread().name = "handler"
            real(self, *a)

        return run

    around(C, "run_handler", handler)
    around(C, "close", close)


def _resets_when_closing() -> None:
    def close(self: Any) -> None:
        self.closed_here = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.over("this side closed the connection")
        self.sock.shutdown(socket.SHUT_RD)  # wakes the reader, which closes the socket

    around(C, "end", lambda real: lambda self, reason: None if self.closed_here else real(self, reason))
    C.close = close


@mutant("lifecycle.close-is-no-reset", transport="tcp")
def resets_when_closing() -> None:
    """Closes with a reset."""
    _resets_when_closing()


@mutant("lifecycle.client-close-is-no-reset", role="client", transport="tcp")
def client_resets_when_closing() -> None:
    """A client that closes with a reset."""
    _resets_when_closing()


@mutant("lifecycle.info-after-close")
def forgets_users_at_the_end() -> None:
    """A connection that is over no longer has its user."""
    around(C, "over", lambda real: lambda self, why: (real(self, why), setattr(self, "user", None))[0])


@mutant("lifecycle.info-after-close", security="insecure")
def forgets_addresses_at_the_end() -> None:
    """A connection that is over no longer has its address."""
    nowhere = ("tcp", "0.0.0.0", 0)
    around(C, "over", lambda real: lambda self, why: (real(self, why), setattr(self, "address", nowhere))[0])


@mutant("lifecycle.requests-race-the-end", role="client")
def waits_on_broken_connections() -> None:
    """A request on a connection that the other side ended waits for ever."""

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            if self.closed is not None and not self.closed_here:
                threading.Event().wait()
            return real(self, message)

        return run

    around(C, "request", request)


@mutant("lifecycle.stop-lets-handlers-finish", "lifecycle.stop-takes-answers")
def stop_cuts_handlers_off() -> None:
    """Closes connections when the server stops, whatever handlers run."""
    P.Server.finish = lambda self, connection: connection.close()


@mutant("lifecycle.stop-closes-idle")
def stop_leaves_connections_open() -> None:
    """A server that stops leaves its connections open until their clients close them."""
    P.Server.finish = lambda self, connection: None


@mutant("lifecycle.stop-closes-idle")
def stop_runs_close_handlers() -> None:
    """Runs the close handlers of the connections that stopping the server closes."""

    def finish(self: Any, connection: Any) -> None:
        def run() -> None:
            with connection.lock:
                while connection.running:
                    connection.idle.wait()
            connection.end("the server was stopped")

        threading.Thread(target=run, daemon=True).start()

    P.Server.finish = finish


@mutant("lifecycle.stop-takes-answers")
def stop_drops_answers() -> None:
    """A server that stops does not read any more, so that its handlers wait for ever."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if not (self.server and self.server.stopping):
                real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("lifecycle.stop-refuses-requests")
def stop_ignores_requests() -> None:
    """A server that stops does not answer new requests."""

    def came(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            if not (self.server and self.server.stopping):
                real(self, *a)

        return run

    around(C, "request_came", came)


@mutant("lifecycle.stop-refuses-requests")
def stop_serves_on() -> None:
    """A server that stops serves new requests as long as old ones run."""

    def came(self: Any, number: int, body: Any) -> None:
        with self.lock:
            self.running += 1
        threading.Thread(target=self.run_handler, args=(number, body), daemon=True).start()

    C.request_came = came


@mutant("lifecycle.wait-waits-for-handlers")
def waits_for_listening_alone() -> None:
    """wait-until-server-stopped returns when listening has ended, whatever runs."""

    def wait(self: Any) -> None:
        with self.lock:
            while not self.stopping:
                self.lock.wait()

    P.Server.wait = wait


@mutant("lifecycle.stop-removes-the-file", security="insecure")
def clears_up_at_the_next_start() -> None:
    """Leaves the socket's file behind when it stops, and removes whatever is there when it starts."""
    _unlink_before_binding()
    P.os = type("os", (), {"unlink": staticmethod(lambda path: None), "urandom": staticmethod(os.urandom)})


@mutant("lifecycle.stop-and-start-again", transport="tcp")
def cannot_bind_again() -> None:
    """Does not allow its port to be bound again while old connections are remembered."""

    def bind(address: Any) -> socket.socket:
        sock = socket.socket(socket.AF_INET)
        sock.bind((address[1] or "0.0.0.0", address[2]))
        return sock

    P.bind = bind


@mutant("lifecycle.stop-ends-hellos")
def waits_for_hellos_at_a_stop() -> None:
    """When it stops, it leaves connections whose hello has not opened until their time is over."""

    def stop(real: Any) -> Any:
        def run(self: Any) -> None:
            pending, self.pending = self.pending, set()
            real(self)
            self.pending = pending

        return run

    around(P.Server, "stop", stop)


@mutant("lifecycle.stop-does-not-wait")
def keeps_the_file_for_handlers() -> None:
    """Removes its socket's file once the last handler has finished."""

    def stop(real: Any) -> Any:
        def run(self: Any) -> None:
            path, spare = self.address[1], self.address[1] + ".spare"
            os.link(path, spare)
            real(self)
            os.rename(spare, path)

        return run

    around(P.Server, "stop", stop)


@mutant("lifecycle.stop-closes-idle-beside-handlers")
def stops_one_connection_after_another() -> None:
    """When it stops, it closes one connection after another, each once the handlers of those before have returned."""
    real = P.Server.finish

    def finish(self: Any, connection: Any) -> None:
        before, self.last = getattr(self, "last", None), connection

        def run() -> None:
            if before is not None:
                before.wait_until_idle()
            real(self, connection)

        if before is None:
            real(self, connection)
        else:
            threading.Thread(target=run, daemon=True).start()

    P.Server.finish = finish


@mutant("lifecycle.stop-and-half-close")
def wakes_one_that_waits_for_handlers() -> None:
    """Wakes only one of those that wait for the handlers of a connection: its reader, or the stop."""

    def init(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            real(self, *a)
            self.idle.notify_all = self.idle.notify

        return run

    around(C, "__init__", init)


@mutant("lifecycle.stop-lets-handlers-fail")
def errors_are_dropped_at_a_stop() -> None:
    """While it stops it sends the answers of handlers that run, but not the error of one that fails."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if not (failed and self.server and self.server.stopping):
                real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant("lifecycle.stop-leaves-the-next-server")
def removes_its_file_again() -> None:
    """Removes its socket's file once more when its last connection is over, whoever has bound the path by then."""

    def forget(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            with contextlib.suppress(OSError):
                if self.stopping and self.connections == {connection}:
                    os.unlink(self.address[1])
            real(self, connection)

        return run

    around(P.Server, "forget", forget)


@mutant("lifecycle.stop-fails-own-requests")
def its_questions_outlive_a_stop() -> None:
    """Leaves its own requests waiting if a stop of its server has closed their connection."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if self.server and self.server.stopping and not self.running:
                self.waiting = {}
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.stop-in-a-packet")
def stops_between_packets() -> None:
    """Waits for the rest of a packet that has begun to come before it closes the connection at a stop."""
    begun: set[Any] = set()

    def exactly(real: Any) -> Any:
        def run(sock: Any, count: int) -> Any:
            first = real(sock, 1)
            if first is None or count == 1:
                return first
            begun.add(sock)
            try:
                rest = real(sock, count - 1)
            finally:
                begun.discard(sock)
            return None if rest is None else first + rest

        return run

    def finish(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            def later() -> None:
                while connection.sock in begun and not connection.closed:
                    time.sleep(0.05)  # nothing tells when a packet is whole
                real(self, connection)

            threading.Thread(target=later, daemon=True).start()

        return run

    around(P, "read_exactly", exactly)
    around(P.Server, "finish", finish)
