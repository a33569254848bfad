"""Views: the possible readings of a plaintext as a message.

What this module knows: any number in a datum may be the ID, and any other part may be the content.
"""

from __future__ import annotations

import contextlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bokbok.errors import ReadError, WriteError
from bokbok.sexpr import CHICKEN_4, CHICKEN_5, Dotted, Symbol, dumps, loads
from bokbok.wire.messages import legible

__all__ = ["Form", "Key", "View", "views_of", "written"]

_ID, _DATUM = Symbol("ID"), Symbol("DATUM")
_DEPTH = 4
_MOST_ITEMS = 6
_MOST_IDS = 16
_LONGEST_PATH = 3
_LONGEST_SHAPE = 200
_LONGEST_ID = 50
"""The most characters that an ID may take out of a shape."""
_LARGEST_ID = 1 << 62

Path = tuple[Any, ...]
"""Where a part of a datum is: indices; `("t", n)` for the rest of a list from item n on."""


@dataclass(frozen=True)
class Form:
    """How an ID is written: the attributes of `Shapes` of the same names."""

    id: str = "fixnum"
    id_prefix: str = ""
    id_width: int = 0
    id_base: int = 10


@dataclass(frozen=True)
class Key:
    """What the views of one kind of message have in common.

    Attributes:
        shape: the datum, with `ID` and `DATUM` in it; or several datums.
        form: the form of the ID.
        nested: whether the datum is text in a string.
    """

    shape: str
    form: Form
    nested: bool

    @property
    def has_tail(self) -> bool:
        """Whether the datum is the rest of a list."""
        return " . DATUM" in self.shape


@dataclass(frozen=True)
class View:
    """One reading of a plaintext: what is in the holes, and how the payload would be written."""

    id: int
    payload: Any
    written: bytes | None


def written(value: Any) -> bytes | None:
    """A datum as CHICKEN writes it; `None` if none of its versions can."""
    for dialect in (CHICKEN_4, CHICKEN_5):
        try:
            return dumps(value, dialect=dialect)
        except WriteError:
            continue
    return None


_NAMED_ID = re.compile(r"(.{0,24}?)([0-9a-f]{1,18})\Z", re.DOTALL)


def _ids_of(value: Any) -> Iterator[tuple[int, Form]]:
    """The IDs that a part may be."""
    if type(value) is int and 0 <= value < _LARGEST_ID:
        yield value, Form()
    elif type(value) is float and 0 <= value < 1 << 50 and value == int(value):
        yield int(value), Form("flonum")
    elif isinstance(value, (str, Symbol)):
        kind, text = ("symbol", value.value()) if isinstance(value, Symbol) else ("string", str(value))
        found = _NAMED_ID.match(text)
        if found is None:
            return
        prefix, digits = found[1], found[2]
        decimal = re.search(r"[0-9]+\Z", text)
        if decimal is not None and len(decimal[0]) < 19:
            yield from _numbered(kind, text[: decimal.start()], decimal[0], 10)
        if len(digits) < 16 and len(prefix) < 24:
            yield from _numbered(kind, prefix, digits, 16)


def _numbered(kind: str, prefix: str, digits: str, base: int) -> Iterator[tuple[int, Form]]:
    number = int(digits, base)
    if len(digits) == 1 or digits[0] != "0":
        yield number, Form(kind, prefix, 0, base)
    if len(digits) > 1:
        yield number, Form(kind, prefix, len(digits), base)


def _places(value: Any, path: Path = (), depth: int = 0) -> Iterator[tuple[Path, Any]]:
    """Every part of a datum that a hole could stand for: where, and what it is."""
    yield path, value
    if depth >= _DEPTH:
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value[:_MOST_ITEMS]):
            yield from _places(item, (*path, index), depth + 1)
        if isinstance(value, list):
            for index in range(1, min(len(value), _DEPTH) + 1):
                yield (*path, ("t", index)), value[index:]
    elif isinstance(value, Dotted):
        for index, item in enumerate(value.items[:_MOST_ITEMS]):
            yield from _places(item, (*path, index), depth + 1)
        count = len(value.items)
        for index in range(1, count + 1):
            rest = value.tail if index == count else Dotted(value.items[index:], value.tail)
            yield (*path, ("t", index)), rest


