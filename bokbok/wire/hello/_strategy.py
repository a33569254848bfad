"""What a hello is, and what the server's side of one is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from ..boxes import BoxMaker, Open, Seal
from ..strategy import Span, Strategy

__all__ = ["MAX_USERNAME", "Hello", "ServerHello"]

MAX_USERNAME = 255
"""Bytes of a username in `inferred-1`."""


class ServerHello(Protocol):
    """The server's side of one hello.

    Attributes:
        limit: bytes of the longest packet that may come next.
        user: the username's bytes, once `receive` has returned true.
        box: the session-key box, once `receive` has returned true; what a replay is recognised by.
    """

    limit: int
    user: bytes
    box: bytes

    def receive(self, packet: bytes) -> bool:
        """Take a packet. True once the hello is whole.

        Raises:
            RemoteProtocolError: the packet is not part of a hello.
        """

    def session_key(self, open_box: Open) -> bytes:
        """Open the session-key box with a function bound to the user's key.

        Raises:
            RemoteProtocolError: it does not open, or what is in it is not a session key.
        """


class Hello(Strategy):
    """Strategy: the form of a hello."""

    max_username: int
    """Bytes of the longest username that it carries."""
    insecure: tuple[bytes, ...]
    """The packets by which the client of an insecure connection announces itself; none for most."""
    preamble: bytes
    """What the client of a secure connection sends before its first packet, in no packet; mostly nothing."""
    insecure_preamble: bytes
    """The same of an insecure connection."""

    @abstractmethod
    def client(self, user: bytes, session_key: bytes, seal: Seal, boxes: BoxMaker | None = None) -> list[bytes]:
        """The packets that a client sends first, its username and the session key boxed by `seal` among them."""

    @abstractmethod
    def server(self, boxes: BoxMaker | None = None) -> ServerHello:
        """The server's side of a fresh hello; gives `boxes` the nonces' base that the hello carries."""

    def spans(self, number: int, packet: bytes, key_overhead: int, base_size: int) -> list[Span]:
        """What the bytes of a packet of the hello are.

        Args:
            number: which of its packets, from 0.
            packet: the bytes, which a server has taken.
            key_overhead: see `BoxMaker.key_overhead`.
            base_size: see `BoxMaker.base_size`.
        """
        return [Span("hello", 0, len(packet))]
