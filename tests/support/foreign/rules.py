"""What does not go together: every reason for which a combination of strategies is senseless, so that none is drawn.

What a strategy itself knows of its neighbours it says in `objections`; here are the rules that belong to no layer,
and the trial that shows whether hello and short messages fit into the packets at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from .endpoint import Endpoint
from .format import Format
from .layers.encoding import STRING
from .layers.nonce import NONCE_BASE, RandomBase
from .layers.packet_type import ALONE, INSIDE, TypeSymbol
from .layers.session_key import TrailingMaterial
from .registry import CannotCarry
from .state import CLIENT, ERROR, NONCE_SIZE, Message

Rule = Callable[[Format], bool]

RULES: list[tuple[str, Rule]] = [
    (
        "a u8 length cannot carry boxes as u8vector or string literals: their size depends on chance",
        lambda fmt: fmt.secure and narrow(fmt) and getattr(fmt.encoding, "form", "") in ("u8vector", STRING),
    ),
    (
        "a u8 length cannot carry a session key as a literal with its box in a literal",
        lambda fmt: fmt.secure and narrow(fmt) and fmt.session_key.kind == "datum" and fmt.encoding.kind != "raw",
    ),
    (
        "a hello in one datum beside a u8 length needs a box form of a known size",
        lambda fmt: narrow(fmt) and getattr(fmt.hello, "box_form", "") in ("u8vector", STRING),
    ),
]


def narrow(fmt: Format) -> bool:
    """Whether a packet holds 255 bytes at most."""
    return getattr(fmt.framing, "width", 0) == 1


def coupled(fmt: Format) -> Format:
    """Makes the choices of two layers agree where only one of them is free."""
    if isinstance(fmt.packet_type, TypeSymbol):
        place = fmt.packet_type.place
        if fmt.framing.datums_only != (place == ALONE):
            wanted = TypeSymbol(**{**vars(fmt.packet_type), "place": ALONE if fmt.framing.datums_only else INSIDE})
            fmt = fmt.with_layers(packet_type=wanted)
    if fmt.secure and isinstance(fmt.nonce, RandomBase) and fmt.nonce.where == RandomBase.INSIDE:
        form = getattr(fmt.session_key, "form", "")  # a base in a list where a key alone would be a literal
        fmt = fmt.with_layers(session_key=TrailingMaterial(NONCE_BASE, NONCE_SIZE, form))
    return fmt


def objections(fmt: Format) -> Iterator[str]:
    """Every reason why `fmt` makes no sense; none if it does."""
    found = [reason for item in fmt.layers().values() for reason in item.objections(fmt)]
    found += [reason for reason, broken in RULES if broken(fmt)]
    yield from found
    if not found and not fits(fmt):
        yield "the hello, or a short message, does not fit into a packet"


LONG_USER = "u" * 32
SHORT_TEXT = "a message of forty characters, or so few"


def fits(fmt: Format) -> bool:
    """Whether hello, a short request and a short error can be sent."""
    try:
        random = Random(1).randbytes
        client = Endpoint(fmt, CLIENT, random=random, user=LONG_USER, passphrase=fmt.derivation.example)
        for message in (Message("request", 9999, ["echo", SHORT_TEXT]), Message(ERROR, 9999, SHORT_TEXT)):
            client.fmt.message.encode(message, client.dialect)
        if client.opened:
            client.request(["echo", SHORT_TEXT])
    except CannotCarry:
        return False
    return True
