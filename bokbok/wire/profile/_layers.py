"""The layers of a profile, and the strategies that each may name: the library's, and those that were registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ...errors import ProfileError
from ..boxes import NONCES, NonceScheme
from ..derivation import KEY_DERIVATIONS, KeyDerivation
from ..framing import FRAMINGS, Framing
from ..hello import HELLOS, Hello
from ..messages import MESSAGES, Messages
from ..packets import PACKETS, Packets
from ..strategy import Strategy, keys_of

__all__ = ["LAYERS", "Layer", "register"]

_Made = TypeVar("_Made", bound=type[Strategy])


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        attribute: of `Profile`.
        base: what its strategies derive from.
        strategies: those, by the names that a file calls them by.
        library: the names of those that come with the library.
    """

    attribute: str
    base: type[Strategy]
    strategies: dict[str, type[Strategy]]
    library: frozenset[str]

    @property
    def only(self) -> str | None:
        """The one strategy that the library has here: its name may be left out of a file."""
        return next(iter(self.library)) if len(self.library) == 1 else None


def _layer(attribute: str, base: type[Strategy], strategies: tuple[type[Strategy], ...]) -> Layer:
    table = {made.strategy: made for made in strategies}
    return Layer(attribute, base, table, frozenset(table))


_FRAMING = _layer("framing", Framing, FRAMINGS)

LAYERS: dict[str, Layer] = {
    "framing": _FRAMING,
    "hello-framing": Layer("hello_framing", Framing, _FRAMING.strategies, _FRAMING.library),
    "packets": _layer("packets", Packets, PACKETS),
    "nonces": _layer("nonces", NonceScheme, NONCES),
    "key-derivation": _layer("key_derivation", KeyDerivation, KEY_DERIVATIONS),
    "hello": _layer("hello", Hello, HELLOS),
    "messages": _layer("messages", Messages, MESSAGES),
}
"""The tables of a profile file, in the order in which it is written."""


def register(layer: str) -> Callable[[_Made], _Made]:
    """Let profile files name a strategy of your own. A decorator of its class.

    Args:
        layer: the table of a profile file that it is for: `framing` (and `hello-framing`), `packets`, `nonces`,
            `key-derivation`, `hello`, `messages`.

    The class is a frozen dataclass, derives from the layer's base (`Framing`, `Packets`, `NonceScheme`,
    `KeyDerivation`, `Hello`, `Messages`), and has the name by which files call it in its attribute `strategy`.

    Raises:
        ProfileError: the layer is unknown, the class is not as it must be, or its name is taken.
    """
    if layer not in LAYERS:
        raise ProfileError(f"unknown layer {layer!r}; expected one of {', '.join(LAYERS)}")
    base, strategies = LAYERS[layer].base, LAYERS[layer].strategies

    def add(made: _Made) -> _Made:
        what = getattr(made, "__name__", repr(made))
        if not isinstance(made, type) or not issubclass(made, base):
            raise ProfileError(f"{what}: expected a class that derives from {base.__name__}")
        missing = sorted(getattr(made, "__abstractmethods__", ()))
        if missing:
            raise ProfileError(f"{what}: expected the methods {', '.join(missing)}, which {base.__name__} leaves open")
        name: Any = vars(made).get("strategy")
        if not isinstance(name, str) or not name:
            raise ProfileError(f"{what}: expected an attribute 'strategy', the name by which profile files call it")
        if name in strategies:
            raise ProfileError(f"{what}: a strategy is called {name!r} already; expected another name")
        keys_of(made)
        strategies[name] = made
        return made

    return add
