"""The tagged values of the vectors, `{"t": type, "v": …}`, as Python values, and an independent comparison."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Any

from bokbok.sexpr import EOF, Char, Dotted, Keyword, Symbol

SIZES = {"u8": 1, "s8": 1, "u16": 2, "s16": 2, "u32": 4, "s32": 4, "u64": 8, "s64": 8, "f32": 4, "f64": 8}


def typecode(tag: str) -> str:
    """The type code of `array.array` on this machine, found independently of the code under test."""
    if tag[0] == "f":
        return {"f32": "f", "f64": "d"}[tag]
    codes = "BHILQ" if tag[0] == "u" else "bhilq"
    return next(code for code in codes if array(code).itemsize == SIZES[tag])


def untag(tagged: dict[str, Any]) -> Any:
    """The Python value of a tagged value; `LookupError` if there is none (`other`)."""
    kind, value = tagged["t"], tagged.get("v")
    if kind == "string":
        return bytes.fromhex(value).decode("utf-8", "surrogateescape")
    if kind == "symbol":
        return Symbol(bytes.fromhex(value).decode("utf-8", "surrogateescape"))
    if kind == "keyword":
        return Keyword(bytes.fromhex(value).decode("utf-8", "surrogateescape"))
    if kind == "blob":
        return bytes.fromhex(value)
    if kind in ("fixnum", "boolean"):
        return value
    if kind == "flonum":
        return float.fromhex(value)
    if kind == "char":
        return Char(chr(value))
    if kind == "list":
        return [untag(item) for item in value]
    if kind == "vector":
        return tuple(untag(item) for item in value)
    if kind == "dotted":
        return Dotted([untag(item) for item in value], untag(tagged["tail"]))
    if kind == "eof":
        return EOF
    if kind == "unspecified":
        return None
    if kind == "othernum":
        return Fraction(value) if "/" in value else int(value)
    if kind.endswith("vector"):
        tag = kind.removesuffix("vector")
        items = [float.fromhex(item) for item in value] if tag[0] == "f" else value
        return array(typecode(tag), items)
    raise LookupError(f"no Python value for a tagged {kind}")


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same datum: types count, a NaN equals a NaN, 0.0 is not -0.0. Not recursive."""
    pairs = [(left, right)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, float):
            if math.isnan(left) != math.isnan(right):
                return False
            if not math.isnan(left) and (left != right or math.copysign(1, left) != math.copysign(1, right)):
                return False
        elif isinstance(left, (list, tuple)):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(left, Dotted):
            pairs += [(left.items, right.items), (left.tail, right.tail)]
        elif isinstance(left, array):
            if (left.typecode, len(left)) != (right.typecode, len(right)):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right:
            return False
    return True
