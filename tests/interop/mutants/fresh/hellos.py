"""Fresh faults in hellos, nonces and the announcement of an insecure connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

import peer as P
import puppet as U

from .._mutant import C, around, claim, mutant


@mutant("hostile.hello-just-in-time")
def hello_time_of_five_seconds() -> None:
    """Allows five seconds for a hello."""
    claim("hardening")
    real = P.Server.hello

    def hello(self: Any, sock: Any, *a: Any) -> Any:
        timer = threading.Timer(5, lambda: sock.shutdown(socket.SHUT_RDWR))
        timer.start()
        try:
            return real(self, sock, *a)
        finally:
            timer.cancel()

    P.Server.hello = hello


@mutant("hostile.hello-withheld")
def hello_time_of_fifteen_seconds() -> None:
    """Allows fifteen seconds for a hello."""
    claim("hardening")
    P.HELLO_SECONDS = 15.0


@mutant("lifecycle.idle")
def hello_timer_runs_on() -> None:
    """Closes a connection ten seconds after it was accepted, whether its hello has opened or not."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        def end() -> None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(10, end)
        timer.daemon = True
        timer.start()
        real(self, sock, name)

    P.Server.welcome = welcome


@mutant("preflight.client-hello", role="client")
def hello_with_the_first_request() -> None:
    """A client that says hello only with its first request."""
    real = P.open_connection

    def open_connection(address: Any, user: Any, key: Any, *a: Any) -> Any:
        held: list[bytes] = []
        if user is None:
            return real(address, user, key, *a)
        plain = socket.socket.sendall

        class Held(socket.socket):
            def sendall(self, data: Any, *rest: Any) -> None:
                if not held:
                    held.append(bytes(data))
                    return
                plain(self, held.pop() + bytes(data) if held[0] else bytes(data), *rest)
                held.append(b"")

        sockets, P.socket.socket = P.socket.socket, Held
        try:
            return real(address, user, key, *a)
        finally:
            P.socket.socket = sockets

    U.open_connection = open_connection


@mutant("hostile.refused-hello-is-not-remembered")
def remembers_refused_hellos() -> None:
    """Remembers the box of a hello before it knows whether the box opens."""
    claim("hardening")
    seen: list[bytes] = []
    real = P.read_packet

    def read_packet(sock: Any, limit: int) -> Any:
        packet = real(sock, limit)
        if limit == P.BOXED_KEY and packet is not None:
            if packet in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.append(packet)
        return packet

    P.read_packet = read_packet


@mutant("secure.nonces")
def nonces_from_one() -> None:
    """Counts its nonces from 1."""
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_counter", 1))[0])


@mutant("secure.nonces")
def errors_take_two_nonces() -> None:
    """Counts its nonces up twice for every third box."""

    def seal(real: Any) -> Any:
        def run(self: Any, *a: Any) -> bytes:
            packet: bytes = real(self, *a)
            self.nonce_counter += self.nonce_counter % 3 == 0
            return packet

        return run

    around(C, "seal", seal)


@mutant("request.message-bytes", role="client", security="insecure")
def announces_insecure_connections() -> None:
    """A client that says in a separate packet that its connection is insecure."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            if not self.box and not self.server:
                self.sock.sendall(struct.pack(">I", 8) + b"insecure")
            real(self)

        return run

    around(C, "start", start)
