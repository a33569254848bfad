"""Fresh faults in addresses."""

from __future__ import annotations

import re
from typing import Any

import peer as P
import puppet as U

from .._mutant import C, around, mutant


@mutant("connect.port-to-bind-too-large", transport="tcp")
def binds_the_last_16_bits_of_a_port() -> None:
    """Binds the port that the last 16 bits of a larger number name."""
    real = U.Server
    P._port = lambda port: port

    def server(address: Any, *a: Any) -> Any:
        return real((*address[:2], address[2] % 65_536) if address[0] == "tcp" else address, *a)

    U.Server = server


@mutant("connect.bind-all-ipv6", transport="tcp")
def mapped_addresses_as_they_are() -> None:
    """Shows an IPv4 client of an IPv6 server by its mapped address."""
    P._shown = lambda name: ("tcp", str(name[0]), name[1])


@mutant("connect.address-of-client")
def unix_clients_have_no_address() -> None:
    """Shows the client's own empty path as the address of a Unix connection."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        around(
            C,
            "__init__",
            lambda real: lambda self, s, u, a, *r: real(self, s, u, ("unix", "") if a[0] == "unix" else a, *r),
        )
        P.Server.welcome = real
        real(self, sock, name)

    P.Server.welcome = welcome


@mutant("connect.ipv6-string", role="client", transport="tcp")
def brackets_belong_to_the_host() -> None:
    """A client that treats the brackets of an IPv6 address as a part of it."""
    around(
        U, "parse_address", lambda real: lambda a: ("tcp", a.rpartition(":")[0], 1) if str(a)[:1] == "[" else real(a)
    )


@mutant("connect.unix-path-with-colon", role="client")
def a_colon_makes_a_host() -> None:
    """A client that reads a path with a colon and digits at its end as a host and a port."""

    def parse(real: Any) -> Any:
        def run(address: Any) -> Any:
            if isinstance(address, str) and (found := re.fullmatch(r"(.*):(\d+)", address)):
                return ("tcp", found[1], int(found[2]))
            return real(address)

        return run

    around(U, "parse_address", parse)
