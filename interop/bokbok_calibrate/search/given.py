"""What a search is given."""

from __future__ import annotations

from dataclasses import dataclass

from bokbok_traffic.recording import Recorded

from ..clock import Clock
from ..derivation import Secrets
from ..hands import Hands

__all__ = ["Given"]


@dataclass(frozen=True)
class Given:
    """What a search is given.

    Attributes:
        recorded: the connections.
        secrets: what is known about the client.
        known: datums that may be expected, as written.
        clock: says when to give up.
        made_up: the side that the calibrator played; `None` if it played neither.
        hands: who does the long parts.
    """

    recorded: list[Recorded]
    secrets: Secrets
    known: set[bytes]
    clock: Clock
    made_up: str | None
    hands: Hands
