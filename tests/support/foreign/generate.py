"""Drawing formats: from the table, from its third column, from outside it, and the fixed ones that are worth a name."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from .format import BOXED, INFERRED_1, INFERRED_1_INSECURE, Format
from .layers.derivation import Padded, Sha256, Sha512
from .layers.dialect import Dialect
from .layers.encoding import Base64, Hex, Literal
from .layers.framing import Announced, Digits, Integer, Leb128, Unframed
from .layers.hello import Announcement, NoHello, OneDatum, OnePacket, TwoPackets
from .layers.message import BinaryEnvelope, DatumEnvelope
from .layers.nonce import NONCE_BASE, Counter, RandomBase, Sent
from .layers.packet_type import TypeByte, TypeSymbol
from .layers.session_key import KeyDatum, RawKey, SessionKey, TrailingMaterial
from .registry import LAYERS, MAY_OCCUR, OUTSIDE, Strategy, all_kinds, draw_layer
from .rules import coupled, objections
from .state import NONCE_SIZE

TRIES = 400
"""So often are the other layers drawn for one framing before another framing is."""


def random_format(rng: Random, *, secure: bool | None = None, readings: bool = True) -> Format:
    """A random sensible combination of the table's first two columns.

    Args:
        rng: the source of randomness.
        secure: whether connections are secure; None leaves it to chance (7 in 10 are).
        readings: also strategies that take the table's words in another than their plainest sense
            (`Format.readings` tells which); else none of them.
    """
    wanted = rng.random() < 0.7 if secure is None else secure
    while True:
        framing = draw_layer("framing", rng, readings=readings)
        for _ in range(TRIES):
            fmt = _draw(rng, wanted, readings, {"framing": framing})
            if fmt is not None and (readings or not fmt.readings()):
                return fmt


def may_occur_format(rng: Random, kind: type[Strategy] | None = None) -> Format:
    """A random format with one strategy (`kind`, or any) of the table's third column, the rest from the others."""
    return _with_one(rng, kind or rng.choice(all_kinds(MAY_OCCUR)))


def foreign_format(rng: Random, kind: type[Strategy] | None = None) -> Format:
    """A random format with one strategy (`kind`, or any) that is nowhere in the table."""
    return _with_one(rng, kind or rng.choice(all_kinds(OUTSIDE)))


def _with_one(rng: Random, kind: type[Strategy]) -> Format:
    while True:
        one = kind.draw(rng)
        boxed = kind.layer in BOXED or (kind.layer == "hello" and getattr(kind, "secure", False))
        insecure = kind.layer == "hello" and not getattr(kind, "secure", True)
        secure = boxed or (not insecure and rng.random() < 0.7)
        for _ in range(TRIES):
            fmt = _draw(rng, secure, True, {kind.layer: one})
            if fmt is not None:
                return fmt


def _draw(rng: Random, secure: bool, readings: bool, given: dict[str, Strategy]) -> Format | None:
    """One try; None if the combination makes no sense."""
    layers: dict[str, Any] = {}
    for layer in LAYERS:
        if layer in given:
            layers[layer] = given[layer]
        elif secure or layer not in BOXED:
            layers[layer] = draw_layer(layer, rng, readings=readings)
    while layers["hello"].secure != secure and "hello" not in given:
        layers["hello"] = draw_layer("hello", rng, readings=readings)
    fmt = coupled(Format(secure=secure, **cast("dict[str, Any]", layers)))
    if any(getattr(fmt, layer) != item for layer, item in given.items()):
        return None  # what was asked for has been coupled away
    return None if any(objections(fmt)) else fmt


def inferred_1(*, secure: bool = True) -> Format:
    """The project's default profile."""
    return INFERRED_1 if secure else INFERRED_1_INSECURE


