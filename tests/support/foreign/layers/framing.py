"""Framing: where a packet begins and ends in the stream. It knows byte counts; it does not know what a packet holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..registry import CannotCarry, Nonsense, Strategy, strategy
from ..sexpr import BadDatum, Dotted, Incomplete, Symbol, read_prefix, write
from ..state import Shape

if TYPE_CHECKING:
    from ..format import Format

LIMIT = 16 * 2**20
"""Longer packets are taken for nonsense: the default of inferred-1."""


class Framing(Strategy):
    """How packets follow each other. `unwrap` is asked again with more bytes while it returns None."""

    datums_only = False
    """True where a packet ends because its datum does."""

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        """The packet with what says where it ends.

        Raises:
            CannotCarry: it cannot be said.
        """
        raise NotImplementedError

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        """The first packet's body and how many bytes it took, None if it is not complete.

        Raises:
            Nonsense: no packet begins like this.
        """
        raise NotImplementedError

    def pieces(self, plaintext: bytes) -> list[bytes]:
        """What goes into a packet each: normally a message as a whole."""
        return [plaintext]

    def gather(self, so_far: bytearray, piece: bytes) -> bytes | None:
        """Undoes `pieces`, piece by piece; None while some are missing."""
        return piece


def counted(data: bytes, at: int, count: int) -> tuple[bytes, int] | None:
    """`count` bytes from `at` on, once they are there."""
    if not 0 <= count <= LIMIT:
        raise Nonsense(f"a packet of {count} bytes")
    end = at + count
    return (data[at:end], end) if len(data) >= end else None


def number_in(digits: bytes, base: int) -> int:
    """The number that these digits are."""
    try:
        return int(digits, base)
    except ValueError:
        raise Nonsense(f"{digits!r} where digits belong") from None


@strategy("framing", "integer", weight=5)
@dataclass(frozen=True)
class Integer(Framing):
    """A length of 1, 2, 4 or 8 bytes in front."""

    width: int = 4
    endian: str = "big"
    counts_itself: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Integer:
        width = rng.choice([1, 2, 2, 4, 4, 4, 8])
        return cls(width, "big" if width == 1 else rng.choice(["big", "little"]), rng.random() < 0.4)

    def text(self) -> str:
        endian = "" if self.width == 1 else f" {self.endian}-endian"
        return f"u{self.width * 8}{endian}, counting {'itself too' if self.counts_itself else 'what follows'}"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        count = len(body) + self.width * self.counts_itself
        if count >= 256**self.width:
            raise CannotCarry(f"{len(body)} bytes in a packet of u{self.width * 8}")
        return count.to_bytes(self.width, self.endian) + body  # type: ignore[arg-type]

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        if len(data) < self.width:
            return None
        count = int.from_bytes(data[: self.width], self.endian)  # type: ignore[arg-type]
        return counted(data, self.width, count - self.width * self.counts_itself)


@strategy("framing", "leb128")
@dataclass(frozen=True)
class Leb128(Framing):
    """An unsigned LEB128 length, counting what follows: seven bits a byte, the lowest first."""

    def text(self) -> str:
        return "LEB128, counting what follows"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        out, count = bytearray(), len(body)
        while count >= 128:
            out.append(count & 127 | 128)
            count >>= 7
        out.append(count)
        return bytes(out) + body

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        count = 0
        for index, byte in enumerate(data[:10]):
            count |= (byte & 127) << 7 * index
            if byte < 128:
                return counted(data, index + 1, count)
        if len(data) >= 10:
            raise Nonsense("a LEB128 length that does not end")
        return None


@strategy("framing", "digits", weight=3)
@dataclass(frozen=True)
class Digits(Framing):
    """A length in digits, ended by one byte: with a colon, decimal and a comma behind the packet, a netstring."""

    base: int = 10
    end: str = ":"
    comma: bool = False
    upper: bool = False
    padded: int = 0

    @classmethod
    def draw(cls, rng: Random) -> Digits:
        base, end = rng.choice([10, 16]), rng.choice(["\n", " ", ":"])
        comma = end == ":" and rng.random() < (0.5 if base == 10 else 0.1)
        upper = base == 16 and rng.random() < 0.2
        padded = 0 if comma or rng.random() < 0.8 else rng.choice([4, 6, 8])
        return cls(base, end, comma, upper, padded)

    def text(self) -> str:
        name = "decimal" if self.base == 10 else "HEX" if self.upper else "hex"
        end = {"\n": "a newline", " ": "a space", ":": "a colon"}[self.end]
        padded = f", padded with zeros to {self.padded}" if self.padded else ""
        comma = f", a comma behind the packet{' (netstring)' if self.base == 10 else ''}" if self.comma else ""
        return f"{name} digits ended by {end}{padded}{comma}"

    def readings(self) -> list[str]:
        found = []
        if self.upper:
            found.append("the hex digits of a length are upper case")
        if self.padded:
            found.append("the digits of a length are padded with zeros to a fixed width")
        if self.comma and self.base == 16:
            found.append("a netstring with a hex length")
        return found

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        digits = f"{len(body):0{self.padded}{'d' if self.base == 10 else 'X' if self.upper else 'x'}}"
        if self.padded and len(digits) > self.padded:
            raise CannotCarry(f"{len(body)} bytes in a packet of {self.padded} digits")
        return digits.encode() + self.end.encode() + body + b"," * self.comma

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        digits, found, _ = data[:17].partition(self.end.encode())
        if not digits.isalnum() and (digits or found):
            raise Nonsense(f"{digits!r} where digits belong")
        if not found:
            if len(digits) > 16:
                raise Nonsense("a length that does not end")
            return None
        count = number_in(digits, self.base)
        if not self.comma:
            return counted(data, len(digits) + 1, count)
        taken = counted(data, len(digits) + 1, count + 1)
        if taken is None:
            return None
        if not taken[0].endswith(b","):
            raise Nonsense("no comma behind a netstring")
        return taken[0][:-1], taken[1]


@strategy("framing", "none", weight=2)
@dataclass(frozen=True)
class Unframed(Framing):
    """No framing: one datum after another, with a newline behind each or nothing."""

    newline: bool = True

    datums_only = True

    @classmethod
    def draw(cls, rng: Random) -> Unframed:
        return cls(rng.random() < 0.6)

    def text(self) -> str:
        return f"none: one datum after another, {'a newline' if self.newline else 'nothing'} between"

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return body + b"\n" * self.newline

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        try:
            _, end = read_prefix(data)
        except Incomplete:
            return None
        except BadDatum as why:
            raise Nonsense(str(why)) from None
        if not self.newline:
            return data[:end], end
        if len(data) == end:
            return None
        if data[end : end + 1] != b"\n":
            raise Nonsense("no newline behind a datum")
        return data[:end], end + 1

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.packet_type.kind == "byte":
            yield "without framing the stream is datums, and a type byte is none"
        if fmt.secure and not fmt.encoding.is_datum:
            yield "without framing a box has to be a datum"
        if fmt.secure and not self.newline and not fmt.encoding.ends_itself:
            yield "with nothing between datums a bare token has no end"
        if not fmt.secure and not fmt.message.is_text:
            yield "without framing a message has to be a datum"
        yield from fmt.hello.unframed_objections(self.newline)


@strategy("framing", "announced")
@dataclass(frozen=True)
class Announced(Framing):
    """A datum that announces the byte count, then the bytes."""

    container: str = "list"
    tag: str = ""
    between: str = ""

    @classmethod
    def draw(cls, rng: Random) -> Announced:
        container = rng.choice(["list", "list", "vector", "dotted"])
        tags = ["packet", "length", "bytes", "len"]
        tag = rng.choice(tags if container == "dotted" else ["", *tags])
        return cls(container, tag, rng.choice(["", "", "\n", " "]))

    def _datum(self, count: int) -> object:
        tag = [Symbol(self.tag)] if self.tag else []
        if self.container == "dotted":
            return Dotted(tuple(tag), count)
        return [*tag, count] if self.container == "list" else (*tag, count)

    def text(self) -> str:
        between = {"": "directly", "\n": "after a newline", " ": "after a space"}[self.between]
        return f"a datum {write(self._datum(72)).decode()} that announces the byte count, the bytes {between}"  # type: ignore[arg-type]

    def wrap(self, body: bytes, shape: Shape) -> bytes:
        return write(self._datum(len(body))) + self.between.encode() + body  # type: ignore[arg-type]

    def unwrap(self, data: bytes, shape: Shape) -> tuple[bytes, int] | None:
        try:
            datum, end = read_prefix(data)
        except Incomplete:
            if len(data) > 64:
                raise Nonsense("an announcement that does not end") from None
            return None
        except BadDatum as why:
            raise Nonsense(str(why)) from None
        count = (
            datum.tail if isinstance(datum, Dotted) else datum[-1] if isinstance(datum, (list, tuple)) and datum else 0
        )
        if isinstance(count, bool) or not isinstance(count, int) or datum != self._datum(count):
            raise Nonsense("something else than the announcement of a packet")
        if len(data) < end + len(self.between):
            return None
        if data[end : end + len(self.between)] != self.between.encode():
            raise Nonsense("something else behind an announcement")
        return counted(data, end + len(self.between), count)
