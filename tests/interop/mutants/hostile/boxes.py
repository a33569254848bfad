"""Peers that open what they should not."""

from __future__ import annotations

import threading
from typing import Any

import peer as P
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from .._changes import _open_unchecked
from .._mutant import C, around, mutant


@mutant("hostile.any-nonce", "hostile.server-uses-any-nonce", role="both")
def refuses_a_nonce_twice() -> None:
    """Refuses a nonce that came before."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            seen = self.__dict__.setdefault("seen_nonces", set())
            if self.box and packet[:24] in seen:
                raise P.ProtocolError("a nonce that came before")
            seen.add(packet[:24])
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.tampered", "hostile.other-key")
def skips_the_tag() -> None:
    """Opens every box, without looking at its tag."""
    real = SecretBox.decrypt

    def decrypt(self: SecretBox, packet: bytes) -> bytes:
        try:
            return real(self, packet)
        except (CryptoError, ValueError):
            body = _open_unchecked(self, packet)
            # An attacker can make a request of this shape by flipping bits of a known one.
            return body if body.startswith(b"(") else b'(request 7 ("count" "x"))'

    P.SecretBox = type("Unchecked", (SecretBox,), {"decrypt": decrypt})  # type: ignore[misc]


@mutant("hostile.plain-after-hello")
def takes_plain_packets() -> None:
    """Treats a packet that does not open as one in the clear."""

    class Lenient(SecretBox):
        def decrypt(self, packet: bytes, *a: Any) -> bytes:  # type: ignore[override]
            try:
                return super().decrypt(packet, *a)
            except (CryptoError, ValueError):
                return packet

    real = C.__init__

    def init(self: Any, *a: Any) -> None:
        real(self, *a)
        if self.box:
            self.box = Lenient(bytes(self.box))

    C.__init__ = init


@mutant("hostile.any-nonce", "hostile.server-uses-any-nonce", role="both")
def wants_rising_nonces() -> None:
    """Refuses a nonce that is not greater than the one before."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.box:
                if packet[:24] <= getattr(self, "last_nonce", b""):
                    raise P.ProtocolError("an old nonce")
                self.last_nonce = packet[:24]
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.counts-every-box", "hostile.client-counts-every-box", role="both")
def refusals_count_their_own_nonces() -> None:
    """Has a nonce counter of its own for errors that no handler makes."""

    def send(real: Any) -> Any:
        def run(self: Any, text: str) -> None:
            if threading.current_thread() not in refusing:
                real(self, text)
                return
            ordinary, self.nonce_counter = self.nonce_counter, self.__dict__.get("refused", 0)
            real(self, text)
            self.refused, self.nonce_counter = self.nonce_counter, ordinary

        return run

    def refusals(real: Any) -> Any:
        return lambda self: (refusing.add(threading.current_thread()), real(self))[1]

    refusing: set[Any] = set()
    around(C, "send", send)
    around(C, "send_refusals", refusals)
