"""The compiled codec and the Python one behave in the same way: the same values, bytes and errors, within every limit.

Here both run in one process and are compared. In addition, `.ci/run` runs all tests of codec and wire with each of
them.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import types
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokbok._native import ABSENT, NATIVE
from bokbok.errors import SexprError, WriteError
from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_5,
    DIALECTS,
    Char,
    Dialect,
    Dotted,
    Keyword,
    Parser,
    Reader,
    ReadError,
    Symbol,
    dumps,
    dumps_between,
    loads,
    native,
    parse,
    reader,
    writer,
)
from bokbok.sexpr.pieces import TakesLong
from bokbok_interop.vectors import load_dialect, load_lines
from tests.support.datums import TELLING_BYTES, datums
from tests.support.pure import pure
from tests.support.syntaxes import all_syntaxes
from tests.support.tagged import same

pytestmark = pytest.mark.skipif(NATIVE is None, reason=f"bokbok-native is {ABSENT}")

WRITTEN = [bytes.fromhex(line["hex"]) for line in load_dialect()]
RECORDED = [
    bytes.fromhex(line["hex"])
    for version in ("4.13.0", "5.3.0")
    for kind in ("read", "write")
    for line in load_lines(version, kind)
]
PIECES = [
    b"(", b")", b"(", b")", b" ", b" ", b"#(", b"'", b"`", b",", b",@", b". ", b".", b"[", b"]", b"a", b"foo:", b"-12",
    b"1.5", b"1.5e3", b"123456789012345678", b"1234567890123456789", b"-", b"+", b"...", b".5", b"1/2", b"#t", b"#f",
    b"#\\a", b"#\\(", b"#\\space", b'"x"', b'"\\n\\x41;"', b'"\\u00e9"', b'"\xff"', b"\xc3\xa9", b"|a b|", b"a|b|",
    b"#${00fF}", b"#${0 1}", b"#u8(1 2)", b"#f64(1 2.5)", b";c\n", b"#;a", b"#|c|#", b"#ci", b"#!eof",
    b"#<unspecified>",
    b"#<p>", b"#x1F", b"#:k", b"##a#b", b"%", b"a%", b"\n", b"\x00", b"\\", b"#",
]  # fmt: skip
TEXTS = (
    st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
    | st.lists(st.sampled_from(TELLING_BYTES), max_size=16).map(bytes)
    | st.lists(st.sampled_from(PIECES), max_size=10).map(lambda pieces: b"(" + b" ".join(pieces) + b")")
)


def outcome(run: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, ...]:
    """What a call returns; or its exact error."""
    try:
        return True, run(*arguments, **named)
    except SexprError as error:
        return False, type(error), str(error), vars(error)


def assert_one_behaviour(run: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    found = outcome(run, *arguments, **named)
    with pure():
        expected = outcome(run, *arguments, **named)
    assert found[0] == expected[0], (found, expected)
    assert same(found[1], expected[1]) if found[0] else found == expected


def parse_to_list(*arguments: Any, **named: Any) -> list[Any]:
    return list(parse(*arguments, **named))


def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one byte changed, left out or doubled, or cut off."""
    at = draw(st.integers(0, len(data)))
    piece = draw(st.sampled_from([b"", data[at : at + 1] * 2, *PIECES]))
    return draw(st.sampled_from([data[:at] + piece + data[at + 1 :], data[:at]]))


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    return mutated(draw, draw(st.sampled_from(WRITTEN + RECORDED)))


dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


@dialects
def test_every_vector_is_read_alike(dialect: Dialect) -> None:
    for data in {*WRITTEN, *RECORDED}:
        assert_one_behaviour(loads, data, dialect=dialect)
        assert_one_behaviour(parse_to_list, b" " + data + b" x", 1, dialect=dialect)


@dialects
def test_every_syntax_is_read_alike_side_by_side_and_nested(dialect: Dialect) -> None:
    for _, text in all_syntaxes():
        data = text(300)
        assert_one_behaviour(loads, data, dialect=dialect)


