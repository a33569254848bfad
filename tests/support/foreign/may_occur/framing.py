"""Framings that may occur: lengths that leave something out, pieces, chunks, another framing for the hello."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..layers.framing import Framing, Integer, counted
from ..layers.hello import PLAIN, TwoPackets
from ..layers.packet_type import INSIDE
from ..registry import MAY_OCCUR, CannotCarry, Nonsense, strategy
from ..sexpr import BadDatum, Incomplete, read_prefix
from ..state import HELLO, KEY, KEY_SIZE, Shape

if TYPE_CHECKING:
    from ..format import Format

WIDTHS = [2, 4, 4]
ENDIANS = ["big", "little"]


def _plain_boxes(fmt: Format) -> Iterator[str]:
    if not fmt.secure or fmt.encoding.kind != "raw":
        yield "the framing looks into boxes of raw bytes"


@dataclass(frozen=True)
class _Length(Framing):
    width: int = 4
    endian: str = "big"

    @classmethod
    def draw(cls, rng: Random) -> _Length:
        return cls(rng.choice(WIDTHS), rng.choice(ENDIANS))


class _LeavesOut(_Length):
    """An integer length that does not count a part of a box."""

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from _plain_boxes(fmt)

    def _uncounted(self, shape: Shape) -> int:
        raise NotImplementedError

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        wrapped = Integer(self.width, self.endian).wrap(body[self._uncounted(shape) :], shape)
        return wrapped[: self.width] + body

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if len(data) < self.width:
            return None
        count = int.from_bytes(data[: self.width], self.endian)  # type: ignore[arg-type]
        return counted(data, self.width, count + self._uncounted(shape))


@strategy("framing", "length without nonce", group=MAY_OCCUR)
@dataclass(frozen=True)
class WithoutNonce(_LeavesOut):
    """The length counts what follows, but the nonce."""

    def text(self) -> str:
        return f"u{self.width * 8} {self.endian}-endian, counting what follows but the nonce"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if fmt.nonce.kind != "sent":
            yield "there is no nonce to leave out"

    def _uncounted(self, shape: Shape) -> int:
        return shape.nonce + shape.nonce_behind


@strategy("framing", "length without tag", group=MAY_OCCUR)
@dataclass(frozen=True)
class WithoutTag(_LeavesOut):
    """The length counts what follows, but the tag."""

    def text(self) -> str:
        return f"u{self.width * 8} {self.endian}-endian, counting what follows but the tag"

    def _uncounted(self, shape: Shape) -> int:
        return shape.tag


@strategy("framing", "length after nonce", group=MAY_OCCUR)
@dataclass(frozen=True)
class AfterNonce(_LeavesOut):
    """First the nonce, then the length of the rest, then the rest."""

    def text(self) -> str:
        return f"u{self.width * 8} {self.endian}-endian, behind the nonce and counting what follows it"

    def objections(self, fmt: Format) -> Iterator[str]:
        yield from super().objections(fmt)
        if fmt.nonce.kind != "sent" or fmt.nonce.where != "front":
            yield "there is no nonce in front"
        if fmt.packet_type.kind != "none" and fmt.packet_type.place == INSIDE:
            yield "a type inside would come between"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return body[: shape.nonce] + Integer(self.width, self.endian).wrap(body[shape.nonce :], shape)

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if len(data) < shape.nonce:
            return None
        taken = Integer(self.width, self.endian).unwrap(data[shape.nonce :], shape)
        return taken and (data[: shape.nonce] + taken[0], shape.nonce + taken[1])


@strategy("framing", "fixed pieces", group=MAY_OCCUR)
@dataclass(frozen=True)
class FixedPieces(Framing):
    """No length: every packet has the same size, messages are padded with spaces and cut into as many as it takes."""

    size: int = 64

    @classmethod
    def draw(cls, rng: Random) -> FixedPieces:
        return cls(rng.choice([48, 64, 128, 256, 512]))

    def text(self) -> str:
        return f"pieces of {self.size} bytes (before boxing) with no length, padded with spaces (the hello with zeros)"

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.secure:
            yield from _plain_boxes(fmt)
        if fmt.packet_type.kind != "none" or not fmt.message.is_text or fmt.message.parts > 1:
            yield "pieces hold the text of messages and nothing else"
        if fmt.body.kind != "plain":
            yield "what is in a piece must keep its size"
        if fmt.secure and (fmt.session_key.kind == "datum" or fmt.session_key.trailing):
            yield "the session key's piece holds 32 bytes"
        if fmt.hello.kind not in ("two packets", "none", "announced"):
            yield "the session key has a piece of its own"
        if fmt.secure and fmt.nonce.base_packet:
            yield "a base may end with the zeros that fill a piece"
        if getattr(fmt.hello, "username", PLAIN) == "NUL-ended" or getattr(fmt.hello, "literal", "x")[-1:] == "\0":
            yield "a NUL is padding"
        if fmt.hello.kind == "announced" and not getattr(fmt.hello, "literal", ""):
            yield "an announcement of zeros says nothing"

    def _size(self, shape: Shape) -> int:
        inside = KEY_SIZE if shape.packet == KEY else self.size
        return inside + shape.nonce + shape.tag + shape.nonce_behind

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        size = self._size(shape)
        if len(body) > size:
            raise CannotCarry(f"{len(body)} bytes in a packet of {size}")
        return body.ljust(size, b"\0")

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        taken = counted(data, 0, self._size(shape))
        if taken is not None and shape.packet == HELLO:
            return taken[0].rstrip(b"\0"), taken[1]
        return taken

    def pieces(self, plaintext: bytes) -> list[bytes]:
        padded = plaintext + b" " * (-len(plaintext) % self.size)
        return [padded[at : at + self.size] for at in range(0, len(padded), self.size)]

    def gather(self, so_far: bytearray, piece: bytes) -> bytes | None:
        so_far += piece
        if not piece.rstrip(b" ").endswith(b")"):
            return None  # a message is a list, a pair or a vector: no need to look closer
        try:
            read_prefix(bytes(so_far))
        except Incomplete:
            return None
        except BadDatum as why:
            raise Nonsense(str(why)) from None
        whole = bytes(so_far)
        so_far.clear()
        return whole


@strategy("framing", "another for the hello", group=MAY_OCCUR)
@dataclass(frozen=True)
class OtherForHello(Framing):
    """An integer length, but another width or byte order for the hello."""

    hello_width: int = 2
    hello_endian: str = "big"
    width: int = 4
    endian: str = "big"

    @classmethod
    def draw(cls, rng: Random) -> OtherForHello:
        while True:
            drawn = cls(rng.choice([1, 2, 4]), rng.choice(ENDIANS), rng.choice(WIDTHS), rng.choice(ENDIANS))
            if drawn.hello_width != drawn.width:
                return drawn

    def text(self) -> str:
        return (
            f"u{self.hello_width * 8} {self.hello_endian}-endian for the hello, u{self.width * 8} {self.endian}-endian "
            "for what follows"
        )

    def objections(self, fmt: Format) -> Iterator[str]:
        if not fmt.secure:
            yield "the hello is what differs"

    def _framing(self, shape: Shape) -> Integer:
        if shape.packet in (HELLO, KEY):
            return Integer(self.hello_width, self.hello_endian)
        return Integer(self.width, self.endian)

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return self._framing(shape).wrap(body, shape)

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        return self._framing(shape).unwrap(data, shape)


@strategy("framing", "username line", group=MAY_OCCUR)
@dataclass(frozen=True)
class UsernameLine(_Length):
    """The username's packet is a line; what follows has an integer length."""

    def text(self) -> str:
        return f"the username's packet is a line, then u{self.width * 8} {self.endian}-endian"

    def objections(self, fmt: Format) -> Iterator[str]:
        hello = fmt.hello
        if not isinstance(hello, TwoPackets) or hello.username == "length byte" or "\n" in hello.literal:
            yield "a line holds text"
        if fmt.nonce.base_packet:
            yield "a base is not a line"
        if fmt.packet_type.kind == "symbol" and getattr(fmt.packet_type, "between", "") == "\n":
            yield "a type that ends a line would end this one"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        if shape.packet == HELLO:
            if b"\n" in body:
                raise CannotCarry("a newline in a line")
            return body + b"\n"
        return Integer(self.width, self.endian).wrap(body, shape)

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if shape.packet != HELLO:
            return Integer(self.width, self.endian).unwrap(data, shape)
        line, found, _ = data.partition(b"\n")
        return (line, len(line) + 1) if found else None


