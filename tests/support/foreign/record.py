"""Recordings: a client against a server of one format, in memory, as a relay between them would have seen it.

It knows the capture format (JSON lines) and the clock; the parties know the conversation. Nothing is random but what
comes from the `rng` that it is given, so that a seed gives the same recording again.
"""

from __future__ import annotations

import heapq
import json
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .endpoint import Endpoint
from .format import Format
from .party import Behaviour, Exchange, Party
from .segments import SEGMENTATIONS
from .service import Service
from .sexpr import Datum, read
from .state import CLIENT, SERVER, Program, other

USER = "myuser"


@dataclass
class Capture:
    """A recording, and what really happened beside it."""

    transport: str = "tcp"
    records: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[list[Exchange]] = field(default_factory=list)
    """What was asked and answered, a list a connection, in the order in which it was asked."""
    failures: list[str] = field(default_factory=list)
    """What a party could not understand: empty, or this generator is wrong."""

    def lines(self) -> list[str]:
        """The lines of the recording's file."""
        header = {"bokbok-capture": 1, "transport": self.transport}
        return [json.dumps(item) for item in [header, *self.records]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recording's file."""
        pathlib.Path(path).write_text("\n".join(self.lines()) + "\n", encoding="ascii")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Capture:
        """Reads a recording's file.

        Raises:
            ValueError: it is none.
        """
        header, *records = [json.loads(line) for line in pathlib.Path(path).read_text(encoding="ascii").splitlines()]
        if header.get("bokbok-capture") != 1:
            raise ValueError(f"{path} is not a recording")
        for record in records:
            if record["from"] not in (CLIENT, SERVER) or not (record.get("eof") or bytes.fromhex(record["data"])):
                raise ValueError(f"{path}: a record that is none: {record}")
        return cls(header["transport"], records)

    def stream(self, sender: str, conn: int = 0) -> bytes:
        """All that one side sent over one connection."""
        return b"".join(
            bytes.fromhex(record["data"])
            for record in self.records
            if record["from"] == sender and record.get("conn", 0) == conn and "data" in record
        )

    def connections(self) -> list[int]:
        """The numbers of the connections."""
        return sorted({record.get("conn", 0) for record in self.records})

    def unsent(self) -> list[Datum]:
        """The requests that the format could not carry."""
        return [
            exchange.request
            for exchanges in self.exchanges
            for exchange in exchanges
            if exchange.answer is not None and exchange.answer.outcome == "unsent"
        ]


def record(
    fmt: Format,
    script: Sequence[Datum | str],
    rng: Random,
    *,
    user: str = USER,
    passphrase: str | None = None,
    connections: int = 2,
    segmentation: str | None = None,
    behaviour: Behaviour | None = None,
    overlap: bool | None = None,
    truncate: float | None = None,
    transport: str = "tcp",
    parsed: bool = False,
) -> Capture:
    """Plays a conversation and records it.

    Args:
        fmt: what both sides speak.
        script: the datums that the client requests on every connection, as values, or as text (a `str` is text, to
            be read, unless `parsed` says that it is a datum).
        rng: where everything random comes from, keys and nonces too.
        user: who the client is.
        passphrase: what it and the server know; None takes one that suits the format.
        connections: how many, all of the same two programs.
        segmentation: a name of `SEGMENTATIONS`; None draws one for each connection.
        behaviour: what the programs do that the format does not say; None draws it.
        overlap: whether the connections live at the same time; None draws it.
        truncate: how much of the recording is kept, from 0 to 1; None keeps all of it.
        transport: what the header says.
        parsed: a `str` in the script is a string to be sent.

    Returns:
        The recording, and what was said.
    """
    datums = [read(item) if isinstance(item, str) and not parsed else item for item in script]
    overlapping = rng.random() < 0.5 if overlap is None else overlap
    services = {CLIENT: Service(), SERVER: Service()}
    programs = {CLIENT: Program(), SERVER: Program()}
    capture = Capture(transport)
    start = 0.0
    events: list[tuple[float, int, dict[str, Any]]] = []
    for conn in range(connections):
        played = _Connection(
            fmt,
            datums,
            rng,
            user,
            fmt.derivation.example if passphrase is None else passphrase,
            segmentation or rng.choice(list(SEGMENTATIONS)),
            behaviour or draw_behaviour(rng),
            services,
            programs,
        )
        played.run(start)
        for when, what in played.seen:
            events.append(
                (when, len(events), {"t": round(when, 6), **what, **({"conn": conn} if connections > 1 else {})})
            )
        capture.exchanges.append(played.exchanges())
        capture.failures += played.failures()
        start = start + rng.random() * 0.05 if overlapping else played.now + rng.random()
    events.sort(key=lambda event: event[:2])
    capture.records = [event[2] for event in events]
    if truncate is not None:
        _truncate(capture, truncate)
    return capture


def draw_behaviour(rng: Random) -> Behaviour:
    """Mostly one request after the other, as a program does; now and then many at once."""
    window = rng.choice([1, 1, 1, 2, 4, 8])
    return Behaviour(
        window=window,
        shuffle=rng.choice([0.0, 0.3]),
        patience=rng.choice([0.0, 0.05]),
    )


def _truncate(capture: Capture, keep: float) -> None:
    """Ends the recording early, perhaps inside a segment, without an end of file."""
    total = sum(len(record.get("data", "")) // 2 for record in capture.records)
    left = int(total * keep)
    kept = []
    for item in capture.records:
        size = len(item.get("data", "")) // 2
        if size > left:
            if left:
                kept.append({**item, "data": item["data"][: left * 2]})
            break
        left -= size
        kept.append(item)
    capture.records = kept


class _Connection:
    """Two parties and the wires between them, on a clock of their own."""

    def __init__(
        self,
        fmt: Format,
        script: Sequence[Datum],
        rng: Random,
        user: str,
        passphrase: str,
        segmentation: str,
        behaviour: Behaviour,
        services: dict[str, Service],
        programs: dict[str, Program],
    ) -> None:
        self.rng = rng
        self.now = 0.0
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self._cut = SEGMENTATIONS[segmentation]
        self._queue: list[tuple[float, int, str, bytes | None]] = []
        self._count = 0
        self._busy = {CLIENT: 0.0, SERVER: 0.0}
        self._ended: set[str] = set()
        client = Endpoint(fmt, CLIENT, random=rng.randbytes, user=user, passphrase=passphrase, program=programs[CLIENT])
        server = Endpoint(fmt, SERVER, random=rng.randbytes, users={user: passphrase}, program=programs[SERVER])
        self._fast = rng.random() < 0.5
        self.parties = {
            CLIENT: Party(client, services[CLIENT], script=script, behaviour=behaviour, rng=rng),
            SERVER: Party(server, services[SERVER], behaviour=behaviour, rng=rng),
        }

    def run(self, start: float) -> None:
        """Until both sides are done."""
        self.now = start
        client, server = self.parties[CLIENT], self.parties[SERVER]
        if not self._fast:
            self._flush()  # the hello travels alone; else the first request joins it
        client.start(start)
        server.start(start)
        self._flush()
        while True:
            if client.idle and server.idle and not self._queue and not self._ended:
                client.goodbye()
                self._flush()
                client.close("done")
            for role, party in self.parties.items():
                if party.closed and role not in self._ended:
                    self._end(role)
            times = [(when, role) for role, party in self.parties.items() if (when := party.next_time()) is not None]
            if not self._queue and not times:
                return
            if not self._queue or (times and min(times)[0] < self._queue[0][0]):
                when, role = min(times)
                self.now = max(self.now, when)
                self.parties[role].wake(self.now)
            else:
                when, _, sender, data = heapq.heappop(self._queue)
                self.now = max(self.now, when)
                receiver = self.parties[other(sender)]
                if data is None:
                    receiver.receive_eof(self.now)
                else:
                    receiver.receive(data, self.now)
            self._flush()

    def exchanges(self) -> list[Exchange]:
        """What was asked, the client's requests first."""
        return self.parties[CLIENT].exchanges + self.parties[SERVER].exchanges

    def failures(self) -> list[str]:
        """What one side could not understand."""
        return [f"{role}: {party.failure}" for role, party in self.parties.items() if party.failure is not None]

    def _flush(self) -> None:
        for role, party in self.parties.items():
            writes = party.take_writes()
            if writes and role not in self._ended:
                for segment in self._cut(writes, self.rng):
                    self._travel(role, segment)

    def _end(self, role: str) -> None:
        self._ended.add(role)
        self._travel(role, None)

    def _travel(self, sender: str, data: bytes | None) -> None:
        sent = max(self.now, self._busy[sender]) + self.rng.random() * 0.0004
        self._busy[sender] = sent
        self._count += 1
        what = {"eof": True} if data is None else {"data": data.hex()}
        self.seen.append((sent, {"from": sender, **what}))
        heapq.heappush(self._queue, (sent + 0.0002, self._count, sender, data))
