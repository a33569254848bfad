"""A binary tag and ID before a datum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import ProfileError, RemoteProtocolError
from ...sexpr import Dialect, Parser, cost, dumps, dumps_between
from ...sexpr.pieces import UNLIMITED
from .._integers import FIXED, layout_of
from ..strategy import Choice, key
from ._strategy import (
    ERROR,
    REQUEST,
    RESPONSE,
    InPieces,
    MessageCodec,
    Messages,
    Readers,
    Unreadable,
    in_a_string,
    kind_of,
    no_string,
    read_nested,
    travelling,
)

__all__ = ["BinaryHeader"]


@dataclass(frozen=True)
class BinaryHeader(Messages):
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

    The others are those of `Messages`: `first_id`, `server_first_id`, `id_step`.
    """

    strategy: ClassVar[str] = "binary-header"
    request: bytes = key(b"\x01", always=True)
    response: bytes = key(b"\x02", always=True)
    error: bytes = key(b"\x03", always=True)
    integer: str = key("u32-be", Choice(*FIXED), always=True)
    order: str = key("tag-id", Choice("tag-id", "id-tag"), always=True)
    payload: str = key("datum", Choice("datum", "string"), always=True)
    message: str = key("string", Choice("string", "text", "bytes"))
    ending: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self._tags())) != 3 or len(set(map(len, self._tags()))) != 1:
            raise ProfileError("request, response and error: expected three different tags of one length")

    def _tags(self) -> tuple[bytes, bytes, bytes]:
        return self.request, self.response, self.error

    def words(self) -> str:
        """See `Strategy.words`."""
        tags = ", ".join(map(repr, self._tags()))
        return f"binary header, {self.order}: tags {tags}, IDs {self.integer}"

    def make_codec(self, dialect: Dialect, depth: int, memory: int) -> MessageCodec:
        """See `Messages.make_codec`."""
        # In one piece: what is looked up here once, the functions below share, so that no packet pays for the choice.
        layout = layout_of(self.integer)
        pack, size, width = layout.pack, len(self.request), layout.size
        kinds = {tag: kind for kind, tag in enumerate(self._tags())}
        known = ", ".join(map(repr, kinds))
        tag_first, ending, nested = self.order == "tag-id", self.ending.encode(), self.payload == "string"
        tag_at, id_at = (0, size) if tag_first else (width, 0)
        modulus = 1 << (8 * width)

        def write(kind: int) -> Callable[[int, bytes], bytes]:
            tag = self._tags()[kind]
            if tag_first:
                return lambda id, text: tag + pack(id % modulus) + text + ending
            return lambda id, text: pack(id % modulus) + tag + text + ending

        request, response, failed = write(REQUEST), write(RESPONSE), write(ERROR)

        def payload(datum: Any, most: int = UNLIMITED) -> bytes:
            text = dumps_between("", datum, "", dialect, most)
            return in_a_string(text, dialect) if nested else text

        def error(id: int, text: str) -> bytes:
            text = travelling(text)
            if self.message == "bytes":
                return failed(id, text.encode("utf-8", "surrogateescape"))
            written = dumps(text, dialect=dialect)
            return failed(id, in_a_string(written, dialect) if self.message == "text" else written)

        parsers = Readers(lambda: Parser(dialect=dialect, max_depth=depth, max_memory=memory))

        def read(body: bytes) -> InPieces:
            if len(body) < size + width:
                raise RemoteProtocolError(f"the message has {len(body)} bytes; expected a header of {size + width}")
            kind = kinds.get(body[tag_at : tag_at + size])
            if kind is None:
                raise RemoteProtocolError(
                    f"the message's tag is {body[tag_at : tag_at + size]!r} at byte {tag_at}; expected one of {known}"
                )
            id = layout.unpack_from(body, id_at)[0]
            rest = body[size + width :]
            if kind == ERROR and self.message == "bytes":
                text = rest.removesuffix(ending).decode("utf-8", "surrogateescape")
                return kind, id, text, cost(text)
            parser = parsers.take()
            datum = yield from read_nested(parser, rest)
            spent = parser.spent
            if type(datum) is not Unreadable and (self.message == "text" if kind == ERROR else nested):
                if type(datum) is not str:
                    raise RemoteProtocolError(
                        f"the payload is {kind_of(datum)}; expected a string with the text of a datum"
                    )
                datum = yield from read_nested(parser, datum)
                spent += parser.spent
            if type(datum) is Unreadable:
                return kind, id, datum, 0
            parsers.give(parser)
            if kind == ERROR and type(datum) is not str:
                raise no_string(datum)
            return kind, id, datum, spent

        return MessageCodec.around(request, response, error, payload, read)
