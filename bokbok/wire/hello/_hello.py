"""A hello of any number of packets, each a template."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from ...errors import ProfileError, RemoteProtocolError
from .._foreign import foreign
from ..boxes import BOX_OVERHEAD, KEY_BYTES, NONCE_BYTES, BoxMaker, Open, Seal
from ..strategy import Bytes, Integer, Several, Span, key
from ._strategy import MAX_USERNAME, Hello, ServerHello
from ._template import Field, Fields, Template

__all__ = [
    "TemplateHello",
]

_BARE_USER, _BARE_KEY = Template((Field("user"),)), Template((Field("key"),))


@dataclass(frozen=True)
class TemplateHello(Hello):
    """A hello of any number of packets, each a template of literal bytes, username, boxed session key, nonces' base;
    by default that of `inferred-1`: a packet with the username's bytes, one with the boxed session key.

    Attributes:
        packets: the client's, in order. Fields: `user`, `key` (the boxed session key), `nonce` (the base of counted
            nonces), `any`.
        content: what is in the session key's box. Fields: `key` (the session key itself), `user`, `nonce`, `any`.
        insecure: the packets by which the client of an insecure connection announces itself.
        max_username: bytes of the longest username.
        preamble: what a secure client sends before its first packet, in no packet: a magic number, a version.
        insecure_preamble: the same of an insecure client.
        key_field: what the field `key` of the packets holds, in one encoding: mostly the session key's box alone.
            Fields: `key` (the box), `nonce`, `any`.
    """

    strategy: ClassVar[str] = "template"
    packets: tuple[Template, ...] = key((_BARE_USER, _BARE_KEY), Several(Fields()), always=True)
    content: Template = key(_BARE_KEY, Fields(), always=True)
    insecure: tuple[bytes, ...] = key((), Several(Bytes()), always=True)
    max_username: int = key(MAX_USERNAME, Integer(0, 65_536))
    preamble: bytes = b""
    insecure_preamble: bytes = b""
    key_field: Template = key(_BARE_KEY, Fields())

    def __post_init__(self) -> None:
        super().__post_init__()
        fields = [part.name for packet in self.packets for part in packet.parts if isinstance(part, Field)]
        if fields.count("user") != 1 or fields.count("key") != 1:
            raise ProfileError("packets: expected the fields user and key once each, and nonce or any where needed")
        if "key" not in self.key_field.fields() or "user" in self.key_field.fields():
            raise ProfileError("key-field: expected the field key, and nonce or any where needed")
        if "key" not in self.content.fields():
            raise ProfileError("content: expected the field key, the session key itself")

    def words(self) -> str:
        """See `Strategy.words`."""
        return "; ".join(packet.words() for packet in self.packets)

    def client(self, user: bytes, session_key: bytes, seal: Seal, boxes: BoxMaker | None = None) -> list[bytes]:
        """See `Hello.client`."""
        base = boxes.base if boxes is not None else b""
        box = seal(self.content.write({"key": session_key, "nonce": base, "user": user}))
        field = self.key_field.write({"key": box, "nonce": base})
        packets = [packet.write({"user": user, "key": field, "nonce": base}) for packet in self.packets]
        sizes = {"nonce": len(base), "key": len(field)}
        for template, packet in zip(self.packets, packets, strict=True):
            if "user" in template.fields() and not template.says("user", user, packet, sizes):
                raise ValueError(
                    f"this username cannot be sent in the form {template.words()}: it would read otherwise"
                )
        return packets

    def server(self, boxes: BoxMaker | None = None) -> ServerHello:
        """See `Hello.server`."""
        return _TemplateServer(self, boxes)

    @functools.cached_property
    def _plans(self) -> dict[tuple[int, int], _Plan]:
        """Plans that were made: the key is what the nonces add to the session key's box, and the size of their base."""
        return {}

    def sizes(self, key_overhead: int, base_size: int) -> dict[str, int]:
        """The size in bytes of each field of its packets that has a fixed size."""
        sizes = {"nonce": base_size}
        field = self.key_field.fixed(self.key_field_sizes(key_overhead, base_size))
        return sizes if field is None else sizes | {"key": field}

    def key_field_sizes(self, key_overhead: int, base_size: int) -> dict[str, int]:
        """The same of the fields of `key_field`."""
        sizes = {"nonce": base_size}
        content = self.content.fixed({"key": KEY_BYTES, "nonce": base_size})
        return sizes if content is None else sizes | {"key": content + key_overhead}

    def spans(self, number: int, packet: bytes, key_overhead: int, base_size: int) -> list[Span]:
        """See `Hello.spans`."""
        template = self.packets[number]
        spans = template.spans(packet, self.sizes(key_overhead, base_size))
        if self.key_field == _BARE_KEY or Field("key") not in template.parts:
            return spans  # as text its parts do not have bytes of their own
        out: list[Span] = []
        for span in spans:
            if span.name != "key":
                out.append(span)
                continue
            value = packet[span.start : span.end]
            for name, start, end in self.key_field.spans(value, self.key_field_sizes(key_overhead, base_size)):
                out.append(Span(name, span.start + start, span.start + end))
        return out