@dialects
@given(data=TEXTS | mutations())
@example(data=b"(a . (b . c))")
@example(data=b"(a .5)")
@example(data=b"(a .)")
@example(data=b"('a . b)")
@example(data=b"(a . 'b)")
@example(data=b"(a . b ;c\n)")
@example(data=b'(a "b\\')
@example(data=b"(1.5e99999 1.5e9999 -0.0 -0)")
def test_texts_are_read_alike(dialect: Dialect, data: bytes) -> None:
    assert_one_behaviour(loads, data, dialect=dialect)
    assert_one_behaviour(lambda: Parser(dialect=dialect).datum(data, 0))


@given(TEXTS | mutations(), st.integers(0, 4), st.integers(0, 3000))
def test_texts_are_read_alike_within_small_limits(data: bytes, depth: int, memory: int) -> None:
    with pure():
        outcome(loads, data, dialect=CHICKEN_5)  # now no symbol is new to it: new ones are charged
    assert_one_behaviour(lambda: loads(data, max_depth=depth, max_memory=memory))
    if depth:
        assert_one_behaviour(lambda: Parser(max_depth=depth, max_memory=memory).datum(data, 0))


@given(datums(CHICKEN_5), st.integers(0, 4000))
def test_what_passes_a_limit_on_memory_is_the_same(value: Any, memory: int) -> None:
    data = dumps([value] * 3, dialect=CHICKEN_5)
    with pure():
        outcome(loads, data, dialect=CHICKEN_5)  # now no symbol is new to it: new ones are charged
    assert_one_behaviour(lambda: loads(data, dialect=CHICKEN_5, max_memory=memory))


@pytest.mark.parametrize(
    "unit", [b"abc ", b"1 ", b"1.5 ", b'"text" ', b'"\xc3\xa9" ', b"foo: ", b"(a . b) ", b"'a ", b"() "]
)
def test_a_long_datum_is_refused_at_the_same_limit_or_not_at_all(unit: bytes) -> None:
    data = b"(" + unit * 3000 + b")"
    outcome(loads, data)
    for memory in range(50_000, 800_000, 54_321):
        assert_one_behaviour(loads, data, max_memory=memory)


@given(st.lists(TEXTS, max_size=5), st.integers(1, 9))
def test_a_stream_is_read_alike_however_it_is_cut(texts: list[bytes], size: int) -> None:
    data = b" ".join(texts)

    def feed() -> list[Any]:
        stream = Reader(max_memory=1 << 20)
        found = []
        for start in range(0, len(data), size):
            found += stream.feed(data[start : start + size])
        return found + stream.close()

    assert_one_behaviour(feed)


@dialects
@given(value=datums(CHICKEN_5))
@example(value=[1e15, -1e15, 0.1, 1 / 3, 123456789012345.6, 1e-4, 9.9e-5, 5e-324, math.inf, -0.0, 2.0**62])
@example(value=array("d", [0.1, 1e300, 1 / 3, 5.0]))
@example(value=[2**62, -(2**62), -(2**62) - 1, 10**30])
@example(value=["\udcc3\udca9", "\ud800"])
@example(value=Dotted([Symbol("a")], [1, Dotted([2], (3,))]))
@example(value=Dotted([1], None))
@example(value=[Keyword(""), Keyword("#%a"), Symbol(""), Char("\ud800"), bytearray(b"x"), memoryview(b"y")])
def test_values_are_written_alike(dialect: Dialect, value: Any) -> None:
    assert_one_behaviour(lambda: dumps(value, dialect=dialect))
    assert_one_behaviour(lambda: dumps_between("é \udcff(", [value, {}], ")", dialect))


