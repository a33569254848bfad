"""Good clients beside a hostile crowd: whether requests are lost, how long they take, what the server needs.

    python bench/soak.py                                      both front ends, ten minutes each
    python bench/soak.py --front asyncio --seconds 60 --good 50 --crowd 2000

A server, the good clients and the crowd (`crowd.py`, at nice 19) are separate processes, over loopback TCP. Good
clients ask for an echo of bytes, of many sizes, and compare: first alone for a while, then beside the crowd. Every
tenth client makes a new connection after a few requests. Between two requests a client waits for `--pause` seconds:
without, the good clients take all of the processor, and a crowd at nice 19 has none. The exit status is 1 if a
request was lost or wrong, if the server took more memory, descriptors or threads than it may, or, in a run of two
minutes or more, if these went on growing. Times are shown but not judged: they depend on the machine.

A soak ends when its time is over. What is under way then may take `GRACE` seconds more. Anything that takes longer is
named and counts as lost, and a file says what the server's threads were doing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
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
from bokbok.cli._serving import OFTEN, SELDOM, set_collector
from bokbok.errors import ConnectionClosed, RemoteError

USERS = {"good": bokbok.passphrase_to_key("good"), crowd.USER: crowd.KEY}
ALONE = 0.2
"""The part of the time without the crowd."""
SIZES = (1, 10, 100, 1000, 10_000, 100_000)
MEMORY_GROWTH, MEMORY_SLACK = 1.25, 32 << 20
"""How much higher the peak of the second half may be than that of the first: flat, except for noise."""
MOST_MEMORY = 1 << 30
"""Bytes that a server may take for this crowd."""
FLAT_AFTER = 120.0
"""Growth is judged in runs of so many seconds or more: earlier, limits are still being reached."""
SLOWER, QUICK = 10, 0.25
"""How many times as long the slowest thousandth of requests may take beside the crowd; and seconds that are always
fine."""
SPARE = 200
"""Descriptors that a process needs in addition to those of the crowd's connections."""
LONGEST = 300.0
"""Seconds for one request of a good client. A request that takes longer counts as lost."""
GRACE = crowd.GRACE
"""Seconds for what is under way when the time is over: a request, a close, the end of a process."""


# The server.


def serve(front: str, stacks: str, collect: str) -> None:
    """In a process of its own: prints its port, serves until its input ends.

    Args:
        front: which front end.
        stacks: on SIGUSR1, the stacks of all threads are written to this file.
        collect: as `bokbok serve --collect` has it.
    """
    set_collector(collect)
    faulthandler.register(signal.SIGUSR1, Path(stacks).open("a"))  # noqa: SIM115 (for as long as the process)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if front == "sync":
        server = bokbok.sync.start_server(("tcp", "127.0.0.1", 0), service.handler(), user_to_key=USERS.get)
        print(server.address[2], flush=True)
        sys.stdin.read()
        os._exit(0)  # what the crowd has left does not matter
    asyncio.run(_serve_asyncio())


