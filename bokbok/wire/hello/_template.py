"""Templates: packets made of bytes that never change and fields that do.

What this module knows: how literal bytes and encoded fields follow each other in a packet, how to write them and how to
take them apart again.

In a profile file a template is a list: a string is literal text, `{ hex = "00ff" }` literal bytes, `{ user =
"string" }` the field `user` in the encoding `string`; `{ any = 8 }` so many bytes of no known meaning, random when
written.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import RemoteProtocolError
from .._foreign import foreign
from ..encoding import ENCODINGS, USER_ENCODINGS, Encoding, get_encoding
from ..strategy import Bytes, Kind, Schema, Span

__all__ = ["Field", "Fields", "Part", "Template"]


@dataclass(frozen=True)
class Field:
    """A place in a template.

    Attributes:
        name: what stands there: `user`, `key` (the boxed session key), `nonce` (the base of counted nonces), `any`.
        encoding: in which form, by name.
        size: how many bytes it is, where the template alone knows (`any`); else 0.
    """

    name: str
    encoding: str = "raw"
    size: int = 0

    @functools.cached_property
    def form(self) -> Encoding:
        """The encoding itself."""
        return get_encoding(self.encoding, user=self.name == "user")


Part = bytes | Field


@dataclass(frozen=True)
class Template:
    """Some literal bytes and fields, one after another.

    Attributes:
        parts: `bytes` for what is literal, `Field` for the rest.
    """

    parts: tuple[Part, ...]

    def fields(self) -> set[str]:
        """The names of its fields."""
        return {part.name for part in self.parts if isinstance(part, Field)}

    @functools.cached_property
    def _bare(self) -> str | None:
        """The field that is all of it, in raw bytes, as in both packets of `inferred-1`: no walk needed."""
        only = self.parts[0] if len(self.parts) == 1 else b""
        return only.name if isinstance(only, Field) and only.encoding == "raw" and not only.size else None

    def write(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes, with each field's value in its place."""
        if self._bare is not None:
            return values[self._bare]
        out = []
        for part in self.parts:
            if isinstance(part, bytes):
                out.append(part)
            else:
                value = os.urandom(part.size) if part.name == "any" and "any" not in values else values[part.name]
                out.append(part.form.encode(value))
        return b"".join(out)

    def words(self) -> str:
        """In words, for reports."""
        return " ".join(repr(p) if isinstance(p, bytes) else f"<{p.name}: {p.encoding}>" for p in self.parts)

    def fixed(self, sizes: Mapping[str, int]) -> int | None:
        """How long it always is, with fields of so many bytes; `None` where that is not known."""
        total = 0
        for part in self.parts:
            if isinstance(part, bytes):
                total += len(part)
                continue
            count = part.size or sizes.get(part.name, 0)
            if part.form.size is None or not count:
                return None
            total += part.form.size(count)
        return total

    def longest(self, sizes: Mapping[str, int]) -> int:
        """How long it can become, with fields of at most so many bytes."""
        total = 0
        for part in self.parts:
            if isinstance(part, bytes):
                total += len(part)
            else:
                count = part.size or sizes[part.name]
                total += part.form.size(count) if part.form.size is not None else part.form.worst(count)
        return total

    def read(self, data: bytes, sizes: Mapping[str, int], what: str = "the packet") -> dict[str, bytes]:
        """Take bytes apart.

        Args:
            data: all of them.
            sizes: how many bytes a field is, for those that always have as many.
            what: what the bytes are, for an error.

        Raises:
            RemoteProtocolError: they do not fit: which part, and where.
        """
        if self._bare is not None and sizes.get(self._bare, 0) in (0, len(data)):
            return {self._bare: data}
        return self._walk(data, sizes, what)[0]

    def says(self, name: str, value: bytes, data: bytes, sizes: Mapping[str, int]) -> bool:
        """Whether bytes that were written read as this value of a field: a value that NUL ends cannot hold one, for
        example."""
        try:
            return self.read(data, sizes).get(name) == value
        except RemoteProtocolError:
            return False

    def spans(self, data: bytes, sizes: Mapping[str, int]) -> list[Span]:
        """What its bytes are, by the names of the fields; `literal` for the others. Raises as `read` does."""
        return self._walk(data, sizes, "the packet")[1]

    def _walk(self, data: bytes, sizes: Mapping[str, int], what: str) -> tuple[dict[str, bytes], list[Span]]:
        values: dict[str, bytes] = {}
        spans: list[Span] = []
        at = 0
        for index, part in enumerate(self.parts):
            if isinstance(part, bytes):
                if not data.startswith(part, at):
                    there = data[at : at + len(part)]
                    raise foreign(f"{what} has {there!r} at byte {at}; expected {part!r}")
                spans.append(Span("literal", at, at + len(part)))
                at += len(part)
                continue
            start = at
            form, count = part.form, part.size or sizes.get(part.name, 0)
            end = -1
            if form.size is not None and count:
                end = at + form.size(count)
            elif not form.delimited or form.size is not None:
                end = self._end_before(index, data, at, sizes)
            try:
                values[part.name], at = form.parse(data, at, end)
            except RemoteProtocolError as error:
                raise RemoteProtocolError(f"{what}: {part.name}: {error}") from None
            spans.append(Span(part.name, start, at))
        if at != len(data):
            raise foreign(f"{what} has {len(data) - at} bytes at byte {at}; expected its end")
        return values, spans

    def _end_before(self, index: int, data: bytes, at: int, sizes: Mapping[str, int]) -> int:
        """Where a field that shows no end of its own must end: by what follows it."""
        total = Template(self.parts[index + 1 :]).fixed(sizes)
        if total is not None:
            return max(at, len(data) - total)
        following = self.parts[index + 1]
        mark = following if isinstance(following, bytes) else following.form.opening
        found = data.find(mark, at) if mark else -1
        return found if found >= 0 else len(data)


