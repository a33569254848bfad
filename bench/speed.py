"""`make bench`: the library compared with what one would use instead, and with the limit.

    python bench/speed.py                   everything: about ten minutes; writes docs/speed.md and its charts
    python bench/speed.py --quick           only a trial: two short slices, and nothing is written except to --out
    python bench/speed.py --only codec      one of: requests, codec, start

Every competitor is started here: a C program with libsodium, compiled here (programs/limit.c), pyzmq with CURVE and
msgpack, Pyro5; sexpdata and `json` for the codec. Missing ones are named and left out. If the library's accelerator is
installed, the library runs twice: with it, and without it (BOKBOK_NATIVE=0).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from cell import Cell
from contest import (
    PROGRAMS,
    Contestant,
    Results,
    cores_awake,
    program,
    ratio,
    spread,
    take_turns,
)
from figures import ROOT, make, say

LIMIT, CURVE, PYRO = "C, libsodium", "pyzmq, CURVE", "Pyro5"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float
    codec_sizes: tuple[int, ...]
    starts: int


FULL = Plan(11, 0.2, (60, 1_000, 30_000, 1_000_000), 15)
QUICK = Plan(1, 0.02, (60, 1_000), 1)


@functools.cache
def variants() -> dict[str, dict[str, str]]:
    """The library with and without its accelerator: its name in the table, and the environment that selects it."""
    found = {"pure": {"BOKBOK_NATIVE": "0"}}
    from bokbok._native import ABSENT, NATIVE

    if NATIVE is not None:
        found["native"] = {}
    else:
        say(f"without the accelerator, which is {ABSENT}")
    return found


@contextlib.contextmanager
def limit() -> Iterator[Path | None]:
    """The compiled C program; `None` if it cannot be compiled."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "limit")
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            say("without the limit: there is no C compiler")
            yield None
            return
        done = subprocess.run(
            [compiler, "-O2", "-o", str(target), str(PROGRAMS / "limit.c"), "-lsodium", "-lpthread"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            say(f"without the limit, which does not compile (is libsodium-dev installed?):\n{done.stderr}")
        yield None if done.returncode else target


# Requests.


@dataclasses.dataclass(frozen=True)
class Row:
    """One table of the page: the contestants, and those with which ratios are computed."""

    title: str
    message: str
    opponent: str
    others: tuple[str, ...]
    fronts: tuple[tuple[str, str, int], ...]
    """The library's configurations: front end, event loop, requests in flight."""
    in_flight: int = 1


ASYNCIO, UVLOOP, SYNC = ("asyncio", "asyncio"), ("asyncio", "uvloop"), ("sync", "asyncio")
ROWS = (
    Row("60 bytes, one at a time", "60", LIMIT, (LIMIT, CURVE, PYRO), ((*ASYNCIO, 1), (*UVLOOP, 1), (*SYNC, 1))),
    Row("60 bytes, 64 in flight", "60", CURVE, (LIMIT, CURVE), ((*ASYNCIO, 64), (*UVLOOP, 64)), 64),
    Row("60 bytes, 8 threads", "60", PYRO, (PYRO,), ((*SYNC, 8),), 8),
    Row("1 MiB, one at a time", "1M", LIMIT, (LIMIT, CURVE, PYRO), ((*ASYNCIO, 1), (*UVLOOP, 1), (*SYNC, 1))),
)


def contestants(row: Row, limit_program: Path | None) -> list[Contestant]:
    """The contestants of the row that can take part here."""
    cell = Cell("", row.message, row.in_flight)
    found = []
    for name in row.others:
        if name == LIMIT and limit_program is not None:
            body = len(cell.body)
            ask = [str(limit_program), "ask", str(body), str(row.in_flight)]
            found.append(Contestant(name, ask, [str(limit_program), "serve", str(body)]))
        elif name == CURVE and all(map(importlib.util.find_spec, ("zmq", "msgpack"))):
            found.append(Contestant(name, program("curve", "ask", cell), program("curve", "serve")))
        elif name == PYRO and importlib.util.find_spec("Pyro5"):
            found.append(Contestant(name, program("pyro", "ask", cell), program("pyro", "serve")))
    for front, loop, in_flight in row.fronts:
        if loop == "uvloop" and not importlib.util.find_spec("uvloop"):
            continue
        ours = dataclasses.replace(cell, front=front, loop=loop, in_flight=in_flight)
        for variant, environment in variants().items():
            name = f"bokbok.{front}{' on uvloop' if loop == 'uvloop' else ''}, {variant}"
            serve = program("ours", "serve", ours, "{folder}")
            found.append(Contestant(name, program("ours", "ask", ours), serve, environment=environment))
    return found


def summary(results: dict[str, Results], opponents: Sequence[str]) -> list[dict[str, Any]]:
    """One entry for each contestant, in the form for the page and the chart."""
    entries = []
    for name, mine in results.items():
        entry: dict[str, Any] = {"name": name, "rate": spread(mine.rates), "processor": spread(mine.processor)}
        for opponent in opponents:
            if opponent in results and opponent != name:
                theirs = results[opponent]
                entry.setdefault("against", {})[opponent] = {
                    "rate": ratio(mine.rates, theirs.rates),
                    "processor": ratio(mine.processor, theirs.processor),
                }
        entries.append(entry)
    return entries


def requests(plan: Plan) -> list[dict[str, Any]]:
    found = []
    with limit() as limit_program:
        for row in ROWS:
            taking_part = contestants(row, limit_program)
            missing = set(row.others) - {each.name for each in taking_part}
            for name in sorted(missing - {LIMIT}):
                say(f"without {name}, which is not installed: make setup-bench")
            table: dict[str, Any] = {"title": row.title, "opponent": row.opponent}
            for cores, keeping in (("awake", cores_awake), ("as they are", contextlib.nullcontext)):
                say(f"{row.title}, cores {cores}: {', '.join(each.name for each in taking_part)}")
                with keeping():
                    table[cores] = summary(take_turns(taking_part, plan.rounds, plan.seconds), [row.opponent])
            found.append(table)
    return found


# The codec.


def codec(plan: Plan) -> list[dict[str, Any]]:
    found = []
    for bytes_ in plan.codec_sizes:
        for direction in ("read", "write"):
            taking_part = [
                Contestant(f"bokbok.sexpr, {variant}", program("codec", "ours", direction, bytes_), environment=changed)
                for variant, changed in variants().items()
            ]
            for name in ("sexpdata", "json"):
                taking_part.append(Contestant(name, program("codec", name, direction, bytes_)))
            say(f"codec: {direction} {bytes_:,} bytes")
            results = take_turns(taking_part, plan.rounds, min(plan.seconds, 0.1))
            entries = summary(results, ["sexpdata", "json"])
            found.append({"title": f"{direction} {bytes_:,} bytes", "entries": entries})
    return found


# Whole processes.


def start(plan: Plan) -> list[dict[str, Any]]:
    """The cost of starting: seconds and processor seconds of whole processes, which take turns."""
    found = []
    for variant, changed in variants().items():
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            # As in an installation, modules are compiled already. The first turn, which does not count, does that.
            environment = {**os.environ, **changed, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
            commands = {
                "python -c pass": [sys.executable, "-c", "pass"],
                "import bokbok": [sys.executable, "-c", "import bokbok"],
            }
            for name, secure in (("insecure", False), ("secure", True)):
                login = ["--user", "bench", "--key-file", _key_file(folder)] if secure else []
                command = [str(Path(sys.executable).with_name("bokbok")), "call", *login]
                commands[f"bokbok call, {name}"] = [*command, stack.enter_context(_server(secure)), "60"]
            results = {name: Results() for name in commands}
            say(f"start, {variant}: {', '.join(commands)}")
            for turn in range(plan.starts + 1):
                for name, command in commands.items():
                    elapsed, processor = _run(command, environment)
                    if turn:  # the first ones fill the caches
                        results[name].rates.append(elapsed)
                        results[name].processor.append(processor)
            entries = summary(results, ["python -c pass"])
            found.append({"title": f"start, {variant}", "entries": entries})
    return found


def _key_file(folder: str) -> str:
    import bokbok

    path = Path(folder, "key")
    if not path.exists():
        bokbok.write_key_file(path, bokbok.passphrase_to_key("bench"))
    return str(path)


@contextlib.contextmanager
def _server(secure: bool) -> Iterator[str]:
    import bokbok

    key = bokbok.passphrase_to_key("bench")
    with bokbok.start_server(
        "127.0.0.1:0", lambda _, message: message, user_to_key=(lambda _: key) if secure else None
    ) as server:
        yield bokbok.format_address(server.address)


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command!r} ended with status {process.returncode}")
    return elapsed, usage.ru_utime + usage.ru_stime


PARTS = {"requests": requests, "codec": codec, "start": start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only a trial; the figures mean nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only, and keep the others'")
    parser.add_argument("--rounds", type=int, help=f"slices of each contestant (default: {FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"seconds of each slice (default: {FULL.seconds})")
    parser.add_argument(
        "--out", type=Path, help="a folder for the page and its charts (default: docs; with --quick: none)"
    )
    parser.add_argument("--draw", action="store_true", help="do not measure: draw the page again from the last figures")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    plan = dataclasses.replace(plan, rounds=options.rounds or plan.rounds, seconds=options.seconds or plan.seconds)
    given = None if options.quick else ROOT / "docs"

    def measure(part: str) -> dict[str, Any]:
        tables = PARTS[part](plan)
        return {"tables": tables, "rounds": plan.starts if part == "start" else plan.rounds}

    wanted = () if options.draw else options.only or PARTS
    print(make("speed", measure, wanted, options.out or given, anew=not (options.draw or options.only)))


if __name__ == "__main__":
    main()