def interesting_formats() -> dict[str, Format]:
    """Fixed formats of the table that a real peer might well have, or that are easily taken for each other."""
    plain = INFERRED_1_INSECURE
    return {
        "inferred-1": INFERRED_1,
        "inferred-1-insecure": plain,
        "read-and-write": Format(
            framing=Unframed(newline=False), encoding=Literal("blob"), hello=OneDatum("list"), nonce=Sent()
        ),
        "lines-of-base64": Format(
            framing=Unframed(newline=True),
            encoding=Base64(),
            hello=TwoPackets("string"),
            nonce=Sent(),
            message=DatumEnvelope(container="dotted"),
        ),
        "netstrings-of-hex": Format(
            framing=Digits(10, ":", True), encoding=Hex(), nonce=Sent("behind"), derivation=Sha256()
        ),
        "one-datum-alist": Format(
            framing=Integer(4, "little"),
            hello=OneDatum("alist", literal="1", literal_at="in the first packet"),
            encoding=Literal("u8vector"),
            session_key=KeyDatum("blob"),
            nonce=Sent(),
        ),
        "counters": Format(
            framing=Integer(2, "big", True), nonce=Counter("big", 1, "zero", 1), derivation=Sha512("last", 1)
        ),
        "little-counters": Format(framing=Leb128(), nonce=Counter("little", 0, "counted", 0)),
        "random-base": Format(nonce=RandomBase("little"), session_key=TrailingMaterial("zeros", 16)),
        "type-length-value": Format(
            packet_type=TypeByte(1, 2, 3, 4),
            framing=Integer(2),
            nonce=Sent(),
            message=BinaryEnvelope(),
            derivation=Padded(),
        ),
        "typed-datums": Format(
            framing=Unframed(newline=True),
            packet_type=TypeSymbol(place="alone"),
            encoding=Literal("string"),
            hello=TwoPackets("symbol"),
            nonce=Sent(),
        ),
        "announced": Format(
            framing=Announced("list", "packet"),
            hello=OnePacket("NUL-ended"),
            nonce=Sent(),
            derivation=Sha512("first", 2),
        ),
        "small": Format(framing=Integer(1), nonce=Counter(), message=DatumEnvelope(("q", "a", "e"), "character")),
        "vectors-and-strings": Format(
            nonce=Sent(),
            message=DatumEnvelope(container="vector", id_as="string", payload_as="string", tag_type="string"),
            dialect=Dialect("chicken-5"),
        ),
        "insecure-lines": plain.with_layers(framing=Unframed(newline=True)),
        "insecure-stream": plain.with_layers(framing=Unframed(newline=False), hello=Announcement("(hello #f)")),
        "insecure-netstrings": plain.with_layers(
            framing=Digits(10, ":", True),
            message=DatumEnvelope(
                order=("id", "tag", "datum"), tag_type="keyword", client_first=1, server_first=2, step=2
            ),
        ),
        "insecure-binary": plain.with_layers(
            framing=Integer(4, "big", True),
            message=BinaryEnvelope(),
            hello=NoHello(),
            dialect=Dialect("chicken-4-exact"),
        ),
        "insecure-announced": plain.with_layers(
            framing=Announced("dotted", "length", "\n"), hello=Announcement("insecure")
        ),
    }


def formats_with_base() -> dict[str, Format]:
    """Formats whose base of nonces stands in every place, beside every nonce of the session-key box, by name."""
    nonces = {"base": 1, RandomBase.NEXT: 2, "zero": 0, RandomBase.OWN_FRONT: 0, RandomBase.OWN_BEHIND: 0}
    out = {}
    for where in ("front", "behind", RandomBase.INSIDE, RandomBase.PACKET, RandomBase.FIELD):
        for key_box, first in nonces.items():
            if where == RandomBase.INSIDE and key_box in ("base", RandomBase.NEXT):
                continue  # a box is not made with what stands in it
            for server_base in ("the client's", RandomBase.ZEROS):
                out[f"{where}, {key_box}, {server_base}"] = Format(
                    encoding=Literal("blob"),
                    hello=TwoPackets() if where == RandomBase.PACKET else OneDatum("alist"),
                    nonce=RandomBase("little", where, key_box, first, 0, server_base),
                    session_key=_with_material(where == RandomBase.INSIDE),
                )
    for form in ("before", "blob", "u8vector", "string"):
        nonce = RandomBase("big", RandomBase.INSIDE, RandomBase.OWN_FRONT, 0, 1)
        out[f"inside, {form}"] = Format(nonce=nonce, session_key=TrailingMaterial(NONCE_BASE, NONCE_SIZE, form))
    return out


def _with_material(base: bool) -> SessionKey:
    return TrailingMaterial(NONCE_BASE, NONCE_SIZE) if base else RawKey()
