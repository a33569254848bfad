"""Every kind of every layer converses with itself, in many of its variants."""

from __future__ import annotations

from random import Random

import pytest

from tests.foreign.conversing import converse
from tests.support.foreign import (
    LAYERS,
    MAY_OCCUR,
    OUTSIDE,
    TABLE,
    Format,
    all_kinds,
    foreign_format,
    formats_with_base,
    kinds,
    may_occur_format,
    objections,
    random_format,
)
from tests.support.foreign.registry import Strategy, describe
from tests.support.foreign.rules import coupled

DRAWS = 5


def named(group: str) -> list[object]:
    """The kinds of a group, each under its name."""
    return [pytest.param(kind, id=f"{kind.layer}:{kind.kind}") for kind in all_kinds(group)]


def test_the_groups_are_as_large_as_they_should_be() -> None:
    assert [len(all_kinds(MAY_OCCUR)) >= 12, len(all_kinds(OUTSIDE)) >= 12] == [True, True]


def test_no_layer_of_the_table_lacks_a_kind() -> None:
    assert [layer for layer in LAYERS if not kinds(layer, TABLE)] == []


@pytest.mark.parametrize("kind", named(TABLE))
def test_a_kind_of_the_table_converses(kind: type[Strategy]) -> None:
    found, seed = 0, 0
    while found < DRAWS:
        fmt = random_format(Random(seed), secure=None)
        seed += 1
        if any(isinstance(item, kind) for item in fmt.layers().values()):
            converse(fmt, seed)
            found += 1


@pytest.mark.parametrize("kind", named(MAY_OCCUR))
def test_a_kind_that_may_occur_converses(kind: type[Strategy]) -> None:
    for seed in range(DRAWS):
        fmt = may_occur_format(Random(seed), kind)
        assert (fmt.group, fmt.beyond) == (MAY_OCCUR, {kind.layer: kind.kind})
        converse(fmt, seed)


@pytest.mark.parametrize("kind", named(OUTSIDE))
def test_a_kind_from_outside_converses(kind: type[Strategy]) -> None:
    for seed in range(DRAWS):
        fmt = foreign_format(Random(seed), kind)
        assert (fmt.group, fmt.beyond) == (OUTSIDE, {kind.layer: kind.kind})
        converse(fmt, seed)


def variants(layer: str, group: str) -> dict[str, Strategy]:
    """The variants of a layer's kinds, by what they say of themselves."""
    rng = Random(0)
    return {item.text(): item for kind in kinds(layer, group) for item in (kind.draw(rng) for _ in range(60))}


@pytest.mark.parametrize("layer", ["framing", "packet_type", "encoding", "derivation", "session_key", "nonce", "hello"])
def test_every_variant_of_a_layer_of_the_table_is_met_in_some_format(layer: str) -> None:
    """No rule excludes a variant altogether: with the default of every other layer, or some random ones, it works."""
    for text, item in variants(layer, TABLE).items():
        rng = Random(3)
        for _ in range(4000):
            fmt = Format(secure=True).with_layers(**{layer: item})
            fmt = fmt if not fmt_objections(fmt) else swapped(random_format(rng, secure=is_secure(item)), layer, item)
            if not fmt_objections(fmt):
                converse(fmt, 1)
                break
        else:
            pytest.fail(f"{layer}: {text}: goes with nothing: {describe(item)}")


def is_secure(item: Strategy) -> bool:
    """Whether a strategy is of secure connections."""
    return getattr(item, "secure", True)


def swapped(fmt: Format, layer: str, item: Strategy) -> Format:
    """The format with another strategy for one layer."""
    return coupled(fmt.with_layers(**{layer: item}))


def fmt_objections(fmt: Format) -> list[str]:
    """What speaks against a format."""
    return list(objections(fmt))


@pytest.mark.parametrize("fmt", [pytest.param(fmt, id=name) for name, fmt in formats_with_base().items()])
def test_a_base_of_nonces_may_stand_anywhere(fmt: Format) -> None:
    assert list(objections(fmt)) == []
    converse(fmt, 1)
