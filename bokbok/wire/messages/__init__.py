"""Messages: requests and answers as datums.

What this package knows: the form of a message, and when a broken one costs a request and when the connection.

Where its facts come from: that messages are s-expressions, that something in them matches answers to requests, and
that a handler's error travels back as a string is *stated* or *certain* (API reference); `(request ID DATUM)`,
`(response ID DATUM)` and `(error ID "message")` are choices of `inferred-1`. The other forms are for profiles of peers
that differ from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._later import lazily
from ._shapes import Shapes
from ._strategy import (
    ERROR,
    MAX_ID,
    REQUEST,
    RESPONSE,
    Brief,
    InPieces,
    MessageCodec,
    Messages,
    Read,
    Unreadable,
    forget_codecs,
    legible,
)

if TYPE_CHECKING:
    from ._binary import BinaryHeader

    MESSAGES: tuple[type[Messages], ...]
    """The forms of messages that a profile file may name."""

__all__ = [
    "ERROR",
    "MAX_ID",
    "MESSAGES",
    "REQUEST",
    "RESPONSE",
    "BinaryHeader",
    "Brief",
    "InPieces",
    "MessageCodec",
    "Messages",
    "Read",
    "Shapes",
    "Unreadable",
    "forget_codecs",
    "legible",
]

_WHERE = {"_binary": ["BinaryHeader"]}
_TABLES = {"MESSAGES": ["Shapes", "BinaryHeader"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE, _TABLES)
