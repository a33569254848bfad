"""A service on one or several processes, HAProxy in front of it, and clients with several connections.

python service.py serve PROCESSES MICROSECONDS FOLDER    0 processes: the server runs in this process
python service.py haproxy FOLDER ADDRESS
python service.py ask CONNECTIONS IN_FLIGHT ADDRESS      requests in flight over all connections

A handler takes MICROSECONDS of processor time, by the thread's own clock, so that it costs the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import steered
from ours import KEY

import bokbok
import bokbok.asyncio
from bokbok.processes import Worker, start_processes

CONFIGURATION = """
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
frontend bokbok
    bind 127.0.0.1:{port}
    default_backend services
backend services
    server one {server}
"""


def start_worker(worker: Worker) -> bokbok.Server:
    """What each of several processes does."""
    return _start(worker, worker.arguments["microseconds"])


def _start(where: Any, microseconds: int) -> bokbok.Server:
    seconds, clock = microseconds / 1e6, time.thread_time

    def answer(connection: bokbok.Connection, message: Any) -> Any:
        end = clock() + seconds
        while clock() < end:
            pass
        return message

    return bokbok.start_server(where, answer, user_to_key=lambda _: KEY)


def serve(processes: str, microseconds: str, folder: str) -> None:
    address = "127.0.0.1:0"
    if processes == "0":
        server = _start(address, int(microseconds))
        steered.serving(bokbok.format_address(server.address))
        server.wait()
        return
    supervisor = start_processes(
        address, "service:start_worker", processes=int(processes), arguments={"microseconds": int(microseconds)}
    )
    print(bokbok.format_address(supervisor.address), *supervisor.pids, flush=True)
    sys.stdin.read()
    supervisor.stop()
    supervisor.wait()


def haproxy(folder: str, server: str) -> None:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        sys.exit("haproxy is not installed")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    path = Path(folder) / "haproxy.cfg"
    path.write_text(CONFIGURATION.format(port=port, server=server.split()[0]))
    process = subprocess.Popen([program, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        print(f"127.0.0.1:{port}", process.pid, flush=True)
        sys.stdin.read()
    finally:
        process.terminate()
        process.wait()


def ask(connections: str, in_flight: str, server: str) -> None:
    async def main() -> None:
        address = server.split()[0]
        opened = [await bokbok.asyncio.open_connection(address, "bench", KEY) for _ in range(int(connections))]
        loop = asyncio.get_running_loop()
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(*await _ask(opened, int(in_flight), float(line)), flush=True)

    asyncio.run(main())


async def _ask(opened: list[Any], in_flight: int, seconds: float) -> tuple[int, float]:
    done = 0
    start = time.perf_counter()
    end = start + seconds

    async def ask(connection: Any) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await connection.request("x")
            done += 1

    await asyncio.gather(*(ask(opened[n % len(opened)]) for n in range(in_flight)))
    return done, time.perf_counter() - start


if __name__ == "__main__":
    {"serve": serve, "haproxy": haproxy, "ask": ask}[sys.argv[1]](*sys.argv[2:])
