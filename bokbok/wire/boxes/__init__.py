"""Boxes: bytes that only the holder of a key can make or open, and the nonces that they need.

What this package knows: XSalsa20-Poly1305 as NaCl's secretbox orders it, where a nonce lies, how a side picks its
nonces and learns those of the other's.

Where its facts come from: NaCl fixes the box: a 32-byte key, a 24-byte nonce, the 16-byte tag in front of the
ciphertext. That the egg uses this box follows from its requirement of the `tweetnacl` egg and is *likely*; that no
zero padding is sent, and that the nonce stands in front, is *likely* too (the same author's other program on that egg
puts it there). How the nonces of `inferred-1` are made (16 random bytes and a counter) is a choice of this project: a
receiver takes any nonce. The other strategies are for profiles of peers that differ from it.

A strategy's `start` begins one side of one connection and returns a `BoxMaker`, which binds keys to functions. A
profile whose nonces repeat says so in `leaks`, and a connection refuses it unless it is told otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._later import lazily
from ._box import (
    BOX_OVERHEAD,
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Draw,
    Head,
    Open,
    PrefixCounter,
    Seal,
    box_opener,
    box_sealer,
)
from ._sent import Sent, SentMaker
from ._strategy import BoxMaker, NonceScheme, Role

if TYPE_CHECKING:
    from ._counted import Counted

    NONCES: tuple[type[NonceScheme], ...]
    """The strategies of nonces that a profile file may name."""

__all__ = [
    "BOX_OVERHEAD",
    "KEY_BYTES",
    "NONCES",
    "NONCE_BYTES",
    "TAG_BYTES",
    "BoxMaker",
    "Counted",
    "Draw",
    "Head",
    "NonceScheme",
    "Open",
    "PrefixCounter",
    "Role",
    "Seal",
    "Sent",
    "SentMaker",
    "box_opener",
    "box_sealer",
]

_WHERE = {"_counted": ["Counted"]}
_TABLES = {"NONCES": ["Sent", "Counted"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE, _TABLES)
