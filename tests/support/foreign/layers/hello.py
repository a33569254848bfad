"""Hello: how a connection begins. It knows what is said in which order; the `Greeting` that it is given does the rest.

A hello is a pair of generators, one for each side. They send by calling the greeting's methods and wait by yielding
a `Packet` (what comes back is its body) or a `Raw` (unframed bytes), so that a hello that goes back and forth reads
from top to bottom.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from ..registry import CannotCarry, Nonsense, Strategy, strategy
from ..sexpr import BadDatum, Datum, Dotted, Symbol, from_bytes, read_prefix, to_bytes, write
from ..state import HELLO, KEY, State
from .encoding import BLOB, STRING, U8VECTOR, read_one

if TYPE_CHECKING:
    from ..format import Format


@dataclass(frozen=True)
class Packet:
    """Waits for a packet and gives its body; `boxed` if it is a box and nothing else."""

    packet: str = HELLO
    boxed: bool = False


@dataclass(frozen=True)
class Raw:
    """Waits for bytes that stand outside every packet."""

    size: int


Steps = Generator["Packet | Raw", bytes, None]


class Greeting(Protocol):
    """What a hello can do: one side's endpoint, as far as a hello may know it."""

    state: State
    dialect: str

    def send(self, body: bytes, packet: str = HELLO) -> None:
        """Sends a packet."""

    def send_raw(self, data: bytes) -> None:
        """Sends bytes outside every packet."""

    @property
    def base_packet(self) -> bool:
        """Whether the nonces have a base that travels in a packet of its own, before the session key's."""
        raise NotImplementedError

    def send_base(self) -> None:
        """Sends that packet, if there is one."""

    def take_base(self, body: bytes) -> None:
        """Takes the base out of it."""

    @property
    def base_field(self) -> bool:
        """Whether the nonces have a base that is a field of the hello's datum."""
        raise NotImplementedError

    def base_datum(self, fallback: str) -> Datum:
        """That field."""

    def take_base_datum(self, datum: Datum, fallback: str) -> None:
        """Takes the base out of it."""

    def send_key(self) -> None:
        """Sends the packet of the boxed session key."""

    def key_body(self) -> bytes:
        """The boxed session key as it stands in a packet."""

    def key_datum(self, fallback: str) -> Datum:
        """The boxed session key as a datum."""

    def open_key(self, body: bytes) -> None:
        """Takes the session key out of a packet's body."""

    def open_key_datum(self, datum: Datum, fallback: str) -> None:
        """Takes the session key out of a datum."""

    def send_boxed(self, plaintext: bytes) -> None:
        """Sends a packet boxed under the session key."""

    def open_boxed(self, body: bytes) -> bytes:
        """What is in a packet boxed under the session key."""

    def identify(self, user: str) -> None:
        """The client has said who it is. Whether that is anybody shows when the session key is to be opened."""


class Hello(Strategy):
    """How a connection begins, from both sides."""

    secure = True
    """Whether it is a secure connection's."""

    def client(self, io: Greeting) -> Steps:
        """The client's side."""
        raise NotImplementedError

    def server(self, io: Greeting) -> Steps:
        """The server's side."""
        raise NotImplementedError

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        """Why it cannot go in a stream of datums, with newlines between or nothing."""
        return iter(())

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.secure != self.secure:
            yield "a hello with a session key belongs to a secure connection, and only there"


# --- a literal tag or version before ---------------------------------------------------------------------------------

INSIDE = "in the first packet"
PACKET = "in a packet of its own"
STREAM = "before the first packet"

DATUM_LITERALS = ("bokbok", '"bokbok"', "bokbok-0.2", '"BOKBOK 1"', "1", '"1.0"', "hello")
BYTE_LITERALS = (*DATUM_LITERALS, "BOKBOK", "BKBK\x01", "\x01", "\x00\x02", "bokbok/1 ", "HELLO ")
STREAM_LITERALS = ("BOKBOK1\n", "bokbok 0.2\r\n", "BKBK\x00\x01", "(bokbok 1)\n", "\x42")
"""As text of Latin-1, so that a literal is any bytes."""


def literal_bytes(literal: str) -> bytes:
    """The bytes of a literal."""
    return literal.encode("latin-1")


def is_one_datum(literal: str) -> bool:
    """Whether a literal can stand in a stream of datums."""
    try:
        _, end = read_prefix(literal_bytes(literal), at_end=True)
    except BadDatum:
        return False
    return end == len(literal)


