"""When to try a connection again: what both front ends decide alike."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tenacity

from ..address import Address, AddressLike, parse_address
from ..errors import ConnectFailed, NetworkError

__all__ = ["Addresses", "Backoff", "Silent", "addresses_of"]

Addresses = AddressLike | Sequence[AddressLike]


@dataclass(frozen=True)
class Backoff:
    """How long to wait before all addresses are tried again.

    The wait is drawn again each time, between 0 and a bound that doubles with each round that fails (full jitter), so
    that the clients of a server that restarts do not all connect at once. A connection over which a message came makes
    the bound small again. One that ended without a message counts as a failure.

    Attributes:
        initial: seconds, the first bound.
        most: seconds, the largest bound.
        rounds: it gives up after so many rounds in a row without success; `None`: never.
    """

    initial: float = 0.1
    most: float = 30.0
    rounds: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.most:
            raise ValueError(f"expected 0 < initial <= most; got {self.initial!r} and {self.most!r}")
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"rounds: expected a number from 1 up, or None; got {self.rounds!r}")

    def retrying(self) -> dict[str, Any]:
        """The arguments for tenacity: how long to wait, what to retry after, and when to stop."""
        return {
            "wait": tenacity.wait_random_exponential(multiplier=self.initial, max=self.most),
            "retry": tenacity.retry_if_exception_type(NetworkError),
            "stop": tenacity.stop_never if self.rounds is None else tenacity.stop_after_attempt(self.rounds),
            "reraise": True,
        }

    def pause(self) -> float:
        """Seconds before the first round after a connection that has worked."""
        return random.uniform(0, self.initial)


class Silent(ConnectFailed):
    """A connection was made and ended without a message from the other end: a wrong key, or a server that refuses."""


def addresses_of(given: Addresses) -> list[Address]:
    """One address, or several.

    Raises:
        AddressError: one is not in one of the known forms.
        ValueError: there is none.
    """
    several: Sequence[Any] = [given]
    if not isinstance(given, (str, os.PathLike)) and not (given and given[0] in ("tcp", "unix")):
        several = given
    addresses = [parse_address(each) for each in several]
    if not addresses:
        raise ValueError("no address: expected one or more")
    return addresses
