"""Encoding of a box: what its bytes look like in a packet. It knows bytes and text; nothing of what is in the box."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from random import Random

from ..registry import Nonsense, Strategy, strategy
from ..sexpr import BadDatum, Datum, Numbers, from_bytes, read, to_bytes, write
from ..state import BEHIND, FRONT, NONCE_SIZE, UNSENT

BLOB = "blob"
U8VECTOR = "u8vector"
STRING = "string"


def as_literal(data: bytes, form: str) -> Datum:
    """Bytes as a datum: `blob`, `u8vector` or `string`."""
    if form == BLOB:
        return data
    return Numbers("u8", tuple(data)) if form == U8VECTOR else from_bytes(data)


def from_literal(datum: Datum, form: str) -> bytes:
    """The bytes that `as_literal` made a datum of."""
    if form == BLOB and isinstance(datum, bytes):
        return datum
    if form == U8VECTOR and isinstance(datum, Numbers) and datum.tag == "u8":
        try:
            return bytes(datum.items)
        except ValueError:
            raise Nonsense("a u8vector of something else than bytes") from None
    if form == STRING and isinstance(datum, str):
        return to_bytes(datum)
    raise Nonsense(f"a {form} was expected")


def read_one(data: bytes) -> Datum:
    """The one datum that a packet is."""
    try:
        return read(data)
    except BadDatum as why:
        raise Nonsense(str(why)) from None


class BoxEncoding(Strategy):
    """How a box, with its nonce where one is sent, becomes the body of a packet or a datum in one."""

    is_datum = False
    """True where the body is a datum, so that it can stand in a stream of datums."""
    ends_itself = False
    """True where that datum needs nothing behind it to end."""
    worst = 1.0
    """How many times longer it may get."""

    def encode(self, box: bytes) -> bytes:
        """The body of a packet."""
        raise NotImplementedError

    def decode(self, body: bytes) -> bytes:
        """The box.

        Raises:
            Nonsense: this is not a box in this encoding.
        """
        raise NotImplementedError

    def to_datum(self, box: bytes, fallback: str) -> Datum:
        """The box as a datum in a larger one; `fallback` is the literal form where the encoding itself has none."""
        return as_literal(box, fallback)

    def from_datum(self, datum: Datum, fallback: str) -> bytes:
        """Undoes `to_datum`."""
        return from_literal(datum, fallback)

    def pack(self, nonce: bytes, sealed: bytes, place: str) -> bytes:
        """The body of a packet: the box with its nonce at `place`."""
        return self.encode(join(nonce, sealed, place))

    def unpack(self, body: bytes, place: str) -> tuple[bytes, bytes]:
        """The nonce (empty if unsent) and the box that are in a packet's body."""
        return split(self.decode(body), place)

    def pack_datum(self, nonce: bytes, sealed: bytes, place: str, fallback: str) -> Datum:
        """As `pack`, as a datum."""
        return self.to_datum(join(nonce, sealed, place), fallback)

    def unpack_datum(self, datum: Datum, place: str, fallback: str) -> tuple[bytes, bytes]:
        """As `unpack`, from a datum."""
        return split(self.from_datum(datum, fallback), place)


def join(nonce: bytes, sealed: bytes, place: str) -> bytes:
    """A box with 24 bytes at their place."""
    return {FRONT: nonce + sealed, BEHIND: sealed + nonce, UNSENT: sealed}[place]


def split(box: bytes, place: str) -> tuple[bytes, bytes]:
    """The 24 bytes (none if unsent), and the box."""
    if place == UNSENT:
        return b"", box
    if len(box) < NONCE_SIZE:
        raise Nonsense(f"a box of {len(box)} bytes")
    if place == FRONT:
        return box[:NONCE_SIZE], box[NONCE_SIZE:]
    return box[-NONCE_SIZE:], box[:-NONCE_SIZE]


@strategy("encoding", "raw", weight=3)
@dataclass(frozen=True)
class Raw(BoxEncoding):
    """The bytes themselves."""

    def text(self) -> str:
        return "raw bytes"

    def encode(self, box: bytes) -> bytes:
        return box

    def decode(self, body: bytes) -> bytes:
        return body


