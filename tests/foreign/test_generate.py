"""Drawing formats: they converse, say what they are, come back from their descriptions, and are never senseless."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from tests.foreign.conversing import converse
from tests.support.foreign import (
    INFERRED_1,
    INFERRED_1_INSECURE,
    LAYERS,
    MAY_OCCUR,
    OUTSIDE,
    TABLE,
    Format,
    all_kinds,
    foreign_format,
    inferred_1,
    interesting_formats,
    may_occur_format,
    objections,
    random_format,
)
from tests.support.foreign.format import BOXED
from tests.support.foreign.layers.encoding import Hex, Literal
from tests.support.foreign.layers.framing import Integer, Unframed
from tests.support.foreign.layers.hello import OneDatum, OnePacket, TwoPackets
from tests.support.foreign.layers.message import BinaryEnvelope
from tests.support.foreign.layers.packet_type import TypeByte
from tests.support.foreign.registry import describe, kinds

MANY = [random_format(Random(seed)) for seed in range(300)]


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_formats_converse_without_loss(first: int) -> None:
    for seed in range(first, first + 50):
        converse(MANY[seed], seed)


def test_a_seed_gives_the_same_format_again() -> None:
    assert [random_format(Random(seed)) for seed in range(50)] == MANY[:50]


def test_formats_are_many() -> None:
    assert len({fmt.name for fmt in MANY}) > 295
    shares = Counter(fmt.secure for fmt in MANY)
    assert min(shares.values()) > 50


def test_every_kind_of_the_table_is_drawn() -> None:
    drawn = Counter((item.layer, item.kind) for fmt in MANY for item in fmt.layers().values())
    assert {(kind.layer, kind.kind) for kind in all_kinds(TABLE)} == set(drawn)
    assert min(drawn.values()) >= 5


def test_only_the_table_is_drawn_from() -> None:
    assert {fmt.group for fmt in MANY} == {TABLE}
    assert all(not fmt.beyond for fmt in MANY)


def test_secure_and_insecure_can_be_asked_for() -> None:
    for secure in (True, False):
        assert {random_format(Random(seed), secure=secure).secure for seed in range(40)} == {secure}


def test_plain_formats_take_no_liberties() -> None:
    plain = [random_format(Random(seed), readings=False) for seed in range(100)]
    assert [fmt.readings() for fmt in plain if fmt.readings()] == []
    assert any(fmt.readings() for fmt in MANY)


def test_nothing_that_is_drawn_is_senseless() -> None:
    drawn = [*MANY, *(may_occur_format(Random(seed)) for seed in range(60))]
    drawn += [foreign_format(Random(seed)) for seed in range(60)]
    assert [list(objections(fmt)) for fmt in drawn if list(objections(fmt))] == []


@pytest.mark.parametrize(
    "fmt",
    [
        Format(framing=Unframed(True)),
        Format(framing=Unframed(True), encoding=Hex(), hello=TwoPackets("plain")),
        Format(framing=Unframed(False), encoding=Hex(), hello=TwoPackets("string")),
        Format(framing=Unframed(False), encoding=Literal("blob"), hello=TwoPackets("symbol")),
        Format(framing=Unframed(True), encoding=Literal("blob"), hello=OnePacket()),
        Format(framing=Unframed(True), encoding=Literal("blob"), hello=OneDatum(), packet_type=TypeByte()),
        Format(framing=Integer(1), encoding=Literal("u8vector")),
        Format(secure=True, hello=INFERRED_1_INSECURE.hello),
        INFERRED_1_INSECURE.with_layers(framing=Unframed(True), message=BinaryEnvelope()),
    ],
)
def test_what_makes_no_sense_is_objected_to(fmt: Format) -> None:
    assert list(objections(fmt))


def test_a_description_says_everything_and_comes_back() -> None:
    drawn = [*MANY[:150], *(may_occur_format(Random(seed)) for seed in range(80))]
    drawn += [foreign_format(Random(seed)) for seed in range(80)]
    for fmt in drawn:
        description = json.loads(json.dumps(fmt.describe()))
        again = Format.from_description(description)
        assert (again.layers(), again.name) == (fmt.layers(), fmt.name)
        assert description["layers"].keys() == set(LAYERS)
        for layer in LAYERS:
            unused = not fmt.secure and layer in BOXED
            assert (description["layers"][layer] is None) == unused
            assert unused or description["layers"][layer]["text"]


@pytest.mark.parametrize("group", [TABLE, MAY_OCCUR, OUTSIDE])
def test_different_strategies_say_different_things(group: str) -> None:
    rng = Random(5)
    for layer in LAYERS:
        said: dict[str, object] = {}
        for kind in kinds(layer, group):
            for _ in range(40):
                drawn = kind.draw(rng)
                described = {name: value for name, value in describe(drawn).items() if name != "text"}
                for hidden in ("error_prefix", "error_as", "step"):
                    described.pop(hidden, None)  # an example shows them
                same = said.setdefault(drawn.text(), described) == described
                assert same or layer in ("message", "hello"), drawn.text()


def test_an_unknown_kind_is_no_format() -> None:
    description = INFERRED_1.describe()
    description["layers"]["framing"]["kind"] = "telepathy"
    with pytest.raises(ValueError, match="telepathy"):
        Format.from_description(description)


def test_the_interesting_formats_make_sense_and_converse() -> None:
    formats = interesting_formats()
    assert len({fmt.name for fmt in formats.values()}) == len(formats) >= 15
    for fmt in formats.values():
        assert list(objections(fmt)) == []
        assert fmt.group == TABLE
        converse(fmt, 3, connections=2)


def test_the_default_profile_is_one_of_them() -> None:
    assert inferred_1() == interesting_formats()["inferred-1"] == INFERRED_1
    assert inferred_1(secure=False) == INFERRED_1_INSECURE


@pytest.mark.parametrize("group", [MAY_OCCUR, OUTSIDE])
def test_a_format_beyond_the_table_differs_in_one_layer(group: str) -> None:
    draw = may_occur_format if group == MAY_OCCUR else foreign_format
    drawn = [draw(Random(seed)) for seed in range(150)]
    assert {fmt.group for fmt in drawn} == {group}
    assert {len(fmt.beyond) for fmt in drawn} == {1}
    assert len({(layer, kind) for fmt in drawn for layer, kind in fmt.beyond.items()}) >= 20
