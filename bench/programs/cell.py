"""What one row of a table of requests measures, as the argument of a command."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One row.

    Attributes:
        front: `sync` or `asyncio`.
        message: bytes of the string that travels, with its quotes: "60", "64K", "1M"; or `demo`, ("ping" "12345").
        in_flight: how many requests are under way at once: as many threads, or tasks.
        loop: asyncio's, or `uvloop`.
        transport: `tcp` or `unix`.
        limits: those of `bokbok.Limits` that differ from the default, at both ends.
    """

    front: str
    message: str
    in_flight: int
    loop: str = "asyncio"
    transport: str = "tcp"
    secure: bool = True
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def datum(self) -> Any:
        return ["ping", "12345"] if self.message == "demo" else "x" * (size(self.message) - 2)

    @property
    def bytes(self) -> int:
        """Bytes of the datum's external representation."""
        return len('("ping" "12345")') if self.message == "demo" else size(self.message)

    @property
    def body(self) -> bytes:
        """A body as long as the library's request that carries the datum."""
        return b"(request 12345 " + b"x" * self.bytes + b")"

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def size(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def read(text: str) -> Cell:
    return Cell(**json.loads(text))