_LITERAL = Bytes()
_MOST_ANY = 4096
_MOST_PARTS = 64


class Fields(Kind):
    """A template, as a file has it: a list of literals and fields."""

    expected = (
        'a list of literals and fields: a string, { hex = "00ff" }, { user = ENCODING }, { key = ENCODING }, '
        f"{{ nonce = ENCODING }}, {{ any = COUNT }} (1 to {_MOST_ANY}), with ENCODING one of {', '.join(ENCODINGS)}; "
        f"of a user, also {', '.join(name for name in USER_ENCODINGS if name not in ENCODINGS)}"
    )

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return isinstance(value, Template) and len(value.parts) <= _MOST_PARTS and all(map(self._is_part, value.parts))

    @staticmethod
    def _is_part(part: Any) -> bool:
        if not isinstance(part, Field):
            return _LITERAL.holds(part)
        if part.name == "any":
            return type(part.size) is int and 1 <= part.size <= _MOST_ANY
        table = USER_ENCODINGS if part.name == "user" else ENCODINGS
        return part.name in _NAMES and isinstance(part.encoding, str) and part.encoding in table

    def from_toml(self, value: Any) -> Any:
        """See `Kind.from_toml`."""
        return Template(tuple(map(self._part, value))) if isinstance(value, list) else value

    @staticmethod
    def _part(item: Any) -> Any:
        if isinstance(item, dict) and len(item) == 1:
            ((name, encoding),) = item.items()
            if name in _NAMES:
                return Field("any", "raw", encoding) if name == "any" else Field(name, encoding)
        return _LITERAL.from_toml(item)

    def to_toml(self, value: Any) -> Any:
        """See `Kind.to_toml`."""
        return [
            _LITERAL.to_toml(part) if isinstance(part, bytes)
            else {"any": part.size} if part.name == "any" else {part.name: part.encoding}
            for part in value.parts
        ]  # fmt: skip

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"$ref": "#/$defs/template"}

    @staticmethod
    def definition() -> Schema:
        """What the schema defines once."""

        def of_one(name: str, value: Schema) -> Schema:
            return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}

        forms = [of_one(name, {"enum": list(table)}) for name, table in _TABLES.items()]
        any_ = of_one("any", {"type": "integer", "minimum": 1, "maximum": _MOST_ANY})
        return {"type": "array", "maxItems": _MOST_PARTS, "items": {"oneOf": [_LITERAL.schema(), *forms, any_]}}


_TABLES = {"user": USER_ENCODINGS, "key": ENCODINGS, "nonce": ENCODINGS}
_NAMES = (*_TABLES, "any")
