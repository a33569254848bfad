"""Templates: what is left of the hello's packets, and around the boxes, when everything known is taken out.

What this module knows: how a username may be written, and which parts of a packet never change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bokbok.errors import BokbokError
from bokbok.wire.encoding import ENCODINGS, USER_ENCODINGS
from bokbok.wire.hello import Field, Template

from .encoding import texts_in

__all__ = [
    "Places",
    "base_in",
    "contents_of",
    "literal_template",
    "user_templates",
    "value_of",
    "with_base",
]


def value_of(text: bytes, encoding: str) -> bytes | None:
    """The bytes that a text encodes; `None` if it is not such a text."""
    try:
        return ENCODINGS[encoding].decode(text)
    except (BokbokError, ValueError):
        return None


def contents_of(contents: list[bytes], user: bytes) -> Iterator[tuple[Template, list[bytes]]]:
    """Templates for the content of the session key's box, with the session keys that they give.

    Args:
        contents: the content of the box, for each connection.
        user: the username, which may be in them.
    """
    sizes = {len(content) for content in contents}
    for template in _textual_contents(contents[0], user):
        with contextlib.suppress(BokbokError, ValueError):
            read = [template.read(content, _SIZES) for content in contents]
            named = [values | {"user": user} for values in read]
            if all(template.write(n) == content for n, content in zip(named, contents, strict=True)):
                yield template, [values["key"] for values in read]
    if len(sizes) == 1:
        size = sizes.pop()
        for start in dict.fromkeys((0, size - 32, *range(max(0, size - 31)))):
            if start < 0:
                continue
            pieces: list[bytes | Field] = []
            for a, b in ((0, start), (start + 32, size)):
                if a == start + 32:
                    pieces.append(Field("key"))
                if b <= a:
                    continue
                found = {content[a:b] for content in contents}
                text = next(iter(found))
                # One connection does not show what changes; one or two random bytes may look like letters.
                same = len(found) == 1 and (len(contents) > 1 or (len(text) >= _WORD and text.isascii()))
                pieces += _with_user(text, user) if same else [Field("any", "raw", b - a)]
            yield Template(tuple(pieces)), [content[start : start + 32] for content in contents]


def _textual_contents(content: bytes, user: bytes) -> Iterator[Template]:
    """Templates with the session key as text, and perhaps a base of nonces as text beside it."""
    parts = texts_in(content)
    for key in parts:
        if len(key.value) != _SIZES["key"]:
            continue
        beside = [b for b in parts if len(b.value) == _BASE and (b.end <= key.start or b.start >= key.end)]
        for base in (None, *beside):
            fields: Places = [(key.start, key.end, Field("key", key.encoding))]
            if base is not None:
                fields.append((base.start, base.end, Field("nonce", base.encoding)))
            pieces: list[bytes | Field] = []
            for piece in literal_template(content, fields).parts:
                pieces += _with_user(piece, user) if isinstance(piece, bytes) else [piece]
            yield Template(tuple(pieces))


def _with_user(literal: bytes, user: bytes) -> list[bytes | Field]:
    """Some bytes that never change, the username in them being a field."""
    before, found, after = literal.partition(user) if len(user) >= _TELLING else (literal, b"", b"")
    parts: list[bytes | Field] = [before, Field("user"), after] if found else [literal]
    return [part for part in parts if part]


_WORD = 8
_TELLING = 3
"""A username with so many bytes does not appear somewhere by chance."""


def with_base(template: Template) -> Iterator[Template]:
    """The same content with 24 bytes beside the key as a base of nonces: each possibility."""
    if "nonce" in template.fields():
        yield template
    for index, part in enumerate(template.parts):
        if isinstance(part, Field) and part.name != "any":
            continue
        size = part.size if isinstance(part, Field) else len(part)
        for at in dict.fromkeys((0, size - _BASE)) if size >= _BASE else ():
            inner = [*_slice(part, 0, at), Field("nonce"), *_slice(part, at + _BASE, size)]
            yield Template((*template.parts[:index], *inner, *template.parts[index + 1 :]))


def _slice(part: bytes | Field, start: int, end: int) -> list[bytes | Field]:
    """Bytes of a part."""
    if start == end:
        return []
    return [part[start:end] if isinstance(part, bytes) else Field("any", "raw", end - start)]


def base_in(template: Template, content: bytes) -> bytes | None:
    """The base of nonces in the content of a session key's box; `None` if it does not fit."""
    try:
        return template.read(content, _SIZES).get("nonce")
    except (BokbokError, ValueError):
        return None


_BASE = 24
_SIZES = {"key": 32, "nonce": _BASE}


Places = list[tuple[int, int, Field]]
"""Fields, and where they are in a packet."""


def literal_template(packet: bytes, fields: Places) -> Template:
    """A packet in which everything except some fields is literal."""
    parts: list[bytes | Field] = []
    at = 0
    for start, end, part in sorted(fields, key=lambda item: (item[0], item[1])):
        if start > at:
            parts.append(packet[at:start])
        parts.append(part)
        at = end
    if at < len(packet):
        parts.append(packet[at:])
    return Template(tuple(parts))


def user_templates(packet: bytes, user: bytes, fields: Places, *, textual: bool) -> list[tuple[float, Template]]:
    """The templates of a packet that contains the username, and how far-fetched they are.

    Args:
        packet: a packet of the hello.
        user: the username.
        fields: other fields that are known to be in it.
        textual: whether packets are datums.
    """
    out: list[tuple[float, Template]] = []
    for rank, start, end, form in sorted(_users_in(packet, user, textual=textual)):
        if all(end <= a or start >= b for a, b, _ in fields):
            template = literal_template(packet, [*fields, (start, end, Field("user", form))])
            if all(template != known for _, known in out):
                out.append((rank, template))
    return out


_RANKS = {"string": 0.0, "blob": 0.2, "u8vector": 0.2, "symbol": 4.0, "raw": 3.0}
_LENGTHS = {"u8": 1, "u16-be": 2, "u16-le": 2, "u32-be": 4, "u32-le": 4}


def _users_in(packet: bytes, user: bytes, *, textual: bool) -> Iterator[tuple[float, int, int, str]]:
    """Where a username may be, and in which form: how far-fetched it is, start, end, form."""
    if not user:
        forms = {name: form.encode(user) for name, form in USER_ENCODINGS.items() if name in ("string", "symbol")}
    else:
        forms = {name: form.encode(user) for name, form in USER_ENCODINGS.items()}
    for name, literal in forms.items():
        rank = _RANKS.get(name, 5.0)
        if name in _LENGTHS:
            rank = 2 - _LENGTHS[name] / 10
        elif name == "nul":
            rank = 2
        start = packet.find(literal) if literal else -1
        while start >= 0:
            end = start + len(literal)
            before, after = packet[start - 1 : start] if start else b"", packet[end : end + 1]
            worse = 0.0
            if name == "symbol" and (textual or (before in (b"(", b" ") and after in (b")", b" "))):
                worse = -3
            elif name in ("raw", "symbol", "nul", "hex", "base64") and before.isalnum():
                worse = 6
            if name in ("raw", "symbol", "hex", "base64") and after.isalnum():
                worse = max(worse, 3)
            yield rank + worse, start, end, name
            start = packet.find(literal, start + 1)
