"""The default script: what a client sends so that a recording determines the format.

What this module knows: which datums tell formats apart, and what the conformance service and the egg's demo send
anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bokbok.errors import ReadError
from bokbok.sexpr import CHICKEN_4, dumps, loads

__all__ = ["SCRIPT", "known_datums", "read_messages"]

_FILLER = "The quick brown fox jumps over the lazy dog. "

SIZES = (10, 20, 40, 60, 80, 100, 130, 160, 200, 250, 300, 400, 600, 2000, 5000, 17000)
"""Characters of the strings that are sent.

Framings that agree on short packets differ when a length takes one byte more (from 128, 256, 16,384 bytes on). Which
message makes such a packet depends on the encoding: hexadecimal takes twice as many bytes, a u8vector three to four
times as many. So there are many short strings.
"""

SCRIPT: tuple[str, ...] = (
    '("ping" "12345")',
    '("echo" ())',
    '("echo" "marker")',
    '("echo" 42)',
    '("fail" "marker of a failure")',
    '("callback" 2 "marker")',
    '("echo" (a "b" (c -7) #t #f))',
    '("echo" #(1 (2) "three"))',
    '("echo" (a . b))',
    '("echo" #\\x)',
    '("echo" "quote \\" backslash \\\\ tab \\t newline \\n bell \\a null \\x00 escape \\x1b")',
    '("echo" "caf\u00e9")',
    '("echo" |two words|)',
    '("echo" (key: 0.1 1e+21 -0.5))',
    '("echo" #${00ff10})',
    '("unknown" "request")',
    '("callback" 3 ("nested" (("list"))))',
    *(f'("echo" "{(_FILLER * (1 + size // len(_FILLER)))[:size]}")' for size in SIZES),
    '("fail" "another failure")',
    '("fail" "")',
    '("echo" (a b . c))',
    '("echo" (a (b)))',
    '("echo" "12")',
    '("echo" "the end")',
)
"""One datum on each line. A client whose own handler is the conformance service plays them on each of two connections.
Lines that a peer cannot send (too long, a value that it lacks) are left out."""

_DEMO = ('("ping" "12345")', '("asynch")', '("callback" "1")', '("callback" "2")', '("callback" "3")')


def read_messages(text: str) -> list[Any]:
    """Datums, one on each line. Empty lines and comments are skipped.

    Raises:
        ReadError: a line cannot be read; the message names the line.
    """
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith(";"):
            try:
                out.append(loads(stripped))
            except ReadError as error:
                raise ReadError(f"line {number}: {error.problem}", error.offset, error.expected) from None
    return out


def known_datums(extra: Iterable[Any] = ()) -> set[bytes]:
    """The datums to expect in requests and answers, as written: the script, the demo, and what follows from them."""
    datums = [*map(loads, SCRIPT), *map(loads, _DEMO), *extra]
    out = set()
    for datum in datums:
        out.add(_written(datum))
        if not isinstance(datum, list) or not datum or type(datum[0]) is not str:
            continue
        if datum[0] == "ping" and len(datum) == 2:
            out.add(_written(["pong", datum[1]]))
        elif datum[0] == "echo" and len(datum) == 2:
            out.add(_written(datum[1]))
        elif datum[0] == "callback" and len(datum) == 3 and type(datum[1]) is int:
            for i in range(min(datum[1], 100)):
                out |= {_written(["echo", [i, datum[2]]]), _written([i, datum[2]])}
            out.add(_written([[i, datum[2]] for i in range(min(datum[1], 100))]))
    return out


def _written(datum: Any) -> bytes:
    return dumps(datum, dialect=CHICKEN_4)
