"""The library's speed, held against bare encrypted streams: one box a packet, no codec, no matching of answers.

    python bench/rpc.py                                   everything: some minutes
    python bench/rpc.py --front sync --transport unix --messages 16,64K --in-flight 1

Servers and clients are processes of their own, on loopback TCP or a Unix socket. For each line of the table ours and
the bare ones (bench/bare.py has both kinds) take turns in short slices, so that a machine whose speed drifts does so
under all of them; the ratio is the median over the rounds of ours by theirs, and is what to quote: rates are the
machine's. `cpu` is the processor time of client and server per request, ours by theirs: below two cores' worth of
work it is what remains when the machine is busy with other things.

A message is a string of so many bytes, or `demo`, the list ("ping" "12345"); the bare streams carry bodies as long as
our encoded messages. "In flight" is how many requests are under way at once: as many threads, or tasks, with ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

import bare

import bokbok
import bokbok.asyncio
from bokbok.sexpr import dumps

KEY = bokbok.passphrase_to_key("bench")
FRONTS = ("sync", "asyncio")
IN_BUFFERS = 100_000
"""Bytes in flight beyond which bare streams, whose ends both send before they read, would wait for each other."""
CONTESTANTS = ("ours", "plain", "tight")


@dataclass(frozen=True)
class Cell:
    """What one line of the table measures."""

    front: str
    transport: str
    secure: bool
    message: str
    in_flight: int

    @property
    def datum(self) -> Any:
        return ["ping", "12345"] if self.message == "demo" else "x" * _size(self.message)

    @property
    def body(self) -> bytes:
        return b"(request 12345 " + dumps(self.datum) + b")"


def _size(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


# Servers: each in a process; says where it listens, then serves until it is ended.


def serve(cell: Cell, contestant: str, folder: str, pipe: Pipe) -> None:
    if contestant == "ours":
        _serve_ours(cell, folder, pipe)
        return
    key = bytes(range(32)) if cell.secure else None
    if cell.transport == "tcp":
        listening = socket.create_server(("127.0.0.1", 0))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{folder}/{contestant}")
        listening.listen()
    pipe.send((listening.family, listening.getsockname()))
    if cell.front == "sync":
        bare.serve_blocking(listening, key, contestant == "tight")
    else:
        asyncio.run(bare.serve_asyncio(listening, key, contestant == "tight"))


def _serve_ours(cell: Cell, folder: str, pipe: Pipe) -> None:
    address = "127.0.0.1:0" if cell.transport == "tcp" else f"{folder}/ours"
    user_to_key = (lambda _: KEY) if cell.secure else None
    if cell.front == "sync":
        server = bokbok.start_server(address, lambda _, message: message, user_to_key=user_to_key)
        pipe.send(server.address)
        server.wait()
        return

    async def main() -> None:
        async def echo(_: Any, message: Any) -> Any:
            return message

        async with bokbok.asyncio.start_server(address, echo, user_to_key=user_to_key) as server:
            pipe.send(server.address)
            await asyncio.Event().wait()

    asyncio.run(main())


# Clients: each in a process; gets a number of seconds, gives back how many requests were answered in how many.

Slice = Callable[[float], tuple[int, float]]


def ask(cell: Cell, contestant: str, address: Any, pipe: Pipe) -> None:
    with _client(cell, contestant, address) as run:
        pipe.send(None)
        while (seconds := pipe.recv()) is not None:
            pipe.send(run(seconds))


@contextlib.contextmanager
def _client(cell: Cell, contestant: str, address: Any) -> Iterator[Slice]:
    user, key = ("bench", KEY) if cell.secure else (None, None)
    bare_key = bytes(range(32)) if cell.secure else None
    tight = contestant == "tight"
    if cell.front == "sync":
        if contestant != "ours":
            yield bare.BlockingClient(address, bare_key, tight, cell.body, cell.in_flight).run
            return
        with bokbok.open_connection(address, user, key) as connection:
            yield lambda seconds: _ask_sync(connection, cell, seconds)
        return
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        if contestant != "ours":
            client = bare.AsyncioClient(bare_key, tight, cell.body, cell.in_flight)

            loop.run_until_complete(client.connect(address))
            yield lambda seconds: loop.run_until_complete(client.run(seconds))
            return

        async def open_() -> bokbok.asyncio.Connection:
            return await bokbok.asyncio.open_connection(address, user, key)

        opened = loop.run_until_complete(open_())
        yield lambda seconds: loop.run_until_complete(_ask_asyncio(opened, cell, seconds))
        loop.run_until_complete(opened.close())


def _ask_sync(connection: bokbok.Connection, cell: Cell, seconds: float) -> tuple[int, float]:
    message, clock, request = cell.datum, time.perf_counter, connection.request
    done = [0] * cell.in_flight
    start = clock()
    end = start + seconds

    def ask(i: int) -> None:
        count = 0
        while clock() < end:
            request(message)
            count += 1
        done[i] = count

    if cell.in_flight == 1:
        ask(0)
    else:
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(cell.in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(done), clock() - start


async def _ask_asyncio(connection: bokbok.asyncio.Connection, cell: Cell, seconds: float) -> tuple[int, float]:
    message, clock, request = cell.datum, time.perf_counter, connection.request
    done = 0
    start = clock()
    end = start + seconds

    async def ask() -> None:
        nonlocal done
        while clock() < end:
            await request(message)
            done += 1

    if cell.in_flight == 1:
        await ask()
    else:
        await asyncio.gather(*(ask() for _ in range(cell.in_flight)))
    return done, clock() - start


# The driver.


@dataclass
class Contest:
    """One contestant's processes, in one cell."""

    processes: list[multiprocessing.Process]
    pipe: Pipe

    def slice(self, seconds: float) -> tuple[float, float]:
        """Requests per second, and processor seconds per request."""
        before = self._cpu()
        self.pipe.send(seconds)
        done, elapsed = self.pipe.recv()
        return done / elapsed, (self._cpu() - before) / done

    def _cpu(self) -> float:
        # The kernel's clock of another process's processor time, as clock_getcpuclockid(3) makes it.
        return sum(time.clock_gettime(~(process.pid or 0) << 3 | 2) for process in self.processes)