def _replace(value: Any, path: Path, hole: Any) -> Any:
    if not path:
        return hole
    step, rest = path[0], path[1:]
    if isinstance(step, tuple):
        items = list(value[: step[1]] if isinstance(value, list) else value.items[: step[1]])
        return Dotted(items, hole)
    if isinstance(value, Dotted):
        items = list(value.items)
        items[step] = _replace(items[step], rest, hole)
        return Dotted(items, value.tail)
    items = list(value)
    items[step] = _replace(items[step], rest, hole)
    return tuple(items) if isinstance(value, tuple) else items


def _inside(path: Path, other: Path) -> bool:
    """Whether a place lies in what a hole at `other` takes."""
    if len(path) < len(other):
        return False
    for mine, theirs in zip(path, other, strict=False):
        if isinstance(theirs, tuple):
            number = mine[1] if isinstance(mine, tuple) else mine
            return bool(number >= theirs[1])
        if mine != theirs:
            return False
    return True


def views_of(body: bytes) -> dict[Key, View]:
    """The possible readings of a plaintext that is text.

    Args:
        body: the whole text: one datum, or several.
    """
    value, bare = _read(body)
    if not isinstance(value, (list, tuple, Dotted)):
        return {}
    places = [(path, part) for path, part in _places(value) if path and len(path) <= _LONGEST_PATH]
    if bare:  # there is no list around it whose tail could be meant
        places = [(path, part) for path, part in places if not (len(path) == 1 and isinstance(path[0], tuple))]
    ids = [(path, number, form) for path, part in places for number, form in _ids_of(part)]
    # A tail that is the ID, as in `((id . 0) …)`, comes last.
    ids.sort(key=lambda item: isinstance(item[0][-1], tuple))
    payloads: dict[Path, View] = {}
    views: dict[Key, View] = {}
    room = _LONGEST_SHAPE - _least(value)
    places = [(path, part) for path, part in places if room + _least(part) >= -_LONGEST_ID]
    for id_path, number, form in ids[:_MOST_IDS]:
        for path, part in places:
            if _inside(id_path, path) or _inside(path, id_path):
                continue
            shape = _shape(value, id_path, path, bare=bare)
            if shape is None:
                continue
            if path not in payloads:
                payloads[path] = View(0, part, written(part))
            key = Key(shape, form, False)
            views.setdefault(key, View(number, part, payloads[path].written))
            if type(part) is str and part:
                inner = _inner(part)
                if inner is not None:
                    views.setdefault(Key(shape, form, True), View(number, inner[0], written(inner[0])))
    return views


def _read(body: bytes) -> tuple[Any, bool]:
    """A plaintext with a symbol for each part that `read` does not accept, and whether it is several datums."""
    for text in (body, legible(body)):
        if text is None:
            break
        with contextlib.suppress(ReadError):
            return loads(text), False
        with contextlib.suppress(ReadError):
            several = loads(b"(" + text + b"\n)")
            return (several, True) if isinstance(several, list) and len(several) > 1 else (None, False)
    return None, False


def _least(value: Any) -> int:
    """The least length of a datum as text."""
    size = 0
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, (list, tuple)):
            parts += part
        elif isinstance(part, Dotted):
            parts += [*part.items, part.tail]
        size += 1 + (len(part) if isinstance(part, (list, tuple, str, bytes, array)) else 0)
    return size


def _inner(text: str) -> tuple[Any] | None:
    try:
        return (loads(text),)
    except ReadError:
        return None


def _shape(value: Any, id_path: Path, path: Path, *, bare: bool) -> str | None:
    """A datum with holes, as text."""
    if isinstance(path[-1], tuple):  # what follows a tail disappears, so tails come first
        marked = _replace(_replace(value, path, _DATUM), id_path, _ID)
    else:
        marked = _replace(_replace(value, id_path, _ID), path, _DATUM)
    text = written(marked)
    if text is None or len(text) > _LONGEST_SHAPE:
        return None
    return (text[1:-1] if bare else text).decode("utf-8", "surrogateescape")