def expect(found: bytes, expected: bytes) -> None:
    """Raises `Nonsense` unless the two are the same."""
    if found != expected:
        raise Nonsense(f"{found[:32]!r} where {expected!r} belongs")


def strip(body: bytes, literal: str) -> bytes:
    """What follows a literal."""
    expected = literal_bytes(literal)
    expect(body[: len(expected)], expected)
    return body[len(expected) :]


class WithLiteral(Hello):
    """A hello that may begin with a literal."""

    literal: str
    literal_at: str

    def readings(self) -> list[str]:
        return [f"the literal before the hello is {self.literal_at}"] if self.literal_at in (PACKET, STREAM) else []

    def _literal_text(self) -> str:
        return f"; the literal {literal_bytes(self.literal)!r} {self.literal_at}" if self.literal_at else ""

    def _say_literal(self, io: Greeting) -> None:
        if self.literal_at == STREAM:
            io.send_raw(literal_bytes(self.literal))
        elif self.literal_at == PACKET:
            io.send(literal_bytes(self.literal))

    def _hear_literal(self, io: Greeting) -> Steps:
        if self.literal_at == STREAM:
            expect((yield Raw(len(self.literal))), literal_bytes(self.literal))
        elif self.literal_at == PACKET:
            expect((yield Packet()), literal_bytes(self.literal))

    def _literal_objections(self, newline: bool) -> Iterator[str]:
        if self.literal_at == PACKET and not is_one_datum(self.literal):
            yield "without framing a literal in a packet of its own has to be a datum"
        if self.literal_at == PACKET and not newline and not self.literal.startswith('"'):
            yield "with nothing between datums a bare literal has no end"


def draw_literal(rng: Random) -> tuple[str, str]:
    """A literal for the bytes of a hello and its place: most often none."""
    place = rng.choices(["", INSIDE, PACKET, STREAM], [6, 3, 1, 1])[0]
    literals = {"": ("",), INSIDE: BYTE_LITERALS, PACKET: BYTE_LITERALS, STREAM: STREAM_LITERALS}[place]
    return rng.choice(literals), place


# --- the username ----------------------------------------------------------------------------------------------------

PLAIN = "plain"
LENGTH_BYTE = "length byte"
NUL_ENDED = "NUL-ended"
AS_STRING = "string"
AS_SYMBOL = "symbol"
USERNAMES = (PLAIN, LENGTH_BYTE, NUL_ENDED, AS_STRING, AS_SYMBOL)


def write_username(user: str, form: str, dialect: str, more: bool) -> bytes:
    """A username in one of its forms; `more` if something follows in the same packet."""
    name = to_bytes(user)
    if form == LENGTH_BYTE:
        if len(name) > 255:
            raise CannotCarry("a username of more than 255 bytes")
        return bytes([len(name)]) + name
    if form == NUL_ENDED:
        if b"\0" in name:
            raise CannotCarry("a username with a NUL in it")
        return name + b"\0"
    if form == AS_STRING:
        return write(user, dialect)
    if form == AS_SYMBOL:
        return write(Symbol(user), dialect) + b" " * more
    return name


def read_username(body: bytes, form: str, more: bool) -> tuple[str, bytes]:
    """The username at the beginning of a packet, and what follows it."""
    if form == PLAIN:
        return from_bytes(body), b""
    if form == LENGTH_BYTE:
        if not body or len(body) < 1 + body[0]:
            raise Nonsense("a username with less than its length")
        return from_bytes(body[1 : 1 + body[0]]), body[1 + body[0] :]
    if form == NUL_ENDED:
        name, found, rest = body.partition(b"\0")
        if not found:
            raise Nonsense("a username without a NUL")
        return from_bytes(name), rest
    try:
        datum, end = read_prefix(body, at_end=True)
    except BadDatum as why:
        raise Nonsense(str(why)) from None
    rest = body[end:]
    if form == AS_SYMBOL and more:
        expect(rest[:1], b" ")
        rest = rest[1:]
    return username_of(datum, form), rest


def username_of(datum: Datum, form: str) -> str:
    """The username that a datum is."""
    if form == AS_STRING and isinstance(datum, str):
        return datum
    if form == AS_SYMBOL and isinstance(datum, Symbol):
        return datum.name
    raise Nonsense(f"a username that is not a {form}")


