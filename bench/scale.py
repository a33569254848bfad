"""How the library grows: with connections, requests in flight, bytes and threads.

    python bench/scale.py                     everything: some minutes; writes docs/scale.md and its charts
    python bench/scale.py --quick             only a trial: small numbers, and nothing is written except to --out
    python bench/scale.py --only connections  one of: connections, in-flight, bytes, threads

The server is a process of its own, so that its memory can be measured: it is read from /proc once everything that is
counted is there. Rates depend on the machine; look at the shape of a curve.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from cell import Cell
from contest import Contestant, ending, processor_time, program, spread, take_turns
from figures import ROOT, make, say
from ours import KEY

import bokbok
import bokbok.asyncio

FULL = {
    "connections": (1, 10, 100, 1_000, 3_000, 10_000),
    "in-flight": (1, 3, 10, 30, 100, 300, 1_000),
    "bytes": (10, 1_000, 100_000, 1_000_000, 8_000_000, 64_000_000),
    "threads": (1, 8, 32, 128, 500),
}
QUICK = {"connections": (1, 20), "in-flight": (1, 20), "bytes": (10, 100_000), "threads": (1, 8)}
LARGE = {"packet": 1 << 27, "message_memory": 1 << 29}
"""Limits for strings of 64 MB."""
Points = list[dict[str, float]]
"""The lines of a table: the number that grows, and what was measured."""


@contextlib.contextmanager
def server(cell: Cell) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A process that serves, and its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = program("ours", "serve", cell, folder)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with ending(process):
            assert process.stdout is not None
            yield process, tuple(json.loads(process.stdout.readline()))


def memory(pid: int) -> int:
    """Bytes that a process holds in memory, without shared ones."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell how much memory is private")


def connections(numbers: tuple[int, ...]) -> Points:
    """Idle secure connections on one asyncio server: its memory for each of them, and hellos per second."""
    points: Points = []
    for number in numbers:
        with server(Cell("asyncio", "60", 1, limits={"connections": 20_000})) as (process, address):
            asyncio.run(_open(address, 1))  # imports, buffers and the like do not belong to a connection
            before, spent = memory(process.pid), processor_time(process.pid)
            elapsed, held = asyncio.run(_open(address, number, process.pid))
            points.append({
                "connections": number,
                "bytes each": (held - before) / number,
                "hellos/s": number / elapsed,
                "server's processor, µs": (processor_time(process.pid) - spent) / number * 1e6,
            })  # fmt: skip
            say(f"connections: {points[-1]}")
    return points


async def _open(address: Any, number: int, pid: int | None = None) -> tuple[float, int]:
    """Open connections, and ask once over each. Returns the seconds that it took, and the server's memory
    afterwards."""
    opened: list[bokbok.asyncio.Connection] = []
    at_once = asyncio.Semaphore(50)

    async def one() -> None:
        async with at_once:
            connection = await bokbok.asyncio.open_connection(address, "bench", KEY)
            opened.append(connection)
            await connection.request(1)

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(number)))
    elapsed = time.perf_counter() - start
    held = memory(pid) if pid is not None else 0
    await asyncio.gather(*(connection.close() for connection in opened))
    return elapsed, held


def _requests(name: str, cells: dict[int, Cell], rounds: int, seconds: float) -> Points:
    points: Points = []
    for number, cell in cells.items():
        ours = Contestant("ours", program("ours", "ask", cell), program("ours", "serve", cell, "{folder}"))
        results = take_turns([ours], rounds, seconds)["ours"]
        points.append({
            name: number,
            "requests/s": spread(results.rates).median,
            "processor, µs": spread(results.processor).median * 1e6,
        })  # fmt: skip
        say(f"{name}: {points[-1]}")
    return points


def in_flight(numbers: tuple[int, ...]) -> Points:
    return _requests("in flight", {number: Cell("asyncio", "60", number) for number in numbers}, 5, 0.2)


def threads(numbers: tuple[int, ...]) -> Points:
    return _requests("threads", {number: Cell("sync", "60", number) for number in numbers}, 5, 0.2)


def bytes_(numbers: tuple[int, ...]) -> Points:
    """Strings: the time for an echo, and the peak memory of the server, compared with the bytes."""
    points: Points = []
    for number in numbers:
        with server(Cell("sync", "60", 1, limits=LARGE)) as (process, address):
            with bokbok.open_connection(address, "bench", KEY, limits=bokbok.Limits(**LARGE)) as connection:
                connection.request("x")
                before = _peak(process.pid)
                text = "x" * number
                times = []
                for _ in range(3):
                    start = time.perf_counter()
                    assert connection.request(text) == text
                    times.append(time.perf_counter() - start)
            points.append({
                "bytes": number,
                "echo, ms": spread(times).median * 1e3,
                "µs per KB": spread(times).median * 1e9 / number,
                "server's peak, times the bytes": (_peak(process.pid) - before) / number,
            })  # fmt: skip
            say(f"bytes: {points[-1]}")
    return points


def _peak(pid: int) -> int:
    """The peak memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell how much memory a process had")


PARTS = {"connections": connections, "in-flight": in_flight, "bytes": bytes_, "threads": threads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only a trial; the figures mean nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only, and keep the others'")
    parser.add_argument("--out", type=Path, help="a folder for the page and charts (default: docs; with --quick: none)")
    options = parser.parse_args()
    numbers = QUICK if options.quick else FULL
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < max(numbers["connections"]) + 500:
        numbers = {**numbers, "connections": tuple(n for n in numbers["connections"] if n + 500 <= hard)}
        say(f"this system allows {hard} open files: {numbers['connections']} connections at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def measure(part: str) -> dict[str, Any]:
        return {"points": PARTS[part](numbers[part])}

    given = None if options.quick else ROOT / "docs"
    print(make("scale", measure, options.only or PARTS, options.out or given, anew=not options.only))


if __name__ == "__main__":
    main()
