"""Packets of messages: the type in front, and the form of the box in them.

What this module knows: how a message's box (or, on an insecure connection, the message itself) becomes a packet.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ._foreign import foreign
from .boxes import Role
from .encoding import ENCODINGS, get_encoding
from .strategy import Bytes, Choice, PerMessage, Span, Strategy, key

__all__ = ["PACKETS", "PacketForm", "Packets"]

Wrap = Callable[[bytes], bytes]
Kinds = tuple[bytes, bytes, bytes]
"""One for each kind of message: request, response, error."""


class Packets(Strategy):
    """Strategy: the form of a message's packet."""

    @abstractmethod
    def wraps(self, role: Role, secure: bool) -> tuple[Wrap | None, Wrap | None, Wrap | None]:
        """How that side makes a packet of the box of a request, a response, an error; `None` for: as it is."""

    @abstractmethod
    def unwrap(self, role: Role, secure: bool) -> Wrap | None:
        """How a packet of that side is taken apart; `None` for: as it is. Raises `RemoteProtocolError`."""

    @abstractmethod
    def room(self, limit: int) -> int:
        """How many bytes a box may have so that no packet is longer than `limit`."""

    def spans(self, role: Role, packet: bytes, secure: bool) -> list[Span]:
        """What the bytes of a packet of that side are: those of the box, or of the message, are called `box`."""
        return [Span("box", 0, len(packet))]


@dataclass(frozen=True)
class PacketForm(Packets):
    """Literal bytes around the box, and its encoding.

    Attributes:
        encoding: of the box, by name.
        client: what stands in front of the client's requests, responses and errors: one for all, or three.
        server: the same for the server's.
        client_suffix: what stands behind.
        server_suffix: the same for the server's.
        plain: whether messages of an insecure connection are encoded too.
    """

    strategy: ClassVar[str] = "packet"
    encoding: str = key("raw", Choice(*ENCODINGS), always=True)
    client: bytes | Kinds = key(b"", PerMessage(Bytes()), always=True)
    server: bytes | Kinds = key(b"", PerMessage(Bytes()), always=True)
    client_suffix: bytes = b""
    server_suffix: bytes = b""
    plain: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("client", "server"):  # one for all, however it was given
            prefix = getattr(self, side)
            if isinstance(prefix, tuple) and len(set(prefix)) == 1:
                object.__setattr__(self, side, prefix[0])

    def words(self) -> str:
        """See `Strategy.words`."""
        types = "".join(f", {side} {p!r}" for side, p in (("client", self.client), ("server", self.server)) if p)
        return f"{self.encoding}{types}"

    def _literals(self, role: Role) -> tuple[Kinds, bytes]:
        prefix = self.client if role == "client" else self.server
        kinds = (prefix, prefix, prefix) if isinstance(prefix, bytes) else prefix
        return kinds, self.client_suffix if role == "client" else self.server_suffix

    def _is_encoded(self, secure: bool) -> bool:
        return self.encoding != "raw" and (secure or self.plain)

    def wraps(self, role: Role, secure: bool) -> tuple[Wrap | None, Wrap | None, Wrap | None]:
        """See `Packets.wraps`."""
        kinds, suffix = self._literals(role)
        encode = get_encoding(self.encoding).encode if self._is_encoded(secure) else None

        def wrap(prefix: bytes) -> Wrap | None:
            if encode is None:
                if not prefix and not suffix:
                    return None
                return lambda box: prefix + box + suffix
            if not prefix and not suffix:
                return encode
            return lambda box: prefix + encode(box) + suffix

        return wrap(kinds[0]), wrap(kinds[1]), wrap(kinds[2])

    def unwrap(self, role: Role, secure: bool) -> Wrap | None:
        """See `Packets.unwrap`."""
        kinds, suffix = self._literals(role)
        prefixes = sorted(set(kinds), key=len, reverse=True)
        decode = get_encoding(self.encoding).decode if self._is_encoded(secure) else None
        if prefixes == [b""] and not suffix:
            return decode

        def unwrap(packet: bytes) -> bytes:
            for prefix in prefixes:
                if _has(packet, prefix, suffix):
                    box = packet[len(prefix) : len(packet) - len(suffix)]
                    return box if decode is None else decode(box)
            expected = " or ".join(map(repr, prefixes))
            end = f" and {suffix!r} at its end" if suffix else ""
            raise foreign(f"a packet begins with {packet[:16]!r}; expected {expected}{end}")

        return unwrap

    def spans(self, role: Role, packet: bytes, secure: bool) -> list[Span]:
        """See `Packets.spans`."""
        kinds, suffix = self._literals(role)
        prefix = next((p for p in sorted(kinds, key=len, reverse=True) if _has(packet, p, suffix)), b"")
        end = len(packet) - len(suffix)
        spans = [Span("type", 0, len(prefix)), Span("box", len(prefix), end), Span("type", end, len(packet))]
        return [span for span in spans if span.start < span.end]

    def room(self, limit: int) -> int:
        """See `Packets.room`."""
        sides = (self._literals("client"), self._literals("server"))
        longest = max(max(map(len, kinds)) + len(suffix) for kinds, suffix in sides)
        limit -= longest
        if self.encoding == "raw":
            return limit
        form = get_encoding(self.encoding)
        worst = form.size or form.worst
        slope = max(1, worst(1024) // 1024)
        room = max(0, (limit - worst(0)) // (slope + 1 if form.size is not None else slope))
        while form.size is not None and worst(room + 1) <= limit:
            step = max(1, (limit - worst(room)) // (2 * slope + 2))
            room += step
        return room


def _has(packet: bytes, prefix: bytes, suffix: bytes) -> bool:
    return packet.startswith(prefix) and packet.endswith(suffix) and len(packet) >= len(prefix) + len(suffix)


PACKETS: tuple[type[Packets], ...] = (PacketForm,)
"""The forms of packets that a profile file may name."""
