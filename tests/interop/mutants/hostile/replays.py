"""Peers that serve twice what came twice."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U

from .._mutant import C, around, claim, mutant
from .answers import ignores_unasked_answers


@mutant(
    "hostile.hello-replayed",
    "hostile.hello-replayed-at-once",
    "hostile.hello-replayed-as-other",
    "hostile.replayed-packet",
    "hostile.used-id",
    "hostile.id-below-window",
    "hostile.reflected-request",
)
def claims_guards() -> None:
    """Claims to have guards, but has none."""
    claim("hardening")


@mutant("hostile.server-reflects", "hostile.server-replays-request", role="client")
def client_claims_guards() -> None:
    """A client that claims to have guards, but has none."""
    claim("hardening")


@mutant("hostile.ids-with-gaps")
def wants_ids_in_order() -> None:
    """Accepts only the next ID."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if number != getattr(self, "expected_id", 0):
                raise P.ProtocolError("an ID out of order")
            self.expected_id = number + 1
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.server-reflects-response", role="client")
def client_ignores_unasked_answers() -> None:
    """A client that ignores an answer to a question that it never asked."""
    ignores_unasked_answers()


@mutant("hostile.reflected-request")
def guards_without_reflection() -> None:
    """Guards against used IDs and hellos, but not against its own packets."""
    _window_of(1_024)
    _remembers_hellos(1_000)


@mutant("hostile.server-reflects", role="client")
def client_guards_without_reflection() -> None:
    """A client that guards against used IDs, but not against its own packets."""
    _window_of(1_024)


def _knows_its_last(most: int) -> None:
    """Guard against reflection: remember the nonces of the last packets."""
    claim("hardening")
    mine: list[bytes] = []

    def seal(real: Any) -> Any:
        def run(self: Any, *a: Any) -> bytes:
            packet: bytes = real(self, *a)
            mine.append(packet[:24])
            del mine[:-most]
            return packet

        return run

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if packet[:24] in mine:
                raise P.ProtocolError("its own packet")
            real(self, packet)

        return run

    around(C, "seal", seal)
    around(C, "packet_came", came)


@mutant("hostile.reflected-late")
def knows_its_last_ten_packets() -> None:
    """Remembers only its last ten packets, to notice if one comes back."""
    _window_of(1_024)
    _knows_its_last(10)


@mutant("hostile.server-reflects-late", role="client")
def client_knows_its_last_ten_packets() -> None:
    """A client that remembers only its last ten packets, to notice if one comes back."""
    _window_of(1_024)
    _knows_its_last(10)


@mutant("hostile.hello-replayed-is-no-reset", transport="tcp")
def resets_replayed_hellos() -> None:
    """Resets a connection whose hello was seen before."""
    claim("hardening")
    seen: list[bytes] = []

    def hello(real: Any) -> Any:
        def run(self: Any, sock: Any, *a: Any) -> Any:
            user, session = real(self, sock, *a)
            if session in seen:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                raise P.ProtocolError("a hello that was seen before")
            seen.append(session)
            return user, session

        return run

    around(P.Server, "hello", hello)


def _remembers_hellos(most: int) -> list[bytes]:
    claim("hardening")
    seen: list[bytes] = []

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            user, session = real(self, *a)
            if session in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.append(session)
            del seen[:-most]
            return user, session

        return run

    around(P.Server, "hello", hello)
    return seen


@mutant("hostile.hello-replayed-late")
def remembers_16_hellos() -> None:
    """Remembers only the last sixteen hellos."""
    _remembers_hellos(16)


def _shares(is_seen: Callable[[dict[Any, set[bytes]], Any, bytes], bool]) -> dict[Any, set[bytes]]:
    """Claims a memory of hellos that its servers share: `is_seen(hellos of each server, server, hello)`."""
    claim("hardening")
    claim("shared-hellos")
    seen: dict[Any, set[bytes]] = {}

    def listen(real: Any) -> Any:
        return lambda self, handle, address, backlog, users, memory=None: real(self, handle, address, backlog, users)

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            user, session = real(self, *a)
            if is_seen(seen, self, session):
                raise P.ProtocolError("a hello that was seen before")
            seen.setdefault(self, set()).add(session)
            return user, session

        return run

    around(U.Puppet, "do_listen", listen)
    around(P.Server, "hello", hello)
    return seen