@strategy("framing", "chunks", group=MAY_OCCUR)
@dataclass(frozen=True)
class Chunks(Framing):
    """Chunks, each with a flag that says whether it is the last one, and a u16 length."""

    size: int = 256
    last: int = 1
    endian: str = "big"

    @classmethod
    def draw(cls, rng: Random) -> Chunks:
        return cls(rng.choice([64, 256, 1024, 4096]), rng.choice([0, 1, 0x80]), rng.choice(ENDIANS))

    def text(self) -> str:
        flag = f"a flag (the last one's is {self.last})"
        return f"chunks of up to {self.size} bytes: {flag}, a u16 {self.endian}-endian, bytes"

    @property
    def _more(self) -> int:
        return 0 if self.last else 1

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        chunks = [body[at : at + self.size] for at in range(0, len(body), self.size)] or [b""]
        flags = [self._more] * (len(chunks) - 1) + [self.last]
        return b"".join(
            bytes([flag]) + len(chunk).to_bytes(2, self.endian) + chunk  # type: ignore[arg-type]
            for flag, chunk in zip(flags, chunks, strict=True)
        )

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        body, at = bytearray(), 0
        while len(data) >= at + 3:
            flag, size = data[at], int.from_bytes(data[at + 1 : at + 3], self.endian)  # type: ignore[arg-type]
            if flag not in (self.last, self._more):
                raise Nonsense(f"a chunk with the flag {flag}")
            if len(data) < at + 3 + size:
                return None
            body += data[at + 3 : at + 3 + size]
            at += 3 + size
            if flag == self.last:
                return bytes(body), at
        return None
