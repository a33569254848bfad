"""A hello of any number of packets, each a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import BokbokError, RemoteProtocolError
from ..boxes import BOX_OVERHEAD, KEY_BYTES, BoxMaker, Open, Seal
from ._strategy import MAX_USERNAME, ServerHello
from ._template import Field, Template

__all__ = [
    "TemplateHello",
]

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
