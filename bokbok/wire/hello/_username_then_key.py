"""The default's hello: two packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import RemoteProtocolError
from ..boxes import BOX_OVERHEAD, KEY_BYTES, BoxMaker, Open, Seal
from ._strategy import MAX_USERNAME, ServerHello

__all__ = [
    "UsernameThenKey",
]


@dataclass(frozen=True)
class UsernameThenKey:
    """`inferred-1`: one packet with the username's bytes, one with the boxed session key: 72 bytes, with its nonce."""

    strategy: ClassVar[str] = "username-then-key"
    name: str = "username-then-key"
    max_username: int = MAX_USERNAME
    insecure: ClassVar[tuple[bytes, ...]] = ()
    preamble: ClassVar[bytes] = b""
    insecure_preamble: ClassVar[bytes] = b""

    def client(self, user: bytes, session_key: bytes, seal: Seal, boxes: BoxMaker | None = None) -> list[bytes]:
        """See `Hello.client`."""
        return [user, seal(session_key)]

    def server(self, boxes: BoxMaker | None = None) -> ServerHello:
        """See `Hello.server`."""
        return _ServerHello(self.max_username, BOX_OVERHEAD if boxes is None else boxes.key_overhead)


class _ServerHello:
    __slots__ = ("_box", "_named", "box", "limit", "user")

    def __init__(self, max_username: int, overhead: int) -> None:
        self._box = KEY_BYTES + overhead
        self._named = False
        self.limit = max_username
        self.user = b""
        self.box = b""

    def receive(self, packet: bytes) -> bool:
        if not self._named:
            self._named = True
            self.user = packet
            self.limit = self._box
            return False
        if len(packet) != self._box:
            raise RemoteProtocolError(
                f"the hello's second packet has {len(packet)} bytes, expected {self._box} (a boxed session key)"
            )
        self.box = packet
        return True

    def session_key(self, open_box: Open) -> bytes:
        return open_box(self.box)
