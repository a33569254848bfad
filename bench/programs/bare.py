"""Bare encrypted streams as contestants: one box for each packet, without codec and without matching of answers.

    python bare.py serve plain|tight CELL FOLDER
    python bare.py ask plain|tight CELL ADDRESS

A packet is `length: u32 big-endian || nonce(24) || box`; an answer is the same bytes in a new box. There are two of
each kind, since "bare" can mean two things:

* `plain`: what one writes in ten minutes. Blocking: `makefile().read` and `sendall`, one packet at a time. asyncio:
  streams, `readexactly` and `write`.
* `tight`: what one writes for speed. Everything that has come is taken apart at once, and all answers are sent at once;
  with asyncio by a `Protocol`, without a future or a task for each packet.

Boxes are made by PyNaCl's functional API with a counter as the nonce, which is faster than its `SecretBox` with random
nonces. Without `key` the same streams are not encrypted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import steered
from cell import Cell, read
from nacl.bindings import crypto_secretbox_easy, crypto_secretbox_open_easy

_u32 = struct.Struct(">I")
_nonce = struct.Struct(">16sQ")
_READ = 64 * 1024  # a larger buffer would be mapped and unmapped for each read

Code = Callable[[bytes], bytes]
Place = tuple[int, Any]
"""A socket's family and address."""


def codecs(key: bytes | None) -> tuple[Code, Code]:
    """Two functions: one makes a packet of a body, the other a body of a packet without its length."""
    if key is None:
        return lambda body: _u32.pack(len(body)) + body, lambda packet: packet
    prefix, count = os.urandom(16), itertools.count().__next__

    def seal(body: bytes) -> bytes:
        nonce = _nonce.pack(prefix, count())
        return _u32.pack(len(body) + 40) + nonce + crypto_secretbox_easy(body, nonce, key)

    def unseal(packet: bytes) -> bytes:
        return crypto_secretbox_open_easy(packet[24:], packet[:24], key)

    return seal, unseal


