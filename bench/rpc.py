"""Requests per second, held against bare encrypted streams: one box a packet, no codec, no matching of answers.

    python bench/rpc.py [--seconds 2] [--sizes 16,1000,65536] [--in-flight 1,32]

Server and client are processes of their own, over loopback TCP. Every figure of ours stands beside the bare one of the
same run, and the ratio is what to quote: absolute figures are the machine's. The bare streams echo what comes, packet
by packet; ours answer each request with the string that it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

from nacl.bindings import crypto_secretbox_easy, crypto_secretbox_open_easy

import bokbok
import bokbok.asyncio

KEY = bokbok.passphrase_to_key("bench")
BARE_KEY = bytes(range(32))


def seal(body: bytes, counter: list[int], prefix: bytes) -> bytes:
    nonce = prefix + struct.pack(">Q", counter[0])
    counter[0] += 1
    box = nonce + crypto_secretbox_easy(body, nonce, BARE_KEY)
    return struct.pack(">I", len(box)) + box


def unseal(packet: bytes) -> bytes:
    return crypto_secretbox_open_easy(packet[24:], packet[:24], BARE_KEY)


# Bare streams on asyncio.


async def _bare_serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    counter, prefix = [0], os.urandom(16)
    try:
        while True:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            body = unseal(await reader.readexactly(length))
            writer.write(seal(body, counter, prefix))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def bare_asyncio_server(pipe: Pipe) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_bare_serve, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def bare_asyncio_client(port: int, size: int, in_flight: int, seconds: float) -> float:
    async def main() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body, counter, prefix = b"x" * size, [0], os.urandom(16)

        async def receive() -> None:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            unseal(await reader.readexactly(length))

        for _ in range(in_flight):
            writer.write(seal(body, counter, prefix))
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            await receive()
            writer.write(seal(body, counter, prefix))
            await writer.drain()
            done += 1
        rate = done / (time.perf_counter() - start)
        writer.close()
        return rate

    return asyncio.run(main())


# Bare streams on blocking sockets.


def _read_exactly(sock: socket.socket, count: int) -> bytes:
    data = sock.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionError
    return data


def bare_sync_server(pipe: Pipe) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    pipe.send(listening.getsockname()[1])

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        counter, prefix = [0], os.urandom(16)
        try:
            while True:
                (length,) = struct.unpack(">I", _read_exactly(sock, 4))
                sock.sendall(seal(unseal(_read_exactly(sock, length)), counter, prefix))
        except ConnectionError:
            sock.close()

    while True:
        sock, _ = listening.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def bare_sync_client(port: int, size: int, in_flight: int, seconds: float) -> float:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body, counter, prefix = b"x" * size, [0], os.urandom(16)
    for _ in range(in_flight):
        sock.sendall(seal(body, counter, prefix))
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        (length,) = struct.unpack(">I", _read_exactly(sock, 4))
        unseal(_read_exactly(sock, length))
        sock.sendall(seal(body, counter, prefix))
        done += 1
    rate = done / (time.perf_counter() - start)
    sock.close()
    return rate


# Ours.


def our_asyncio_server(pipe: Pipe) -> None:
    async def main() -> None:
        async def echo(_: Any, message: Any) -> Any:
            return message

        server = await bokbok.asyncio.start_server("127.0.0.1:0", echo, user_to_key=lambda _: KEY)
        pipe.send(server.address[2])  # type: ignore[misc]
        await asyncio.Event().wait()

    asyncio.run(main())


def our_asyncio_client(port: int, size: int, in_flight: int, seconds: float) -> float:
    async def main() -> float:
        done, message = 0, "x" * size
        async with bokbok.asyncio.open_connection(("tcp", "127.0.0.1", port), "bench", KEY) as connection:
            start = time.perf_counter()

            async def ask() -> None:
                nonlocal done
                while time.perf_counter() - start < seconds:
                    await connection.request(message)
                    done += 1

            await asyncio.gather(*(ask() for _ in range(in_flight)))
            return done / (time.perf_counter() - start)

    return asyncio.run(main())


def our_sync_server(pipe: Pipe) -> None:
    server = bokbok.start_server("127.0.0.1:0", lambda _, message: message, user_to_key=lambda _: KEY)
    pipe.send(server.address[2])  # type: ignore[misc]
    server.wait()


def our_sync_client(port: int, size: int, in_flight: int, seconds: float) -> float:
    done, message = [0] * in_flight, "x" * size
    with bokbok.open_connection(("tcp", "127.0.0.1", port), "bench", KEY) as connection:
        start = time.perf_counter()

        def ask(i: int) -> None:
            while time.perf_counter() - start < seconds:
                connection.request(message)
                done[i] += 1

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / (time.perf_counter() - start)


PAIRS: dict[str, tuple[Callable[..., None], Callable[..., float], Callable[..., None], Callable[..., float]]] = {
    "asyncio": (bare_asyncio_server, bare_asyncio_client, our_asyncio_server, our_asyncio_client),
    "sync": (bare_sync_server, bare_sync_client, our_sync_server, our_sync_client),
}


def measure(server: Callable[[Pipe], None], client: Callable[..., float], *args: Any) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=server, args=(theirs,), daemon=True)
    process.start()
    try:
        return client(ours.recv(), *args)
    finally:
        process.terminate()
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--front", choices=sorted(PAIRS), action="append", help="default: both")
    parser.add_argument("--sizes", default="16,1000,65536", help="bytes of a message, separated by commas")
    parser.add_argument("--in-flight", default="1,32", help="requests under way at once, separated by commas")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many, ours and bare in turn")
    options = parser.parse_args()
    print(f"{'front':8} {'bytes':>8} {'in flight':>9} {'bare/s':>10} {'ours/s':>10} {'ratio':>6}")
    for front in options.front or sorted(PAIRS):
        bare_server, bare_client, our_server, our_client = PAIRS[front]
        for size in map(int, options.sizes.split(",")):
            for in_flight in map(int, options.in_flight.split(",")):
                args = (size, in_flight, options.seconds / options.rounds)
                bare = ours = 0.0
                for _ in range(options.rounds):
                    bare = max(bare, measure(bare_server, bare_client, *args))
                    ours = max(ours, measure(our_server, our_client, *args))
                print(f"{front:8} {size:8} {in_flight:9} {bare:10.0f} {ours:10.0f} {ours / bare:6.2f}", flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