@given(st.floats() | st.integers(-(10**15), 10**15).map(lambda number: number / 100))
def test_flonums_are_written_and_read_alike(value: float) -> None:
    for dialect in DIALECTS.values():
        assert_one_behaviour(dumps, [value], dialect=dialect)
    assert_one_behaviour(lambda: loads(f"({value!r} {value:.17g} {value:.3f})"))


def test_a_cycle_is_refused_alike_near_and_far() -> None:
    near: list[Any] = [1, 2]
    near.append((near,))
    far = inner = [1]
    for _ in range(100):
        inner.append([2])  # type: ignore[arg-type]
        inner = inner[-1]  # type: ignore[assignment]
    inner.append(far)  # type: ignore[arg-type]
    for value in (near, far, [near, far]):
        with pytest.raises(WriteError, match="a cycle"):
            dumps(value)
        assert_one_behaviour(dumps, value)
    again = ["the same", ()]
    assert dumps([again, again, [again]]) == b'(("the same" #()) ("the same" #()) (("the same" #())))'


def test_nesting_has_no_other_limit_than_the_one_that_is_asked_for() -> None:
    deep: Any = 1
    for _ in range(9_999):
        deep = [deep]
    data = dumps(deep)
    assert data == b"(" * 9_999 + b"1" + b")" * 9_999
    for depth in (9_998, 9_999):
        assert_one_behaviour(loads, data, max_depth=depth)


def test_what_a_value_s_own_code_raises_is_raised() -> None:
    class Odd:
        @property
        def __class__(self) -> Any:
            raise KeyError("of its own")

    with pytest.raises(KeyError, match="of its own"):
        dumps([1, Odd()])


def test_values_that_change_while_they_are_written_end_in_a_value_or_an_error() -> None:
    class Growing(str):
        __slots__ = ()

    value: list[Any] = [1]

    class Shrinking:
        @property
        def __class__(self) -> Any:
            value.clear()
            return str

    value += [Shrinking(), 2, 3]
    with pytest.raises((WriteError, TypeError)):
        dumps(value)


def test_threads_read_and_write_at_once() -> None:
    values: list[Any] = [[Symbol(f"name-{number}"), "text\n", number, [number / 7]] for number in range(500)]
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(20):
                for value in values:
                    assert loads(dumps(value)) == value
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@given(datums(CHICKEN_5), st.integers(0, 2000))
def test_what_is_written_where_others_wait_is_the_same_or_takes_long(value: Any, most: int) -> None:
    expected = dumps(value, dialect=CHICKEN_5)
    for within in (contextlib.nullcontext(), pure()):
        with within:
            try:
                assert dumps_between("", value, "", CHICKEN_5, most) == expected
            except TakesLong:
                assert most < 400 + 200 * len(expected)