@strategy("encoding", "literal", weight=3)
@dataclass(frozen=True)
class Literal(BoxEncoding):
    """A blob, u8vector or string as CHICKEN writes it."""

    form: str = BLOB

    is_datum = True
    ends_itself = True

    @property
    def worst(self) -> float:  # type: ignore[override]
        return {BLOB: 2.2, U8VECTOR: 4.2, STRING: 4.2}[self.form]

    @classmethod
    def draw(cls, rng: Random) -> Literal:
        return cls(rng.choice([BLOB, U8VECTOR, STRING]))

    def text(self) -> str:
        return {BLOB: "a blob literal #${…}", U8VECTOR: "a u8vector literal #u8(…)", STRING: "a string literal"}[
            self.form
        ]

    def encode(self, box: bytes) -> bytes:
        return write(as_literal(box, self.form))

    def decode(self, body: bytes) -> bytes:
        return from_literal(read_one(body), self.form)

    def to_datum(self, box: bytes, fallback: str) -> Datum:
        return as_literal(box, self.form)

    def from_datum(self, datum: Datum, fallback: str) -> bytes:
        return from_literal(datum, self.form)


class TextEncoding(BoxEncoding):
    """An encoding of digits or letters, bare or between quotes."""

    quoted: bool

    is_datum = True

    @property
    def ends_itself(self) -> bool:  # type: ignore[override]
        return self.quoted

    def letters(self, box: bytes) -> str:
        """The box as text."""
        raise NotImplementedError

    def unletters(self, text: bytes) -> bytes:
        """The box that `letters` made text of; `binascii.Error` or `ValueError` if it did not."""
        raise NotImplementedError

    def encode(self, box: bytes) -> bytes:
        text = self.letters(box)
        return write(text) if self.quoted else text.encode()

    def decode(self, body: bytes) -> bytes:
        if self.quoted:
            return self.from_datum(read_one(body), "")
        return self._unletters(body)

    def to_datum(self, box: bytes, fallback: str) -> Datum:
        return self.letters(box)

    def from_datum(self, datum: Datum, fallback: str) -> bytes:
        if not isinstance(datum, str):
            raise Nonsense("a string was expected")
        return self._unletters(to_bytes(datum))

    def _unletters(self, text: bytes) -> bytes:
        try:
            return self.unletters(text)
        except (binascii.Error, ValueError) as why:
            raise Nonsense(str(why)) from None

    def _quotes(self) -> str:
        return ", between quotes" if self.quoted else ""


@strategy("encoding", "hex")
@dataclass(frozen=True)
class Hex(TextEncoding):
    """Two hex digits a byte."""

    quoted: bool = False
    upper: bool = False

    worst = 2.1

    @classmethod
    def draw(cls, rng: Random) -> Hex:
        return cls(rng.random() < 0.4, rng.random() < 0.2)

    def text(self) -> str:
        return ("HEX digits" if self.upper else "hex digits") + self._quotes()

    def readings(self) -> list[str]:
        return ["the hex digits of a box are upper case"] if self.upper else []

    def letters(self, box: bytes) -> str:
        return box.hex().upper() if self.upper else box.hex()

    def unletters(self, text: bytes) -> bytes:
        return bytes.fromhex(text.decode("ascii"))


@strategy("encoding", "base64")
@dataclass(frozen=True)
class Base64(TextEncoding):
    """The standard alphabet, padded."""

    quoted: bool = False
    padding: bool = True

    worst = 1.5

    @classmethod
    def draw(cls, rng: Random) -> Base64:
        return cls(rng.random() < 0.4, rng.random() > 0.2)

    def text(self) -> str:
        return "base64" + ("" if self.padding else " without padding") + self._quotes()

    def readings(self) -> list[str]:
        return [] if self.padding else ["base64 has no = at its end"]

    def letters(self, box: bytes) -> str:
        text = base64.b64encode(box).decode()
        return text if self.padding else text.rstrip("=")

    def unletters(self, text: bytes) -> bytes:
        return base64.b64decode(text if self.padding else text + b"=" * (-len(text) % 4), validate=True)
