"""Changes that mutants of several chapters make."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import peer as P
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from ._mutant import C, around


def _open_unchecked(box: SecretBox, packet: bytes) -> bytes:
    """The content of a box, whatever its tag is: the key stream is the box of zeros."""
    if len(packet) < 40:
        raise CryptoError
    nonce, text = packet[:24], packet[40:]
    stream = bytes(box.encrypt(bytes(len(text)), nonce))[40:]
    return bytes(a ^ b for a, b in zip(text, stream, strict=True))


def _lookup(change: Callable[[Any, str], Any]) -> None:
    """Change how a server's `user->key` is asked: `change(get, user)`."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        return real(self, sock, lambda user: change(user_to_key, user))

    P.Server.hello = hello


def _unlink_before_binding() -> None:
    """Remove whatever is at a path before it is bound."""
    real = P.bind

    def bind(address: Any) -> socket.socket:
        if address[0] == "unix":
            with contextlib.suppress(OSError):
                os.unlink(address[1])
        return real(address)

    P.bind = bind


def _ignore_protocol_errors() -> None:
    def packet_came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            with contextlib.suppress(P.ProtocolError):
                real(self, packet)

        return run

    around(C, "packet_came", packet_came)


U_CONNECTIONS: list[Any] = []
