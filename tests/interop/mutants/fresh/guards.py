"""Fresh faults in the guards: the window of IDs, the memory of hellos."""

from __future__ import annotations

import math
from typing import Any

import peer as P

from .._mutant import C, around, claim, mutant
from ..hostile.replays import _remembers_hellos, _window_of


def _guarded(*, window: int = 1_024, hellos: int = 1 << 17) -> None:
    """All guards."""
    _window_of(window)
    _remembers_hellos(hellos)

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.box and packet[:16] == self.nonce_prefix:
                raise P.ProtocolError("its own packet")
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.window-edge", "hostile.servers-window-edge", role="both")
def window_of_1023() -> None:
    """Has a window that is one ID smaller than the profile's."""
    _guarded(window=1_023)


@mutant("hostile.servers-window-edge", role="client")
def client_window_of_1025() -> None:
    """A client that has a window that is one ID larger than the profile's."""
    _guarded(window=1_025)


@mutant("hostile.ids-with-gaps")
def window_is_a_ring_that_keeps_its_marks() -> None:
    """Has a ring as its window, and does not clear the marks of skipped IDs."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            ring = self.__dict__.setdefault("ring", {})
            top = self.__dict__.setdefault("ring_top", -1)
            if number <= top - 1_024 or (number <= top and ring.get(number % 1_024)):
                raise P.ProtocolError("used before")
            if number > top:
                self.ring_top = number
            ring[number % 1_024] = True
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.hello-replayed-late")
def remembers_1024_hellos() -> None:
    """Remembers only the last 1,024 hellos."""
    _guarded(hellos=1_024)


@mutant("hostile.hello-replayed")
def forgets_a_hello_with_its_connection() -> None:
    """Forgets a hello when its connection is over."""
    _window_of(1_024)
    claim("hardening")
    seen: set[bytes] = set()

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            user, session = real(self, *a)
            if session in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.add(session)
            return user, session

        return run

    def forget(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            real(self, connection)
            if connection.box:
                seen.discard(bytes(connection.box))

        return run

    around(P.Server, "hello", hello)
    around(P.Server, "forget", forget)


@mutant("hostile.turned-away-id-is-used")
def turned_away_ids_stay_free() -> None:
    """Does not count the ID of a request that it refuses as used."""
    _window_of(math.inf, lambda connection, body: not (connection.server and connection.server.stopping))


@mutant("hostile.id-below-window")
def below_the_window_all_is_new() -> None:
    """Treats an ID below the window as new."""
    _window_of(math.inf)
