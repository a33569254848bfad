"""The compiled path of a batch, if the accelerator is installed: packets behind a u32, boxes with their nonce in front,
messages `(TAG ID DATUM)`.

What this module knows: which profiles can use it, and how it is bound to one connection. Every other profile, and
everything rare within these, uses the other modules here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeGuard, cast

from .._native import NATIVE
from ..sexpr.native import READER
from .boxes import BoxMaker, Seal, SentMaker
from .framing import Framing, IntegerLength, Splitter
from .framing._strategy import too_long
from .messages import MessageCodec, Read

__all__ = ["ALL", "TIME", "BatchSplitter", "Sealer", "bind", "is_batching", "make_sealer", "make_splitter"]

ALL: Final = 0
"""No whole packet is left."""
TIME: Final = 1
"""As much was read as was allowed."""
# Anything else: the next packet is for Python.

_USUAL: Final = IntegerLength()
"""The only framing that is compiled."""


class BatchSplitter(Splitter, Protocol):
    """A splitter that reads messages too, once it is bound."""

    def bind(self, *form: Any) -> None:
        """From here on it reads messages: see `bind` below."""

    def batch(self, messages: list[Any], budget: int) -> int:
        """Append messages until their bytes are more than `budget`; why it has stopped: `ALL`, `TIME`, or another."""

    def alone(self, data: bytes) -> Read | None:
        """The message, if `data` is its packet and nothing else, and nothing is left from before. `None`: nothing was
        taken."""


class Sealer(Protocol):
    """Makes the bytes to send."""

    def packet(self, piece: bytes) -> bytes | None:
        """Those of one message, or of a piece that is sent as it is. `None`: it is large, and nothing has happened."""

    def sealed(self, outgoing: list[bytes], seal: Seal | None) -> bytes | None:
        """Those of a list of messages, and of pieces that are sent as they are.

        `seal`: makes the packet of one large message. Without it, `None` is returned where there is one, and nothing
        has happened.
        """


def make_splitter(framing: Framing, limit: int) -> Splitter:
    """The receiving side of a framing, compiled if it can be."""
    if READER is not None and framing == _USUAL:
        return cast(Splitter, NATIVE.Splitter(limit, too_long))
    return framing.splitter(limit)


def is_batching(splitter: Splitter) -> TypeGuard[BatchSplitter]:
    """Whether it is compiled."""
    return READER is not None and isinstance(splitter, NATIVE.Splitter)


def bind(
    splitter: Splitter,
    codec: MessageCodec,
    boxes: BoxMaker | None,
    key: bytes | None,
    guard: bool,
    most: int,
    each: int,
) -> Callable[[list[Any], int], int] | None:
    """Let a splitter read messages.

    Args:
        splitter: the connection's.
        codec: of its messages.
        boxes: its nonces; `None` where packets are messages.
        key: of the boxes.
        guard: whether this side's own boxes are to be refused.
        most: bytes of the longest packet that is read at once.
        each: what a message counts beside its bytes.

    Returns:
        `BatchSplitter.batch`; `None` if there is no compiled path.
    """
    form = codec.form
    if form is None or form.read is not codec.read or not is_batching(splitter):
        return None
    own = None
    if boxes is not None:
        nonces = _in_front(boxes)
        if nonces is None:
            return None
        own = nonces[1] if guard else None
    memory = form.memory - form.head
    if memory < 0:
        return None
    depth, memory = min(form.depth, _MOST), min(memory, _MOST)
    splitter.bind(READER, key, own, form.tags, form.version, depth, memory, form.head, most, each)
    return splitter.batch


_MOST: Final = (1 << 62) - 1


def _in_front(boxes: BoxMaker) -> tuple[Callable[[], bytes], bytes | None] | None:
    # The class itself: a subclass of it may work differently.
    return boxes.in_front() if type(boxes) is SentMaker else None


def make_sealer(framing: Framing, boxes: BoxMaker, key: bytes) -> Sealer | None:
    """What makes the bytes to send.

    Args:
        framing: the connection's.
        boxes: its nonces.
        key: the session key.
    """
    nonces = _in_front(boxes)
    if READER is None or nonces is None or framing != _USUAL:
        return None
    return cast(Sealer, NATIVE.Sealer(key, nonces[0]))