# --- the forms -------------------------------------------------------------------------------------------------------


@strategy("hello", "two packets", weight=3)
@dataclass(frozen=True)
class TwoPackets(WithLiteral):
    """The username's packet, then the session key's."""

    username: str = PLAIN
    literal: str = ""
    literal_at: str = ""

    @classmethod
    def draw(cls, rng: Random) -> TwoPackets:
        return cls(rng.choice(USERNAMES), *draw_literal(rng))

    def text(self) -> str:
        return f"username packet ({self.username}), then session-key packet{self._literal_text()}"

    def client(self, io: Greeting) -> Steps:
        self._say_literal(io)
        name = write_username(io.state.user or "", self.username, io.dialect, False)
        io.send((literal_bytes(self.literal) if self.literal_at == INSIDE else b"") + name)
        io.send_base()
        io.send_key()
        yield from ()

    def server(self, io: Greeting) -> Steps:
        yield from self._hear_literal(io)
        body = yield Packet()
        user, rest = read_username(
            strip(body, self.literal) if self.literal_at == INSIDE else body, self.username, False
        )
        expect(rest, b"")
        io.identify(user)
        if io.base_packet:
            io.take_base((yield Packet()))
        io.open_key((yield Packet(KEY, boxed=True)))

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        if self.username not in (AS_STRING, AS_SYMBOL) or self.literal_at == INSIDE:
            yield "without framing the username has to be a datum, with nothing before it"
        if self.username == AS_SYMBOL and not newline:
            yield "with nothing between datums a symbol has no end"
        yield from self._literal_objections(newline)


@strategy("hello", "one packet", weight=1.5)
@dataclass(frozen=True)
class OnePacket(WithLiteral):
    """The username and the boxed session key in one packet."""

    username: str = LENGTH_BYTE
    literal: str = ""
    literal_at: str = ""

    @classmethod
    def draw(cls, rng: Random) -> OnePacket:
        return cls(rng.choice(USERNAMES[1:]), *draw_literal(rng))

    def text(self) -> str:
        return f"username ({self.username}) and boxed session key in one packet{self._literal_text()}"

    def client(self, io: Greeting) -> Steps:
        self._say_literal(io)
        name = write_username(io.state.user or "", self.username, io.dialect, True)
        io.send((literal_bytes(self.literal) if self.literal_at == INSIDE else b"") + name + io.key_body())
        yield from ()

    def server(self, io: Greeting) -> Steps:
        yield from self._hear_literal(io)
        body = yield Packet()
        user, rest = read_username(
            strip(body, self.literal) if self.literal_at == INSIDE else body, self.username, True
        )
        io.identify(user)
        io.open_key(rest)

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield "without framing a packet holds one datum"


BASE = Symbol("nonce")
LIST = "list"
ALIST = "alist"
TWO_LISTS = "two lists"
NAMES = (("user", "key"), ("username", "session-key"), ("name", "secret"), ("u", "k"))


