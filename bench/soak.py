"""Good clients beside a hostile crowd: whether a request is lost, how long they take, what the server takes.

    python bench/soak.py                                      both front ends, ten minutes each
    python bench/soak.py --front asyncio --seconds 60 --good 50 --crowd 2000

A server, the good clients and the crowd (`crowd.py`, at nice 19) are processes of their own, over loopback TCP. Good
clients ask for their bytes back, of many sizes, and compare: first a while alone, then beside the crowd. Every tenth
one makes a new connection for each few requests. The status is 1 if a request was lost or wrong, if the server took
more memory, descriptors or threads than it may, or, in a run of two minutes or more, if they went on growing. Times are
told and not judged: they are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import crowd

import bokbok
import bokbok.asyncio
import bokbok.sync
from bokbok import service
from bokbok.errors import ConnectionClosed, RemoteError

USERS = {"good": bokbok.passphrase_to_key("good"), crowd.USER: crowd.KEY}
ALONE = 0.2
"""Of the time, without the crowd."""
SIZES = (1, 10, 100, 1000, 10_000, 100_000)
MEMORY_GROWTH, MEMORY_SLACK = 1.25, 32 << 20
"""How much more the second half may take at its most than the first: that is flat, except for noise."""
MOST_MEMORY = 1 << 30
"""Bytes that a server may take for this crowd."""
FLAT_AFTER = 120.0
"""Growth is judged from this many seconds on: before, limits are still being reached."""
SLOWER, QUICK = 10, 0.25
"""How many times as long the slowest thousandth of requests may take beside the crowd; or the seconds that are few."""
SPARE = 200
"""Descriptors that a process needs beside those of the crowd's connections."""
LONGEST = 300.0
"""Seconds for one request of a good client: one that takes longer is lost."""


# The server.


