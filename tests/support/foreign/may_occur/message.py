"""Messages that may occur: other forms of answers and errors, ids of other sorts, headers apart, remarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from ..layers.encoding import read_one
from ..layers.message import (
    DATUM,
    ERROR_PREFIXES,
    INTEGER,
    KINDS,
    SYMBOL,
    DatumEnvelope,
    Envelope,
    Payloads,
    Tagged,
    draw_numbering,
    natural,
    numbering_text,
)
from ..registry import MAY_OCCUR, CannotCarry, Nonsense, strategy
from ..sexpr import Datum, Dotted, Symbol, write
from ..state import CLIENT, ERROR, GOODBYE, HELLO, KEEP_ALIVE, KEY, REQUEST, RESPONSE, Message, State

if TYPE_CHECKING:
    from ..format import Format

WORDS = (("request", "response"), ("req", "res"), ("call", "return"), ("ask", "answer"))
OKS = (("ok", "error"), ("value", "exception"), ("ok", "fail"), ("#t", "#f"))


def _word(text: str) -> Datum:
    return text == "#t" if text in ("#t", "#f") else Symbol(text)


@strategy("message", "response says ok", group=MAY_OCCUR)
@dataclass(frozen=True)
class OkEnvelope(Envelope):
    """`(response ID ok X)` and `(response ID error "message")`."""

    words: tuple[str, ...] = ("request", "response")
    oks: tuple[str, ...] = ("ok", "error")

    @classmethod
    def draw(cls, rng: Random) -> OkEnvelope:
        numbering = draw_numbering(rng)
        return cls(rng.choice(WORDS), rng.choice(OKS), **numbering, error_prefix=rng.choice(ERROR_PREFIXES))

    def text(self) -> str:
        request, response = self.words
        ok, error = self.oks
        return f'({request} ID X), ({response} ID {ok} X), ({response} ID {error} "why"); {numbering_text(self)}'

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        if message.kind == REQUEST:
            items: list[Datum] = [Symbol(self.words[0]), message.number, message.payload]
        else:
            word = self.oks[message.kind == ERROR]
            items = [Symbol(self.words[1]), message.number, _word(word), message.payload]
        return [write(items, dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        datum = read_one(parts[0])
        if isinstance(datum, list) and len(datum) == 3 and datum[0] == Symbol(self.words[0]):
            return Message(REQUEST, natural(datum[1]), datum[2])
        if isinstance(datum, list) and len(datum) == 4 and datum[0] == Symbol(self.words[1]):
            for kind, word in zip((RESPONSE, ERROR), self.oks, strict=True):
                if datum[2] == _word(word):
                    return Message(kind, natural(datum[1]), datum[3])
        raise Nonsense("a message of another shape")


@strategy("message", "response holds the error", group=MAY_OCCUR)
@dataclass(frozen=True)
class ErrorInResponse(Envelope):
    """`(response ID X)`, and `(response ID (error "message"))`, which an answer may look like, too."""

    words: tuple[str, ...] = ("request", "response")
    error: str = "error"

    @classmethod
    def draw(cls, rng: Random) -> ErrorInResponse:
        numbering = draw_numbering(rng)
        error = rng.choice(["error", "exn", "exception", "remote-error"])
        return cls(rng.choice(WORDS), error, **numbering, error_prefix=rng.choice(ERROR_PREFIXES))

    def text(self) -> str:
        request, response = self.words
        return f'({request} ID X), ({response} ID X), ({response} ID ({self.error} "why")); {numbering_text(self)}'

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        payload = [Symbol(self.error), message.payload] if message.kind == ERROR else message.payload
        return [write([Symbol(self.words[message.kind != REQUEST]), message.number, payload], dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        datum = read_one(parts[0])
        if not isinstance(datum, list) or len(datum) != 3 or datum[0] not in map(Symbol, self.words):
            raise Nonsense("a message of another shape")
        payload = datum[2]
        if datum[0] == Symbol(self.words[0]):
            return Message(REQUEST, natural(datum[1]), payload)
        if isinstance(payload, list) and len(payload) == 2 and payload[0] == Symbol(self.error):
            return Message(ERROR, natural(datum[1]), payload[1])
        return Message(RESPONSE, natural(datum[1]), payload)


@strategy("message", "error as conditions", group=MAY_OCCUR)
@dataclass(frozen=True)
class ConditionsEnvelope(DatumEnvelope):
    """An error as a list of conditions, as `condition->list` gives it."""

    style: str = "list"

    @classmethod
    def draw(cls, rng: Random) -> ConditionsEnvelope:
        plain = DatumEnvelope.draw(rng)
        values = {**vars(plain), "payload_as": DATUM, "error_as": "string"}
        return cls(**values, style=rng.choice(["list", "alist"]))

    def text(self) -> str:
        return f"{super().text()}; an error holds conditions, e.g. {write(self._conditions('why')).decode()}"

    def _conditions(self, text: str) -> Datum:
        if self.style == "alist":
            return [[Symbol("exn"), Dotted((Symbol("message"),), text), Dotted((Symbol("location"),), False)]]
        return [[Symbol("exn"), [Symbol("location"), False], [Symbol("message"), text], [Symbol("arguments"), []]]]

    def outer(self, message: Message, dialect: str) -> Datum:
        return self._conditions(str(message.payload)) if message.kind == ERROR else message.payload

    def inner(self, kind: str, value: Datum) -> Datum:
        if kind != ERROR:
            return value
        for condition in value if isinstance(value, list) else []:
            for item in condition if isinstance(condition, list) else []:
                if isinstance(item, list) and len(item) == 2 and item[0] == Symbol("message"):
                    return item[1]
                if isinstance(item, Dotted) and item.items == (Symbol("message"),):
                    return item.tail
        raise Nonsense("an error without a message")


class _OddIds(DatumEnvelope):
    @classmethod
    def draw(cls, rng: Random) -> DatumEnvelope:
        return cls(**{**vars(DatumEnvelope.draw(rng)), "id_as": INTEGER})


@strategy("message", "ids shared", group=MAY_OCCUR)
@dataclass(frozen=True)
class SharedIds(_OddIds):
    """Both sides take their ids from one sequence: one more than the last that either has used."""

    def text(self) -> str:
        return f"{super().text()}; one sequence for both sides"

    def number(self, state: State) -> int:
        number = state.memory.get("last id", self.client_first - 1) + 1
        state.memory["last id"] = number
        return int(number)

    def heard(self, state: State, number: int) -> None:
        state.memory["last id"] = max(number, state.memory.get("last id", -1))


@strategy("message", "ids of the process", group=MAY_OCCUR)
@dataclass(frozen=True)
class ProcessIds(_OddIds):
    """A program numbers the requests of all its connections in one sequence."""

    def text(self) -> str:
        return f"{super().text()}; the numbering goes on over all connections of a program"

    def number(self, state: State) -> int:
        memory = state.program.memory
        number = memory.get("requests", self.client_first if state.role == CLIENT else self.server_first)
        memory["requests"] = number + self.step
        return int(number)


@strategy("message", "ids as symbols", group=MAY_OCCUR)
@dataclass(frozen=True)
class SymbolIds(_OddIds):
    """Ids like those that `gensym` makes."""

    letter: str = "g"

    def text(self) -> str:
        return f"{super().text()}; ids are symbols"

    def write_id(self, number: int) -> Datum:
        return Symbol(f"{self.letter}{number}")

    def read_id(self, datum: Datum) -> int:
        digits = datum.name[1:] if isinstance(datum, Symbol) and datum.name.startswith(self.letter) else ""
        if not digits.isdigit():
            raise Nonsense("an id of another form")
        return int(digits)


@strategy("message", "ids as flonums", group=MAY_OCCUR)
@dataclass(frozen=True)
class FlonumIds(_OddIds):
    """Ids like `1.0`."""

    def text(self) -> str:
        return f"{super().text()}; ids are flonums"

    def write_id(self, number: int) -> Datum:
        return float(number)

    def read_id(self, datum: Datum) -> int:
        if not isinstance(datum, float) or not datum.is_integer() or datum < 0:
            raise Nonsense("an id of another form")
        return int(datum)


@strategy("message", "remarks", group=MAY_OCCUR)
@dataclass(frozen=True)
class Remarks(DatumEnvelope):
    """A goodbye before the end, and keep-alives now and then."""

    goodbye: str = "goodbye"
    keep_alive: str = "keep-alive"

    remarks: ClassVar[tuple[str, ...]] = (GOODBYE, KEEP_ALIVE)

    @classmethod
    def draw(cls, rng: Random) -> Remarks:
        goodbye, keep_alive = rng.choice([("goodbye", "keep-alive"), ("bye", "nop"), ("close", "heartbeat")])
        plain = {**vars(DatumEnvelope.draw(rng)), "tag_type": SYMBOL, "container": "list"}
        if not plain["tags"][0].isalpha():
            plain["tags"] = KINDS
        return cls(**plain, goodbye=goodbye, keep_alive=keep_alive)

    def text(self) -> str:
        return f"{super().text()}; ({self.goodbye}) before the end, ({self.keep_alive}) now and then"

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        if message.kind in self.remarks:
            return [write([Symbol(self.goodbye if message.kind == GOODBYE else self.keep_alive)], dialect)]
        return super().encode(message, dialect)

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        datum = read_one(parts[0])
        for kind, word in ((GOODBYE, self.goodbye), (KEEP_ALIVE, self.keep_alive)):
            if datum == [Symbol(word)]:
                return Message(kind, 0)
        return super().decode(parts, dialect)


@strategy("message", "answer by sign", group=MAY_OCCUR)
@dataclass(frozen=True)
class SignEnvelope(Envelope):
    """`(ID X)` asks, `(-ID X)` answers: ids begin at 1. An error is `(-ID error "message")`."""

    client_first: int = 1
    server_first: int = 1

    @classmethod
    def draw(cls, rng: Random) -> SignEnvelope:
        first = rng.choice([1, 1, 7])
        server_first, step = first + rng.choice([0, 1]), rng.choice([1, 2])
        return cls(first, server_first, step=step, error_prefix=rng.choice(ERROR_PREFIXES))

    def text(self) -> str:
        return f'(ID X), (-ID X), (-ID error "why"); {numbering_text(self)}'

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        number = message.number if message.kind == REQUEST else -message.number
        error: list[Datum] = [Symbol("error")] if message.kind == ERROR else []
        return [write([number, *error, message.payload], dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        datum = read_one(parts[0])
        if not isinstance(datum, list) or len(datum) not in (2, 3) or type(datum[0]) is not int:
            raise Nonsense("a message of another shape")
        if len(datum) == 3:
            if datum[0] >= 0 or datum[1] != Symbol("error"):
                raise Nonsense("a message of another shape")
            return Message(ERROR, -datum[0], datum[2])
        return Message(REQUEST if datum[0] > 0 else RESPONSE, abs(datum[0]), datum[1])


@strategy("message", "answer by bit", group=MAY_OCCUR)
@dataclass(frozen=True)
class BitEnvelope(Envelope):
    """A u32 whose highest bit says that it is an answer, the next one that it is an error; then the payload."""

    endian: str = "big"

    is_text = False
    ANSWER: ClassVar[int] = 1 << 31
    FAILED: ClassVar[int] = 1 << 30

    @classmethod
    def draw(cls, rng: Random) -> BitEnvelope:
        numbering = draw_numbering(rng)
        return cls(rng.choice(["big", "little"]), **numbering, error_prefix=rng.choice(ERROR_PREFIXES))

    def text(self) -> str:
        return f"u32 {self.endian}-endian: highest bit for an answer, next for an error; {numbering_text(self)}"

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        if message.number >= self.FAILED:
            raise CannotCarry(f"the id {message.number} in 30 bits")
        bits = {REQUEST: 0, RESPONSE: self.ANSWER, ERROR: self.ANSWER | self.FAILED}[message.kind]
        return [(message.number | bits).to_bytes(4, self.endian) + write(message.payload, dialect)]  # type: ignore[arg-type]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        word = int.from_bytes(parts[0][:4], self.endian)  # type: ignore[arg-type]
        kind = REQUEST if not word & self.ANSWER else ERROR if word & self.FAILED else RESPONSE
        return Message(kind, word & (self.FAILED - 1), read_one(parts[0][4:]))


@strategy("message", "clear header", group=MAY_OCCUR)
@dataclass(frozen=True)
class ClearHeader(Payloads):
    """Type, id and length stand in a clear header; only the payload is boxed."""

    types: tuple[int, ...] = (3, 4, 5)
    hello_type: int = 1
    key_type: int = 2
    endian: str = "big"

    is_text = False
    header_size = 5

    @classmethod
    def draw(cls, rng: Random) -> ClearHeader:
        numbering = draw_numbering(rng)
        types = rng.choice([(3, 4, 5), (0, 1, 2), tuple(b"QAE")])
        return cls(
            types, 0xA1, 0xA2, rng.choice(["big", "little"]), **numbering, error_prefix=rng.choice(ERROR_PREFIXES)
        )

    def text(self) -> str:
        types = ", ".join(f"{kind} {value:#04x}" for kind, value in zip(KINDS, self.types, strict=True))
        return (
            f"a type byte and a u32 {self.endian}-endian id in the clear before the length; only the payload boxed: "
            f"hello {self.hello_type:#04x}, session key {self.key_type:#04x}, {types}; {numbering_text(self)}"
        )

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.framing.kind not in ("integer", "leb128") or fmt.packet_type.kind != "none":
            yield "the header is type, id and a binary length"

    def header(self, packet: str, message: Message | None) -> bytes:
        if message is not None and message.number >= 2**32:
            raise CannotCarry(f"the id {message.number} in 32 bits")
        if message is None:
            value, number = {HELLO: self.hello_type, KEY: self.key_type}[packet], 0
        else:
            value, number = self.types[KINDS.index(message.kind)], message.number
        return bytes([value]) + number.to_bytes(4, self.endian)  # type: ignore[arg-type]

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        return [write(message.payload, dialect)]

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        header, body = parts
        if header[0] not in self.types:
            raise Nonsense("an unknown type of message")
        number = int.from_bytes(header[1:5], self.endian)  # type: ignore[arg-type]
        return Message(KINDS[self.types.index(header[0])], number, read_one(body))


@strategy("message", "header and body", group=MAY_OCCUR)
@dataclass(frozen=True)
class TwoBoxes(Tagged):
    """Header and body as two packets, each in its own box."""

    tags: tuple[str, ...] = KINDS
    tag_type: str = SYMBOL

    parts = 2

    @classmethod
    def draw(cls, rng: Random) -> TwoBoxes:
        numbering = draw_numbering(rng)
        return cls(**numbering, error_prefix=rng.choice(ERROR_PREFIXES))

    def text(self) -> str:
        return f"({self.tags[0]} ID) and X in a packet each; {numbering_text(self)}"

    def encode(self, message: Message, dialect: str) -> list[bytes]:
        header = write([self.tag(message.kind), message.number], dialect)
        return [header, write(message.payload, dialect)]

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.framing.datums_only and not fmt.secure:
            yield "two datums that follow each other, with nothing that says that they belong together"

    def decode(self, parts: list[bytes], dialect: str) -> Message:
        header = read_one(parts[0])
        if not isinstance(header, list) or len(header) != 2:
            raise Nonsense("a header of another shape")
        return Message(self.kind_of(header[0]), natural(header[1]), read_one(parts[1]))
