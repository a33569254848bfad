"""What a peer's bytes cost, whatever they are: processor time and memory, compared with the project's own bounds.

    python bench/hostile.py                        every syntax, 1 MiB each, and the streams of a hostile peer
    python bench/hostile.py --size 16M --only "'(a . "
    python bench/hostile.py --all                  every line of the table, not only the worst twenty
    python bench/hostile.py --size 16M --linear    also a quarter of it, and whether four times as much costs four times

The bounds: for memory, 64 MiB and 4 times its bytes for a message; for processor time, 1.5 us a byte, 50 us a message
and 500 us a connection; for the longest step, for which everybody else on an event loop waits, 100 ms. A line of the
table is a stream of bytes, given to a server's `bokbok.wire.Connection` in pieces of 256 KiB, as the front ends do, in
a process of its own. Memory is the most by which its resident set grew. Time is the least of three rounds, since a busy
machine can only add to it. The exit status is 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bokbok._front.turns import QUANTUM
from bokbok.wire import Connection, HelloMemory, HelloReceived, RequestReceived, passphrase_to_key
from tests.support.peers import framed, hello
from tests.support.syntaxes import CLOSED, all_syntaxes

PIECE = 256 * 1024
KEY = passphrase_to_key("mypassphrase")
MEMORY, MEMORY_PER_BYTE = 64 << 20, 4
LONGEST = 0.1
"""Seconds of processor time between two moments at which others get their turn."""
LINEAR = 1.5
"""Four times as many bytes may cost so many times more than four times as much: caches, and the collector's passes."""
NOTICED = 0.05
"""A cost of fewer seconds is noise."""
PER_BYTE, PER_MESSAGE, PER_CONNECTION = 1.5e-6, 50e-6, 500e-6


@dataclass(frozen=True)
class Attack:
    """One line of the table: connections, each with the same stream of so many messages."""

    name: str
    make: Callable[[int], tuple[bytes, int]]
    secure: bool = False
    connections: int = 1


@dataclass(frozen=True)
class Cost:
    bytes: int
    messages: int
    connections: int
    seconds: float
    memory: int
    longest: float

    @property
    def of_time(self) -> float:
        bound = PER_BYTE * self.bytes + PER_MESSAGE * self.messages + PER_CONNECTION * self.connections
        return self.seconds / bound

    @property
    def of_memory(self) -> float:
        return self.memory / (MEMORY + MEMORY_PER_BYTE * self.bytes)

    @property
    def of_longest(self) -> float:
        return self.longest / LONGEST

    @property
    def worst(self) -> float:
        return max(self.of_time, self.of_memory, self.of_longest)


