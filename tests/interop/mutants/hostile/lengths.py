"""Peers that believe any length, or lose pieces."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import peer as P

from .._mutant import C, around, claim, mutant
from .hellos import one_read_one_packet


@mutant("hostile.largest-id")
def ids_of_32_bits() -> None:
    """Keeps the IDs of requests in 32 bits."""
    around(C, "answer", lambda real: lambda self, number, *a, **k: real(self, number & 0xFFFFFFFF, *a, **k))


@mutant("hostile.packet-at-the-limit")
def limit_of_eight_mebibytes() -> None:
    """Accepts packets of at most 8 MiB."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, min(limit, 8 << 20)))


@mutant("hostile.length-over-limit", "hostile.length-over-limit-before-hello")
def no_limit_on_lengths() -> None:
    """Awaits as many bytes as a length says."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, 1 << 40))


@mutant("hostile.length-over-limit-before-hello")
def one_limit_for_all() -> None:
    """Applies the limit of messages to hellos, too."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, max(limit, 1 << 24)))


@mutant("hostile.tiny-packets", role="server")
def tiny_packets_kill() -> None:
    """Dies of a packet too short for a box."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if len(packet) < 41:
                os._exit(139)
            real(self, packet)

        return run

    around(C, "packet_came", came)


def _at_an_end_in_a_packet(act: Callable[[], object]) -> None:
    def exactly(sock: Any, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            part = sock.recv(count - len(data))
            if not part:
                if data:
                    act()
                return None
            data += part
        return data

    P.read_exactly = exactly


@mutant("hostile.truncated-packet")
def truncation_is_no_end() -> None:
    """Goes on waiting when a connection has ended inside a packet."""
    _at_an_end_in_a_packet(threading.Event().wait)


@mutant("hostile.server-truncates", role="client")
def client_waits_on_inside_a_packet() -> None:
    """A client that goes on waiting when a connection has ended inside a packet."""
    _at_an_end_in_a_packet(threading.Event().wait)


def _truncated() -> None:
    raise P.ProtocolError("the connection ended in the middle of a packet")


@mutant("hostile.half-close-in-a-packet")
def truncation_is_an_error() -> None:
    """Treats an end of file inside a packet as a protocol error: answers of running handlers are lost."""
    _at_an_end_in_a_packet(_truncated)


@mutant("hostile.server-half-closes-in-a-packet", role="client")
def client_takes_truncation_for_an_error() -> None:
    """A client that treats an end of file inside a packet as a protocol error."""
    _at_an_end_in_a_packet(_truncated)


@mutant("hostile.packets-in-one-piece", "hostile.flood-of-requests")
def loses_what_comes_at_once() -> None:
    """Throws away what came together with a packet."""

    def read_packet(real: Any) -> Any:
        def run(sock: Any, limit: int) -> Any:
            packet = real(sock, limit)
            if limit == P.MAX_PACKET:
                with contextlib.suppress(OSError):
                    sock.recv(1 << 20, socket.MSG_DONTWAIT)
            return packet

        return run

    around(P, "read_packet", read_packet)


@mutant("hostile.server-answers-in-drips", role="client")
def client_one_read_one_packet() -> None:
    """A client that treats the bytes of one read as a packet."""
    one_read_one_packet()


@mutant("hostile.lengths-cost-nothing")
def takes_memory_in_advance() -> None:
    """Fills as many bytes as a length says before it reads them."""
    claim("hardening")

    def read_packet(sock: Any, limit: int) -> bytes | None:
        head = P.read_exactly(sock, 4)
        if head is None:
            return None
        length = int.from_bytes(head, "big")
        if length > limit:
            raise P.ProtocolError("a packet over the limit")
        room = bytearray(b"." * length)
        room[:] = P.read_exactly(sock, length) or b""
        return bytes(room)

    P.read_packet = read_packet


@mutant("hostile.pieces-side-by-side", "hostile.servers-pieces-side-by-side", role="both")
def one_header_for_all() -> None:
    """Reads the length of a packet into four bytes that all its connections share."""
    head = bytearray(4)
    real = P.read_exactly

    def exactly(sock: Any, count: int) -> bytes | None:
        if count != len(head):
            return real(sock, count)
        for index in range(len(head)):
            byte = sock.recv(1)
            if not byte:
                return None
            head[index] = byte[0]
        return bytes(head)

    P.read_exactly = exactly
