"""The library as a contestant: a server that echoes, and a client that asks.

python ours.py serve CELL FOLDER
python ours.py ask CELL ADDRESS
python ours.py between CELL FOLDER ADDRESS
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import steered
from cell import Cell, read

import bokbok
import bokbok.asyncio

KEY = bokbok.passphrase_to_key("bench")


def _run(cell: Cell, main: Coroutine[Any, Any, None]) -> None:
    if cell.loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def _place(cell: Cell, folder: str, name: str) -> str:
    return "127.0.0.1:0" if cell.transport == "tcp" else f"{folder}/{name}"


def serve(cell: Cell, folder: str) -> None:
    address = _place(cell, folder, "server")
    user_to_key = (lambda _: KEY) if cell.secure else None
    if cell.front == "sync":
        server = bokbok.start_server(
            address, lambda _, message: message, user_to_key=user_to_key, limits=bokbok.Limits(**cell.limits)
        )
        steered.serving(json.dumps(server.address))
        server.wait()
        return

    async def echo(_: Any, message: Any) -> Any:
        return message

    async def main() -> None:
        async with bokbok.asyncio.start_server(
            address, echo, user_to_key=user_to_key, limits=bokbok.Limits(**cell.limits)
        ) as server:
            steered.serving(json.dumps(server.address))
            await asyncio.Event().wait()

    _run(cell, main())


def between(cell: Cell, folder: str, server: str) -> None:
    from bokbok.bridge import start_bridge

    async def main() -> None:
        async with start_bridge(
            _place(cell, folder, "bridge"),
            tuple(json.loads(server)),
            user_to_key=(lambda _: KEY) if cell.secure else None,
            user_to_login=(lambda _: ("bench", KEY)) if cell.secure else None,
        ) as running:
            steered.serving(json.dumps(running.address))
            await asyncio.Event().wait()

    _run(cell, main())


def ask(cell: Cell, server: str) -> None:
    address = tuple(json.loads(server))
    user, key = ("bench", KEY) if cell.secure else (None, None)
    if cell.front == "sync":
        with bokbok.open_connection(address, user, key) as connection:
            steered.ask(lambda seconds: ask_in_threads(connection.request, cell, seconds))
        return

    async def main() -> None:
        async with bokbok.asyncio.open_connection(address, user, key) as connection:
            loop = asyncio.get_running_loop()
            print("ready", flush=True)
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                print(*await _ask_in_tasks(connection.request, cell, float(line)), flush=True)

    _run(cell, main())


def ask_in_threads(request: Callable[[Any], Any], cell: Cell, seconds: float) -> tuple[int, float]:
    message, clock = cell.datum, time.perf_counter
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


async def _ask_in_tasks(request: Callable[[Any], Any], cell: Cell, seconds: float) -> tuple[int, float]:
    message, clock = cell.datum, time.perf_counter
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


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "between": between}[sys.argv[1]](read(sys.argv[2]), *sys.argv[3:])
