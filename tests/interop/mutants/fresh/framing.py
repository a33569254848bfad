"""Fresh faults in framing, and at the limits of packets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import peer as P
import sexpr as S

from .._mutant import C, mutant


def _reading(change: Callable[[int], int]) -> None:
    """Compare packets' lengths with the limit in another way: after `change` has changed the length."""

    def read_packet(sock: socket.socket, limit: int) -> bytes | None:
        head = P.read_exactly(sock, 4)
        if head is None:
            return None
        (length,) = struct.unpack(">I", head)
        if change(length) > limit:
            raise P.ProtocolError("a packet that is too long")
        return P.read_exactly(sock, length)

    P.read_packet = read_packet


@mutant("hostile.packet-at-the-limit", "hostile.servers-packet-at-the-limit", role="both")
def limit_is_exclusive() -> None:
    """Accepts packets that are shorter than the limit, but not those of exactly the limit."""
    _reading(lambda length: length + 1 if length == P.MAX_PACKET else length)


@mutant("hostile.length-over-limit")
def limit_without_the_box() -> None:
    """Compares the content of a box with the limit, so that a packet may have 40 bytes more."""
    _reading(lambda length: length - 40 if length > P.MAX_PACKET else length)


@mutant("hostile.length-over-limit")
def signed_lengths() -> None:
    """Reads a length as a signed number, so that one of 2 GiB or more is below every limit."""
    _reading(lambda length: length if length < 1 << 31 else -1)


@mutant("hostile.tiny-packets")
def empty_packets_pass() -> None:
    """Ignores packets without a byte."""
    real = P.read_packet

    def read_packet(sock: Any, limit: int) -> Any:
        while (packet := real(sock, limit)) == b"":
            pass
        return packet

    P.read_packet = read_packet


@mutant("request.box-counts", role="client")
def sends_8_mib_at_most() -> None:
    """A client that sends no message of more than 8 MiB."""
    real = C.request

    def request(self: Any, message: Any) -> Any:
        if len(S.write(message)) > 8 << 20:
            raise S.WriteError("too long")
        return real(self, message)

    C.request = request


@mutant("request.answer-box-counts")
def answers_8_mib_at_most() -> None:
    """Sends no answer of more than 8 MiB."""
    real = C.answer

    def answer(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
        if not failed and len(S.write(value)) > 8 << 20:
            raise S.WriteError("too long")
        real(self, number, value, failed=failed)

    C.answer = answer


@mutant("hostile.length-over-limit-before-hello")
def session_keys_as_long_as_packets() -> None:
    """Applies the limit of ordinary packets to the second packet of a hello."""
    real = P.read_packet
    P.read_packet = lambda sock, limit: real(sock, P.MAX_PACKET if limit == P.BOXED_KEY else limit)


@mutant("secure.any-user-name")
def names_of_254_bytes() -> None:
    """Accepts usernames of at most 254 bytes."""
    real = P.read_packet
    P.read_packet = lambda sock, limit: real(sock, 254 if limit == 255 else limit)