class _Plan:
    """What a server knows of the packets' sizes before any has come: worked out once for a hello, not for each client.

    Attributes:
        content_sizes: bytes of the fields in the session key's box.
        sizes: bytes of the packets' fields, for those that always have as many.
        field_sizes: the same of the fields that are encoded with the session key's box; `None` where it is alone.
        fixed: bytes of each packet, where they are known.
        limits: bytes of each packet at most.
    """

    def __init__(self, hello: TemplateHello, key_overhead: int, base_size: int) -> None:
        self.content_sizes = {"key": KEY_BYTES, "nonce": base_size}
        self.sizes = hello.sizes(key_overhead, base_size)
        box = hello.content.longest({**self.content_sizes, "user": hello.max_username}) + key_overhead
        alone = hello.key_field == _BARE_KEY
        self.field_sizes = None if alone else hello.key_field_sizes(key_overhead, base_size)
        field = hello.key_field.longest({"key": box, "nonce": NONCE_BYTES})
        longest = {"user": hello.max_username, "nonce": NONCE_BYTES, "key": field}
        self.fixed = [packet.fixed(self.sizes) for packet in hello.packets]
        self.limits = [packet.longest(longest) for packet in hello.packets]


class _TemplateServer:
    def __init__(self, hello: TemplateHello, boxes: BoxMaker | None) -> None:
        self._hello, self._boxes = hello, boxes
        of_boxes = (BOX_OVERHEAD, 0) if boxes is None else (boxes.key_overhead, boxes.base_size)
        plan = hello._plans.get(of_boxes)
        if plan is None:
            plan = hello._plans[of_boxes] = _Plan(hello, *of_boxes)
        self._plan = plan
        self._values: dict[str, bytes] = {}
        self._count = 0
        self.user = b""
        self.box = b""
        self.limit = plan.limits[0]

    def receive(self, packet: bytes) -> bool:
        """See `ServerHello.receive`."""
        self._count += 1
        what = f"the hello's packet {self._count}" if len(self._hello.packets) > 1 else "the hello"
        template = self._hello.packets[self._count - 1]
        size = self._plan.fixed[self._count - 1]
        if size is not None and len(packet) != size:
            raise foreign(f"{what} has {len(packet)} bytes; expected {size} ({template.words()})")
        self._values |= template.read(packet, self._plan.sizes, what)
        if self._count < len(self._hello.packets):
            self.limit = self._plan.limits[self._count]
            return False
        if self._plan.field_sizes is not None:
            what = "the field of the session key's box"
            self._values |= self._hello.key_field.read(self._values["key"], self._plan.field_sizes, what)
        self.user, self.box = self._values["user"], self._values["key"]
        if len(self.user) > self._hello.max_username:
            raise RemoteProtocolError(
                f"the username has {len(self.user)} bytes; expected {self._hello.max_username} at most"
            )
        if self._boxes is not None and "nonce" in self._values:
            self._boxes.base = self._values["nonce"]
        return True

    def session_key(self, open_box: Open) -> bytes:
        """See `ServerHello.session_key`."""
        values = self._hello.content.read(open_box(self.box), self._plan.content_sizes, "the session key's box")
        if len(values["key"]) != KEY_BYTES:
            raise RemoteProtocolError(f"the session key has {len(values['key'])} bytes; expected {KEY_BYTES}")
        if values.get("user", self.user) != self.user:
            raise RemoteProtocolError("the session key's box names another user than the hello; expected the same")
        if self._boxes is not None and "nonce" in values:
            self._boxes.base = values["nonce"]
        return values["key"]
