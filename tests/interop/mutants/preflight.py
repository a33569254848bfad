"""Peers with which one cannot talk at all, one for each layer."""

from __future__ import annotations

import struct
from typing import Any

import peer as P
from nacl.secret import SecretBox

from ._mutant import C, around, mutant


class _Struct:
    """`struct` with another format for a packet's length."""

    def __init__(self, form: str, more: int = 0) -> None:
        self.form, self.more = form, more

    def pack(self, form: str, value: int) -> bytes:
        return struct.pack(self.form, value + self.more) if form == ">I" else struct.pack(form, value)

    def unpack(self, form: str, data: bytes) -> tuple[int, ...]:
        return (struct.unpack(self.form, data)[0] - self.more,) if form == ">I" else struct.unpack(form, data)


@mutant("preflight.client-hello", "preflight.client-request", role="client")
def counts_bytes_little_endian() -> None:
    """Writes and reads a packet's length with its last byte first."""
    P.struct = _Struct("<I")


@mutant("preflight.server-request", "preflight.server-hello")
def counts_the_length_itself() -> None:
    """Counts the four bytes of a packet's length as part of it."""
    P.struct = _Struct(">I", 4)


@mutant("preflight.server-hello", "preflight.server-request")
def puts_nonces_behind() -> None:
    """Sends and expects the nonce after its box."""

    class Behind(SecretBox):
        def decrypt(self, data: bytes, *a: Any) -> bytes:
            return super().decrypt(data[-24:] + data[:-24], *a)

    P.SecretBox = Behind
    around(C, "seal", lambda real: lambda self, box, body: (found := real(self, box, body))[24:] + found[:24])


@mutant("preflight.server-request", "preflight.client-request")
def asks_queries() -> None:
    """Has another tag for its requests."""
    around(C, "send", lambda real: lambda self, text: real(self, text.replace("(request ", "(query ", 1)))


@mutant("preflight.server-error")
def errors_are_lists() -> None:
    """Sends the message of an error in a separate list."""

    def send(real: Any) -> Any:
        def run(self: Any, text: str) -> None:
            head, number, rest = text.split(" ", 2)
            real(self, f"{head} {number} ({rest[:-1]}))" if head == "(error" else text)

        return run

    around(C, "send", send)
