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
from typing import ClassVar, Protocol

from ..errors import BokbokError, RemoteProtocolError
from .boxes import BOX_OVERHEAD, KEY_BYTES
from .nonces import BoxMaker
from .template import Field, Template

__all__ = ["MAX_USERNAME", "Hello", "ServerHello", "TemplateHello", "UsernameThenKey"]

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


_BARE_KEY = Template((Field("key"),))


@dataclass(frozen=True)
class TemplateHello:
    """A hello of any number of packets, each a template of literal bytes, username, boxed session key, nonces' base.

    Attributes:
        packets: the client's, in order. Fields: `user`, `key` (the boxed session key), `nonce` (the base of counted
            nonces), `any`.
        content: what is in the session key's box. Fields: `key` (the session key itself), `user`, `nonce`, `any`.
        insecure: the packets by which the client of an insecure connection announces itself.
        max_username: bytes of the longest username.
        preamble: what a secure client sends before its first packet, in no packet: a magic number, a version.
        insecure_preamble: the same of an insecure client.
    """

    strategy: ClassVar[str] = "template"
    packets: tuple[Template, ...]
    content: Template = _BARE_KEY
    insecure: tuple[bytes, ...] = ()
    max_username: int = MAX_USERNAME
    preamble: bytes = b""
    insecure_preamble: bytes = b""

    def __post_init__(self) -> None:
        fields = [part.name for packet in self.packets for part in packet.parts if isinstance(part, Field)]
        if sorted(set(fields) - {"nonce", "any"}) != ["key", "user"] or fields.count("key") + fields.count("user") != 2:
            raise BokbokError("a hello has the fields `user` and `key` once each, and may have `nonce` and `any`")
        if "key" not in self.content.fields():
            raise BokbokError("the session key's box holds the field `key`")

    @property
    def name(self) -> str:
        """How it is called."""
        return "template"

    def client(self, user: bytes, session_key: bytes, seal: Seal, boxes: BoxMaker | None = None) -> list[bytes]:
        """See `Hello.client`."""
        base = boxes.base if boxes is not None else b""
        box = seal(self.content.write({"key": session_key, "nonce": base, "user": user}))
        return [packet.write({"user": user, "key": box, "nonce": base}) for packet in self.packets]

    def server(self, boxes: BoxMaker | None = None) -> ServerHello:
        """See `Hello.server`."""
        return _TemplateServer(self, boxes)


class _TemplateServer:
    def __init__(self, hello: TemplateHello, boxes: BoxMaker | None) -> None:
        self._hello, self._boxes = hello, boxes
        overhead = boxes.key_overhead if boxes is not None else BOX_OVERHEAD
        self._content_sizes = {"key": KEY_BYTES, "nonce": boxes.base_size if boxes is not None else 0}
        self._sizes = {"nonce": self._content_sizes["nonce"]}
        self._longest = {"user": hello.max_username, "nonce": 24}
        size = hello.content.longest({**self._content_sizes, "user": hello.max_username})
        self._longest["key"] = size + overhead
        fixed = "user" not in hello.content.fields()
        if fixed and all(isinstance(part, bytes) or part.form.size is not None for part in hello.content.parts):
            self._sizes["key"] = size + overhead  # the same for every session key
        self._values: dict[str, bytes] = {}
        self._count = 0
        self.user = b""
        self.box = b""
        self.limit = hello.packets[0].longest(self._longest)

    def receive(self, packet: bytes) -> bool:
        """See `ServerHello.receive`."""
        self._count += 1
        what = f"the hello's packet {self._count}" if len(self._hello.packets) > 1 else "the hello"
        self._values |= self._hello.packets[self._count - 1].read(packet, self._sizes, what)
        if self._count < len(self._hello.packets):
            self.limit = self._hello.packets[self._count].longest(self._longest)
            return False
        self.user, self.box = self._values["user"], self._values["key"]
        if len(self.user) > self._hello.max_username:
            raise RemoteProtocolError(
                f"a username of {len(self.user)} bytes; expected {self._hello.max_username} at most"
            )
        if self._boxes is not None and "nonce" in self._values:
            self._boxes.base = self._values["nonce"]
        return True

    def session_key(self, open_box: Open) -> bytes:
        """See `ServerHello.session_key`."""
        values = self._hello.content.read(open_box(self.box), self._content_sizes, "what is in the session key's box")
        if len(values["key"]) != KEY_BYTES:
            raise RemoteProtocolError(f"a session key of {len(values['key'])} bytes; expected {KEY_BYTES}")
        if values.get("user", self.user) != self.user:
            raise RemoteProtocolError("the session key's box names another user than the hello does")
        if self._boxes is not None and "nonce" in values:
            self._boxes.base = values["nonce"]
        return values["key"]
