"""The hello: how a client says who it is and hands over the session key.

What this module knows: the packets before the first message of a secure connection. What it refuses to know: users,
their keys and where those are looked up; how boxes are made; how packets are framed.

Where its facts come from: that the client chooses a random session key and sends it encrypted with the user's key
is *stated* (the egg's README). That the username travels readable is *certain*: the server must pick a key by it.
Two packets, name first, and no answer from the server, are choices of `inferred-1`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import RemoteProtocolError
from .boxes import BOX_OVERHEAD, KEY_BYTES

__all__ = ["MAX_USERNAME", "Hello", "ServerHello", "UsernameThenKey"]

MAX_USERNAME = 255
"""Bytes of a username in `inferred-1`."""

Seal = Callable[[bytes], bytes]
Open = Callable[[bytes], bytes]


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

    def client(self, user: bytes, session_key: bytes, seal: Seal) -> list[bytes]:
        """The packets of the client's hello; `seal` is bound to the user's key."""

    def server(self) -> ServerHello:
        """The server's side of a fresh hello."""


@dataclass(frozen=True)
class UsernameThenKey:
    """`inferred-1`: one packet with the username's bytes, one of 72 bytes with the boxed session key."""

    name: str = "username-then-key"
    max_username: int = MAX_USERNAME

    def client(self, user: bytes, session_key: bytes, seal: Seal) -> list[bytes]:
        """See `Hello.client`."""
        return [user, seal(session_key)]

    def server(self) -> ServerHello:
        """See `Hello.server`."""
        return _ServerHello(self.max_username)


class _ServerHello:
    __slots__ = ("_named", "box", "limit", "user")

    _BOX = BOX_OVERHEAD + KEY_BYTES

    def __init__(self, max_username: int) -> None:
        self._named = False
        self.limit = max_username
        self.user = b""
        self.box = b""

    def receive(self, packet: bytes) -> bool:
        if not self._named:
            self._named = True
            self.user = packet
            self.limit = self._BOX
            return False
        if len(packet) != self._BOX:
            raise RemoteProtocolError(
                f"the hello's second packet has {len(packet)} bytes, expected {self._BOX} (a boxed session key)"
            )
        self.box = packet
        return True

    def session_key(self, open_box: Open) -> bytes:
        return open_box(self.box)