def tune(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Splitter:
    """Takes pieces of a stream, and returns the packets that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> list[bytes]:
        if self._missing > len(data):  # the middle of a large packet is not looked at
            self._parts.append(data)
            self._missing -= len(data)
            return []
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts, self._missing = [], 0
        packets = []
        offset, end = 0, len(data)
        while offset + 4 <= end:
            after = offset + 4 + _u32.unpack_from(data, offset)[0]
            if after > end:
                self._missing = after - end
                break
            packets.append(data[offset + 4 : after])
            offset = after
        if offset < end:
            self._parts = [data[offset:]]
            self._missing = self._missing or 1
        return packets


# Blocking sockets.


def serve_blocking(listening: socket.socket, key: bytes | None, tight: bool) -> None:
    def serve(sock: socket.socket) -> None:
        tune(sock)
        (_tight_echo if tight else _plain_echo)(sock, *codecs(key))

    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()


def _plain_echo(sock: socket.socket, seal: Code, unseal: Code) -> None:
    read = sock.makefile("rb").read
    while header := read(4):
        sock.sendall(seal(unseal(read(_u32.unpack(header)[0]))))


def _tight_echo(sock: socket.socket, seal: Code, unseal: Code) -> None:
    feed = Splitter().feed
    while data := sock.recv(_READ):
        out = [seal(unseal(packet)) for packet in feed(data)]
        if out:
            sock.sendall(b"".join(out))


class BlockingClient:
    def __init__(self, place: Place, key: bytes | None, tight: bool, body: bytes, in_flight: int) -> None:
        self._sock = socket.socket(place[0])
        self._sock.connect(place[1])
        tune(self._sock)
        self._seal, self._unseal = codecs(key)
        self._body, self._in_flight = body, in_flight
        self.run = self._tight if tight else self._plain
        self._read = self._sock.makefile("rb").read
        self._feed = Splitter().feed

    def _plain(self, seconds: float) -> tuple[int, float]:
        read, seal, unseal, body, sendall = self._read, self._seal, self._unseal, self._body, self._sock.sendall
        clock = time.perf_counter
        start, sent, done = clock(), 0, 0
        end = start + seconds
        for _ in range(self._in_flight):
            sendall(seal(body))
            sent += 1
        while done < sent:
            unseal(read(_u32.unpack(read(4))[0]))
            done += 1
            if clock() < end:
                sendall(seal(body))
                sent += 1
        return done, clock() - start

    def _tight(self, seconds: float) -> tuple[int, float]:
        recv, seal, unseal, body, sendall = self._sock.recv, self._seal, self._unseal, self._body, self._sock.sendall
        feed, clock = self._feed, time.perf_counter
        start, sent, done = clock(), self._in_flight, 0
        end = start + seconds
        sendall(b"".join([seal(body) for _ in range(sent)]))
        while done < sent:
            packets = feed(recv(_READ))
            for packet in packets:
                unseal(packet)
            done += len(packets)
            if packets and clock() < end:
                sendall(b"".join([seal(body) for _ in packets]))
                sent += len(packets)
        return done, clock() - start


# asyncio.


async def serve_asyncio(listening: socket.socket, key: bytes | None, tight: bool) -> None:
    loop = asyncio.get_running_loop()
    if tight:
        server = await loop.create_server(lambda: _Echo(key), sock=listening)
    else:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seal, unseal = codecs(key)
            try:
                while True:
                    (length,) = _u32.unpack(await reader.readexactly(4))
                    writer.write(seal(unseal(await reader.readexactly(length))))
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, sock=listening)
    await server.serve_forever()


class _Echo(asyncio.Protocol):
    def __init__(self, key: bytes | None) -> None:
        self._seal, self._unseal = codecs(key)
        self._feed = Splitter().feed

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        seal, unseal = self._seal, self._unseal
        out = [seal(unseal(packet)) for packet in self._feed(data)]
        if out:
            self._transport.write(b"".join(out))


class AsyncioClient:
    """Made in a running loop, by `connect`."""

    def __init__(self, key: bytes | None, tight: bool, body: bytes, in_flight: int) -> None:
        self._seal, self._unseal = codecs(key)
        self._body, self._in_flight = body, in_flight
        self.run = self._tight if tight else self._plain
        self._asking: _Asking | None = None

    async def connect(self, place: Place) -> None:
        sock = socket.socket(place[0])
        sock.connect(place[1])
        tune(sock)
        sock.setblocking(False)
        if self.run == self._tight:
            loop = asyncio.get_running_loop()
            _, self._asking = await loop.create_connection(lambda: _Asking(self._seal, self._unseal), sock=sock)
        else:
            self._reader, self._writer = await asyncio.open_connection(sock=sock)

    async def _plain(self, seconds: float) -> tuple[int, float]:
        read, seal, unseal, body, writer = self._reader.readexactly, self._seal, self._unseal, self._body, self._writer
        clock = time.perf_counter
        start, sent, done = clock(), 0, 0
        end = start + seconds
        for _ in range(self._in_flight):
            writer.write(seal(body))
            sent += 1
        while done < sent:
            (length,) = _u32.unpack(await read(4))
            unseal(await read(length))
            done += 1
            if clock() < end:
                writer.write(seal(body))
                await writer.drain()
                sent += 1
        return done, clock() - start

    async def _tight(self, seconds: float) -> tuple[int, float]:
        assert self._asking is not None
        start = time.perf_counter()
        done = await self._asking.ask(self._body, self._in_flight, start + seconds)
        return done, time.perf_counter() - start


class _Asking(asyncio.Protocol):
    def __init__(self, seal: Code, unseal: Code) -> None:
        self._seal, self._unseal = seal, unseal
        self._feed = Splitter().feed

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def ask(self, body: bytes, in_flight: int, end: float) -> int:
        self._body, self._end, self._sent, self._done = body, end, in_flight, 0
        self._over = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join([self._seal(body) for _ in range(in_flight)]))
        await self._over
        return self._done

    def data_received(self, data: bytes) -> None:
        unseal, seal, body = self._unseal, self._seal, self._body
        packets = self._feed(data)
        for packet in packets:
            unseal(packet)
        self._done += len(packets)
        if packets and time.perf_counter() < self._end:
            self._transport.write(b"".join([seal(body) for _ in packets]))
            self._sent += len(packets)
        elif self._done == self._sent:
            self._over.set_result(None)


# The two processes.


def _key(cell: Cell) -> bytes | None:
    return bytes(range(32)) if cell.secure else None


def serve(kind: str, cell: Cell, folder: str) -> None:
    if cell.transport == "tcp":
        listening = socket.create_server(("127.0.0.1", 0))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{folder}/{kind}")
        listening.listen()
    steered.serving(json.dumps([listening.family, listening.getsockname()]))
    if cell.front == "sync":
        serve_blocking(listening, _key(cell), kind == "tight")
    else:
        asyncio.run(serve_asyncio(listening, _key(cell), kind == "tight"))


def ask(kind: str, cell: Cell, server: str) -> None:
    family, target = json.loads(server)
    place = (family, tuple(target) if isinstance(target, list) else target)
    if cell.front == "sync":
        steered.ask(BlockingClient(place, _key(cell), kind == "tight", cell.body, cell.in_flight).run)
        return
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        client = AsyncioClient(_key(cell), kind == "tight", cell.body, cell.in_flight)
        loop.run_until_complete(client.connect(place))
        steered.ask(lambda seconds: loop.run_until_complete(client.run(seconds)))


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2], read(sys.argv[3]), sys.argv[4])
