"""The puppets that several cells use, and what these cells leave behind in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from ..cases import Case
from ..model import Result
from ..peers.puppet import Puppet

__all__ = ["Shared"]


@dataclass
class Shared:
    """The puppets of a group, by role, and the cells that use them.

    Attributes:
        suspects: whether the cells are suspects, one at a time. Many of them may break a puppet, one after the other,
            and others are still to come.
        passed: the cases that passed with them, in the order in which they ended.
        order: the cases that they were given, in the order in which these began.
        former: the same of those before them, which broke.
    """

    puppets: dict[str, Puppet] = field(default_factory=dict)
    users: Counter[int] = field(default_factory=Counter)
    crowded: set[int] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    passed: list[tuple[Case, Result]] = field(default_factory=list)
    suspects: bool = False
    order: list[Case] = field(default_factory=list)
    former: list[Case] = field(default_factory=list)

    def before(self, case: Case) -> tuple[Case, ...]:
        """What the puppets of this case were given by now beside it."""
        order = self.order if case in self.order else self.former
        return tuple(each for each in order if each is not case)
