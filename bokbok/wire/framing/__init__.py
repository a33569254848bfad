"""Framing: where a packet begins and ends in a stream of bytes.

Where its facts come from: that the egg has a packet layer of its own is *certain* (its file list names
`bokbok-packet.scm`); its form is unknown. `u32 big-endian, counting what follows` is the choice of `inferred-1`. The
other framings are for profiles of peers that differ from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._later import lazily
from .._integers import INTEGERS
from ._length import IntegerLength
from ._preamble import Preamble
from ._strategy import Framing, Head, PausingSplitter, Splitter, Write

if TYPE_CHECKING:
    from ._counted import CountedFraming
    from ._datums import Datums
    from ._lines import Lines
    from ._text_length import TextLength

    FRAMINGS: tuple[type[Framing], ...]
    """The framings that a profile file may name."""

__all__ = [
    "FRAMINGS",
    "INTEGERS",
    "CountedFraming",
    "Datums",
    "Framing",
    "Head",
    "IntegerLength",
    "Lines",
    "PausingSplitter",
    "Preamble",
    "Splitter",
    "TextLength",
    "Write",
]

_WHERE = {
    "_counted": ["CountedFraming"],
    "_datums": ["Datums"],
    "_lines": ["Lines"],
    "_text_length": ["TextLength"],
}
_TABLES = {"FRAMINGS": ["IntegerLength", "TextLength", "Lines", "Datums"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE, _TABLES)