def serve(front: str) -> None:
    """In a process of its own: says its port, serves until its input ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if front == "sync":
        server = bokbok.sync.start_server(("tcp", "127.0.0.1", 0), service.handler(), user_to_key=USERS.get)
        print(server.address[2], flush=True)
        sys.stdin.read()
    else:
        asyncio.run(_serve_asyncio())
    os._exit(0)  # what the crowd has left is of no interest


async def _serve_asyncio() -> None:
    async def key_of(user: str) -> Any:
        return USERS.get(user)

    server = await bokbok.asyncio.start_server(("tcp", "127.0.0.1", 0), service.async_handler(), user_to_key=key_of)
    print(server.address[2], flush=True)
    await asyncio.to_thread(sys.stdin.read)


# The good clients.


async def _good(port: int, number: int, until: float, found: dict[str, Any]) -> None:
    rng = random.Random(number)
    connection: Any = None
    fresh = True  # nothing was answered over it yet
    asked = 0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            if connection is None:
                connection = await bokbok.asyncio.open_connection(
                    ("tcp", "127.0.0.1", port), "good", USERS["good"], connect_timeout=LONGEST
                )
                fresh = True
            data = rng.randbytes(rng.choice(SIZES))
            answer = await connection.request(["echo", [data, hashlib.sha256(data).hexdigest()]], timeout=LONGEST)
            if answer != [data, hashlib.sha256(data).hexdigest()]:
                found["wrong"].append(f"client {number}: {len(data)} bytes came back as others")
            found["times"].append(time.monotonic() - began)
            fresh = False
        except ConnectionClosed as error:
            # A server with many hellos under way turns some new connections away (`Limits.hellos`): those come again.
            if fresh:
                found["turned away"] += 1
            else:
                found["lost"].append(f"client {number}: {error}"[:300])
            connection = None
        except RemoteError as error:
            # Where the server's memory is used up, requests are refused, those of the heaviest first: they come again.
            found["refused" if "too much at once" in error.message else "lost"] += [f"client {number}: {error}"[:300]]
        except Exception as error:  # whatever it is, the request is lost
            found["lost"].append(f"client {number}: {type(error).__name__}: {error}"[:300])
            if connection is not None:
                await connection.close()
            connection = None
        asked += 1
        if number % 10 == 0 and asked % 5 == 0 and connection is not None:
            await connection.close()
            connection = None
        await asyncio.sleep(0.01)
    if connection is not None:
        await connection.close()


def good_clients(port: int, count: int, seconds: float) -> None:
    """In a process of its own: says what came of it, as JSON."""

    async def run() -> dict[str, Any]:
        found: dict[str, Any] = {"times": [], "lost": [], "wrong": [], "refused": [], "turned away": 0}
        until = time.monotonic() + seconds
        await asyncio.gather(*(_good(port, number, until, found) for number in range(count)))
        return found

    print(json.dumps(asyncio.run(run())))


# The watch.


class Watch(threading.Thread):
    """Looks at the server's memory, descriptors and threads, every half second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.folder = Path(f"/proc/{pid}")
        self.seen: list[tuple[int, int, int]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            status = dict(
                line.split(":", 1) for line in (self.folder / "status").read_text().splitlines() if ":" in line
            )
            fds = len(os.listdir(self.folder / "fd"))
            self.seen.append((int(status["VmRSS"].split()[0]) * 1024, fds, int(status["Threads"])))

    def halves(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The most of each, in the first half and in the second."""
        middle = max(1, len(self.seen) // 2)
        first, second = self.seen[:middle], self.seen[middle:] or self.seen
        return tuple(map(max, zip(*first, strict=True))), tuple(map(max, zip(*second, strict=True)))  # type: ignore[return-value]


def _seconds_at(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _at(times: list[float], part: float) -> str:
    return f"{_seconds_at(times, part) * 1e3:,.0f} ms" if times else "-"


def _ask(port: int, count: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--as-good", str(port), str(count), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def soak(front: str, arguments: argparse.Namespace) -> bool:
    """One front end; whether all held."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--as-server", front],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        alone = json.loads(_ask(port, arguments.good, arguments.seconds * ALONE).communicate()[0])
        seconds = arguments.seconds * (1 - ALONE)
        bad = subprocess.Popen(
            [sys.executable, crowd.__file__, "127.0.0.1", str(port), "--connections", str(arguments.crowd),
             "--seconds", str(seconds), "--scale", str(arguments.scale), "--seed", str(arguments.seed)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert bad.stdout is not None
        bad.stdout.readline()  # it is ready: at nice 19 that may take a while
        watch = Watch(server.pid)
        watch.start()
        beside = json.loads(_ask(port, arguments.good, seconds).communicate()[0])
        watch.over.set()
        watch.join()
        told = json.loads(bad.communicate()[0])
        processor = sum(
            map(int, Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        ) / os.sysconf("SC_CLK_TCK")
    finally:
        server.stdin.close()
        server.wait(60)
    first, second = watch.halves()
    lost = [*alone["lost"], *alone["wrong"], *beside["lost"], *beside["wrong"]]
    limits = bokbok.Limits()
    over = []
    if second[0] > MOST_MEMORY:
        over.append(f"memory: over {MOST_MEMORY >> 20} MiB")
    if second[1] > limits.connections + 100:
        over.append(f"descriptors: over {limits.connections:,}, the limit on connections, and 100")
    if second[2] > limits.server_running + limits.parked + 100:
        over.append(f"threads: over {limits.server_running:,} running, {limits.parked:,} parked, and 100")
    grown = []
    if second[0] > first[0] * MEMORY_GROWTH + MEMORY_SLACK:
        grown.append("memory")
    if second[1] > max(first[1] * 1.25, first[1] + 50):
        grown.append("descriptors")
    if second[2] > max(first[2] * 1.25, first[2] + 50):
        grown.append("threads")
    print(
        f"\n{front}: {arguments.good} good clients, {arguments.crowd} hostile ones, {arguments.seconds:.0f} s",
        flush=True,
    )
    print(f"  lost: {len(lost)} of {len(alone['times']) + len(beside['times']) + len(lost):,} requests")
    for each in lost[:10]:
        print(f"    {each}")
    turned_away = alone["turned away"] + beside["turned away"]
    print(f"  new connections of good clients that were turned away, and came again: {turned_away:,}")
    refused = alone["refused"] + beside["refused"]
    print(f"  requests of good clients that were refused with an error, for want of memory: {len(refused):,}")
    for name, times in (("alone", alone["times"]), ("beside the crowd", beside["times"])):
        parts = f"median {_at(times, 0.5)}, 99th percentile {_at(times, 0.99)}, 99.9th {_at(times, 0.999)}"
        print(f"  {name}: {len(times):,} requests, {parts}, worst {_at(times, 1)}")
    if alone["times"] and beside["times"]:
        before, after = _seconds_at(alone["times"], 0.999), _seconds_at(beside["times"], 0.999)
        within = "within" if after <= max(SLOWER * before, QUICK) else "over"
        print(
            f"  99.9th percentile beside the crowd: {after / before:.1f} times that without it; {within} the bound "
            f"({SLOWER} times, or {QUICK * 1e3:.0f} ms)"
        )
    for name, index, unit in (("MiB of memory", 0, 1 << 20), ("descriptors", 1, 1), ("threads", 2, 1)):
        print(f"  {name}: {first[index] // unit:,} at most in the first half, {second[index] // unit:,} in the second")
    played = told["done"]
    outside = played.pop(crowd.OUTSIDE, 0)
    print(f"  the crowd: {sum(played.values()):,} connections of {len(played)} kinds, {outside:,} more did not get in")
    print(f"  processor time: {told['processor']:.1f} s of the crowd, {processor:.1f} s of the server")
    if arguments.seconds >= FLAT_AFTER:
        over += [f"{what}: went on growing" for what in grown]
    for each in over:
        print(f"  {each}")
    return not lost and not over


def main() -> int:
    if sys.argv[1:2] == ["--as-server"]:
        serve(sys.argv[2])
    if sys.argv[1:2] == ["--as-good"]:
        good_clients(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--front", choices=("sync", "asyncio"), help="which front end serves (both)")
    parser.add_argument("--seconds", type=float, default=600, help="of each front end")
    parser.add_argument("--good", type=int, default=50, help="good clients")
    parser.add_argument("--crowd", type=int, default=10_000, help="hostile connections at once")
    parser.add_argument("--scale", type=int, default=1 << 20, help="bytes of what is long")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < arguments.crowd + SPARE:
        parser.error(
            f"a crowd of {arguments.crowd:,} needs {arguments.crowd + SPARE:,} descriptors a process; {most:,} are "
            "the most here (ulimit -Hn): raise that, or give --crowd"
        )
    load = os.getloadavg()[0]
    print(f"{time.strftime('%d %B %Y')}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {load:.1f}")
    fronts = [arguments.front] if arguments.front else ["sync", "asyncio"]
    held = [soak(front, arguments) for front in fronts]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
