"""Messages that are not s-expressions, and a hello that carries no session key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from ..layers.granted import open_box, seal_box
from ..layers.hello import Greeting, Hello, Packet, Steps
from ..layers.message import Envelope, draw_numbering, numbering_text
from ..registry import OUTSIDE, Nonsense, strategy
from ..sexpr import BadDatum, Datum, from_bytes, read, to_bytes, write
from ..state import ERROR, KEY, KEY_SIZE, REQUEST, RESPONSE, Message

if TYPE_CHECKING:
    from ..format import Format

KINDS = (REQUEST, RESPONSE, ERROR)


@strategy("message", "json", group=OUTSIDE)
@dataclass(frozen=True)
class JsonEnvelope(Envelope):
    """A JSON object; what JSON has no form for is a string of its external representation under a `$`."""

    is_text = False

    @classmethod
    def draw(cls, rng: Random) -> JsonEnvelope:
        return cls(**draw_numbering(rng))

    def text(self) -> str:
        return f'JSON: {{"request": ID, "value": X}}; {numbering_text(self)}'

    def _to(self, value: Datum, dialect: str) -> Any:
        if isinstance(value, list):
            return [self._to(item, dialect) for item in value]
        if isinstance(value, (str, bool)) or type(value) is int:
            return value
        return {"$": from_bytes(write(value, dialect))}

    def _from(self, value: Any) -> Datum:
        if isinstance(value, list):
            return [self._from(item) for item in value]
        return read(to_bytes(value["$"])) if isinstance(value, dict) else value

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        found = {message.kind: message.number, "value": self._to(message.payload, dialect)}
        return [json.dumps(found, separators=(",", ":")).encode()]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        try:
            found = json.loads(parts[0])
            (kind,) = set(found) - {"value"}
            if kind not in KINDS:
                raise Nonsense("an unknown kind of message")
            return Message(kind, int(found[kind]), self._from(found["value"]))
        except (ValueError, KeyError, TypeError, BadDatum) as why:
            raise Nonsense(str(why)) from None


@strategy("message", "framed in text", group=OUTSIDE)
@dataclass(frozen=True)
class HeaderLines(Envelope):
    """Headers as of HTTP, then the payload."""

    is_text = False
    WORDS: ClassVar[tuple[str, ...]] = ("REQUEST", "RESPONSE", "ERROR")

    @classmethod
    def draw(cls, rng: Random) -> HeaderLines:
        return cls(**draw_numbering(rng))

    def text(self) -> str:
        return f"header lines as of HTTP, an empty line, the payload; {numbering_text(self)}"

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        head = f"{self.WORDS[KINDS.index(message.kind)]} bokbok\r\nId: {message.number}\r\n\r\n"
        return [head.encode() + write(message.payload, dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        head, _, payload = parts[0].partition(b"\r\n\r\n")
        try:
            word, number = head.decode().split(" bokbok\r\nId: ")
            return Message(KINDS[self.WORDS.index(word)], int(number), read(payload))
        except (ValueError, BadDatum) as why:
            raise Nonsense(str(why)) from None


class _TwoPackets(Hello):
    """Username, then something of the client's that is not the boxed session key of the table."""

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield "without framing everything has to be a datum"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if fmt.nonce.kind not in ("sent", "counter") or fmt.session_key.kind != "raw":
            yield "this hello has no session-key box"


