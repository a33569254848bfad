"""Message: request, response and error as bytes, and how requests are numbered. It knows datums, never packets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from random import Random
from typing import Any, ClassVar

from ..registry import CannotCarry, Nonsense, Strategy, strategy
from ..sexpr import Char, Datum, Dotted, Keyword, Symbol, from_bytes, same, to_bytes, write
from ..state import CLIENT, ERROR, REQUEST, RESPONSE, Message, State
from .encoding import read_one

KINDS = (REQUEST, RESPONSE, ERROR)

TAG = "tag"
ID = "id"
DATUM = "datum"


@dataclass(frozen=True, kw_only=True)
class Envelope(Strategy):
    """What a message looks like, and how requests are numbered."""

    is_text: ClassVar[bool] = True
    """True where a message is one datum."""
    parts: ClassVar[int] = 1
    """How many plaintexts a message is made of."""

    client_first: int = 0
    server_first: int = 0
    step: int = 1
    error_prefix: str = ""

    def number(self, state: State) -> int:
        """The number of this side's next request."""
        return state.take("requests", self.client_first if state.role == CLIENT else self.server_first, self.step)

    def heard(self, state: State, number: int) -> None:
        """The other side has made the request `number`."""

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        """The plaintexts that a message is, `parts` of them."""
        raise NotImplementedError

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        """The message that they are.

        Raises:
            Nonsense: they are none.
        """
        raise NotImplementedError

    def header(self, packet: str, message: Message | None) -> bytes:
        """What stands in the clear before the packet, of `header_size` bytes."""
        return b""

    header_size: ClassVar[int] = 0

    def error_text(self, text: str) -> str:
        """What an error's message looks like when it travels."""
        return self.error_prefix + text


def numbering_text(envelope: Any) -> str:
    """How the requests are numbered."""
    by = "one" if envelope.step == 1 else "two"
    if envelope.client_first == envelope.server_first:
        return f"ids from {envelope.client_first} by {by}"
    return f"ids by {by}, the client's from {envelope.client_first}, the server's from {envelope.server_first}"


def draw_numbering(rng: Random, most: int = 10_000) -> dict[str, int]:
    """The start of each side and the step."""
    first = rng.choice([0, 0, 1, 1, rng.choice([2, 10, 100, 1000, rng.randrange(2, most)])])
    step = rng.choice([1, 1, 2])
    server = first + 1 if step == 2 and rng.random() < 0.6 else first
    return {"client_first": first, "server_first": server, "step": step}


def natural(number: Datum) -> int:
    """A number ≥ 0, as an id has to be."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise Nonsense("an id that is not a fixnum from 0 upwards")
    if number >= 2**62:
        raise Nonsense("an id that is not a fixnum")
    return number


ERROR_PREFIXES = ("", "", "", "Error: ", "(handler) ")


class Payloads(Envelope):
    """What an envelope's payload looks like: a datum, or a string that holds one."""

    payload_as: str = DATUM
    error_as: str = "string"

    def outer(self, message: Message, dialect: str) -> Datum:
        """The payload as it stands in the envelope."""
        value = message.payload
        if self.payload_as == DATUM:
            return value
        if message.kind == ERROR and self.error_as == "string":
            return value
        return from_bytes(write(value, dialect))

    def inner(self, kind: str, value: Datum) -> Datum:
        """The payload out of the envelope."""
        if self.payload_as != DATUM and not (kind == ERROR and self.error_as == "string"):
            if not isinstance(value, str):
                raise Nonsense("a payload that is not a string")
            value = read_one(to_bytes(value))
        if kind == ERROR and not isinstance(value, str):
            raise Nonsense("an error without a message")
        return value

    def payload_readings(self) -> list[str]:
        """Whether the payload's form is a liberal reading."""
        return ["an error's message is nested in a string, too"] if self.error_as == "nested" else []


def draw_payload(rng: Random) -> dict[str, str]:
    """How a payload and an error's message are written."""
    if rng.random() < 0.75:
        return {"payload_as": DATUM, "error_as": "string"}
    return {"payload_as": "string", "error_as": "nested" if rng.random() < 0.3 else "string"}