def _message(text: Callable[[int], bytes], whole: bool) -> Callable[[int], tuple[bytes, int]]:
    def make(size: int) -> tuple[bytes, int]:
        body = b"(request 0 " + text(size)
        return framed(body + b")" if whole else body[: -max(1, len(body) // 10)]), 1

    return make


def _many(*bodies: bytes) -> Callable[[int], tuple[bytes, int]]:
    """Messages without end; `%d` in a message stands for its number."""

    def make(size: int) -> tuple[bytes, int]:
        packets: list[bytes] = []
        total = 0
        while total < size:
            body = bodies[len(packets) % len(bodies)]
            packets.append(framed(body % len(packets) if b"%d" in body else body))
            total += len(packets[-1])
        return b"".join(packets), len(packets)

    return make


def _once(data: bytes) -> Callable[[int], tuple[bytes, int]]:
    return lambda size: (data, 0)


def attacks() -> Iterator[Attack]:
    """Every syntax, complete and cut; then streams of messages, and connections."""
    for name, text in all_syntaxes():
        for how, whole in CLOSED.items():
            yield Attack(f"{name}, {how}", _message(text, whole))
    yield Attack("requests of a few bytes", _many(b"(request %d 1)"))
    yield Attack("unreadable requests", _many(b"(request %d #<x>)"))
    yield Attack("requests that do not end", _many(b"(request %d (a)"))
    yield Attack("requests of many symbols", _many(b"(request %d (a b c d e f g h i j k l m n o p q r s t u v w x))"))
    yield Attack("requests of lists in lists", _many(b"(request %d ((((((((((((((((a)))))))))))))))))"))
    yield Attack("requests with white space in front", _many(b"   \n\t (request %d 1)"))
    yield Attack("requests with comments", _many(b"#|c|#(request #;x %d 1);c"))
    yield Attack("a packet of 16 MiB without its end", _once(framed(bytes(1 << 24))[: 1 << 24]))
    yield Attack("nothing", _once(b""), connections=1000)
    yield Attack("a length over the limit", _once(b"\xff\xff\xff\xff"), connections=1000)
    yield Attack("a hello of an unknown user", _once(hello("nobody", KEY, bytes(32))), secure=True, connections=1000)
    yield Attack(
        "a hello with a wrong key",
        _once(hello("myuser", passphrase_to_key("x"), bytes(32))),
        secure=True,
        connections=1000,
    )
    yield Attack("a hello again and again", _once(hello("myuser", KEY, bytes(32))), secure=True, connections=1000)
    yield Attack("half a hello", _once(framed(b"myuser")), secure=True, connections=1000)


def _receive(connection: Connection, piece: bytes) -> float:
    """Process one piece completely, as a front end with fast handlers does. Returns the seconds of the longest step."""
    longest = 0.0
    while True:
        began = time.thread_time()
        for event in connection.receive(piece, seconds=QUANTUM):
            if isinstance(event, HelloReceived):
                connection.authenticate(KEY if event.user == "myuser" else None)
            elif isinstance(event, RequestReceived):
                connection.respond(event.id, 0)
        event = None  # its memory is freed in this step
        connection.data_to_send()
        longest = max(longest, time.thread_time() - began)
        if not connection.more:
            return longest
        piece = b""


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _measure(attack: Attack, size: int, pipe: Any) -> None:
    data, messages = attack.make(size)
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    del data
    hellos = HelloMemory()
    warm = Connection("server")
    _receive(warm, framed(b'(request 0 (a "b" 1.5 #u8(1)))'))
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak of resident memory
    before = _status("VmRSS")
    longest = 0.0
    began = time.process_time()
    for _ in range(attack.connections):
        connection = Connection("server", secure=attack.secure, hellos=hellos)
        for piece in pieces:
            longest = max(longest, _receive(connection, piece))
        connection.receive_eof()
    seconds = time.process_time() - began
    memory = max(0, _status("VmHWM") - before)
    total = sum(map(len, pieces)) * attack.connections
    pipe.send(Cost(total, messages * attack.connections, attack.connections, seconds, memory, longest))


def measure(attack: Attack, size: int, rounds: int) -> Cost:
    """Its cost: the least time, the most memory."""
    context = multiprocessing.get_context("fork")
    costs = []
    for _ in range(rounds):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_measure, args=(attack, size, theirs))
        process.start()
        theirs.close()
        costs.append(ours.recv())
        process.join()
        ours.close()
        if costs[-1].of_time < 0.5 and costs[-1].of_longest < 0.5:
            break  # another round could only lessen it
    first = costs[0]
    seconds, memory = min(cost.seconds for cost in costs), max(cost.memory for cost in costs)
    longest = min(cost.longest for cost in costs)
    return Cost(first.bytes, first.messages, first.connections, seconds, memory, longest)


def grows(attack: Attack, whole: Cost, size: int, rounds: int) -> float | None:
    """How many times as much the whole costs as four quarters of it would; `None` if that is noise."""
    quarter = measure(attack, size // 4, rounds)
    if whole.seconds < NOTICED or whole.bytes < 2 * quarter.bytes:
        return None
    return whole.seconds / whole.bytes / (quarter.seconds / quarter.bytes)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", default="1M", help="bytes of a stream, such as 64K or 16M (at most 16M)")
    parser.add_argument("--only", default="", help="lines whose name contains this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--linear", action="store_true", help="also measure a quarter of the size")
    parser.add_argument("--all", action="store_true", help="show every line")
    arguments = parser.parse_args()
    unit = {"K": 1 << 10, "M": 1 << 20}.get(arguments.size[-1], 1)
    size = min(int(arguments.size.rstrip("KM")) * unit, (1 << 24) - 4096)
    lines = []
    growth: dict[str, float] = {}
    for attack in attacks():
        if arguments.only in attack.name:
            cost = measure(attack, size, arguments.rounds)
            lines.append((attack.name, cost))
            if arguments.linear and (times := grows(attack, cost, size, arguments.rounds)) is not None:
                growth[attack.name] = times
            if sys.stderr.isatty():
                print(f"\r{len(lines)} {attack.name[:60]:60}", end="", file=sys.stderr)
    lines.sort(key=lambda line: -line[1].worst)
    broken = [line for line in lines if line[1].worst > 1]
    shown = lines if arguments.all else lines[: max(20, len(broken))]
    load = os.getloadavg()[0]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {load:.1f}, {size:,} bytes a stream")
    print(f"{len(lines)} lines, {len(broken)} over a bound; of the bound: 100 % is all of it\n")
    print(
        "| what is sent | bytes | messages | connections | time | of the bound | memory | of the bound "
        "| longest step | of the bound |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, cost in shown:
        print(
            f"| {name[:70]} | {cost.bytes:,} | {cost.messages:,} | {cost.connections:,} | {cost.seconds * 1e3:,.1f} ms "
            f"| {cost.of_time:.0%} | {cost.memory >> 20} MiB | {cost.of_memory:.0%} "
            f"| {cost.longest * 1e3:,.1f} ms | {cost.of_longest:.0%} |"
        )
    steep = sorted(((times, name) for name, times in growth.items() if times > LINEAR), reverse=True)
    if arguments.linear:
        print(f"\n{len(growth)} lines against a quarter of them, {len(steep)} of which grow faster than their bytes")
        for times, name in steep:
            print(f"  {name[:70]}: {times:.1f} times as much a byte")
    return 1 if broken or steep else 0


if __name__ == "__main__":
    sys.exit(main())
