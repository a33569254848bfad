"""What may be done to bytes: of a plaintext before it is boxed, of a box, of the whole stream."""

from __future__ import annotations

import base64
import binascii
import bz2
import lzma
import urllib.parse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..layers.encoding import BoxEncoding
from ..layers.granted import Body, Stream
from ..registry import OUTSIDE, Nonsense, strategy
from ..state import MESSAGE, State, other

if TYPE_CHECKING:
    from ..format import Format

SWAPPED = bytes((byte << 4 | byte >> 4) & 255 for byte in range(256))
"""Each byte with its two hex digits exchanged."""
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order."""
INVERTED = bytes(255 - byte for byte in range(256))
TABLES = {"nibbles swapped": SWAPPED, "bits mirrored": MIRRORED, "bits inverted": INVERTED}


def masked(data: bytes, mask: bytes, at: int = 0) -> bytes:
    """`data` under a mask that repeats itself and has been used for `at` bytes before."""
    size = len(mask)
    return bytes(byte ^ mask[(at + index) % size] for index, byte in enumerate(data))


# --- plaintexts ------------------------------------------------------------------------------------------------------


class _MessageBody(Body):
    """Only messages are changed: the session key stays as it is."""

    def change(self, data: bytes) -> bytes:
        """What is boxed."""
        raise NotImplementedError

    def unchange(self, data: bytes) -> bytes:
        """Undoes `change`; any exception if it cannot be undone."""
        raise NotImplementedError

    def outgoing(self, state: State, packet: str, plaintext: bytes) -> bytes:
        return self.change(plaintext) if packet == MESSAGE else plaintext

    def incoming(self, state: State, packet: str, data: bytes) -> bytes:
        if packet != MESSAGE:
            return data
        try:
            return self.unchange(data)
        except Exception as why:
            raise Nonsense(f"a message that is not {self.text()}: {why}") from None

    def objections(self, fmt: Format) -> Iterator[str]:
        if not fmt.secure and fmt.framing.datums_only:
            yield "without framing a message has to stay a datum"
        if fmt.framing.kind == "fixed pieces":
            yield "what is in a piece must keep its size"


@strategy("body", "compressed", group=OUTSIDE)
@dataclass(frozen=True)
class Compressed(_MessageBody):
    """Messages are compressed before they are boxed."""

    algorithm: str = "zlib"

    @classmethod
    def draw(cls, rng: Random) -> Compressed:
        return cls(rng.choice(["zlib", "deflate", "gzip", "bz2", "lzma"]))

    def text(self) -> str:
        return f"messages compressed ({self.algorithm})"

    def change(self, data: bytes) -> bytes:
        if self.algorithm in ("bz2", "lzma"):
            return bz2.compress(data) if self.algorithm == "bz2" else lzma.compress(data, check=lzma.CHECK_NONE)
        squeeze = zlib.compressobj(wbits={"zlib": 15, "deflate": -15, "gzip": 31}[self.algorithm])
        return squeeze.compress(data) + squeeze.flush()

    def unchange(self, data: bytes) -> bytes:
        if self.algorithm in ("bz2", "lzma"):
            return bz2.decompress(data) if self.algorithm == "bz2" else lzma.decompress(data)
        return zlib.decompress(data, wbits={"zlib": 15, "deflate": -15, "gzip": 31}[self.algorithm])


@strategy("body", "compressed as one stream", group=OUTSIDE)
@dataclass(frozen=True)
class StreamCompressed(Body):
    """Messages of a direction are one compressed stream: only the first can be understood alone."""

    def text(self) -> str:
        return "messages compressed (zlib), one stream for each direction"

    def outgoing(self, state: State, packet: str, plaintext: bytes) -> bytes:
        if packet != MESSAGE:
            return plaintext
        squeeze = state.memory.get("squeeze")
        # A copy, because a message that turns out not to fit must leave no trace.
        squeeze = squeeze.copy() if squeeze is not None else zlib.compressobj()
        data: bytes = squeeze.compress(plaintext) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        state.memory["squeeze"] = squeeze
        return data

    def incoming(self, state: State, packet: str, data: bytes) -> bytes:
        if packet != MESSAGE:
            return data
        try:
            plain: bytes = state.memory.setdefault("unsqueeze", zlib.decompressobj()).decompress(data)
        except zlib.error as why:
            raise Nonsense(str(why)) from None
        return plain

    def objections(self, fmt: Format) -> Iterator[str]:
        if not fmt.secure and fmt.framing.datums_only:
            yield "without framing a message has to stay a datum"


@strategy("body", "reversed", group=OUTSIDE)
@dataclass(frozen=True)
class Reversed(_MessageBody):
    """The last byte of a message comes first."""

    def text(self) -> str:
        return "the bytes of a message reversed"

    def change(self, data: bytes) -> bytes:
        return data[::-1]

    def unchange(self, data: bytes) -> bytes:
        return data[::-1]


@strategy("body", "masked", group=OUTSIDE)
@dataclass(frozen=True)
class Masked(_MessageBody):
    """Messages under a constant mask."""

    mask: tuple[int, ...] = (0x5A,)

    @classmethod
    def draw(cls, rng: Random) -> Masked:
        return cls(tuple(rng.randrange(1, 256) for _ in range(rng.choice([1, 4, 8]))))

    def text(self) -> str:
        return f"messages under the mask {bytes(self.mask).hex()}"

    def change(self, data: bytes) -> bytes:
        return masked(data, bytes(self.mask))

    def unchange(self, data: bytes) -> bytes:
        return masked(data, bytes(self.mask))


# --- boxes -----------------------------------------------------------------------------------------------------------


class _ChangedBox(BoxEncoding):
    """The bytes of a box, changed."""

    def encode(self, box: bytes) -> bytes:
        raise NotImplementedError

    def decode(self, body: bytes) -> bytes:
        raise NotImplementedError

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.hello.kind == "datum":
            yield "in a datum a box is a literal"


@strategy("encoding", "reversed", group=OUTSIDE)
@dataclass(frozen=True)
class ReversedBox(_ChangedBox):
    """The last byte of a box comes first."""

    def text(self) -> str:
        return "raw bytes, reversed"

    def encode(self, box: bytes) -> bytes:
        return box[::-1]

    def decode(self, body: bytes) -> bytes:
        return body[::-1]


@strategy("encoding", "changed bytes", group=OUTSIDE)
@dataclass(frozen=True)
class ChangedBytes(_ChangedBox):
    """Every byte of a box is exchanged for another."""

    how: str = "nibbles swapped"

    @classmethod
    def draw(cls, rng: Random) -> ChangedBytes:
        return cls(rng.choice(list(TABLES)))

    def text(self) -> str:
        return f"raw bytes, {self.how}"

    def encode(self, box: bytes) -> bytes:
        return box.translate(TABLES[self.how])

    def decode(self, body: bytes) -> bytes:
        return body.translate(TABLES[self.how])


@strategy("encoding", "words swapped", group=OUTSIDE)
@dataclass(frozen=True)
class SwappedWords(_ChangedBox):
    """The four bytes of each word of a box are reversed."""

    def text(self) -> str:
        return "raw bytes, each word of four reversed"

    def encode(self, box: bytes) -> bytes:
        return b"".join(box[at : at + 4][::-1] for at in range(0, len(box), 4))

    decode = encode


@strategy("encoding", "another text", group=OUTSIDE)
@dataclass(frozen=True)
class AnotherText(_ChangedBox):
    """A text encoding that the table does not name."""

    how: str = "base32"

    is_datum = True
    worst = 4.0

    @classmethod
    def draw(cls, rng: Random) -> AnotherText:
        return cls(rng.choice(["base32", "base85", "percent", "colons"]))

    def text(self) -> str:
        return {"percent": "percent-encoded text", "colons": "hex digits, a colon between bytes"}.get(
            self.how, self.how
        )

    def encode(self, box: bytes) -> bytes:
        if self.how == "percent":
            return urllib.parse.quote_from_bytes(box, safe="").encode()
        if self.how == "colons":
            return box.hex(":").encode()
        return base64.b32encode(box) if self.how == "base32" else base64.b85encode(box)

    def decode(self, body: bytes) -> bytes:
        try:
            if self.how == "percent":
                return urllib.parse.unquote_to_bytes(body)
            if self.how == "colons":
                return bytes(int(digits, 16) for digits in body.split(b":"))
            return base64.b32decode(body) if self.how == "base32" else base64.b85decode(body)
        except (ValueError, binascii.Error) as why:
            raise Nonsense(str(why)) from None

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if fmt.framing.datums_only:
            yield "some of these letters end a token"


# --- the stream ------------------------------------------------------------------------------------------------------


@strategy("stream", "masked", group=OUTSIDE)
@dataclass(frozen=True)
class MaskedStream(Stream):
    """The whole stream under a mask that repeats itself."""

    mask: tuple[int, ...] = (0x5A,)

    @classmethod
    def draw(cls, rng: Random) -> MaskedStream:
        return cls(tuple(rng.randrange(1, 256) for _ in range(rng.choice([1, 3, 4, 16]))))

    def text(self) -> str:
        return f"under the mask {bytes(self.mask).hex()}"

    def _through(self, state: State, role: str, data: bytes) -> bytes:
        name = f"stream of {role}"
        at: int = state.memory.get(name, 0)
        state.memory[name] = at + len(data)
        return masked(data, bytes(self.mask), at)

    def outgoing(self, state: State, data: bytes) -> bytes:
        return self._through(state, state.role, data)

    def incoming(self, state: State, data: bytes) -> bytes:
        return self._through(state, other(state.role), data)


@strategy("stream", "changed bytes", group=OUTSIDE)
@dataclass(frozen=True)
class ChangedStream(Stream):
    """Every byte of the stream is exchanged for another."""

    how: str = "bits inverted"

    @classmethod
    def draw(cls, rng: Random) -> ChangedStream:
        return cls(rng.choice(list(TABLES)))

    def text(self) -> str:
        return self.how

    def outgoing(self, state: State, data: bytes) -> bytes:
        return data.translate(TABLES[self.how])

    def incoming(self, state: State, data: bytes) -> bytes:
        return data.translate(TABLES[self.how])


@strategy("stream", "dummy bytes", group=OUTSIDE)
@dataclass(frozen=True)
class DummyBytes(Stream):
    """Behind every so many bytes of the stream there is one that means nothing."""

    every: int = 8

    @classmethod
    def draw(cls, rng: Random) -> DummyBytes:
        return cls(rng.choice([3, 8, 16, 31]))

    def text(self) -> str:
        return f"a byte that means nothing behind every {self.every}"

    def outgoing(self, state: State, data: bytes) -> bytes:
        out, at = bytearray(), state.memory.get("bytes out", 0)
        for byte in data:
            out.append(byte)
            at += 1
            if not at % self.every:
                out.append(at * 7 & 255)
        state.memory["bytes out"] = at
        return bytes(out)

    def incoming(self, state: State, data: bytes) -> bytes:
        at = state.memory.get("bytes in", 0)
        state.memory["bytes in"] = at + len(data)
        return bytes(byte for index, byte in enumerate(data, at) if index % (self.every + 1) != self.every)