TAG_WORDS = (
    ("request", "response", "error"),
    ("req", "res", "err"),
    ("call", "return", "raise"),
    ("ask", "answer", "fault"),
    ("q", "a", "e"),
    ("request", "reply", "exception"),
    ("->", "<-", "!"),
)
TAG_LETTERS = (("q", "a", "e"), ("r", "s", "x"), ("?", "=", "!"), ("C", "R", "E"))
TAG_NUMBERS = ((0, 1, 2), (1, 2, 3), (1, 2, -1), (10, 20, 30), (3, 5, 7))

SYMBOL = "symbol"
KEYWORD = "keyword"
STRING = "string"
CHARACTER = "character"
INTEGER = "integer"


def draw_tags(rng: Random) -> dict[str, Any]:
    """Three tags of one type."""
    tag_type = rng.choice([SYMBOL, SYMBOL, KEYWORD, STRING, CHARACTER, INTEGER])
    if tag_type == INTEGER:
        words: tuple[str, ...] = tuple(map(str, rng.choice(TAG_NUMBERS)))
    else:
        words = rng.choice(TAG_LETTERS if tag_type == CHARACTER else TAG_WORDS)
    return {"tags": words, "tag_type": tag_type}


class Tagged(Payloads):
    """An envelope that says with a datum what kind of message it is."""

    tags: tuple[str, ...]
    tag_type: str

    def tag(self, kind: str) -> Datum:
        """The tag of a kind of message."""
        word = self.tags[KINDS.index(kind)]
        if self.tag_type == INTEGER:
            return int(word)
        if self.tag_type == CHARACTER:
            return Char(ord(word))
        return {SYMBOL: Symbol, KEYWORD: Keyword, STRING: str}[self.tag_type](word)

    def kind_of(self, tag: Datum) -> str:
        """The kind of message that a tag means."""
        for kind in KINDS[: len(self.tags)]:
            if same(self.tag(kind), tag):
                return kind
        raise Nonsense("an unknown tag")


ORDERS = tuple(permutations((TAG, ID, DATUM)))

LIST = "list"
DOTTED = "dotted"
VECTOR = "vector"


