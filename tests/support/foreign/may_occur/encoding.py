"""Encodings of a box that may occur: as two datums, with NaCl's zero bytes; and what may pad a box inside."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..layers.encoding import BLOB, STRING, U8VECTOR, BoxEncoding, Hex, Literal, Raw, as_literal, from_literal, read_one
from ..layers.granted import Body
from ..registry import MAY_OCCUR, Nonsense, strategy
from ..sexpr import Datum, Dotted, write
from ..state import BEHIND, MESSAGE, State

if TYPE_CHECKING:
    from ..format import Format

HEX = "hex"
BASE64 = "base64"
FORMS = (BLOB, U8VECTOR, STRING, HEX, BASE64)


def _to_datum(data: bytes, form: str) -> Datum:
    if form in (HEX, BASE64):
        return data.hex() if form == HEX else base64.b64encode(data).decode()
    return as_literal(data, form)


def _from_datum(datum: Datum, form: str) -> bytes:
    if form not in (HEX, BASE64):
        return from_literal(datum, form)
    try:
        return bytes.fromhex(datum) if form == HEX else base64.b64decode(datum, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error) as why:
        raise Nonsense(str(why)) from None


@strategy("encoding", "two datums", group=MAY_OCCUR)
@dataclass(frozen=True)
class TwoDatums(BoxEncoding):
    """Nonce and ciphertext as two datums, of a list or a pair, each in its own encoding."""

    nonce_form: str = BLOB
    box_form: str = BLOB
    dotted: bool = False

    is_datum = True
    ends_itself = True

    @classmethod
    def draw(cls, rng: Random) -> TwoDatums:
        return cls(rng.choice(FORMS), rng.choice(FORMS), rng.random() < 0.3)

    def text(self) -> str:
        container = "pair" if self.dotted else "list"
        return f"a {container} of nonce ({self.nonce_form}) and ciphertext ({self.box_form})"

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.nonce.kind != "sent" or fmt.nonce.key_box != "same":
            yield "two datums are needed where a nonce is sent with every box"

    def pack_datum(self, nonce: bytes, sealed: bytes, place: str, fallback: str) -> Datum:
        items = [_to_datum(nonce, self.nonce_form), _to_datum(sealed, self.box_form)]
        if place == BEHIND:
            items.reverse()
        return Dotted((items[0],), items[1]) if self.dotted else items

    def unpack_datum(self, datum: Datum, place: str, fallback: str) -> tuple[bytes, bytes]:
        if self.dotted and isinstance(datum, Dotted) and len(datum.items) == 1:
            items = [datum.items[0], datum.tail]
        elif not self.dotted and isinstance(datum, list) and len(datum) == 2:
            items = list(datum)
        else:
            raise Nonsense("a box of another shape")
        if place == BEHIND:
            items.reverse()
        nonce = _from_datum(items[0], self.nonce_form)
        if len(nonce) != 24:
            raise Nonsense(f"a nonce of {len(nonce)} bytes")
        return nonce, _from_datum(items[1], self.box_form)

    def pack(self, nonce: bytes, sealed: bytes, place: str) -> bytes:
        return write(self.pack_datum(nonce, sealed, place, ""))

    def unpack(self, body: bytes, place: str) -> tuple[bytes, bytes]:
        return self.unpack_datum(read_one(body), place, "")


@strategy("encoding", "zeros before the tag", group=MAY_OCCUR)
@dataclass(frozen=True)
class ZerosBefore(BoxEncoding):
    """16 zero bytes before the tag, as NaCl's C interface leaves them."""

    form: str = "raw"

    @property
    def is_datum(self) -> bool:  # type: ignore[override]
        return self._inner.is_datum

    @property
    def ends_itself(self) -> bool:  # type: ignore[override]
        return self._inner.ends_itself

    @classmethod
    def draw(cls, rng: Random) -> ZerosBefore:
        return cls(rng.choice(["raw", "raw", BLOB, U8VECTOR, HEX]))

    @property
    def _inner(self) -> BoxEncoding:
        return {"raw": Raw(), HEX: Hex()}.get(self.form) or Literal(self.form)

    def text(self) -> str:
        return f"16 zero bytes before the tag, all as {self._inner.text()}"

    ZEROS = bytes(16)

    def _without(self, nonce: bytes, sealed: bytes) -> tuple[bytes, bytes]:
        if not sealed.startswith(self.ZEROS):
            raise Nonsense("no zero bytes before the tag")
        return nonce, sealed[16:]

    def pack(self, nonce: bytes, sealed: bytes, place: str) -> bytes:
        return self._inner.pack(nonce, self.ZEROS + sealed, place)

    def unpack(self, body: bytes, place: str) -> tuple[bytes, bytes]:
        return self._without(*self._inner.unpack(body, place))

    def pack_datum(self, nonce: bytes, sealed: bytes, place: str, fallback: str) -> Datum:
        return self._inner.pack_datum(nonce, self.ZEROS + sealed, place, fallback)

    def unpack_datum(self, datum: Datum, place: str, fallback: str) -> tuple[bytes, bytes]:
        return self._without(*self._inner.unpack_datum(datum, place, fallback))


@strategy("body", "padded", group=MAY_OCCUR)
@dataclass(frozen=True)
class PaddedBody(Body):
    """Padding inside the box: a message's text is filled up to a multiple of some size."""

    multiple: int = 32
    filler: str = " "

    @classmethod
    def draw(cls, rng: Random) -> PaddedBody:
        return cls(rng.choice([8, 16, 32, 64, 100]), rng.choice([" ", "\0"]))

    def text(self) -> str:
        return f"messages padded with {'spaces' if self.filler == ' ' else 'zeros'} to a multiple of {self.multiple}"

    def objections(self, fmt: Format) -> Iterator[str]:
        if not fmt.secure:
            yield "the padding is inside the box"

    def outgoing(self, state: State, packet: str, plaintext: bytes) -> bytes:
        if packet != MESSAGE:
            return plaintext
        return plaintext + self.filler.encode() * (-len(plaintext) % self.multiple)

    def incoming(self, state: State, packet: str, data: bytes) -> bytes:
        if packet != MESSAGE:
            return data
        if len(data) % self.multiple:
            raise Nonsense("a message without its padding")
        return data.rstrip(self.filler.encode())
