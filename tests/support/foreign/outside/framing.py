"""Framings that the table does not have."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..layers.framing import Framing, Integer, counted, number_in
from ..registry import OUTSIDE, Nonsense, strategy
from ..state import Shape

if TYPE_CHECKING:
    from ..format import Format


@strategy("framing", "byte stuffing", group=OUTSIDE)
@dataclass(frozen=True)
class Stuffed(Framing):
    """No length: a packet ends with a byte that does not occur in it, because it is escaped there (SLIP) or taken out
    (COBS).
    """

    how: str = "slip"

    @classmethod
    def draw(cls, rng: Random) -> Stuffed:
        return cls(rng.choice(["slip", "cobs"]))

    def text(self) -> str:
        return f"byte stuffing ({self.how.upper()})"

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.packet_type.kind != "none" and fmt.packet_type.place != "inside":
            yield "a type before the packet is stuffed, too"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        if self.how == "slip":
            return body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"
        out, block = bytearray(), bytearray()
        for byte in body + b"\0":
            if byte:
                block.append(byte)
            if not byte or len(block) == 254:
                out += bytes([len(block) + 1]) + block
                block.clear()
        return bytes(out) + b"\0"

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        body, found, _ = data.partition(b"\xc0" if self.how == "slip" else b"\0")
        if not found:
            return None
        used = len(body) + 1
        if self.how == "slip":
            return body.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"), used
        out, at = bytearray(), 0
        while at < len(body):
            size = body[at]
            out += body[at + 1 : at + size]
            at += size
            if size < 255:
                out.append(0)
        if at != len(body) or not out:
            raise Nonsense("a packet that was not stuffed")
        return bytes(out[:-1]) if out[-1] == 0 else bytes(out), used


@strategy("framing", "hidden length", group=OUTSIDE)
@dataclass(frozen=True)
class HiddenLength(Framing):
    """A u32 length under a mask that both sides know."""

    secret: str = "lengths"

    @classmethod
    def draw(cls, rng: Random) -> HiddenLength:
        return cls(f"lengths {rng.randrange(10**6)}")

    def text(self) -> str:
        return f"u32 big-endian under the first bytes of SHA-256 of {self.secret!r}"

    @property
    def _mask(self) -> int:
        return int.from_bytes(hashlib.sha256(self.secret.encode()).digest()[:4], "big")

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return (len(body) ^ self._mask).to_bytes(4, "big") + body

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if len(data) < 4:
            return None
        return counted(data, 4, int.from_bytes(data[:4], "big") ^ self._mask)


@strategy("framing", "checksum", group=OUTSIDE)
@dataclass(frozen=True)
class Checksum(Framing):
    """An integer length, and a CRC-32 behind the packet that is not counted."""

    width: int = 4
    counted: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Checksum:
        return cls(rng.choice([2, 4]), rng.random() < 0.5)

    def text(self) -> str:
        where = "counted" if self.counted else "not counted"
        return f"u{self.width * 8} big-endian; a CRC-32 behind the packet, {where}"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        check = zlib.crc32(body).to_bytes(4, "big")
        if self.counted:
            return Integer(self.width).wrap(body + check, shape)
        return Integer(self.width).wrap(body, shape) + check

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if len(data) < self.width:
            return None
        count = int.from_bytes(data[: self.width], "big") + (0 if self.counted else 4)
        taken = counted(data, self.width, count)
        if taken is None:
            return None
        body, check = taken[0][:-4], taken[0][-4:]
        if check != zlib.crc32(body).to_bytes(4, "big"):
            raise Nonsense("a packet with a wrong checksum")
        return body, taken[1]


@strategy("framing", "other digits", group=OUTSIDE)
@dataclass(frozen=True)
class OtherDigits(Framing):
    """A length in octal, or with something between the digits and the packet that the table does not name."""

    base: int = 8
    end: str = ":"

    @classmethod
    def draw(cls, rng: Random) -> OtherDigits:
        return cls(*rng.choice([(8, ":"), (8, "\n"), (10, ";"), (10, "\r\n"), (16, "\r\n\r\n"), (2, " ")]))

    def text(self) -> str:
        return f"digits of base {self.base} ended by {self.end!r}"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return f"{len(body):{ {2: 'b', 8: 'o', 10: 'd', 16: 'x'}[self.base] }}{self.end}".encode() + body

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        digits, found, _ = data[:48].partition(self.end.encode())
        if not found:
            if len(data) >= 48:
                raise Nonsense("a length that does not end")
            return None
        return counted(data, len(digits) + len(self.end), number_in(digits, self.base))