@strategy("hello", "datum", weight=2.5)
@dataclass(frozen=True)
class OneDatum(WithLiteral):
    """The username and the boxed session key in one datum."""

    container: str = LIST
    username: str = AS_STRING
    names: tuple[str, str] = ("user", "key")
    box_form: str = BLOB
    literal: str = ""
    literal_at: str = ""

    @classmethod
    def draw(cls, rng: Random) -> OneDatum:
        container = rng.choices([LIST, ALIST, TWO_LISTS], [4, 3, 1])[0]
        place = rng.choices(["", INSIDE, PACKET, STREAM], [5, 0 if container == TWO_LISTS else 4, 1, 1])[0]
        literal = rng.choice({"": ("",), STREAM: STREAM_LITERALS}.get(place, DATUM_LITERALS))
        form = rng.choice([BLOB, U8VECTOR, STRING])
        return cls(container, rng.choice([AS_STRING, AS_SYMBOL]), rng.choice(NAMES), form, literal, place)

    def text(self) -> str:
        container = {
            LIST: "one list",
            ALIST: f"an alist of pairs ({', '.join(self.names)})",
            TWO_LISTS: f"two tagged lists in two packets ({', '.join(self.names)})",
        }[self.container]
        return (
            f"username (a {self.username}) and boxed session key in {container}, the box a {self.box_form} unless the "
            f"encoding makes it a datum{self._literal_text()}"
        )

    def readings(self) -> list[str]:
        return super().readings() + (["the hello is two tagged lists"] if self.container == TWO_LISTS else [])

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if self.container == TWO_LISTS and self.literal_at == INSIDE:
            yield "two tagged lists have their tags already"

    def _first(self) -> list[Datum]:
        if self.literal_at != INSIDE:
            return []
        version = read_one(literal_bytes(self.literal))
        return [Dotted((Symbol("version"),), version)] if self.container == ALIST else [version]

    def client(self, io: Greeting) -> Steps:
        self._say_literal(io)
        user: Datum = io.state.user or ""
        if self.username == AS_SYMBOL:
            user = Symbol(io.state.user or "")
        box = io.key_datum(self.box_form)
        names = [Symbol(name) for name in self.names]
        if self.container == TWO_LISTS:
            io.send(write([names[0], user], io.dialect))
            io.send(write([names[1], box], io.dialect), KEY)
        else:
            items: list[Datum] = [user, box, *([io.base_datum(self.box_form)] if io.base_field else [])]
            if self.container == ALIST:
                items = [_pair(name, value) for name, value in zip([*names, BASE], items, strict=False)]
            io.send(write([*self._first(), *items], io.dialect))
        yield from ()

    def server(self, io: Greeting) -> Steps:
        yield from self._hear_literal(io)
        names = [Symbol(name) for name in self.names]
        datum = read_one((yield Packet()))
        if self.container == TWO_LISTS:
            user = _named(datum, names[0])
            io.identify(username_of(user, self.username))
            box = _named(read_one((yield Packet(KEY))), names[1])
        else:
            first = self._first()
            count = len(first) + 2 + io.base_field
            if not isinstance(datum, list) or datum[: len(first)] != first or len(datum) != count:
                raise Nonsense("a hello of another shape")
            fields = datum[len(first) :]
            if self.container == ALIST:
                fields = [_second(field, name) for field, name in zip(fields, [*names, BASE], strict=False)]
            user, box, *base = fields
            for one in base:
                io.take_base_datum(one, self.box_form)
            io.identify(username_of(user, self.username))
        io.open_key_datum(box, self.box_form)

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        yield from self._literal_objections(newline)


def _pair(name: Symbol, value: Datum) -> Datum:
    """`(name . value)`, which is a list if the value is one."""
    return [name, *value] if isinstance(value, list) else Dotted((name,), value)


def _second(pair: Datum, name: Symbol) -> Datum:
    if isinstance(pair, Dotted) and pair.items == (name,):
        return pair.tail
    if isinstance(pair, list) and pair and pair[0] == name:
        return pair[1:]
    raise Nonsense(f"no pair of {name.name}")


def _named(datum: Datum, name: Symbol) -> Datum:
    if isinstance(datum, list) and len(datum) == 2 and datum[0] == name:
        return datum[1]
    raise Nonsense(f"no list of {name.name}")


# --- insecure --------------------------------------------------------------------------------------------------------


@strategy("hello", "none", weight=5)
@dataclass(frozen=True)
class NoHello(Hello):
    """An insecure connection that begins with its first message."""

    secure = False

    def text(self) -> str:
        return "none (insecure)"

    def client(self, io: Greeting) -> Steps:
        yield from ()

    def server(self, io: Greeting) -> Steps:
        yield from ()


@strategy("hello", "announced", weight=4)
@dataclass(frozen=True)
class Announcement(Hello):
    """An insecure connection that says so in a packet of its own."""

    literal: str = "insecure"

    secure = False

    LITERALS = (
        "insecure",
        '"insecure"',
        "#f",
        "(hello #f)",
        "(hello)",
        "(#f)",
        "",
        "\x00",
        "plain",
        "(bokbok insecure)",
    )

    @classmethod
    def draw(cls, rng: Random) -> Announcement:
        return cls(rng.choice(cls.LITERALS))

    def text(self) -> str:
        return f"the insecure mode announced by a packet {literal_bytes(self.literal)!r}"

    def client(self, io: Greeting) -> Steps:
        io.send(literal_bytes(self.literal))
        yield from ()

    def server(self, io: Greeting) -> Steps:
        expect((yield Packet()), literal_bytes(self.literal))

    def unframed_objections(self, newline: bool) -> Iterator[str]:
        if not is_one_datum(self.literal):
            yield "without framing an announcement has to be a datum"
        elif not newline and self.literal[0] not in '("':
            yield "with nothing between datums a bare announcement has no end"
