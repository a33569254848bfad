"""Test vectors (`docs/vectors.md`): what CHICKEN writes and reads (`chicken-4.13.0`, `chicken-5.3.0`), what the dialect
`CHICKEN_4` writes (`chicken-4-dialect`), and complete conversations (`sessions`).

They come with the package, for the cases and for implementers.
"""

from __future__ import annotations

import json
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

from bokbok.sexpr import EOF, Char, Dotted, Keyword, Symbol

__all__ = ["RELEASES", "SIZES", "load_dialect", "load_lines", "load_sessions", "typecode", "untag"]

RELEASES = ("4.13.0", "5.3.0")
"""The releases of CHICKEN that were recorded."""

SIZES = {"u8": 1, "s8": 1, "u16": 2, "s16": 2, "u32": 4, "s32": 4, "u64": 8, "s64": 8, "f32": 4, "f64": 8}
"""The bytes of a number in each kind of number vector."""

_FOLDER = Path(__file__).parent


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def load_lines(release: str, kind: str) -> list[dict[str, Any]]:
    """What one release of CHICKEN writes (`kind` is `write`) or reads (`read`): one entry for each line of the file."""
    return _lines(_FOLDER / f"chicken-{release}" / f"{kind}.jsonl")


def load_dialect() -> list[dict[str, Any]]:
    """What the dialect `CHICKEN_4` writes, which is not that of a release: one entry for each line of the file."""
    return _lines(_FOLDER / "chicken-4-dialect" / "write.jsonl")


def load_sessions() -> list[list[dict[str, Any]]]:
    """Every recorded conversation: its header, then what each side does, in order."""
    sessions: list[list[dict[str, Any]]] = []
    for path in sorted((_FOLDER / "sessions").glob("*.jsonl")):
        for line in _lines(path):
            if "bokbok-session" in line:
                sessions.append([])
            sessions[-1].append(line)
    return sessions


def untag(tagged: dict[str, Any]) -> Any:
    """A value of the vectors, `{"t": type, "v": ...}`, as the library represents it.

    Raises:
        LookupError: nothing in Python stands for it.
    """
    kind: str = tagged["t"]
    value: Any = tagged.get("v")
    if kind in ("string", "symbol", "keyword"):
        text = bytes.fromhex(value).decode("utf-8", "surrogateescape")
        return {"string": str, "symbol": Symbol, "keyword": Keyword}[kind](text)
    if kind == "blob":
        return bytes.fromhex(value)
    if kind in ("fixnum", "boolean"):
        return value
    if kind == "flonum":
        return float.fromhex(value)
    if kind == "char":
        return Char(chr(value))
    if kind in ("list", "vector"):
        items = [untag(item) for item in value]
        return items if kind == "list" else tuple(items)
    if kind == "dotted":
        return Dotted([untag(item) for item in value], untag(tagged["tail"]))
    if kind == "eof":
        return EOF
    if kind == "unspecified":
        return None
    if kind == "othernum":
        return Fraction(value) if "/" in value else int(value)
    if kind.endswith("vector"):
        return array(typecode(kind[:-6]), [float.fromhex(x) if isinstance(x, str) else x for x in value])
    raise LookupError(f"no Python value for a tagged {kind}")


def typecode(tag: str) -> str:
    """The type code of `array.array` on this machine, for a kind of number vector."""
    codes = {"f": "fd", "u": "BHILQ", "s": "bhilq"}[tag[0]]
    return next(code for code in codes if array(code).itemsize == SIZES[tag])
