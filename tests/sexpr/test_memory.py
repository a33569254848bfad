"""The memory that a datum takes is estimated while it is read, and has a limit."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from bokbok.sexpr import CHICKEN_4, CHICKEN_5, Dotted, Parser, Reader, ReadError, Symbol, dumps, loads
from bokbok.sexpr.machine import NO_DATUM, PAUSED, Machine
from tests.support.syntaxes import all_syntaxes

SYNTAXES = dict(all_syntaxes())
SIZE = 3_000
_IN_PIECES = [repr(unit) + " side by side" for unit in (b"()", b"(a . (b))", b"''''a")] + ["b'(a . (b b))' nested"]


def charged(data: bytes) -> int | None:
    """The bytes that a datum is charged; `None` if it cannot be read."""
    spent: list[int] = []

    class Counted(Machine):
        __slots__ = ()

        def _complete(self, value: Any) -> Any:
            spent.append(self.spent)
            return super()._complete(value)

    machine = Counted(CHICKEN_4, 10_000, 1 << 40)
    machine.charging, machine.left = True, 1 << 40
    try:
        machine.run(data, 0, True)
    except ReadError:
        return None
    return spent[-1] if spent and machine.position == len(data) else None


def machine_loads(data: bytes) -> Any:
    return Machine(CHICKEN_4, 10_000, 1 << 40).run(data, 0, True)


def allocated(data: bytes, read: Callable[[bytes], Any] = loads) -> int:
    """The memory that the value of a datum takes."""
    read(data)  # so that what Python keeps for reuse, such as freed tuples, exists already
    tracemalloc.start()
    try:
        value = read(data)
        taken = tracemalloc.get_traced_memory()[0]
        del value
    finally:
        tracemalloc.stop()
    return taken


@pytest.mark.timeout(600)
def test_no_value_takes_more_than_is_charged_for_it() -> None:
    worse = []
    for name, text in SYNTAXES.items():
        data = text(SIZE)
        estimate = charged(data)
        if estimate is not None:  # an unreadable datum leaves nothing behind
            taken = allocated(data)
            if taken > max(estimate * 1.1, 4 * len(data)) + 8_000:
                worse.append(f"{name}: {taken:,} for {estimate:,}")
    assert not worse, "\n".join(worse)


@pytest.mark.parametrize(
    ("data", "at_most"),
    [
        (b"(" + b"1234567 " * 4000 + b")", 1.4), (b"(" + b"1.5 " * 4000 + b")", 1.4),
        (b"(" + b'"some text here" ' * 4000 + b")", 1.4), (b"(" + b"(a 1) " * 4000 + b")", 2.6),
        (b"(" + b"() " * 4000 + b")", 2.6), (b'"' + b"x" * 30_000 + b'"', 1.1), (b"#${" + b"00" * 30_000 + b"}", 1.1),
        (b"#u8(" + b"1 " * 30_000 + b")", 1.2), (b"(" + b"'a " * 4000 + b")", 3.2),
    ],
)  # fmt: skip
def test_usual_values_are_not_charged_for_much_more_than_they_take(data: bytes, at_most: float) -> None:
    estimate = charged(data)
    assert estimate is not None
    # The accelerator's lists have no unused places, and are charged all the same: what is refused is the same.
    assert estimate <= at_most * allocated(data, machine_loads) + 2000


@pytest.mark.timeout(600)
def test_what_is_refused_is_refused_before_it_takes_much_more() -> None:
    worse, limit = [], 30_000
    for name, text in SYNTAXES.items():
        data = text(8_000)
        tracemalloc.start()
        try:
            with contextlib.suppress(ReadError):
                loads(data, max_memory=limit)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if most > limit + 6 * len(data) + 1_200_000:  # open lists, up to 10,000 levels, and one window
            worse.append(f"{name}: {most:,}")
    assert not worse, "\n".join(worse)


@pytest.mark.parametrize("name", _IN_PIECES)
def test_the_limit_is_the_same_in_pieces(name: str) -> None:
    data = SYNTAXES[name](4_000)
    loads(data)  # symbols that are remembered cost less
    estimate = charged(data)
    assert estimate is not None

    def fed(limit: int) -> list[Any]:
        reader = Reader(max_memory=limit)
        return [value for start in range(0, len(data), 7) for value in reader.feed(data[start : start + 7])]

    assert fed(10 * estimate) == [loads(data)]
    with pytest.raises(ReadError, match=r"datum that takes more than 50,000 bytes of memory, the limit at byte 0"):
        fed(50_000)


def test_the_error_says_the_limit_and_where_the_datum_began() -> None:
    with pytest.raises(ReadError, match=r"^datum that takes more than 100 bytes of memory, the limit at byte 3$"):
        loads(b"   (1 2 (3))", max_memory=100)
    with pytest.raises(ReadError, match=r"memory, the limit at byte 2$"):
        loads(b'  "' + b"x" * 1000 + b'"', max_memory=500)


def test_what_was_read_of_a_list_that_takes_too_much_is_known() -> None:
    reader = Parser(max_memory=5000)
    with pytest.raises(ReadError, match="memory"):
        reader.datum(b"(request 3 " + b"() " * 1000 + b")", 0)
    elements, opened = reader.begun
    assert elements[:2] == [Symbol("request"), 3]
    assert opened == 0


def test_each_datum_has_the_whole_limit() -> None:
    reader = Reader(max_memory=2000)
    assert len(reader.feed(b"(1 2 3 4 5 6 7 8 9 10) " * 100)) == 100


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: Dotted([value], 1)])
def test_a_deep_value_is_freed_without_recursion(wrap: Callable[[Any], Any]) -> None:
    value: Any = []
    for _ in range(200_000):
        value = wrap(value)
    del value


class TestPauses:
    @pytest.mark.parametrize("name", SYNTAXES)
    def test_a_pause_changes_nothing(self, name: str) -> None:
        data = SYNTAXES[name](3000)

        def outcome(step: int | None) -> tuple[object, int]:
            machine, position, pauses = Machine(CHICKEN_5, 10_000), 0, 0
            try:
                while (value := machine.run(data, position, True, step and position + step)) is PAUSED:
                    assert machine.position > position
                    position, pauses = machine.position, pauses + 1
            except ReadError as error:
                return str(error), 0
            return value if value is NO_DATUM else dumps(value, dialect=CHICKEN_5), machine.position

        assert outcome(50) == outcome(None)

    def test_it_pauses_at_the_first_end_of_a_token_behind_the_offset(self) -> None:
        machine = Machine(CHICKEN_4, 10)
        data = b'(a "bcdefghij" c)'
        assert machine.run(data, 0, True, 5) is PAUSED
        assert machine.position == 14
        assert machine.run(data, machine.position, True) == [Symbol("a"), "bcdefghij", Symbol("c")]

    def test_a_long_list_takes_as_many_pauses_as_it_has_slices(self) -> None:
        machine, data = Machine(CHICKEN_4, 10), b"(" + b"123 " * 10_000 + b")"
        position = pauses = 0
        while machine.run(data, position, True, position + 1000) is PAUSED:
            position, pauses = machine.position, pauses + 1
        assert pauses == 40
