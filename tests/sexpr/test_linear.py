"""The time of reading and writing is proportional to the input, for every syntax. It counts machine instructions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.instructions import count, missing
from tests.support.syntaxes import all_syntaxes

_MISSING = missing()
_WHY_NOT = _MISSING
if "BOKBOK_COUNT_INSTRUCTIONS" not in os.environ:
    _WHY_NOT = "it takes minutes: set BOKBOK_COUNT_INSTRUCTIONS=1 to count"
pytestmark = pytest.mark.timeout(3600)
all_of_them = pytest.mark.skipif(_WHY_NOT is not None, reason=_WHY_NOT or "")

_SIZES = (100, 400, 800, 1600)
"""The first one only makes what is made once."""
_SETUP = """
import array
from bokbok.sexpr import CHICKEN_5, Dotted, ReadError, Reader, Symbol, dumps, from_sexpdata, loads, to_sexpdata
from bokbok.wire import Connection
from tests.support.peers import framed
from tests.support.syntaxes import all_syntaxes

SYNTAXES = dict(all_syntaxes())

def received(name, size):
    connection = Connection("server")
    connection.receive(framed(b"(request 0 " + SYNTAXES[name](size) + b")"))
    while connection.more:
        connection.receive(b"")

def whole(name, size):
    try:
        loads(SYNTAXES[name](size))
    except ReadError:
        pass

def fed(name, size):
    reader, text = Reader(), SYNTAXES[name](size)
    try:
        for start in range(0, len(text), 16):
            reader.feed(text[start : start + 16])
        reader.close()
    except ReadError:
        pass

def nested(wrap, size):
    value = []
    for _ in range(size):
        value = wrap(value)
    return value

def shared(size):
    part = ["x" * 20] * 10
    return [part] * (size // 10)

VALUES = {
    "a long list": lambda size: list(range(size)),
    "a list of lists": lambda size: [[n, "a"] for n in range(size)],
    "a deep list": lambda size: nested(lambda value: [value], size),
    "a deep list with neighbours": lambda size: nested(lambda value: [1, value, 2], size),
    "a deep vector": lambda size: nested(lambda value: (value,), size),
    "tails of tails": lambda size: nested(lambda value: Dotted([1], value), size),
    "dotted lists in dotted lists": lambda size: nested(lambda value: Dotted([value], 1), size),
    "the same part again and again": shared,
    "a long string": lambda size: "x" * size,
    "a string of escapes": lambda size: "\\n" * size,
    "a long string with escapes beyond ASCII": lambda size: "é\\n" * size,
    "a string of bytes that are not text": lambda size: "\\udcff" * size,
    "a long symbol": lambda size: Symbol("x" * size),
    "a symbol between bars": lambda size: Symbol("| " * size),
    "a symbol like a number": lambda size: Symbol("1" * size + "x"),
    "a blob": lambda size: bytes(size),
    "a vector of bytes": lambda size: array.array("B", bytes(size)),
    "a vector of flonums": lambda size: array.array("d", [0.1] * size),
}

def written(name, size):
    dumps(VALUES[name](size), dialect=CHICKEN_5)

def converted(name, size):
    to_sexpdata(from_sexpdata(VALUES[name](size)))
"""
_VALUES = [line.split('"')[1] for line in _SETUP.partition("VALUES = {")[2].splitlines() if line.startswith('    "')]


def _assert_linear(function: str, names: list[str], folder: Path) -> None:
    """Twice the size may cost twice the instructions: the second doubling adds at most 2.6 times what the first did."""
    statements = [f"{function}({name!r}, {size})" for name in names for size in _SIZES]
    counts = count(_SETUP, statements, folder)
    worse = []
    for index, name in enumerate(names):
        _, small, middle, large = counts[4 * index : 4 * index + 4]
        if large - middle > 2.6 * max(middle - small, 200_000):
            worse.append(f"{name}: {small:,} {middle:,} {large:,}")
    assert not worse, "\n".join(worse)


_QUADRATIC = ("b'(a . (b b))' nested", "b'(a . b b . c)' nested", "b'[a . (b b)]' nested", "b'()' side by side")
_SAMPLE = [name for name, _ in all_syntaxes() if name in _QUADRATIC]
"""What was quadratic at some time."""


@pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")
def test_receiving_a_message_is_linear_for_what_was_quadratic_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOKBOK_NATIVE", "0")  # the accelerator leaves to Python what it does not know
    assert len(_SAMPLE) == len(_QUADRATIC)
    _assert_linear("received", _SAMPLE, tmp_path)


@all_of_them
def test_reading_whole_input_is_linear_for_every_syntax(tmp_path: Path) -> None:
    _assert_linear("whole", [name for name, _ in all_syntaxes()], tmp_path)


@all_of_them
def test_reading_in_small_pieces_is_linear_for_every_syntax(tmp_path: Path) -> None:
    _assert_linear("fed", [name for name, _ in all_syntaxes()], tmp_path)


@all_of_them
def test_writing_is_linear_for_every_kind_of_value(tmp_path: Path) -> None:
    _assert_linear("written", _VALUES, tmp_path)


@all_of_them
def test_converting_to_sexpdata_and_back_is_linear_for_every_kind_of_value(tmp_path: Path) -> None:
    _assert_linear("converted", [name for name in _VALUES if not name.startswith("a symbol")], tmp_path)
