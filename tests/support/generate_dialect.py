"""Write the vectors of the dialect `CHICKEN_4`: `bokbok_interop/vectors/chicken-4-dialect` (format: docs/vectors.md).

    python -m tests.support.generate_dialect

It knows the values: those that were recorded from a CHICKEN, as far as CHICKEN 4 has them, and those in which the
dialect differs from 4.13.0, or which only occur in messages. The bytes come from this library. Run it only when the
dialect itself changes: other implementations have been tested with the file.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bokbok.sexpr import CHICKEN_4, FIXNUM_MAX, FIXNUM_MIN, dumps
from bokbok_interop.vectors import RELEASES, load_lines, untag

FILE = Path(__file__).parents[2] / "interop" / "bokbok_interop" / "vectors" / "chicken-4-dialect" / "write.jsonl"
Tagged = dict[str, Any]

UNSPECIFIED: Tagged = {"t": "unspecified"}


def named(kind: str, name: bytes) -> Tagged:
    return {"t": kind, "v": name.hex()}


def symbol(name: bytes) -> Tagged:
    return named("symbol", name)


def flonum(value: float) -> Tagged:
    return {"t": "flonum", "v": value.hex()}


def floats(tag: str, *values: float) -> Tagged:
    return {"t": f"{tag}vector", "v": [value.hex() for value in values]}


NAMES = [
    b"", b"|", b"\\", b"a b", b"a|b", b"a\\b", b"a:", b":", b"::", b"a:b", b":a", b"a\nb", b"A", b"\x7f", b"\x01",
    b"\x01ab", b"\x1f", b"\x00", b"\x00a", b"#", b"##", b"#a", b"#%a", b"#!eof", b"#!rest", b"#:a", b"##a#b", b".",
    b"..", b"...", b".a", b"+", b"-", b"1+", b"-1+", b"+a", b"1a", b"1", b"-1", b"1.5", b".5", b"1e5", b"1/2",
    b"+inf.0", b"-nan.0", b"+i", b"-i", b"1@2", b"1+i", b"1e400", b"1/0", b"a'b", b"a;b", b"a,b", b"(", b"]", b"{",
    b'"', "é".encode(), "日本語".encode(), b"\x80", b"\xff", b"a\xffb", b"\xc3", b"quote", b"nil",
]  # fmt: skip
"""Names of symbols and keywords: bars, what looks like something else, bytes from 128 up."""

STRINGS = [
    b"", bytes(range(32)) + b'"\\\x7f', bytes(range(128, 256)), "é日本語𝄞".encode(), b"\xc3(", b"\xed\xa0\x80",
    b"a|b", b"\\x41",
]  # fmt: skip

FLONUMS = [
    0.1 + 0.2, 1 / 3, 0.1, 2.0, -0.0, 1e14, 123456789012345.0, 1e15, 1e16, 2.0**53, 2.0**53 + 2, 1e21, 1e22, 1e23, 1e-4,
    1e-5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993.5, 0.1 * 3, 4.35, math.pi, -math.e,
    math.inf, -math.inf, math.nan,
]  # fmt: skip
"""Some that 15 digits tell from their neighbours, some that need more, and some at which `%g` changes its form."""

VALUES: list[Tagged] = [
    UNSPECIFIED,
    {"t": "list", "v": [UNSPECIFIED, {"t": "list", "v": []}]},
    {"t": "dotted", "v": [symbol(b"a"), symbol(b"b")], "tail": UNSPECIFIED},
    {"t": "vector", "v": [UNSPECIFIED]},
    *[named(kind, name) for kind in ("symbol", "keyword") for name in NAMES],
    *[named("string", text) for text in STRINGS],
    *map(flonum, FLONUMS),
    *[{"t": "fixnum", "v": number} for number in (FIXNUM_MIN, FIXNUM_MAX)],
    floats("f32"),
    # Each element is the double that it is equal to, with all the digits of that.
    floats("f32", 0.0, -0.0, 1.0, -2.5, *(float.fromhex(text) for text in ("0x1.99999ap-4", "0x1.555556p-2"))),
    floats("f32", *(float.fromhex(text) for text in ("0x1p-149", "0x1p-126", "0x1.fffffep+127", "0x1.bf08ecp+34"))),
    floats("f32", math.inf, -math.inf, math.nan),
    floats("f64", 0.1, 0.1 + 0.2, 1e21, 5e-324, math.inf, -math.inf, math.nan),
    *[{"t": f"{tag}vector", "v": []} for tag in ("u8", "s8", "u16", "s16", "u32", "s32", "f64")],
    {"t": "s8vector", "v": [-128, 127]},
    {"t": "u32vector", "v": [0, 2**32 - 1]},
    {"t": "s32vector", "v": [-(2**31), 2**31 - 1]},
    *[{"t": "char", "v": code} for code in (0, 0x1F, 0x20, 0x7F, 0x80, 0xE9, 0xFF, 0x100, 0x65E5, 0xD800, 0x10FFFF)],
    named("blob", b""),
    # A message, as an association list with keywords has it.
    {
        "t": "list",
        "v": [
            symbol(b"request"), {"t": "fixnum", "v": 12},
            {"t": "list", "v": [
                named("string", b"ping"), named("keyword", b"verbose"), {"t": "boolean", "v": True},
                {"t": "dotted", "v": [symbol(b"delay")], "tail": flonum(0.1 + 0.2)},
            ]},
        ],
    },
]  # fmt: skip
"""What was not recorded."""


def values() -> list[Tagged]:
    """Every value of the file, once, in its order: the recorded ones, then the others."""
    recorded = [line["value"] for release in RELEASES for line in load_lines(release, "write")]
    unique = {json.dumps(value): value for value in recorded + VALUES}
    # Integers that are not fixnums, and fractions; CHICKEN 5 has them.
    return [value for value in unique.values() if value["t"] != "othernum"]


def lines() -> list[str]:
    """The lines of the file."""
    return [
        json.dumps({"value": value, "hex": dumps(untag(value), dialect=CHICKEN_4).hex()}) + "\n" for value in values()
    ]


def main() -> None:
    with FILE.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(lines())


if __name__ == "__main__":
    main()
