"""Templates: packets made of bytes that never change and fields that do.

What this module knows: how literal bytes and encoded fields follow each other in a packet, how to write them and how
to take them apart again. What it refuses to know: what a field means.

In a profile file a template is a list: a string is literal text, `{ hex = "00ff" }` literal bytes, `{ user =
"string" }` the field `user` in the encoding `string`; `{ any = 8 }` so many bytes of no known meaning, random when
written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import RemoteProtocolError
from ..encoding import Encoding, get_encoding

__all__ = ["Field", "Part", "Template"]


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

    @property
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

    def write(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes, with each field's value in its place."""
        out = []
        for part in self.parts:
            if isinstance(part, bytes):
                out.append(part)
            else:
                value = os.urandom(part.size) if part.name == "any" and "any" not in values else values[part.name]
                out.append(part.form.encode(value))
        return b"".join(out)

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
        values: dict[str, bytes] = {}
        at = 0
        for index, part in enumerate(self.parts):
            if isinstance(part, bytes):
                if not data.startswith(part, at):
                    there = data[at : at + len(part)]
                    raise RemoteProtocolError(f"{what} has {there!r} at byte {at}; expected {part!r}")
                at += len(part)
                continue
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
        if at != len(data):
            raise RemoteProtocolError(f"{what} has {len(data) - at} bytes more than expected, at byte {at}")
        return values

    def _end_before(self, index: int, data: bytes, at: int, sizes: Mapping[str, int]) -> int:
        """Where a field that shows no end of its own must end: by what follows it."""
        total = 0
        for part in self.parts[index + 1 :]:
            if isinstance(part, bytes):
                total += len(part)
                continue
            count = part.size or sizes.get(part.name, 0)
            if part.form.size is None or not count:
                break
            total += part.form.size(count)
        else:
            return max(at, len(data) - total)
        following = self.parts[index + 1]
        mark = following if isinstance(following, bytes) else following.form.opening
        found = data.find(mark, at) if mark else -1
        return found if found >= 0 else len(data)
