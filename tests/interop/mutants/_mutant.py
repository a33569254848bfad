"""What a mutant is, the register of all mutants, and the two usual ways to change the example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peer as P
import puppet as U
from sexpr import Symbol

C = P.Connection


@dataclass(frozen=True)
class Mutant:
    """One broken peer.

    Attributes:
        name: the mutant's name.
        title: what is wrong with it.
        cases: ids of cases, all of which must fail with it.
        role: its role: `client` or `server`; the other role is the example's, or the runner's.
        security, transport: the mode in which it is played.
        break_it: changes the modules.
    """

    name: str
    title: str
    cases: tuple[str, ...]
    role: str
    security: str
    transport: str
    break_it: Callable[[], None]


MUTANTS: dict[str, Mutant] = {}


def mutant(*cases: str, role: str = "server", security: str = "secure", transport: str = "unix") -> Any:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        name = function.__name__.replace("_", "-")
        assert name not in MUTANTS, name
        title = (function.__doc__ or "").strip().rstrip(".")
        MUTANTS[name] = Mutant(name, title, cases, role, security, transport, function)
        return function

    return register


def around(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace a function by the result of `wrap`."""
    setattr(owner, name, wrap(getattr(owner, name)))


def claim(feature: str) -> None:
    U.FEATURES.append(Symbol(feature))
