"""Compares programs: starts them, lets them take turns on the machine, and times them.

A contestant is a client process with its server, or a single process. A server prints where it listens, a client
`ready`. From then on each line on the client's standard input is a number of seconds, and for each the client prints
how many requests were answered in how many seconds (bench/programs/steered.py; limit.c does the same in C). A process
ends when its standard input ends, so that none outlives the command that started it.

All contestants of a row take turns in short slices, so that a drift of the machine's speed affects all of them. A ratio
is the median of the ratios within each round. The processor time of a slice is that of client and server together, by
the kernel's clocks of both processes. It is repeatable, while rates depend on what else the machine does.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"


def program(name: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """The command of one of the programs beside this file, for the interpreter `python`."""
    return [python, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


@dataclass(frozen=True)
class Contestant:
    """A program, or client and server, that takes turns with others.

    Attributes:
        name: its name in the table.
        ask: the client's command; the server's address is appended.
        serve: the server's command; `{folder}` in it stands for an empty folder. Empty: there is no server.
        between: the command of a program between the two, which is given the server's address. Usually empty.
        environment: variables that differ from those of this process.
    """

    name: str
    ask: Sequence[str]
    serve: Sequence[str] = ()
    between: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Results:
    """The results of one contestant: a value for each round."""

    rates: list[float] = field(default_factory=list)
    """Requests per second."""
    processor: list[float] = field(default_factory=list)
    """Seconds of processor time per request, of all its processes."""


class _Running:
    def __init__(self, contestant: Contestant, stack: contextlib.ExitStack) -> None:
        self._contestant = contestant
        self._stack = stack
        self._processes: list[subprocess.Popen[str]] = []
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        where: list[str] = []
        for command in (contestant.serve, contestant.between):
            if command:
                where = [self._start([part.replace("{folder}", folder) for part in command] + where)]
        self._start([*contestant.ask, *where])

    def _start(self, command: Sequence[str]) -> str:
        environment = {**os.environ, **self._contestant.environment}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self._processes.append(process)
        self._stack.enter_context(ending(process))
        return self._read(process)

    def _read(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._contestant.name}: {process.args!r} ended with status {process.wait()}")
        return line.strip()

    def slice(self, seconds: float) -> tuple[float, float]:
        """Requests per second, and processor seconds per request."""
        client = self._processes[-1]
        assert client.stdin is not None
        before = self._processor_time()
        client.stdin.write(f"{seconds}\n")
        client.stdin.flush()
        done, elapsed = map(float, self._read(client).split())
        return done / elapsed, (self._processor_time() - before) / done

    def _processor_time(self) -> float:
        return sum(processor_time(process.pid) for process in self._processes)


def processor_time(pid: int) -> float:
    """Seconds of processor time of another process, by the kernel's clock for it (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a program at the end of the block, by the end of its standard input."""
    with process:
        yield
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def take_turns(contestants: Sequence[Contestant], rounds: int, seconds: float) -> dict[str, Results]:
    """Let all of them run `rounds` slices of `seconds` each, in turns, after one slice each to warm up."""
    with contextlib.ExitStack() as stack:
        running = {each.name: _Running(each, stack) for each in contestants}
        results = {each.name: Results() for each in contestants}
        for each in running.values():
            each.slice(seconds)
        for _ in range(rounds):
            for name, each in running.items():
                rate, processor = each.slice(seconds)
                results[name].rates.append(rate)
                results[name].processor.append(processor)
        return results


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles: half of all values lie between these."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours divided by theirs, round by round."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


@contextlib.contextmanager
def cores_awake() -> Iterator[None]:
    """A process at nice 19 spins on each core, so that no core falls asleep. Any other program still gets the core.

    Otherwise, one request at a time mostly measures how late a sleeping core wakes.
    """
    with contextlib.ExitStack() as stack:
        for core in sorted(os.sched_getaffinity(0)):
            process = subprocess.Popen(program("spin", core), stdin=subprocess.PIPE, text=True)
            stack.enter_context(ending(process))
        yield