@strategy("hello", "key exchange", group=OUTSIDE)
@dataclass(frozen=True)
class KeyExchange(_TwoPackets):
    """Both sides send an X25519 public key; the session key is the hash of what follows from them and the user key."""

    def text(self) -> str:
        return "username, client's X25519 public key; the server's; the session key a hash of both and the user key"

    def _agree(self, io: Greeting, secret: bytes, public: bytes) -> None:
        if not io.state.user_key:
            raise Nonsense("an unknown user")
        shared = crypto_scalarmult(secret, public)
        io.state.session_key = hashlib.sha512(io.state.user_key + shared).digest()[:KEY_SIZE]

    def client(self, io: Greeting) -> Steps:
        secret = io.state.random(KEY_SIZE)
        io.send(to_bytes(io.state.user or ""))
        io.send(crypto_scalarmult_base(secret), KEY)
        self._agree(io, secret, _public((yield Packet())))

    def server(self, io: Greeting) -> Steps:
        io.identify(from_bytes((yield Packet())))
        public = _public((yield Packet(KEY)))
        secret = io.state.random(KEY_SIZE)
        self._agree(io, secret, public)
        io.send(crypto_scalarmult_base(secret))


def _public(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise Nonsense(f"a public key of {len(key)} bytes")
    return key


@strategy("hello", "derived session key", group=OUTSIDE)
@dataclass(frozen=True)
class DerivedKey(_TwoPackets):
    """No session key travels: it is a hash of the user key and random bytes that the client sends in the clear."""

    size: int = 24

    @classmethod
    def draw(cls, rng: Random) -> DerivedKey:
        return cls(rng.choice([16, 24, 32, 72]))

    def text(self) -> str:
        return f"username, {self.size} random bytes; the session key is SHA-512 of user key and those, first 32 bytes"

    def _derive(self, io: Greeting, material: bytes) -> None:
        if not io.state.user_key or len(material) != self.size:
            raise Nonsense("an unknown user, or a hello of another size")
        io.state.session_key = hashlib.sha512(io.state.user_key + material).digest()[:KEY_SIZE]

    def client(self, io: Greeting) -> Steps:
        material = io.state.random(self.size)
        io.send(to_bytes(io.state.user or ""))
        io.send(material, KEY)
        self._derive(io, material)
        yield from ()

    def server(self, io: Greeting) -> Steps:
        io.identify(from_bytes((yield Packet())))
        self._derive(io, (yield Packet(KEY)))


@strategy("hello", "hidden username", group=OUTSIDE)
@dataclass(frozen=True)
class HiddenUsername(_TwoPackets):
    """The username does not travel readable, but as its hash; the server looks it up among those that it knows."""

    algorithm: str = "sha256"

    @classmethod
    def draw(cls, rng: Random) -> HiddenUsername:
        return cls(rng.choice(["sha256", "sha512", "md5"]))

    def text(self) -> str:
        return f"{self.algorithm} of the username, then session-key packet"

    def _hash(self, user: str) -> bytes:
        return hashlib.new(self.algorithm, to_bytes(user), usedforsecurity=False).digest()

    def client(self, io: Greeting) -> Steps:
        io.send(self._hash(io.state.user or ""))
        io.send_key()
        yield from ()

    def server(self, io: Greeting) -> Steps:
        sent = yield Packet()
        users: list[str] = list(io.users)  # type: ignore[attr-defined]
        io.identify(next((user for user in users if self._hash(user) == sent), ""))
        io.open_key((yield Packet(KEY, boxed=True)))


@strategy("hello", "boxed username", group=OUTSIDE)
@dataclass(frozen=True)
class BoxedUsername(_TwoPackets):
    """The username travels in a box under a key that every program has."""

    def text(self) -> str:
        return "the username boxed under a key that is built into the program, then session-key packet"

    KEY: ClassVar[bytes] = hashlib.sha256(b"built in").digest()

    def client(self, io: Greeting) -> Steps:
        nonce = io.state.random(24)
        io.send(nonce + seal_box(to_bytes(io.state.user or ""), nonce, self.KEY))
        io.send_key()
        yield from ()

    def server(self, io: Greeting) -> Steps:
        box = yield Packet()
        if len(box) < 24:
            raise Nonsense("a box that is too short")
        io.identify(from_bytes(open_box(box[24:], box[:24], self.KEY)))
        io.open_key((yield Packet(KEY, boxed=True)))
