"""A codec as a contestant: it reads or writes one value again and again, from or to bytes.

python codec.py NAME read|write BYTES

NAME is `ours`, `sexpdata` or `json`. The value is a list of records of strings, numbers and lists, which all three can
hold; its JSON is about BYTES long.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import steered


def value(size: int) -> list[Any]:
    """Records whose JSON is about `size` bytes long."""
    found: list[Any] = []
    length = 0
    while length < size:
        number = len(found)
        record: list[Any] = [f"item {number}", number * 7919, ["tag", "λ" if number % 50 == 9 else "other"], number / 8]
        found.append(record)
        length += len(json.dumps(record)) + 2
    return found


def codec(name: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """What writes, and what reads."""
    if name == "ours":
        from bokbok.sexpr import dumps, loads

        return dumps, loads
    if name == "json":
        return lambda value: json.dumps(value).encode(), json.loads
    import sexpdata

    return lambda value: sexpdata.dumps(value).encode(), lambda data: sexpdata.loads(data.decode())


def main(name: str, direction: str, size: str) -> None:
    write, read = codec(name)
    datum = value(int(size))
    text = write(datum)
    assert read(text) == datum
    call, argument = (read, text) if direction == "read" else (write, datum)
    clock = time.perf_counter

    def timed(times: int) -> float:
        start = clock()
        for _ in range(times):
            call(argument)  # type: ignore[operator]
        return clock() - start

    at_once = 1
    while timed(at_once) < 1e-3:  # so that reading the clock does not matter
        at_once *= 2

    def run(seconds: float) -> tuple[int, float]:
        done, start = 0, clock()
        while not done or clock() - start < seconds:
            timed(at_once)
            done += at_once
        return done, clock() - start

    steered.ask(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