@pytest.mark.parametrize("length", [1023, 1024, 1025, 5000])
@pytest.mark.parametrize("odd", ["", "\n", '"', "\\", "\x00", "\x7f", "\x80", "é", chr(0xDC80), chr(0xD800)])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_a_long_string_is_written_the_same_whatever_is_in_it(length: int, odd: str, dialect: Dialect) -> None:
    plain = "x" * (length - 1)
    for value in (odd + plain, plain + odd, plain[: length // 2] + odd + plain[length // 2 :]):
        outcomes: list[Any] = []
        for within in (contextlib.nullcontext(), pure()):
            with within:
                try:
                    outcomes.append(dumps_between("(é 1 ", value, ")", dialect))
                except WriteError as error:
                    outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        with pytest.raises(TakesLong):
            dumps_between("", value, "", dialect, length // 5)


@pytest.mark.parametrize(
    "value",
    [list(range(1_000_000)), ["x" * 300] * 50_000, "\n" * 10_000_000, bytes(10_000_000), array("Q", range(2_000_000))],
    ids=["list", "strings", "string", "blob", "vector"],
)
def test_other_threads_run_while_something_long_is_written(value: Any) -> None:
    turns = 0
    over = threading.Event()

    def take_turns() -> None:
        nonlocal turns
        while not over.is_set():
            time.sleep(0)  # lets go of the interpreter, and needs it again: once for each turn that it gets
            turns += 1

    thread = threading.Thread(target=take_turns)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        # Without turns within it there are three at most, before and behind it.
        for _ in range(100):
            before = turns
            dumps(value, dialect=CHICKEN_5)
            if turns - before > 5:
                return
        pytest.fail("nothing else ran")
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("end", [b"", b"]", b" . (a) . b)", b"#<x>)", b"x", b"\xff)", b'"\xff")', b"#|c|#))"])
@pytest.mark.parametrize("size", [30_000, 66_000, 200_000])
def test_a_long_datum_is_read_or_not_as_it_is_without_a_look_at_it_first(size: int, end: bytes) -> None:
    unit = b'(a #(b 1.5) (c . d) \'e "f" #\\g #u8(1) #t |h i| 1/2 #;k) '
    data = b"(" + unit * (size // len(unit)) + end + b")"
    whole = native.READER.read(data, 0, 5, 100, 1 << 30, True)
    pieces = native.READER.begin(data, 0, 5, 100, 1 << 30, True)
    while (found := native.READER.step(pieces, data, 4096)) is False:
        pass
    assert (found is None) == (whole is None)
    if whole is not None:
        assert same(found[0], whole[0])
        assert found[1:] == whole[1:]


def test_of_a_long_datum_that_does_not_read_nothing_was_made() -> None:
    data = b"(" + b"(a (b)) " * 20_000
    pieces = native.READER.begin(data, 0, 5, 100, 1 << 30, True)
    before = sys.getallocatedblocks()
    steps = 0
    while native.READER.step(pieces, data, 4096) is False:
        steps += 1
        assert sys.getallocatedblocks() < before + 100
    assert steps > 20
    assert pieces.spent > 2 * 20_000 * 120  # what it would have taken


def test_what_is_given_up_half_read_is_freed() -> None:
    data = b"(" + b"(a (b)) " * 1000
    begin = native.READER.begin
    pieces = begin(data, 0, 5, 100, 1 << 30, True)
    before = sys.getallocatedblocks()
    for _ in range(3):
        assert native.READER.step(pieces, data, 1000) is False
    assert sys.getallocatedblocks() > before + 500
    del pieces
    assert sys.getallocatedblocks() < before + 100
    pieces = begin(data, 0, 5, 100, 1 << 30, True)
    while native.READER.step(pieces, data, 1000) is False:
        pass
    assert pieces.spent > 2 * 1000 * 120  # what was taken in vain
    assert sys.getallocatedblocks() < before + 100


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The results of the compiled reader and writer."""
    answers: list[Any] = []

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            answers.append(call(*arguments))
            return answers[-1]

        return run

    read = watched(native.READER.read)
    for module in (native, reader):
        monkeypatch.setattr(module, "READER", types.SimpleNamespace(read=read))
    monkeypatch.setattr(writer, "WRITE", watched(writer.WRITE))  # type: ignore[arg-type]
    return answers


USUAL = b'(request 12 ("ping" 1.5 #t #\\a key: (a . 1) #(1 "\\n") \'x #${00ff} #u8(1 2) |a b| -))'


def test_usual_data_are_read_and_written_by_the_compiled_codec(calls: list[Any]) -> None:
    value = loads(USUAL)
    assert dumps(value, dialect=CHICKEN_4) == USUAL.replace(b"'x", b"(quote x)")
    assert len(calls) == 2
    assert all(answer is not None for answer in calls)


def test_what_does_not_read_is_read_once_more_and_no_oftener(calls: list[Any]) -> None:
    with pytest.raises(ReadError, match="unterminated list"):
        loads(USUAL[:-1])
    assert calls == [None]
    calls.clear()
    stream = Reader()
    data = b"(" + b"1 " * 1000
    for start in range(0, len(data), 10):
        stream.feed(data[start : start + 10])
    assert calls == [None]
