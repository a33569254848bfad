"""The half of a connection that takes bytes apart: packets, their boxes, their messages.

What this module knows: the way from bytes to messages, and how to stop on it and go on. What a message means to the
conversation is `_connection`'s. Nothing here is shared with the writing side, so a front end with threads reads without
the lock that its writers need: one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from ..errors import RemoteProtocolError
from ..sexpr import PIECE
from ._native import ALL, TIME, BatchSplitter, is_batching
from .boxes import BoxMaker
from .framing import PausingSplitter, Splitter
from .framing._fixed import FixedSplitter
from .messages import InPieces, MessageCodec, Read
from .packets import Wrap

__all__ = ["MESSAGE", "Batch", "ReadAlone", "Reading", "make_reading"]

Batch = list["Read | RemoteProtocolError"]
"""Messages in the order in which they came; an error, after which nothing is read, can only be the last."""

ReadAlone = Callable[[bytes], "Read | RemoteProtocolError | None"]

_EVERYTHING = 1 << 62
"""More bytes than there are."""
MESSAGE = 64
"""What a message counts beside its bytes until the clock is looked at: about 60 small ones, 0.2 ms."""


class Reading:
    """Takes bytes, gives messages.

    Attributes:
        splitter: tells packets apart.
        unwrap: makes a message's body of a packet; `None` for: as it is.
        batch: the compiled path for the packets that come next, as far as it goes; `None` if there is none.
        more: whether there may be something to read without further bytes: reading has stopped because its time was
            over.
        begun: whether a long message was read in part. Without that, one that comes next is still as it came: bytes.
        clear: whether nothing is there but whole messages; not told by all that reads.
        received: whether anything has come.
        boxes: the nonces with which `unwrap` is made once there is a packet for it, since `batch` takes nearly all;
            `None` if it was made.
        key: of these boxes.
        refuse_own: see `BoxMaker.opener`.
    """

    __slots__ = (
        "_codec", "_failed", "_opened", "_pausing", "_pieces", "_read", "_size", "_taken", "batch", "begun", "boxes",
        "clear", "key", "more", "received", "refuse_own", "splitter", "unwrap",
    )  # fmt: skip

    def __init__(self, splitter: Splitter, codec: MessageCodec) -> None:
        self.splitter = splitter
        self.unwrap: Wrap | None = None
        self.batch: Callable[[list[Any], int], int] | None = None
        self.more = self.begun = False
        self._codec = codec
        self._pausing = cast(PausingSplitter, splitter) if hasattr(splitter, "piece") else None
        self._pieces: InPieces | None = None  # the message that is being read
        self._size = 0  # its bytes
        self._taken = 0  # bytes of memory that it has taken so far
        self._failed = False
        self._opened = b""  # what `read_alone` has begun with
        self._read = codec.read
        self.clear = False
        self.received = False
        self.boxes: BoxMaker | None = None
        self.key = b""
        self.refuse_own = False

    @property
    def long(self) -> int:
        """The bytes of the long message that comes next, or whose rest does; 0: none does."""
        return self._size

    def read(self, seconds: float | None, begin: bool = True) -> Batch:
        """Read messages.

        Args:
            seconds: stop about then; `None` for no limit. What is read at least is a small message, or a piece of a
                long one.
            begin: whether a long message may be begun. Without that, and with a limit, one that comes next stays
                bytes, and reading stops there.
        """
        batch: Batch = []
        self.clear = False
        if self._failed:
            return batch
        try:
            if seconds is None:
                self._read_all(batch)
            else:
                self._read_until(perf_counter() + seconds, begin, batch)
        except RemoteProtocolError as error:
            self.drop()
            batch.append(error)
        return batch

    def read_alone(self, data: bytes) -> Read | RemoteProtocolError | None:
        """Take bytes and read them, if they are one packet and nothing else, as they mostly are, and it is short, or a
        string.

        Returns:
            The message, or the error that this is. `None`: `feed` and `read` are for it.
        """
        return None  # this splitter cannot tell

    def _make_unwrap(self) -> Wrap | None:
        assert self.boxes is not None
        self.unwrap = self.boxes.opener(self.key, refuse_own=self.refuse_own)
        self.boxes = None
        return self.unwrap

    def feed(self, data: bytes) -> None:
        """Take bytes, unless `read_alone` has them already."""
        self.received = True
        opened, self._opened = self._opened, b""
        if data is not opened:
            self.splitter.feed(data)

    def _read_all(self, batch: Batch) -> None:
        if self._pieces is not None:
            self._go_on(None, batch)
        # What every message goes through, in one loop, by local names.
        next_packet, unwrap, read, compiled = self.splitter.next, self.unwrap, self._codec.read, self.batch
        while compiled is None or compiled(batch, _EVERYTHING) != ALL:
            packet = next_packet()
            if packet is None:
                break
            if compiled is not None and self.boxes is not None:
                unwrap = self._make_unwrap()
            batch.append(read(packet if unwrap is None else unwrap(packet)))
        self.more = False

    def _read_until(self, deadline: float, begin: bool, batch: Batch) -> None:
        # `_read_all`, with a look at the clock after some bytes, and long messages in pieces.
        self.more = True
        if self._pieces is not None and not ((begin or self.begun) and self._go_on(deadline, batch)):
            return
        pausing, unwrap, read, compiled = self._pausing, self.unwrap, self._codec.read, self.batch
        next_packet, now, left = self.splitter.next, perf_counter, PIECE
        if pausing is not None:
            pausing.piece = PIECE
        try:
            while True:
                if compiled is not None:
                    # As many packets as `PIECE` allows in one call. It stops before one that is not plain, which then
                    # takes the steps below, and makes the error if there is one.
                    reason = compiled(batch, PIECE)
                    if reason == ALL:
                        self.more = False
                        return
                    if reason == TIME:
                        if now() >= deadline:
                            return
                        continue
                    left = 0  # what is rare is followed by a look at the clock
                    if self.boxes is not None:
                        unwrap = self._make_unwrap()
                packet = next_packet()
                if packet is None:
                    if pausing is None or not pausing.paused:
                        self.more = False
                        return
                    left = 0
                else:
                    size = len(packet)
                    body = packet if unwrap is None else unwrap(packet)
                    packet = None  # a long one is let go of before it is read
                    if size <= PIECE:
                        # A small message is read in one piece, and the clock is asked once in many of them.
                        batch.append(read(body))
                        left -= size + MESSAGE
                        if left > 0:
                            continue
                    else:
                        # A long one may take longer than the turn: its generator stops at each piece.
                        self._pieces, self._size = self._codec.read_in_pieces(body), size
                        if not begin or now() >= deadline or not self._go_on(deadline, batch):
                            return
                if now() >= deadline:
                    return
                left = PIECE
        finally:
            if pausing is not None:
                pausing.piece = 0

    def _go_on(self, deadline: float | None, batch: Batch) -> bool:
        """Read on in a long message. False if the time was over before it was whole."""
        pieces = self._pieces
        assert pieces is not None
        self.begun = True
        try:
            while True:
                taken = next(pieces)
                if taken is not None:
                    self._taken = taken
                if deadline is not None and perf_counter() >= deadline:
                    return False
        except StopIteration as end:
            self._pieces, self._size, self._taken, self.begun = None, 0, 0, False
            batch.append(end.value)
            return True

    def drop(self) -> None:
        """Read nothing more, and keep nothing of what has come."""
        if self._pieces is not None:
            self._pieces.close()
        self._pieces, self._size, self._taken, self.begun = None, 0, 0, False
        self.splitter.rest()
        self.more, self._failed = False, True

    def held(self) -> int:
        """Estimated bytes of memory of what has come and was not returned: parts of packets and of a message."""
        if self._pieces is None:
            return self.splitter.held()
        return self.splitter.held() + self._size + self._taken


class _AloneReading(Reading):
    """The same where the splitter can tell whether some bytes are one packet and nothing else."""

    __slots__ = ()
    splitter: FixedSplitter

    def read_alone(self, data: bytes) -> Read | RemoteProtocolError | None:
        """See `Reading.read_alone`."""
        # The plain version is `feed` and `read`, which take twice as many steps for one message.
        if self.more or self._failed:
            return None
        packet = self.splitter.alone(data)
        if packet is None:
            return None
        self.received = self.clear = True
        unwrap = self.unwrap
        try:
            body = packet if unwrap is None else unwrap(packet)
            if len(data) <= PIECE:
                return self._read(body)
            size, packet = len(packet), None  # a long one is let go of before it is read
            string = self._codec.read_string(body)
        except RemoteProtocolError as error:
            self.drop()
            return error
        if string is None:
            # It may take longer than a turn: `read` goes on with it.
            self._opened = data
            self._pieces, self._size, self.more, self.clear = self._codec.read_in_pieces(body), size, True, False
        return string


class _CompiledReading(Reading):
    """The same with the accelerator: of what is plain, and once `batch` is bound."""

    __slots__ = ()
    splitter: BatchSplitter

    def read_alone(self, data: bytes) -> Read | RemoteProtocolError | None:
        """See `Reading.read_alone`."""
        if self.more or self._failed:
            return None
        message = self.splitter.alone(data)
        if message is not None:
            self.received = self.clear = True
        return message


def make_reading(splitter: Splitter, codec: MessageCodec) -> Reading:
    """What reads from this splitter."""
    if isinstance(splitter, FixedSplitter):
        return _AloneReading(splitter, codec)
    return (_CompiledReading if is_batching(splitter) else Reading)(splitter, codec)
