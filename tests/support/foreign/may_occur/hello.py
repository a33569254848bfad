"""Hellos that may occur: the server speaks first, or answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..layers.hello import (
    AS_STRING,
    AS_SYMBOL,
    PLAIN,
    USERNAMES,
    Greeting,
    Hello,
    Packet,
    Raw,
    Steps,
    expect,
    is_one_datum,
    literal_bytes,
    read_username,
    write_username,
)
from ..registry import MAY_OCCUR, strategy
from ..state import KEY, KEY_SIZE, MESSAGE

if TYPE_CHECKING:
    from ..format import Format


class _AroundTwoPackets(Hello):
    """Username packet and session-key packet, with something of the server's before or behind."""

    username: str = PLAIN

    def before_client(self, io: Greeting) -> Steps:
        """The client, before it says who it is."""
        yield from ()

    def before_server(self, io: Greeting) -> Steps:
        """The server, before the client says who it is."""
        yield from ()

    def after_client(self, io: Greeting) -> Steps:
        """The client, after the session key."""
        yield from ()

    def after_server(self, io: Greeting) -> Steps:
        """The server, after the session key."""
        yield from ()

    def identified(self, io: Greeting) -> None:
        """Each side, when the user key is known."""

    def client(self, io: Greeting) -> Steps:
        yield from self.before_client(io)
        io.send(write_username(io.state.user or "", self.username, io.dialect, False))
        self.identified(io)
        io.send_key()
        yield from self.after_client(io)

    def server(self, io: Greeting) -> Steps:
        yield from self.before_server(io)
        user, rest = read_username((yield Packet()), self.username, False)
        expect(rest, b"")
        io.identify(user)
        self.identified(io)
        io.open_key((yield Packet(KEY, boxed=True)))
        yield from self.after_server(io)

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        if self.username not in (AS_STRING, AS_SYMBOL):
            yield "without framing the username has to be a datum"
        if self.username == AS_SYMBOL and not newline:
            yield "with nothing between datums a symbol has no end"


BANNERS = ("BOKBOK 1\n", "bokbok", '"bokbok 0.2"', "(bokbok 0.2)", "\x01", "READY\n")


@strategy("hello", "banner", group=MAY_OCCUR)
@dataclass(frozen=True)
class Banner(_AroundTwoPackets):
    """The server speaks first: a banner, in a packet or without."""

    username: str = PLAIN
    banner: str = "BOKBOK 1\n"
    framed: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Banner:
        return cls(rng.choice(USERNAMES), rng.choice(BANNERS), rng.random() < 0.5)

    def text(self) -> str:
        where = "in a packet" if self.framed else "outside packets"
        return f"the server begins with {literal_bytes(self.banner)!r} {where}; username ({self.username}), session key"

    def before_server(self, io: Greeting) -> Steps:
        if self.framed:
            io.send(literal_bytes(self.banner))
        else:
            io.send_raw(literal_bytes(self.banner))
        yield from ()

    def before_client(self, io: Greeting) -> Steps:
        expect((yield Packet() if self.framed else Raw(len(self.banner))), literal_bytes(self.banner))

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield from super().unframed_objections(newline)
        if self.framed and not (is_one_datum(self.banner) and self.banner[0] in '("'):
            yield "without framing a banner in a packet has to be a datum"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if self.framed and fmt.framing.kind in ("username line", "fixed pieces"):
            yield "this framing's hello is the username"


@strategy("hello", "challenge", group=MAY_OCCUR)
@dataclass(frozen=True)
class Challenge(_AroundTwoPackets):
    """The server speaks first: random bytes that enter the key of the session-key box."""

    username: str = PLAIN
    size: int = 24

    @classmethod
    def draw(cls, rng: Random) -> Challenge:
        return cls(rng.choice(USERNAMES), rng.choice([16, 24, 32]))

    def text(self) -> str:
        return (
            f"the server begins with a packet of {self.size} random bytes; username ({self.username}), session key "
            "under SHA-512 of user key and challenge, first 32 bytes"
        )

    def before_server(self, io: Greeting) -> Steps:
        challenge = io.state.random(self.size)
        io.state.memory["challenge"] = challenge
        io.send(challenge)
        yield from ()

    def before_client(self, io: Greeting) -> Steps:
        io.state.memory["challenge"] = yield Packet()

    def identified(self, io: Greeting) -> None:
        if io.state.user_key:
            digest = hashlib.sha512(io.state.user_key + io.state.memory["challenge"]).digest()
            io.state.user_key = digest[:KEY_SIZE]

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield "without framing a challenge has to be a datum"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if fmt.framing.kind in ("username line", "fixed pieces"):
            yield "this framing's hello is the username"


WELCOMES = ("ok", "#t", '"welcome"', "(ok)", "(welcome)", "\x00")


@strategy("hello", "answered", group=MAY_OCCUR)
@dataclass(frozen=True)
class Answered(_AroundTwoPackets):
    """The server answers the hello, plain or boxed under the session key."""

    username: str = PLAIN
    welcome: str = "ok"
    boxed: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Answered:
        return cls(rng.choice(USERNAMES), rng.choice(WELCOMES), rng.random() < 0.5)

    def text(self) -> str:
        how = "boxed" if self.boxed else "plain"
        return f"username ({self.username}), session key; the server answers {literal_bytes(self.welcome)!r}, {how}"

    def after_server(self, io: Greeting) -> Steps:
        if self.boxed:
            io.send_boxed(literal_bytes(self.welcome))
        else:
            io.send(literal_bytes(self.welcome))
        yield from ()

    def after_client(self, io: Greeting) -> Steps:
        body = yield Packet(MESSAGE, boxed=True) if self.boxed else Packet()
        expect(io.open_boxed(body) if self.boxed else body, literal_bytes(self.welcome))

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield from super().unframed_objections(newline)
        if not self.boxed and self.welcome[0] not in '("':
            yield "without framing an answer to the hello has to be a datum that ends itself"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if (
            fmt.framing.kind == "fixed pieces"
            or fmt.message.header_size
            or fmt.nonce.kind == "answer under its request's"
        ):
            yield "one oddity is enough"