async def _serve_asyncio() -> None:
    async def key_of(user: str) -> Any:
        return USERS.get(user)

    server = await bokbok.asyncio.start_server(("tcp", "127.0.0.1", 0), service.async_handler(), user_to_key=key_of)
    print(server.address[2], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


# The good clients.


class _Good:
    """One good client.

    Attributes:
        doing: what it waits for, and since when.
    """

    def __init__(self, port: int, number: int, until: float, pause: float, found: dict[str, Any]) -> None:
        self._port, self._number, self._until, self._pause, self._found = port, number, until, pause, found
        self._connection: Any = None
        self.doing = ("nothing", time.monotonic())

    def _left(self, what: str) -> float:
        """The seconds that something which begins now may take."""
        now = time.monotonic()
        self.doing = (what, now)
        return min(LONGEST, self._until + GRACE - now)

    def lost(self, why: str, how: str = "lost") -> None:
        self._found[how].append(f"client {self._number}: {why}"[:300])

    async def _leave(self) -> None:
        if self._connection is not None:
            self.doing = ("its close", time.monotonic())
            await self._connection.close()
            self._connection = None

    async def run(self) -> None:
        """Send requests until the time is over."""
        rng = random.Random(self._number)
        fresh = True  # nothing has been answered over the connection yet
        asked = 0
        while time.monotonic() < self._until:
            began = time.monotonic()
            try:
                if self._connection is None:
                    self._connection = await bokbok.asyncio.open_connection(
                        ("tcp", "127.0.0.1", self._port), "good", USERS["good"],
                        connect_timeout=self._left("a connection"),
                    )  # fmt: skip
                    fresh = True
                data = rng.randbytes(rng.choice(SIZES))
                expected = [data, hashlib.sha256(data).hexdigest()]
                left = self._left(f"the answer to a request of {len(data)} bytes")
                answer = await self._connection.request(["echo", expected], timeout=left)
                if answer != expected:
                    self.lost(f"{len(data)} bytes came back as others", "wrong")
                took = time.monotonic() - began
                self._found["times"].append(took)
                if fresh:
                    self._found["new"].append(took)
                fresh = False
            except ConnectionClosed as error:
                # A server with many hellos under way refuses some new connections (`Limits.hellos`): those try again.
                if fresh:
                    self._found["turned away"] += 1
                else:
                    self.lost(str(error))
                self._connection = None
            except RemoteError as error:
                # If the server's memory is used up, requests are refused, first those of the heaviest user: likewise.
                self.lost(str(error), "refused" if "too much at once" in error.message else "lost")
            except Exception as error:  # whatever the error is, the request is lost
                what, since = self.doing
                self.lost(f"{type(error).__name__}: {error}, {time.monotonic() - since:.0f} s after it began {what}")
                await self._leave()
            asked += 1
            if self._number % 10 == 0 and asked % 5 == 0:
                await self._leave()
            await asyncio.sleep(self._pause)
        await self._leave()


def _nothing_found() -> dict[str, Any]:
    return {"times": [], "new": [], "lost": [], "wrong": [], "refused": [], "turned away": 0, "hung": 0}


def good_clients(port: int, count: int, seconds: float, pause: float) -> None:
    """In a process of its own: prints its results as JSON."""

    async def run() -> None:
        found = _nothing_found()
        until = time.monotonic() + seconds
        clients = {}
        for number in range(count):
            good = _Good(port, number, until, pause, found)
            clients[asyncio.create_task(good.run())] = good
        done, hung = await asyncio.wait(clients, timeout=seconds + 2 * GRACE)
        for task in done:
            task.result()
        for task in hung:
            what, since = clients[task].doing
            clients[task].lost(f"still waits for {what}, for {time.monotonic() - since:.0f} s")
        found["hung"] = len(hung)
        print(json.dumps(found), flush=True)
        os._exit(0)  # not held up by those

    asyncio.run(run())


# The watch.


class Watch(threading.Thread):
    """Looks at the server's memory, descriptors and threads every half second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.folder = Path(f"/proc/{pid}")
        self.seen: list[tuple[int, int, int]] = []
        self.over = threading.Event()

    def run(self) -> None:
        with contextlib.suppress(OSError, KeyError):  # the server has ended, which is told elsewhere
            while not self.over.wait(0.5):
                status = dict(
                    line.split(":", 1) for line in (self.folder / "status").read_text().splitlines() if ":" in line
                )
                fds = len(os.listdir(self.folder / "fd"))
                self.seen.append((int(status["VmRSS"].split()[0]) * 1024, fds, int(status["Threads"])))

    def halves(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The peak of each, in the first half and in the second."""
        seen = self.seen or [(0, 0, 0)]
        middle = max(1, len(seen) // 2)
        first, second = seen[:middle], seen[middle:] or seen
        return tuple(map(max, zip(*first, strict=True))), tuple(map(max, zip(*second, strict=True)))  # type: ignore[return-value]


def _seconds_at(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _at(times: list[float], part: float) -> str:
    return f"{_seconds_at(times, part) * 1e3:,.0f} ms" if times else "-"


def _start(*command: object, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, **more)


def _result(process: subprocess.Popen[str], what: str, seconds: float) -> dict[str, Any]:
    """What one of our processes says at its end, as JSON; nothing, where it has not ended in its time."""
    try:
        said = process.communicate(timeout=seconds + 3 * GRACE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"lost": [f"{what} did not end within {seconds + 3 * GRACE:.0f} s"], "hung": 1}
    try:
        result: dict[str, Any] = json.loads(said)
    except ValueError:
        return {"lost": [f"{what} ended with status {process.returncode}"]}
    return result


def _ask(port: int, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    process = _start(__file__, "--as-good", port, arguments.good, seconds, arguments.pause)
    return _nothing_found() | _result(process, "the good clients", seconds)


def _end(server: subprocess.Popen[str]) -> list[str]:
    """What is wrong with how the server ends."""
    if (status := server.poll()) is not None:
        return [f"the server ended by itself, with status {status}"]
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGUSR1)
        time.sleep(1)  # until it has written its stacks
        server.kill()
        server.wait()
        return ["the server did not end"]
    return []


def soak(front: str, arguments: argparse.Namespace) -> bool:
    """One front end. Returns whether everything held."""
    stacks = Path(tempfile.mkdtemp(prefix="soak-"), f"stacks-{front}.txt")
    server = _start(
        __file__, "--as-server", front, stacks, arguments.collect, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        alone = _ask(port, arguments, arguments.seconds * ALONE)
        seconds = arguments.seconds * (1 - ALONE)
        bad = _start(
            crowd.__file__, "127.0.0.1", port, "--connections", arguments.crowd, "--seconds", seconds,
            "--scale", arguments.scale, "--seed", arguments.seed,
        )  # fmt: skip
        assert bad.stdout is not None
        bad.stdout.readline()  # it is ready: at nice 19 that may take a while
        watch = Watch(server.pid)
        watch.start()
        beside = _ask(port, arguments, seconds)
        watch.over.set()
        watch.join()
        if beside["hung"] and server.poll() is None:
            server.send_signal(signal.SIGUSR1)
            time.sleep(1)
        told = {"done": {}, "processor": 0.0} | _result(bad, "the crowd", seconds)
        processor = 0.0
        if server.poll() is None:
            stat = Path(f"/proc/{server.pid}/stat").read_text()
            processor = sum(map(int, stat.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    finally:
        wrong_end = _end(server)
    first, second = watch.halves()
    lost = [*alone["lost"], *alone["wrong"], *beside["lost"], *beside["wrong"], *told.get("lost", []), *wrong_end]
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
        f"\n{front}: {arguments.good} good clients, {arguments.crowd} hostile ones, {arguments.seconds:.0f} s"
        + f", the collector looks {arguments.collect}" * (arguments.collect != OFTEN),
        flush=True,
    )
    print(f"  lost: {len(lost)} of {len(alone['times']) + len(beside['times']) + len(lost):,} requests")
    for each in lost[:10]:
        print(f"    {each}")
    if stacks.exists() and stacks.stat().st_size:
        print(f"    what the server's threads were doing: {stacks}")
    turned_away = alone["turned away"] + beside["turned away"]
    print(f"  new connections of good clients that were turned away, and came again: {turned_away:,}")
    refused = alone["refused"] + beside["refused"]
    print(f"  requests of good clients that were refused with an error, for want of memory: {len(refused):,}")
    for name, found in (("alone", alone), ("beside the crowd", beside)):
        times, new = found["times"], found["new"]
        parts = f"median {_at(times, 0.5)}, 99th percentile {_at(times, 0.99)}, 99.9th {_at(times, 0.999)}"
        print(f"  {name}: {len(times):,} requests, {parts}, worst {_at(times, 1)}")
        print(
            f"    of these with a new connection: {len(new):,}, median {_at(new, 0.5)}, "
            f"99th percentile {_at(new, 0.99)}, worst {_at(new, 1)}"
        )
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
        serve(*sys.argv[2:5])
    if sys.argv[1:2] == ["--as-good"]:
        good_clients(int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:6]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--front", choices=("sync", "asyncio"), help="which front end serves (both)")
    parser.add_argument("--seconds", type=float, default=600, help="of each front end")
    parser.add_argument("--good", type=int, default=50, help="good clients")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two requests of a good client")
    parser.add_argument("--crowd", type=int, default=10_000, help="hostile connections at once")
    parser.add_argument("--scale", type=int, default=1 << 20, help="how many bytes long things have")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--collect", choices=(OFTEN, SELDOM), default=OFTEN, help="as of bokbok serve")
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