@strategy("message", "datum", weight=5)
@dataclass(frozen=True)
class DatumEnvelope(Tagged):
    """Tag, id and payload in one datum."""

    tags: tuple[str, ...] = (REQUEST, RESPONSE, ERROR)
    tag_type: str = SYMBOL
    order: tuple[str, ...] = (TAG, ID, DATUM)
    container: str = LIST
    id_as: str = INTEGER
    payload_as: str = DATUM
    error_as: str = "string"

    @classmethod
    def draw(cls, rng: Random) -> DatumEnvelope:
        return cls(
            **draw_tags(rng),
            order=ORDERS[0] if rng.random() < 0.5 else rng.choice(ORDERS),
            container=rng.choice([LIST, LIST, DOTTED, VECTOR]),
            id_as=rng.choice([INTEGER, INTEGER, INTEGER, STRING]),
            **draw_payload(rng),
            **draw_numbering(rng),
            error_prefix=rng.choice(ERROR_PREFIXES),
        )

    def text(self) -> str:
        example = write(self._join(REQUEST, self.write_id(self.client_first), self._sample(REQUEST))).decode()
        error = write(self._join(ERROR, self.write_id(self.client_first), self._sample(ERROR))).decode()
        return f"{example}, {error}; {numbering_text(self)}"

    def _sample(self, kind: str) -> Datum:
        return self.outer(Message(kind, 0, self.error_text("why") if kind == ERROR else ["ping"]), "chicken-4")

    def readings(self) -> list[str]:
        return self.payload_readings()

    def write_id(self, number: int) -> Datum:
        """An id as it stands in the envelope."""
        return str(number) if self.id_as == STRING else number

    def read_id(self, datum: Datum) -> int:
        """Undoes `write_id`."""
        if self.id_as == STRING:
            if not isinstance(datum, str) or not datum.isascii() or not datum.isdigit():
                raise Nonsense("an id that is not a string of digits")
            return int(datum)
        return natural(datum)

    def _join(self, kind: str, number: Datum, payload: Datum) -> Datum:
        values = {TAG: self.tag(kind), ID: number, DATUM: payload}
        items = [values[name] for name in self.order]
        if self.container == VECTOR:
            return tuple(items)
        if self.container == LIST:
            return items
        return dotted(items[:2], items[2])

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        datum = self._join(message.kind, self.write_id(message.number), self.outer(message, dialect))
        return [write(datum, dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        datum = read_one(parts[0])
        if self.container == DOTTED:
            items = undotted(datum, 2)
        elif isinstance(datum, tuple if self.container == VECTOR else list) and len(datum) == 3:  # type: ignore[arg-type]
            items = list(datum)  # type: ignore[arg-type]
        else:
            raise Nonsense("a message of another shape")
        values = dict(zip(self.order, items, strict=True))
        kind = self.kind_of(values[TAG])
        return Message(kind, self.read_id(values[ID]), self.inner(kind, values[DATUM]))


def dotted(items: list[Datum], tail: Datum) -> Datum:
    """`(items … . tail)`, as the reader would give it back."""
    if tail is None:
        return list(items)
    if isinstance(tail, list):
        return [*items, *tail]
    if isinstance(tail, Dotted):
        return Dotted((*items, *tail.items), tail.tail)
    return Dotted(tuple(items), tail)


def undotted(datum: Datum, count: int) -> list[Datum]:
    """The first `count` items of a list, and then what is behind them."""
    if isinstance(datum, list) and len(datum) >= count:
        return [*datum[:count], datum[count:]]
    if isinstance(datum, Dotted) and len(datum.items) >= count:
        rest = datum.items[count:]
        return [*datum.items[:count], Dotted(rest, datum.tail) if rest else datum.tail]
    raise Nonsense("a message of another shape")


@strategy("message", "binary", weight=1.5)
@dataclass(frozen=True)
class BinaryEnvelope(Payloads):
    """A tag byte and a u32 id, then the payload's text."""

    tags: tuple[int, ...] = (0, 1, 2)
    endian: str = "big"
    id_first: bool = False
    payload_as: str = DATUM
    error_as: str = "string"

    is_text = False

    TAGS = ((0, 1, 2), (1, 2, 3), tuple(b"QAE"), tuple(b"qre"), (0x10, 0x20, 0x30), (0x81, 0x82, 0xFF))

    @classmethod
    def draw(cls, rng: Random) -> BinaryEnvelope:
        return cls(
            tags=rng.choice(cls.TAGS),
            endian=rng.choice(["big", "big", "little"]),
            id_first=rng.random() < 0.15,
            **draw_payload(rng),
            **draw_numbering(rng),
            error_prefix=rng.choice(ERROR_PREFIXES),
        )

    def text(self) -> str:
        tags = ", ".join(f"{kind} {tag:#04x}" for kind, tag in zip(KINDS, self.tags, strict=True))
        order = "u32 id and tag byte" if self.id_first else "tag byte and u32 id"
        payload = "the payload" if self.payload_as == DATUM else "a string that holds the payload"
        return f"{order} ({self.endian}-endian), then {payload}: {tags}; {numbering_text(self)}"

    def readings(self) -> list[str]:
        found = self.payload_readings()
        if self.endian == "little":
            found.append("the u32 id is little-endian")
        if self.id_first:
            found.append("the u32 id stands before the tag byte")
        return found

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        if message.number >= 2**32:
            raise CannotCarry(f"the id {message.number} in 32 bits")
        tag = bytes([self.tags[KINDS.index(message.kind)]])
        number = message.number.to_bytes(4, self.endian)  # type: ignore[arg-type]
        return [(number + tag if self.id_first else tag + number) + write(self.outer(message, dialect), dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        data = parts[0]
        if len(data) < 6:
            raise Nonsense("a message of fewer than six bytes")
        tag, number = (data[4], data[:4]) if self.id_first else (data[0], data[1:5])
        if tag not in self.tags:
            raise Nonsense("an unknown tag")
        kind = KINDS[self.tags.index(tag)]
        payload = self.inner(kind, read_one(data[5:]))
        return Message(kind, int.from_bytes(number, self.endian), payload)  # type: ignore[arg-type]