Between = Callable[[Cell, Any, str, Pipe], None]
"""What may stand between client and server: is given the server's address and a folder, and says where it listens."""


@contextlib.contextmanager
def contest(cell: Cell, contestant: str, between: Between | None = None) -> Iterator[Contest]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def start(function: Callable[..., None], *args: Any) -> tuple[multiprocessing.Process, Pipe]:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=function, args=(*args, theirs), daemon=True)
            process.start()
            return process, ours

        def end(process: multiprocessing.Process) -> None:
            process.terminate()
            process.join()

        server, pipe = start(serve, cell, contestant, folder)
        stack.callback(end, server)
        processes, address = [server], pipe.recv()
        if between is not None:
            process, pipe = start(between, cell, address, folder)
            stack.callback(end, process)
            processes.append(process)
            address = pipe.recv()
        client, pipe = start(ask, cell, contestant, address)
        pipe.recv()
        try:
            yield Contest([*processes, client], pipe)
        finally:
            pipe.send(None)
            client.join()


def measure(cell: Cell, rounds: int, seconds: float) -> str:
    with contextlib.ExitStack() as stack:
        contests = [stack.enter_context(contest(cell, name)) for name in CONTESTANTS]
        for each in contests:
            each.slice(seconds)  # to warm up
        rates: list[list[float]] = []
        cpus: list[list[float]] = []
        for _ in range(rounds):
            results = [each.slice(seconds) for each in contests]
            rates.append([rate for rate, _ in results])
            cpus.append([cpu for _, cpu in results])
    best = [max(column) for column in zip(*rates, strict=True)]
    columns = [f"{rate:9.0f}" for rate in best]
    for i in (1, 2):
        columns.append(f"{statistics.median(row[0] / row[i] for row in rates):6.2f}")
        columns.append(f"{statistics.median(row[i] / row[0] for row in cpus):6.2f}")
    if cell.message != "demo":
        columns.append(f"{best[0] * len(cell.body) / 1e6:8.1f}")
    return " ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--front", default=",".join(FRONTS))
    parser.add_argument("--transport", default="tcp,unix")
    parser.add_argument("--security", default="secure")
    parser.add_argument("--messages", default="demo,16,1000,64K,1M", help="`demo`, or bytes of a string; by commas")
    parser.add_argument("--in-flight", default="1,32", help="requests under way at once; by commas")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each slice")
    options = parser.parse_args()
    head = " ".join(f"{name + '/s':>9}" for name in CONTESTANTS)
    print(f"{'front':7} {'where':5} {'message':>7} {'in':>3} {head}  plain  (cpu)  tight  (cpu)     MB/s")
    for front in options.front.split(","):
        for transport in options.transport.split(","):
            for security in options.security.split(","):
                for message in options.messages.split(","):
                    for in_flight in map(int, options.in_flight.split(",")):
                        cell = Cell(front, transport, security == "secure", message, in_flight)
                        if in_flight > 1 and in_flight * len(cell.body) > IN_BUFFERS:
                            continue
                        line = measure(cell, options.rounds, options.seconds)
                        print(f"{front:7} {transport:5} {message:>7} {in_flight:3} {line}", flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
