"""What a bridge costs: requests through `bokbok.bridge`, held against the same ones without it.

    python bench/bridge.py --transport unix

Client, bridge and server are processes of their own. Both sides of the bridge are secure and speak `inferred-1`: what
another profile costs beyond that is its own affair. Direct and bridged requests take turns in short slices, as in
bench/rpc.py, whose servers and clients these are; ratios and differences are medians over the rounds. `added` is the
time by which one request takes longer, `cpu` the processor time of all processes per request, bridged by direct.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
from multiprocessing.connection import Connection as Pipe
from typing import Any

from rpc import KEY, Cell, contest

from bokbok.bridge import start_bridge


def bridge(cell: Cell, target: Any, folder: str, pipe: Pipe) -> None:
    address = "127.0.0.1:0" if cell.transport == "tcp" else f"{folder}/bridge"

    async def main() -> None:
        async with start_bridge(
            address,
            target,
            user_to_key=(lambda _: KEY) if cell.secure else None,
            user_to_login=(lambda _: ("bench", KEY)) if cell.secure else None,
        ) as running:
            pipe.send(running.address)
            await asyncio.Event().wait()

    asyncio.run(main())


def measure(cell: Cell, rounds: int, seconds: float) -> str:
    with contextlib.ExitStack() as stack:
        contests = [stack.enter_context(contest(cell, "ours", between)) for between in (None, bridge)]
        for each in contests:
            each.slice(seconds)  # to warm up
        results = [[each.slice(seconds) for each in contests] for _ in range(rounds)]
    rates = [[rate for rate, _ in row] for row in results]
    cpus = [[cpu for _, cpu in row] for row in results]
    columns = [f"{max(column):9.0f}" for column in zip(*rates, strict=True)]
    columns.append(f"{statistics.median(bridged / direct for direct, bridged in rates):6.2f}")
    columns.append(f"{statistics.median(bridged / direct for direct, bridged in cpus):6.2f}")
    if cell.in_flight == 1:
        columns.append(f"{statistics.median(1e6 / bridged - 1e6 / direct for direct, bridged in rates):8.0f}")
    return " ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--front", default="asyncio")
    parser.add_argument("--transport", default="tcp,unix")
    parser.add_argument("--security", default="secure")
    parser.add_argument("--messages", default="demo,1000,64K", help="`demo`, or bytes of a string; by commas")
    parser.add_argument("--in-flight", default="1,32", help="requests under way at once; by commas")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each slice")
    options = parser.parse_args()
    print(f"{'front':7} {'where':5} {'message':>7} {'in':>3} {'direct/s':>9} {'bridged/s':>9}  ratio    cpu added µs")
    for front in options.front.split(","):
        for transport in options.transport.split(","):
            for security in options.security.split(","):
                for message in options.messages.split(","):
                    for in_flight in map(int, options.in_flight.split(",")):
                        cell = Cell(front, transport, security == "secure", message, in_flight)
                        line = measure(cell, options.rounds, options.seconds)
                        print(f"{front:7} {transport:5} {message:>7} {in_flight:3} {line}", flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
