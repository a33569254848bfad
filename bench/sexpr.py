"""The speed of reading and writing s-expressions, compared with Python's own `json` (written in C) and sexpdata.

    python bench/sexpr.py [PATTERN]

It prints the best of several runs for every case whose name contains PATTERN: microseconds, and millions of elements
(or of bytes, for strings and blobs) per second. `json` and sexpdata get the same values, as far as they support them.
"""

from __future__ import annotations

import json
import os
import random
import sys
import timeit
from array import array
from collections.abc import Callable
from typing import Any

import sexpdata

from bokbok.sexpr import Char, Keyword, Reader, Symbol, dumps, loads, parse

MESSAGE = b'(request 12 ("ping" "12345"))'


def measure(name: str, run: Callable[[], object], size: float = 0) -> None:
    if len(sys.argv) > 1 and sys.argv[1] not in name:
        return
    timer = timeit.Timer(run)
    number, _ = timer.autorange()
    best = min(timer.repeat(3, number)) / number
    print(f"{name:<40}{best * 1e6:>14,.2f} µs{f'{size / best / 1e6:>12,.1f} M/s' if size else ''}")


def both_ways(name: str, value: Any, size: float = 0) -> None:
    data = dumps(value)
    measure(f"{name}: loads", lambda: loads(data), size)
    measure(f"{name}: dumps", lambda: dumps(value), size)


def against(name: str, value: Any, size: float = 0) -> None:
    """The same with `json` and sexpdata, for a value that both support."""
    text = json.dumps(value)
    measure(f"{name}: json.loads", lambda: json.loads(text), size)
    measure(f"{name}: json.dumps", lambda: json.dumps(value), size)
    lisp = sexpdata.dumps(value)
    measure(f"{name}: sexpdata.loads", lambda: sexpdata.loads(lisp), size)
    measure(f"{name}: sexpdata.dumps", lambda: sexpdata.dumps(value), size)


def feed(data: bytes, size: int) -> list[Any]:
    reader = Reader()
    found = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.close()


def main() -> None:
    message = loads(MESSAGE)
    measure("message: parse", lambda: parse(MESSAGE))
    both_ways("message", message)
    against("message", ["request", 12, ["ping", "12345"]])

    numbers = list(range(100_000))
    both_ways("100,000 fixnums", numbers, 1e5)
    against("100,000 fixnums", numbers, 1e5)
    pairs = [[f"key {number}", number] for number in range(50_000)]
    both_ways("50,000 lists of two", pairs, 1e5)
    against("50,000 lists of two", pairs, 1e5)
    floats = [random.Random(number).uniform(-1e6, 1e6) for number in range(50_000)]
    both_ways("50,000 flonums", floats, 5e4)
    against("50,000 flonums", floats, 5e4)
    mixed = [1, "text", Symbol("symbol"), 1.5, True, Keyword("key"), Char("a"), Symbol("another"), "", -5] * 10_000
    both_ways("100,000 mixed atoms", mixed, 1e5)
    deep: list[Any] = []
    for _ in range(9_999):
        deep = [deep]
    both_ways("10,000 levels", deep, 1e4)

    size = 1 << 20
    both_ways("1 MiB of ASCII", "x" * size, size)
    against("1 MiB of ASCII", "x" * size, size)
    both_ways("1 MiB of UTF-8", "日本語" * (size // 9), size)
    both_ways("1 MiB of random bytes as a string", os.urandom(size).decode("utf-8", "surrogateescape"), size)
    both_ways("1 MiB blob", os.urandom(size), size)
    both_ways("u8vector of 1 Mi", array("B", os.urandom(size)), size)
    both_ways("f64vector of 50,000", array("d", floats), 5e4)

    text = dumps("x" * (16 * size))
    measure("16 MiB string fed in 64 KiB", lambda: feed(text, 1 << 16), len(text))
    data = dumps(numbers)
    measure("100,000 fixnums fed in 64 KiB", lambda: feed(data, 1 << 16), 1e5)
    measure("100 KiB list fed byte by byte", lambda: feed(data[: 100 << 10].rpartition(b" ")[0] + b")", 1), 100 << 10)
    measure("100 KiB string fed byte by byte", lambda: feed(text[: 100 << 10] + b'"', 1), 100 << 10)


if __name__ == "__main__":
    main()
