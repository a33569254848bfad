"""A binary tag and ID before a datum."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import BokbokError, ReadError, RemoteProtocolError
from ...sexpr import (
    Dialect,
    dumps,
    loads,
    type_name,
)
from ._strategy import ERROR, REQUEST, RESPONSE, MessageCodec, Unreadable, travelling

__all__ = [
    "BinaryHeader",
]

_WIDTHS = {
    "u8": ">B", "u16-be": ">H", "u16-le": "<H", "u32-be": ">I", "u32-le": "<I", "u64-be": ">Q", "u64-le": "<Q",
}  # fmt: skip


@dataclass(frozen=True)
class BinaryHeader:
    """A binary tag and ID before the datum.

    Attributes:
        request: the tag of a request; may be empty where the packet's type tells.
        response: the tag of a response.
        error: the tag of a failed request.
        integer: how an ID is written: `u8`, `u16-be`, … `u64-le`.
        order: `tag-id` or `id-tag`.
        payload: `datum`, or `string`: the datum's text in a string.
        message: what follows the header of an error: `string` (a datum), `text` (that once more as a string in a
            string), or `bytes` (the text itself).
        ending: white space behind each message.
        first_id: the first ID of a client's request.
        server_first_id: the first ID of a server's request.
        id_step: from one ID to the next.
    """

    strategy: ClassVar[str] = "binary-header"
    request: bytes = b"\x01"
    response: bytes = b"\x02"
    error: bytes = b"\x03"
    integer: str = "u32-be"
    order: str = "tag-id"
    payload: str = "datum"
    message: str = "string"
    ending: str = ""
    first_id: int = 0
    server_first_id: int = 0
    id_step: int = 1

    def __post_init__(self) -> None:
        if self.integer not in _WIDTHS:
            raise BokbokError(f"no integer is called {self.integer!r}; known: {', '.join(_WIDTHS)}")
        if len({self.request, self.response, self.error}) != 3 or len(set(map(len, self._tags()))) != 1:
            raise BokbokError("the three tags differ, and are of one length")
        if self.order not in ("tag-id", "id-tag") or self.payload not in ("datum", "string"):
            raise BokbokError("order is 'tag-id' or 'id-tag', payload 'datum' or 'string'")
        if self.message not in ("string", "text", "bytes"):
            raise BokbokError(f"message is 'string', 'text' or 'bytes', not {self.message!r}")

    def _tags(self) -> tuple[bytes, bytes, bytes]:
        return self.request, self.response, self.error

    @property
    def name(self) -> str:
        """How it is called."""
        return "binary-header"

    def bind(self, dialect: Dialect, depth: int) -> MessageCodec:
        """See `Messages.bind`."""
        layout = struct.Struct(_WIDTHS[self.integer])
        pack, size, width = layout.pack, len(self.request), layout.size
        kinds = {tag: kind for kind, tag in enumerate(self._tags())}
        tag_first, ending, nested = self.order == "tag-id", self.ending.encode(), self.payload == "string"
        tag_at, id_at = (0, size) if tag_first else (width, 0)
        modulus = 1 << (8 * width)

        def write(kind: int) -> Callable[[int, bytes], bytes]:
            tag = self._tags()[kind]
            if tag_first:
                return lambda id, text: tag + pack(id % modulus) + text + ending
            return lambda id, text: pack(id % modulus) + tag + text + ending

        request, response, failed = write(REQUEST), write(RESPONSE), write(ERROR)

        def payload(datum: Any) -> bytes:
            text = dumps(datum, dialect=dialect)
            return dumps(text.decode("utf-8", "surrogateescape"), dialect=dialect) if nested else text

        def error(id: int, text: str) -> bytes:
            text = travelling(text)
            if self.message == "bytes":
                return failed(id, text.encode("utf-8", "surrogateescape"))
            written = dumps(text, dialect=dialect)
            if self.message == "text":
                written = dumps(written.decode("utf-8", "surrogateescape"), dialect=dialect)
            return failed(id, written)

        def decode(body: bytes) -> tuple[int, int, Any]:
            if len(body) < size + width:
                raise RemoteProtocolError(f"a message of {len(body)} bytes; expected a header of {size + width}")
            kind = kinds.get(body[tag_at : tag_at + size])
            if kind is None:
                raise RemoteProtocolError(f"unknown kind of message: {body[tag_at : tag_at + size]!r}")
            id = layout.unpack_from(body, id_at)[0]
            rest = body[size + width :]
            if kind == ERROR and self.message == "bytes":
                return kind, id, rest.removesuffix(ending).decode("utf-8", "surrogateescape")
            try:
                datum = loads(rest, dialect=dialect, max_depth=depth)
                if self.message == "text" if kind == ERROR else nested:
                    if type(datum) is not str:
                        raise RemoteProtocolError("a payload is the text of a datum in a string")
                    datum = loads(datum, dialect=dialect, max_depth=depth)
            except ReadError as problem:
                return kind, id, Unreadable(str(problem))
            if kind == ERROR and type(datum) is not str:
                raise RemoteProtocolError(
                    f"the message of a failed request is a string; got a datum of type {type_name(datum)}"
                )
            return kind, id, datum

        return MessageCodec(
            request=lambda id, datum: request(id, payload(datum)),
            response=lambda id, datum: response(id, payload(datum)),
            error=error,
            decode=decode,
        )
