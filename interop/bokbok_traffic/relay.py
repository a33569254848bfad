"""The recording relay: it passes bytes between two peers, keeps every byte, and makes faults.

What this module knows: how to pass bytes on, and how to disturb that: delay, throttle, divide into small pieces, cut at
a byte, close one direction, hold one direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .capture import CLIENT, SERVER, Capture
from .streams import hosts_here, open_stream

__all__ = ["Faults", "Link", "Relay"]

Address = tuple[Any, ...]

READ_SIZE = 256 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)  # close with a reset instead of an end of file


@dataclass
class Faults:
    """What a relay does to one direction. At first everything is off.

    Attributes:
        delay: seconds that every chunk is held back.
        rate: bytes per second, or `None`.
        chop: bytes of the largest piece that is passed on at once, or `None`.
        cut_after: after this many bytes of the direction both sides' connections are aborted.
    """

    delay: float = 0.0
    rate: float | None = None
    chop: int | None = None
    cut_after: int | None = None


class Link:
    """One connection through the relay.

    Attributes:
        number: from 1, in the order of accepting.
        upstream_name: the relay's own end of the connection to the server, as the server sees it.
        over: set once both sides are closed.
        refused: why the server could not be reached; empty if it was, or is not known yet.
    """

    def __init__(self, number: int, relay: Relay) -> None:
        self.number = number
        self.over = asyncio.Event()
        self.connected = False
        self.refused = ""
        self.upstream_name: Any = None
        self._relay = relay
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._ended: set[str] = set()  # sides to which nothing passes any more

    def abort(self) -> None:
        """Break the connection on both sides at once, with a reset if the transport has one."""
        for writer in self._writers.values():
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    def end(self, towards: str) -> None:
        """Send an end of file `towards` the client or the server, whatever the other side does.

        What the other side still sends is recorded, but not passed on.
        """
        self._ended.add(towards)
        with contextlib.suppress(OSError):
            self._writers[towards].write_eof()

    def inject(self, towards: str, data: bytes) -> None:
        """Send bytes of our own `towards` the client or the server; they are not recorded."""
        self._writers[towards].write(data)


class Relay:
    """Listens in place of a server and passes everything on to it.

    Args:
        bind: where to listen, `("tcp", host, 0)` or `("unix", path)`.
        target: the server's address, as the runner reaches it.
        capture: takes every byte.
        follow: whether the target's path may be a symbolic link (`open_stream`).
        over: called with each connection once both its sides are closed; then the relay forgets the connection. Without
            it, `links` keeps all of them.

    Attributes:
        address: where it listens.
        links: the connections through it, in the order of accepting.
        seen: bytes that came from each side, over all connections.
    """

    def __init__(
        self,
        bind: Address,
        target: Address,
        capture: Capture | None = None,
        *,
        follow: bool = True,
        over: Callable[[Link], None] | None = None,
    ) -> None:
        self.target = target
        self._over = over
        self._accepted_so_far = 0
        self.follow = follow
        self.capture = Capture(str(bind[0])) if capture is None else capture
        self.faults = {CLIENT: Faults(), SERVER: Faults()}
        self.links: list[Link] = []
        self.seen = {CLIENT: 0, SERVER: 0}
        self.address: Address = bind
        self._start = time.monotonic()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flow = {CLIENT: asyncio.Event(), SERVER: asyncio.Event()}
        self._changed = asyncio.Condition()
        for event in self._flow.values():
            event.set()

    async def start(self) -> Relay:
        """Begin to listen; `address` then has the port."""
        if self.address[0] == "unix":
            self._server = await asyncio.start_unix_server(self._accepted, self.address[1], backlog=1024)
        else:
            hosts = await hosts_here(self.address[1])
            self._server = await asyncio.start_server(self._accepted, hosts, self.address[2], backlog=1024)
            self.address = ("tcp", self.address[1], self._server.sockets[0].getsockname()[1])
        return self

    async def stop(self) -> None:
        """Stop listening and break what is still open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.address[0] == "unix":
            with contextlib.suppress(OSError):
                os.unlink(self.address[1])

    def now(self) -> float:
        """The time in the recording: seconds since the relay was made."""
        return time.monotonic() - self._start

    # -- faults

    def hold(self, source: str) -> None:
        """Pass nothing on from this side until `release`."""
        self._flow[source].clear()

    def release(self, source: str) -> None:
        """End `hold`."""
        self._flow[source].set()

    def abort(self) -> None:
        """Break every connection."""
        for link in self.links:
            link.abort()

    async def link(self, number: int = 1) -> Link:
        """The connection of that number, once it reaches the server."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.links) >= number and self.links[number - 1].connected)
        return self.links[number - 1]

    async def bytes_from(self, source: str, count: int, conn: int = 1) -> bytes:
        """Wait until so many bytes have come from a side. Returns all that have come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.capture.length(conn, source) >= count)
        return self.capture.stream(conn, source)

    async def more_from(self, source: str, than: int) -> None:
        """Wait until more than so many bytes have come from a side, over all connections (`seen` has the count)."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.seen[source] > than)

    # -- plumbing

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted_so_far += 1
        link = Link(self._accepted_so_far, self)
        link._writers[CLIENT] = writer
        async with self._changed:
            self.links.append(link)
        try:
            try:
                up_reader, up_writer = await open_stream(self.target, follow=self.follow)
            except OSError as error:
                link.refused = error.strerror or str(error)
                link.abort()
                return
            link._writers[SERVER] = up_writer
            link.upstream_name = up_writer.get_extra_info("sockname")
            async with self._changed:
                link.connected = True
                self._changed.notify_all()
            for w in (writer, up_writer):
                sock = w.get_extra_info("socket")
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pumps = [
                asyncio.ensure_future(self._pump(link, CLIENT, reader, up_writer)),
                asyncio.ensure_future(self._pump(link, SERVER, up_reader, writer)),
            ]
            try:
                # A direction that fails ends the other one; a direction that just ends does not.
                await asyncio.gather(*pumps)
            except (OSError, asyncio.IncompleteReadError):
                link.abort()
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for w in link._writers.values():
                w.close()
            link.over.set()
            if self._over is not None:
                self.links.remove(link)
                self._over(link)

    async def _pump(self, link: Link, source: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        faults = self.faults[source]
        towards = SERVER if source == CLIENT else CLIENT
        while True:
            data = await reader.read(READ_SIZE)
            now = self.now()
            async with self._changed:
                self.capture.add(now, link.number, source, data or None)
                self.seen[source] += len(data)
                self._changed.notify_all()
            if faults.delay:
                await asyncio.sleep(faults.delay)
            await self._flow[source].wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if towards in link._ended:
                continue
            if faults.cut_after is not None and passed + len(data) >= faults.cut_after:
                writer.write(data[: faults.cut_after - passed])
                with contextlib.suppress(OSError):
                    await writer.drain()
                raise ConnectionAbortedError("cut, as asked")
            for piece in _pieces(data, faults.chop):
                if towards in link._ended:
                    break
                writer.write(piece)
                await writer.drain()
                if faults.chop:
                    await asyncio.sleep(0)
                if faults.rate:
                    await asyncio.sleep(len(piece) / faults.rate)
            passed += len(data)


def _pieces(data: bytes, size: int | None) -> list[bytes]:
    if size is None or len(data) <= size:
        return [data]
    return [data[i : i + size] for i in range(0, len(data), size)]
