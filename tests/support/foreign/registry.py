"""Strategies: how a layer of a format is done, each a small frozen dataclass, all of them listed here by layer.

It knows how strategies are registered, drawn, described and rebuilt; it does not know what any of them does. A new
kind is a class decorated with `@strategy`: nothing else has to be told of it, if its module is imported by `format`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from .format import Format

TABLE = "table"
"""The first two columns of the table *Layers of a profile*: calibration must know it."""
MAY_OCCUR = "may occur"
"""Its third column."""
OUTSIDE = "outside"
"""Not in the table at all."""
GROUPS = (TABLE, MAY_OCCUR, OUTSIDE)

LAYERS = (
    "framing",
    "packet_type",
    "encoding",
    "nonce",
    "derivation",
    "hello",
    "session_key",
    "message",
    "dialect",
    "cipher",
    "body",
    "stream",
)
"""The rows of the table in its order; then three that it takes for granted: which cipher, nothing done to what goes
into a box, nothing done to the bytes of the connection."""


class Nonsense(Exception):
    """The bytes that came are not of this format."""


class CannotCarry(Exception):
    """What should be sent does not fit into this format's packets."""


class Strategy:
    """One way of doing one layer. Subclasses are frozen dataclasses of plain values (`str`, `int`, `bool`, tuples)."""

    layer: ClassVar[str]
    kind: ClassVar[str]
    group: ClassVar[str]
    weight: ClassVar[float]

    lockstep: ClassVar[bool] = False
    """True where a connection only stays in step if never more than one side has something to say."""

    @classmethod
    def draw(cls, rng: Random) -> Strategy:
        """A random one of its kind."""
        return cls()

    def text(self) -> str:
        """What it does, for a person."""
        return self.kind

    def readings(self) -> list[str]:
        """Where this instance takes the table's words in another than their plainest sense."""
        return []

    def objections(self, fmt: Format) -> Iterator[str]:
        """Why it makes no sense together with the other layers of `fmt`: nothing, if it does."""
        return iter(())


AnyStrategy = TypeVar("AnyStrategy", bound=type[Strategy])

_KINDS: dict[tuple[str, str], dict[str, type[Strategy]]] = {}


def strategy(layer: str, kind: str, *, group: str = TABLE, weight: float = 1) -> Callable[[AnyStrategy], AnyStrategy]:
    """Registers a class as a kind of `layer`; `weight` says how often it is drawn beside the others of its group."""
    if layer not in LAYERS or group not in GROUPS:
        raise ValueError(f"no layer {layer!r} or no group {group!r}")

    def register(cls: AnyStrategy) -> AnyStrategy:
        cls.layer, cls.kind, cls.group, cls.weight = layer, kind, group, weight
        if any(kind in _KINDS.get((layer, other), {}) for other in GROUPS):
            raise ValueError(f"two kinds {kind!r} of {layer}")
        _KINDS.setdefault((layer, group), {})[kind] = cls
        return cls

    return register


def kinds(layer: str, group: str = TABLE) -> list[type[Strategy]]:
    """The kinds of a layer that belong to `group`, in the order in which they are written down."""
    return list(_KINDS.get((layer, group), {}).values())


def all_kinds(group: str) -> list[type[Strategy]]:
    """The kinds of every layer that belong to `group`."""
    return [kind for layer in LAYERS for kind in kinds(layer, group)]


def draw_layer(layer: str, rng: Random, *, readings: bool = True) -> Strategy:
    """A random strategy of the table for `layer`.

    Args:
        layer: one of `LAYERS`.
        rng: the source of randomness.
        readings: also strategies that take the table's words in another than their plainest sense.
    """
    choices = kinds(layer)
    while True:
        (kind,) = rng.choices(choices, [choice.weight for choice in choices])
        drawn = kind.draw(rng)
        if readings or not drawn.readings():
            return drawn


def describe(item: Strategy) -> dict[str, Any]:
    """A strategy as JSON: its kind, its choices, and what it does in words."""
    return {"kind": item.kind, "group": item.group, **dataclasses.asdict(item), "text": item.text()}  # type: ignore[call-overload]


def rebuild(layer: str, description: dict[str, Any]) -> Strategy:
    """The strategy that `describe` described.

    Raises:
        ValueError: there is no such kind.
    """
    kind = description["kind"]
    for group in GROUPS:
        cls = _KINDS.get((layer, group), {}).get(kind)
        if cls is not None:
            names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
            return cls(**{name: _frozen(description[name]) for name in names})
    raise ValueError(f"no kind {kind!r} of {layer}")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
