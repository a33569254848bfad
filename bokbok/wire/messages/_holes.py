"""Datums with holes: `ID`, `DATUM` and `MESSAGE` stand in them for what changes."""

from __future__ import annotations

from typing import Any

from ...sexpr import (
    Dotted,
    Symbol,
)

__all__ = [
    "HOLES",
    "fill",
    "has_tail_hole",
    "holes_in",
    "match",
]

_ID, _DATUM, _MESSAGE = Symbol("ID"), Symbol("DATUM"), Symbol("MESSAGE")
HOLES = (_ID, _DATUM, _MESSAGE)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def match(shape: Any, value: Any, found: dict[str, Any]) -> bool:
    """Whether a value has this shape; fills in what stands in the places of `ID`, `DATUM` and `MESSAGE`."""
    if isinstance(shape, Symbol) and shape in HOLES:
        found[shape.value()] = value
        return True
    if isinstance(shape, (list, tuple)):
        same = type(shape) is type(value) and len(shape) == len(value)
        return same and all(match(part, item, found) for part, item in zip(shape, value, strict=True))
    if isinstance(shape, Dotted):
        count = len(shape.items)
        rest: Any
        if isinstance(value, list):
            items, rest = value[:count], value[count:]
        elif isinstance(value, Dotted):
            items = value.items[:count]
            rest = Dotted(value.items[count:], value.tail) if len(value.items) > count else value.tail
        else:
            return False
        if len(items) != count or not match(shape.tail, rest, found):
            return False
        return all(match(part, item, found) for part, item in zip(shape.items, items, strict=True))
    return _same(shape, value)


def fill(shape: Any, values: dict[str, Any]) -> Any:
    if isinstance(shape, Symbol):
        return values[shape.value()] if shape in HOLES else shape
    if isinstance(shape, list):
        return [fill(item, values) for item in shape]
    if isinstance(shape, tuple):
        return tuple(fill(item, values) for item in shape)
    if isinstance(shape, Dotted):
        return Dotted([fill(item, values) for item in shape.items], fill(shape.tail, values))
    return shape


def has_tail_hole(shape: Any) -> bool:
    if isinstance(shape, (list, tuple)):
        return any(map(has_tail_hole, shape))
    if isinstance(shape, Dotted):
        return (isinstance(shape.tail, Symbol) and shape.tail in HOLES[1:]) or any(map(has_tail_hole, shape.items))
    return False


def holes_in(value: Any, found: list[str]) -> None:
    if isinstance(value, Symbol):
        if value in HOLES:
            found.append(value.value())
    elif isinstance(value, (list, tuple)):
        for item in value:
            holes_in(item, found)
    elif isinstance(value, Dotted):
        holes_in(value.items, found)
        holes_in(value.tail, found)
