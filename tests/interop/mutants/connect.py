"""Peers that listen or connect incorrectly."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import peer as P
import puppet as U

from ._changes import _lookup, _unlink_before_binding
from ._mutant import around, claim, mutant


@mutant("connect.longest-path", transport="unix", role="server")
def cuts_long_paths() -> None:
    """Binds the first 100 bytes of a path."""
    around(
        P,
        "bind",
        lambda real: lambda address: real((address[0], address[1][:100]) if address[0] == "unix" else address),
    )


@mutant("connect.socket-in-use")
def takes_sockets_away() -> None:
    """Removes whatever is at a path before it binds there, even another server's socket."""
    claim("hardening")
    _unlink_before_binding()


@mutant("connect.backlog-holds", security="insecure")
def backlog_of_its_own() -> None:
    """Listens with a backlog of its own, whatever the program asked for."""
    around(P.Server, "__init__", lambda real: lambda self, address, backlog, *rest: real(self, address, 128, *rest))


@mutant("connect.backlog-holds", security="insecure")
def backlog_of_one() -> None:
    """Listens with a backlog of one."""
    around(P.Server, "__init__", lambda real: lambda self, address, backlog, *rest: real(self, address, 1, *rest))


@mutant("connect.address-of-client", "connect.address-of-server", role="both")
def own_address() -> None:
    """Reports its own address instead of the other end's."""
    around(
        P.Connection,
        "__init__",
        lambda real: lambda self, sock, user, address, *rest: real(self, sock, user, ("tcp", "0.0.0.0", 1), *rest),
    )


@mutant("connect.half-open-neighbour", "hostile.hello-withheld")
def one_hello_at_a_time() -> None:
    """Reads one client's hello before it accepts the next."""
    claim("hardening")
    lock = threading.Lock()

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            with lock:
                return real(self, *a)

        return run

    around(P.Server, "hello", hello)


@mutant("connect.port-too-large", role="client", transport="tcp")
def wraps_ports() -> None:
    """A client that takes the last 16 bits of a port that is too large."""
    P._port = lambda port: port & 0xFFFF


@mutant("connect.last-port", "connect.last-port-to-bind", role="both", transport="tcp")
def ports_below_65535() -> None:
    """Refuses the port 65,535."""

    def port(real: Any) -> Any:
        return lambda number: real(number if number != 65_535 else -1)

    around(P, "_port", port)


@mutant("connect.unix-path-of-any-bytes")
def binds_paths_in_utf8() -> None:
    """Encodes the bytes of the path that it binds as UTF-8 once more."""
    around(P, "bind", lambda real: lambda address: real(_again(address)))


@mutant("connect.unix-path-of-any-bytes", role="client")
def connects_to_paths_in_utf8() -> None:
    """A client that encodes the bytes of a path as UTF-8 once more."""
    around(U, "open_connection", lambda real: lambda address, *a: real(_again(address), *a))


def _again(address: Any) -> Any:
    return (address[0], address[1].encode().decode("latin-1")) if address[0] == "unix" else address


@mutant("connect.stop-leaves-own-connections")
def a_stop_ends_what_the_program_opened() -> None:
    """A stop of its server ends the connections, too, that the program itself has opened."""
    opened: list[Any] = []

    def stop(real: Any) -> Any:
        def run(self: Any) -> None:
            real(self)
            for connection in opened:
                connection.close()

        return run

    def keep(real: Any) -> Any:
        def run(*a: Any) -> Any:
            opened.append(real(*a))
            return opened[-1]

        return run

    around(P.Server, "stop", stop)
    around(U, "open_connection", keep)


@mutant("connect.address-of-a-named-server", role="client", transport="tcp")
def addresses_as_they_were_asked() -> None:
    """Shows the name by which it found a server, and not the server's number."""

    def connected(real: Any) -> Any:
        def run(address: Any, *a: Any) -> Any:
            connection = real(address, *a)
            connection.address = address
            return connection

        return run

    around(U, "open_connection", connected)


@mutant("connect.digits-make-a-port", role="client", transport="tcp")
def ports_as_python_reads_them() -> None:
    """Reads as a port whatever Python reads as a whole number."""

    def parse(real: Any) -> Any:
        def run(address: Any) -> Any:
            if isinstance(address, str) and "/" not in address:
                host, _, port = address.rpartition(":")
                try:
                    return real(f"{host}:{int(port)}")
                except ValueError:
                    pass
            return real(address)

        return run

    around(U, "parse_address", parse)


@mutant("connect.servers-of-their-own", transport="tcp")
def one_mode_for_all_servers() -> None:
    """Keeps for the whole process whether it is secure: the server that was started last decides."""
    last: list[Any] = []

    def init(real: Any) -> Any:
        return lambda self, address, backlog, keys, *rest: (
            last.append(keys),
            real(self, address, backlog, keys, *rest),
        )[1]

    def welcome(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            if (last[-1] is None) != (self.user_to_key is None):
                self.user_to_key = last[-1]
            real(self, *a)

        return run

    around(P.Server, "__init__", init)
    around(P.Server, "welcome", welcome)


@mutant("connect.servers-of-their-own", transport="tcp")
def keeps_keys_by_name() -> None:
    """Keeps the key of each username for the whole process, whichever server has asked for it."""
    kept: dict[str, Any] = {}

    def look_up(get: Any, user: str) -> Any:
        key = get(user)
        return kept.setdefault(user, key) if key else None

    _lookup(look_up)


@mutant("connect.failed-start", transport="unix")
def a_failed_start_removes_the_file() -> None:
    """Removes the file of the path that it could not bind, since another server has it."""

    def bind(real: Any) -> Any:
        def run(address: Any) -> Any:
            try:
                return real(address)
            except OSError:
                if address[0] == "unix":
                    os.unlink(address[1])
                raise

        return run

    around(P, "bind", bind)


def _not_an_address(pattern: str) -> None:
    def parse(real: Any) -> Any:
        def run(address: Any) -> Any:
            if isinstance(address, str) and re.fullmatch(pattern, address):
                raise ValueError("not an address")
            return real(address)

        return run

    around(U, "parse_address", parse)


@mutant("connect.digits-make-a-port", role="client", transport="tcp")
def ports_do_not_begin_with_a_nought() -> None:
    """Refuses a port whose first digit is a nought."""
    _not_an_address(r"[^/]*:0\d+")


@mutant("connect.no-such-path", role="client")
def paths_have_a_slash() -> None:
    """Refuses a string that has neither a slash nor a port."""
    _not_an_address(r"[^/]*(?<!\d)")
