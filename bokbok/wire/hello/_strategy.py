"""What a hello is, and what the server's side of one is."""

from __future__ import annotations

from typing import Protocol

from ..boxes import BoxMaker, Open, Seal

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
            RemoteProtocolError: the packet is no part of a hello.
        """

    def session_key(self, open_box: Open) -> bytes:
        """Open the session-key box with a function bound to the user's key.

        Raises:
            RemoteProtocolError: it does not open, or what is in it is no session key.
        """


class Hello(Protocol):
    """Strategy: the form of a hello."""

    @property
    def name(self) -> str:
        """How a profile file calls it."""

    @property
    def max_username(self) -> int:
        """Bytes of the longest username that it carries."""

    @property
    def insecure(self) -> tuple[bytes, ...]:
        """The packets by which the client of an insecure connection announces itself; none for most."""

    @property
    def preamble(self) -> bytes:
        """What the client of a secure connection sends before its first packet, in no packet; mostly nothing."""

    @property
    def insecure_preamble(self) -> bytes:
        """The same of an insecure connection."""

    def client(self, user: bytes, session_key: bytes, seal: Seal, boxes: BoxMaker | None = None) -> list[bytes]:
        """The packets of the client's hello; `seal` is bound to the user's key, `boxes` has the nonces' base."""

    def server(self, boxes: BoxMaker | None = None) -> ServerHello:
        """The server's side of a fresh hello; gives `boxes` the nonces' base that the hello carries."""
