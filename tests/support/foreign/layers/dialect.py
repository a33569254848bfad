"""Dialect: whose `write` the datums are."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..registry import Strategy, strategy
from ..sexpr import CHICKEN_4, DIALECTS


@strategy("dialect", "dialect")
@dataclass(frozen=True)
class Dialect(Strategy):
    """One of the three dialects."""

    name: str = CHICKEN_4

    @classmethod
    def draw(cls, rng: Random) -> Dialect:
        return cls(rng.choice(DIALECTS))

    def text(self) -> str:
        return self.name.upper().replace("-", "_")
