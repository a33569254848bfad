"""The library's speed, compared with bare encrypted streams: one box a packet, no codec, no matching of answers.

    python bench/rpc.py                                   everything: some minutes
    python bench/rpc.py --front sync --transport unix --messages 16,64K --in-flight 1
    python bench/rpc.py --before /tmp/old/.venv/bin/python    this checkout against another version, in one run
    python bench/rpc.py --awake --pairs 7 --rounds 5          no core falls asleep; each row with new processes, 7 times
    python bench/rpc.py --bridge --front asyncio              requests through `bokbok.bridge`, against direct ones

For each line of the table, the library and the others take turns in short slices (bench/contest.py). With bare streams
(programs/bare.py has both kinds, `plain` and `tight`) the ratio is ours divided by theirs; `--before` and `--bridge`
replace them. `cpu` is the processor time of all processes per request, ours divided by theirs. `added` is the time by
which one request takes longer. Ratios are medians over the rounds. Quote ratios: rates depend on the machine.

The same two programs, started again, have another ratio, by some 8 % in either direction: where their code and data lie
in the caches is different each time. So a ratio that matters wants several `--pairs`; it is the median over all rounds.

A message is a string of so many bytes, or `demo`, the list ("ping" "12345"). The bare streams carry bodies that are as
long as our encoded messages. "In flight" is how many requests are under way at once: with ours, as many threads or
tasks.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from cell import Cell
from contest import Contestant, Results, cores_awake, program, ratio, spread, take_turns

IN_BUFFERS = 100_000
"""With more bytes in flight, the ends of bare streams, which both send before they read, would wait for each other."""


def ours(cell: Cell, name: str = "ours", python: str = sys.executable, *, bridged: bool = False) -> Contestant:
    """The library: this version, that of another interpreter, or with a bridge between client and server."""
    between = program("ours", "between", cell, "{folder}", python=python) if bridged else []
    ask = program("ours", "ask", cell, python=python)
    return Contestant(name, ask, program("ours", "serve", cell, "{folder}", python=python), between)


def bare(cell: Cell, kind: str) -> Contestant:
    return Contestant(kind, program("bare", "ask", kind, cell), program("bare", "serve", kind, cell, "{folder}"))


def measure(contestants: list[Contestant], pairs: int, rounds: int, seconds: float, *, added: bool) -> str:
    """One line: rates; then the first contestant's divided by each other's, for rates and for processor time."""
    results = {each.name: Results() for each in contestants}
    for _ in range(pairs):
        for name, more in take_turns(contestants, rounds, seconds).items():
            results[name].rates.extend(more.rates)
            results[name].processor.extend(more.processor)
    first, *others = results.values()
    columns = [f"{spread(each.rates).median:10.0f}" for each in results.values()]
    for other in others:
        rates, processor = ratio(first.rates, other.rates), ratio(first.processor, other.processor)
        columns.append(f"{rates.median:6.2f} {f'({rates.low:.2f}–{rates.high:.2f})':>11} {processor.median:6.2f}")
        if added:
            longer = [1e6 / a - 1e6 / b for a, b in zip(first.rates, other.rates, strict=True)]
            columns.append(f"{spread(longer).median:9.0f}")
    return " ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--front", default="sync,asyncio")
    parser.add_argument("--loop", default="asyncio", help="asyncio, uvloop; by commas")
    parser.add_argument("--transport", default="tcp,unix")
    parser.add_argument("--security", default="secure")
    parser.add_argument("--messages", default="demo,16,1000,64K,1M", help="`demo`, or bytes of a string; by commas")
    parser.add_argument("--in-flight", default="1,32", help="requests under way at once; by commas")
    parser.add_argument(
        "--pairs", type=int, default=1, help="how often each row is measured, each time with new processes"
    )
    parser.add_argument("--rounds", type=int, default=11, help="of each pair")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each slice")
    parser.add_argument("--awake", action="store_true", help="keep all cores awake")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--before", metavar="PYTHON", help="an interpreter with another version of the library")
    other.add_argument("--bridge", action="store_true", help="compare requests through a bridge with direct ones")
    options = parser.parse_args()
    if options.before:
        if os.environ.get("PYTHONPATH"):
            parser.error("PYTHONPATH would give both interpreters the same version: unset it")
        names = ["ours", "before"]
    else:
        names = ["bridged", "direct"] if options.bridge else ["ours", "plain", "tight"]
    head = " ".join(f"{name + '/s':>10}" for name in names)
    ratios = " ".join(f"{'by ' + name:>18}    cpu{' added µs' * options.bridge}" for name in names[1:])
    print(f"{'front':7} {'loop':7} {'where':5} {'message':>7} {'in':>3} {head} {ratios}")
    with cores_awake() if options.awake else contextlib.nullcontext():
        _rows(options)


def _rows(options: argparse.Namespace) -> None:
    for front, loop, transport, security, message, in_flight in itertools.product(
        options.front.split(","),
        options.loop.split(","),
        options.transport.split(","),
        options.security.split(","),
        options.messages.split(","),
        map(int, options.in_flight.split(",")),
    ):
        cell = Cell(front, message, in_flight, loop, transport, security == "secure")
        if in_flight > 1 and in_flight * len(cell.body) > IN_BUFFERS:
            continue
        if options.before:
            contestants = [ours(cell), ours(cell, "before", options.before)]
        elif options.bridge:
            contestants = [ours(cell, "bridged", bridged=True), ours(cell, "direct")]
        else:
            contestants = [ours(cell), bare(cell, "plain"), bare(cell, "tight")]
        line = measure(contestants, options.pairs, options.rounds, options.seconds, added=options.bridge)
        print(f"{front:7} {loop:7} {transport:5} {message:>7} {in_flight:3} {line}", flush=True)


if __name__ == "__main__":
    main()
