"""What a strategy of nonces is, and what its side of a connection is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Protocol

from ..strategy import Span, Strategy
from ._box import Draw, Head, Open, Seal

__all__ = [
    "BoxMaker",
    "NonceScheme",
    "Role",
]

Role = Literal["client", "server"]


class BoxMaker(Protocol):
    """The nonces of one side of one connection.

    Attributes:
        base: what the hello's field `nonce` carries; a server sets it before it opens anything.
        base_size: its length; 0 where the hello carries none.
        key_overhead: how much longer than its body the box of the session key is.
        overhead: the same for the box of a message, at most.
    """

    base: bytes
    base_size: int
    key_overhead: int
    overhead: int

    def key_sealer(self, key: bytes) -> Seal:
        """Bind the user's key: the session key's text to its box."""

    def key_opener(self, key: bytes) -> Open:
        """The reverse; raises `RemoteProtocolError`."""

    def sealer(self, key: bytes, head: Head | None = None) -> Seal:
        """Bind the session key: a message to its box, with what `head` puts in front of it."""

    def opener(self, key: bytes, *, refuse_own: bool) -> Open:
        """The reverse; raises `RemoteProtocolError`, also for this side's own box where nonces show it."""


class NonceScheme(Strategy):
    """Strategy: nonces."""

    @property
    def leaks(self) -> str | None:
        """What leaks because nonces repeat, in words; `None` where they do not."""
        return None

    @abstractmethod
    def start(self, role: Role, draw: Draw) -> BoxMaker:
        """Begin one side of one connection."""

    def spans(self, role: Role, size: int, *, first: bool) -> list[Span]:
        """What the bytes are of a message's box of that side: `nonce`, `zeros`, `tag`, `ciphertext`.

        Args:
            role: whose box.
            size: its bytes.
            first: whether it is that side's first message.
        """
        return [Span("box", 0, size)]

    def counted(self, role: Role, number: int) -> str:
        """What the nonce of that side's message `number` (from 0) is, in words, if it does not travel."""
        return ""

    def key_spans(self, size: int) -> list[Span]:
        """The same as `spans` for the session key's box."""
        return [Span("box", 0, size)]
