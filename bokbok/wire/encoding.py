"""Encodings: the forms in which some bytes (a box, a key, a username) stand in a packet.

What this module knows: raw bytes, CHICKEN's literals, hexadecimal and base64, each by a name, how to write them and how
to find their end.

Where its facts come from: the literals are those that CHICKEN's `write` prints and its `read` takes. Which form a peer
uses is for its profile to say; `inferred-1` has raw bytes everywhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._later import pattern
from ..errors import BokbokError, ReadError, RemoteProtocolError
from ..sexpr import Symbol, dumps, parse

__all__ = ["ENCODINGS", "USER_ENCODINGS", "Encoding", "get_encoding"]

Found = tuple[bytes, int]


@dataclass(frozen=True)
class Encoding:
    """One form.

    Attributes:
        name: how a profile file calls it.
        encode: bytes to the form.
        parse: data, where the form begins and where it ends if that is known from outside (else -1), to the bytes and
            the offset behind it. Raises `RemoteProtocolError`.
        size: how long the form of so many bytes is, where that does not depend on them; else `None`.
        worst: how long it can be at most.
        opening: how every instance begins; empty where nothing tells.
        delimited: whether the form shows its own end.
    """

    name: str
    encode: Callable[[bytes], bytes]
    parse: Callable[[bytes, int, int], Found]
    size: Callable[[int], int] | None = None
    worst: Callable[[int], int] = lambda count: 4 * count + 8
    opening: bytes = b""
    delimited: bool = True

    def decode(self, data: bytes) -> bytes:
        """The bytes, where the form is all of `data`.

        Raises:
            RemoteProtocolError: it is anything else.
        """
        try:
            value, end = self.parse(data, 0, len(data))
        except RemoteProtocolError as error:  # which counts bytes in these
            raise RemoteProtocolError(f"{len(data)} bytes in the encoding {self.name!r}: {error}") from None
        if end != len(data):
            raise RemoteProtocolError(f"{len(data) - end} bytes behind a {self.name} of {end} bytes; expected nothing")
        return value


def _bad(what: str, at: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"expected {what} at byte {at}")


def _parse_raw(data: bytes, at: int, end: int) -> Found:
    end = len(data) if end < 0 else end
    if end < at or end > len(data):
        raise RemoteProtocolError(f"expected {max(end, at)} bytes or more; got {len(data)}")
    return data[at:end], end


def _literal(kind: type, what: str) -> Callable[[bytes, int, int], Found]:
    def parse_literal(data: Any, at: int, _: int) -> Found:
        value: Any
        try:
            value, end = parse(data, at)
        except ReadError as error:
            raise RemoteProtocolError(f"expected {what}: {error}") from None
        if type(value) is not kind or (isinstance(value, array) and value.typecode != "B"):
            raise _bad(what, at)
        data = value
        if isinstance(data, array):
            return data.tobytes(), end
        if isinstance(data, Symbol):
            return data.value().encode("utf-8", "surrogateescape"), end
        return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data, end

    return parse_literal


# A message may have 16 MiB, most of whose bytes need an escape: what writes them goes through no loop of Python's.

_HEX_ESCAPES = [(bytes((byte,)), b"\\x%02x" % byte) for byte in (*range(32), 127)]
_NAMED_ESCAPES = [
    (b"\\" + name, b"\\x%02x" % byte)
    for name, byte in zip((b"a", b"b", b"t", b"n", b"v", b"f", b"r"), range(7, 14), strict=True)
]


def _replaced(data: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    for old, new in pairs:
        data = data.replace(old, new)
    return data


def _escape_high(data: bytes) -> bytes:
    """The bytes from 128 up as `\\xHH`."""
    return data.decode("latin-1").encode("ascii", "backslashreplace")


def _string_all(data: bytes) -> bytes:
    """Every byte that is not printable ASCII as `\\xHH`, the named escapes too."""
    quoted = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + _escape_high(_replaced(quoted, _HEX_ESCAPES)) + b'"'


def _string_high(data: bytes) -> bytes:
    """As CHICKEN writes it, but with the bytes from 128 up as `\\xHH`."""
    return _escape_high(_write_string(data))


def _string_controls(data: bytes) -> bytes:
    """As CHICKEN writes it, but without the named escapes (`\\x0a` for `\\n`)."""
    # Between two backslashes that stand for one, a backslash begins an escape.
    parts = _write_string(data).split(b"\\\\")
    return b"\\\\".join(_replaced(part, _NAMED_ESCAPES) for part in parts)


def _write_string(data: bytes) -> bytes:
    return dumps(data.decode("utf-8", "surrogateescape"))


def _write_symbol(data: bytes) -> bytes:
    return dumps(Symbol(data.decode("utf-8", "surrogateescape")))


_HEX = pattern(rb"[0-9a-fA-F]*")
_BASE64 = pattern(rb"[A-Za-z0-9+/]*={0,2}")
_BASE64_URL = pattern(rb"[A-Za-z0-9_-]*={0,2}")


def _parse_hex(data: bytes, at: int, end: int) -> Found:
    match = _HEX.match(data, at, len(data) if end < 0 else end)
    assert match is not None
    if len(match[0]) % 2 or not match[0]:
        raise _bad("hexadecimal digits, two a byte,", at)
    return bytes.fromhex(match[0].decode("ascii")), match.end()


def _base64(*, url: bool, padded: bool) -> tuple[Callable[[bytes], bytes], Callable[[bytes, int, int], Found]]:
    def write(data: bytes) -> bytes:
        import base64  # only here: few profiles need it

        return base64.urlsafe_b64encode(data) if url else base64.b64encode(data)

    pattern = _BASE64_URL if url else _BASE64

    def encode(data: bytes) -> bytes:
        return write(data) if padded else write(data).rstrip(b"=")

    def parse_base64(data: bytes, at: int, end: int) -> Found:
        match = pattern.match(data, at, len(data) if end < 0 else end)
        assert match is not None
        digits = match[0].translate(bytes.maketrans(b"-_", b"+/")) if url else match[0]
        if not digits:
            raise _bad("base64", at)
        import base64

        try:
            if padded:
                return base64.b64decode(digits, validate=True), match.end()
            return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True), match.end()
        except ValueError:
            raise _bad("base64", at) from None

    return encode, parse_base64


def _quoted(inner: Encoding) -> Encoding:
    def parse_quoted(data: bytes, at: int, _: int) -> Found:
        close = data.find(b'"', at + 1)
        if data[at : at + 1] != b'"' or close < 0:
            raise _bad(f"{inner.name} between quotes", at)
        value, end = inner.parse(data, at + 1, close)
        if end != close:
            raise _bad(f"{inner.name} between quotes", at)
        return value, close + 1

    size = inner.size
    return Encoding(
        f"quoted-{inner.name}",
        lambda data: b'"' + inner.encode(data) + b'"',
        parse_quoted,
        None if size is None else lambda count: size(count) + 2,
        opening=b'"',
    )


def _length_byte(data: bytes, at: int, _: int) -> Found:
    if at >= len(data) or at + 1 + data[at] > len(data):
        raise _bad("length byte and as many bytes", at)
    end = at + 1 + data[at]
    return data[at + 1 : end], end


def _length_word(order: str, width: int) -> Encoding:
    def encode(data: bytes) -> bytes:
        return len(data).to_bytes(width, "big" if order == "be" else "little") + data

    def parse_word(data: bytes, at: int, _: int) -> Found:
        length = int.from_bytes(data[at : at + width], "big" if order == "be" else "little")
        end = at + width + length
        if at + width > len(data) or end > len(data):
            raise _bad("length and as many bytes", at)
        return data[at + width : end], end

    return Encoding(f"u{8 * width}-{order}", encode, parse_word, worst=lambda count: count + width)


def _nul_ended(data: bytes, at: int, _: int) -> Found:
    end = data.find(b"\0", at)
    if end < 0:
        raise _bad("bytes ended by NUL", at)
    return data[at:end], end + 1


_b64, _p64 = _base64(url=False, padded=True)
_b64n, _p64n = _base64(url=False, padded=False)
_b64u, _p64u = _base64(url=True, padded=True)
_b64un, _p64un = _base64(url=True, padded=False)


def _size_nopad(count: int) -> int:
    return (4 * count + 2) // 3


_PLAIN = [
    Encoding("hex", lambda data: data.hex().encode("ascii"), _parse_hex, lambda count: 2 * count),
    Encoding("hex-upper", lambda data: data.hex().upper().encode("ascii"), _parse_hex, lambda count: 2 * count),
    Encoding("base64", _b64, _p64, lambda count: (count + 2) // 3 * 4),
    Encoding("base64-unpadded", _b64n, _p64n, _size_nopad),
    Encoding("base64url", _b64u, _p64u, lambda count: (count + 2) // 3 * 4),
    Encoding("base64url-unpadded", _b64un, _p64un, _size_nopad),
]

ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding
    for encoding in [
        Encoding("raw", lambda data: data, _parse_raw, lambda count: count, lambda count: count, delimited=False),
        Encoding(
            "blob",
            lambda data: b"#${%b}" % data.hex().encode("ascii"),
            _literal(bytes, "blob literal"),
            lambda count: 2 * count + 4,
            opening=b"#${",
        ),
        Encoding(
            "blob-upper",
            lambda data: b"#${%b}" % data.hex().upper().encode("ascii"),
            _literal(bytes, "blob literal"),
            lambda count: 2 * count + 4,
            opening=b"#${",
        ),
        Encoding(
            "u8vector",
            lambda data: dumps(array("B", data)),
            _literal(array, "u8vector literal"),
            opening=b"#u8(",
        ),
        Encoding("string", _write_string, _literal(str, "string literal"), opening=b'"'),
        Encoding("string-hex-high", _string_high, _literal(str, "string literal"), opening=b'"'),
        Encoding("string-hex-controls", _string_controls, _literal(str, "string literal"), opening=b'"'),
        Encoding("string-hex", _string_all, _literal(str, "string literal"), opening=b'"'),
        *_PLAIN,
        *map(_quoted, _PLAIN),
    ]
}
"""The forms of a box, a key or a nonce, by name."""

USER_ENCODINGS: dict[str, Encoding] = {
    **ENCODINGS,
    "symbol": Encoding("symbol", _write_symbol, _literal(Symbol, "symbol")),
    "u8": Encoding("u8", lambda data: bytes((len(data),)) + data, _length_byte, worst=lambda count: count + 1),
    "nul": Encoding("nul", lambda data: data + b"\0", _nul_ended, worst=lambda count: count + 1),
    **{e.name: e for e in (_length_word(order, width) for width in (2, 4) for order in ("be", "le"))},
}
"""The forms of a username, by name: those of a box, and a symbol, a length before it, a NUL behind it."""


def get_encoding(name: str, *, user: bool = False) -> Encoding:
    """The encoding of that name.

    Raises:
        BokbokError: the encoding is unknown.
    """
    table = USER_ENCODINGS if user else ENCODINGS
    try:
        return table[name]
    except KeyError:
        raise BokbokError(f"unknown encoding {name!r}; expected one of {', '.join(table)}") from None