@mutant("hostile.hello-replayed-to-fleet")
def each_server_remembers_its_own_hellos() -> None:
    """Claims that its servers share a memory of hellos, but each of them knows its own hellos alone."""
    _shares(lambda seen, server, hello: hello in seen.get(server, ()))


@mutant("hostile.hello-replayed-to-fleet")
def hellos_of_a_stopped_server_are_forgotten() -> None:
    """Has a memory of hellos that its servers share, but forgets those of a server that stops."""
    seen = _shares(lambda seen, server, hello: any(hello in some for some in seen.values()))

    def stop(real: Any) -> Any:
        def run(self: Any) -> None:
            seen.pop(self, None)
            real(self)

        return run

    around(P.Server, "stop", stop)


@mutant("hostile.hello-replayed-to-fleet")
def fleet_asks_only_the_first_server() -> None:
    """Has a memory of hellos that its servers share, but only the first server writes to it."""
    _shares(lambda seen, server, hello: hello in seen.get(server, set()) | next(iter(seen.values()), set()))


def _window(is_used: Callable[[set[int], int, int], bool]) -> None:
    """Guard IDs: `is_used(seen, highest, id)`."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            seen = self.__dict__.setdefault("seen_ids", set())
            if is_used(seen, max(seen, default=-1), number):
                raise P.ProtocolError(f"request {number} was used before")
            seen.add(number)
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.every-used-id", security="insecure")
def window_without_its_top() -> None:
    """Forgets that the highest ID was used."""
    _window(lambda seen, top, number: number in seen and number != top)


@mutant("hostile.every-used-id", security="insecure")
def window_too_small() -> None:
    """Has a window of 16 IDs, and treats IDs below it as new."""
    _window(lambda seen, top, number: number in seen and number > top - 16)


@mutant("hostile.every-used-id", security="insecure")
def window_forgets_gaps() -> None:
    """Forgets which of the IDs that came late were used."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            rising = self.__dict__.setdefault("rising_ids", [])
            if number in rising:
                raise P.ProtocolError(f"request {number} was used before")
            if number > max(rising, default=-1):
                rising.append(number)
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.every-used-id", security="insecure")
def window_cleared_by_jumps() -> None:
    """Forgets used IDs when an ID jumps far ahead: the low ones, and the one that jumped."""

    def is_used(seen: set[int], top: int, number: int) -> bool:
        if number > top + 1_000:
            seen.clear()
            return False
        return number in seen

    _window(is_used)


def readable(connection: Any, body: Any) -> bool:
    """Whether a request can be read."""
    return not isinstance(body, P.Unreadable)


def _window_of(size: float, counts: Callable[[Any, Any], bool] = lambda connection, body: True) -> None:
    """Refuses IDs that were used, or are this far below. `counts` says for which requests the ID counts as used."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            seen = self.__dict__.setdefault("seen_ids", set())
            if number in seen or number <= max(seen, default=-1) - size:
                raise P.ProtocolError(f"request {number} was used before")
            if counts(self, body):
                seen.add(number)
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.window-edge")
def window_of_500() -> None:
    """Has a window of 500 IDs, and treats IDs below it as used."""
    _window_of(500)


@mutant("hostile.window-edge")
def window_of_1025() -> None:
    """Has a window that is one ID larger than the profile's."""
    _window_of(1_025)


@mutant("hostile.unreadable-id-is-used")
def unreadable_ids_stay_free() -> None:
    """Does not count the ID of an unreadable request as used."""
    _window_of(1_024, readable)


@mutant("hostile.server-uses-unreadable-id", role="client")
def client_leaves_unreadable_ids_free() -> None:
    """A client that does not count the ID of an unreadable request as used."""
    _window_of(1_024, readable)


@mutant("hostile.hello-replayed-after-a-stop")
def forgets_hellos_when_any_server_stops() -> None:
    """Forgets the hellos of all its servers when one of them stops."""
    seen = _remembers_hellos(1_000)

    def stop(real: Any) -> Any:
        def run(self: Any) -> None:
            seen.clear()
            real(self)

        return run

    around(P.Server, "stop", stop)
