"""The standard streams of a container, over a connection to its engine.

What this module knows: how an engine mixes standard output and standard error into one stream, and the threads that
read and write it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .engine import explain

__all__ = ["Attachment", "Demultiplexer", "close_stream"]

_READ = 256 * 1024
_STDOUT, _STDERR, _ENGINE = 1, 2, 3
_HEADER = struct.Struct(">BxxxL")
_AHEAD = 16
"""Reads of a container's output that may wait for the runner. Beyond them the engine has to wait."""


class Demultiplexer:
    """Takes an attached stream apart: frames of an 8-byte header (the stream's number, the length) and that many bytes.

    Frames may come in any pieces; a frame's content is passed on as it comes.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take some bytes.

        Returns:
            (1 for standard output, 2 for standard error, 3 for the engine's own messages; the bytes), in order.

        Raises:
            ValueError: it is not such a stream.
        """
        pieces: list[tuple[int, bytes]] = []
        view = memoryview(data)
        while view:
            if self._left:
                part, view = view[: self._left], view[self._left :]
                self._left -= len(part)
                pieces.append((self._stream, bytes(part)))
                continue
            missing = _HEADER.size - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == _HEADER.size:
                self._stream, self._left = _HEADER.unpack(self._header)
                if self._stream > _ENGINE or self._header[1:4] != b"\0\0\0":
                    raise ValueError(f"no frame of an attached stream begins with {bytes(self._header)!r}")
                self._header.clear()
        return pieces


def close_stream(stream: Any) -> None:
    """Close what the SDK's `attach_socket` returned, together with the HTTP response that it was taken from."""
    for one in (getattr(stream, "_response", None), stream, getattr(stream, "_sock", None)):
        if one is not None:
            with contextlib.suppress(OSError):
                one.close()


class Attachment:
    """The standard streams of one container, over the connection that the SDK took from HTTP.

    That connection is a socket, a TLS socket or an SSH channel, so separate threads read and write it.

    Attributes:
        over: set once the container has closed both of its output streams.
    """

    def __init__(self, stream: Any, log: Callable[[bytes], None]) -> None:
        self.over = asyncio.Event()
        self._stream = stream
        self._sock = getattr(stream, "_sock", stream)
        self._sock.settimeout(None)
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._output: deque[bytes] = deque()
        self._some = asyncio.Event()
        self._room = threading.Semaphore(_AHEAD)
        self._closed = False
        self._writer = ThreadPoolExecutor(1, "bokbok-stdin")
        threading.Thread(target=self._read, name="bokbok-stdout", daemon=True).start()

    def _read(self) -> None:
        parts = Demultiplexer()
        try:
            while not self._closed:
                self._room.acquire()
                data = self._sock.recv(_READ)
                if not data:
                    break
                pieces = parts.feed(data)
                self._loop.call_soon_threadsafe(self._came, pieces)
        except (OSError, ValueError) as error:
            if not self._closed:
                problem = f"[the attached stream broke: {explain(error)}]\n".encode()
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._log, problem)
        except RuntimeError:
            pass  # the loop is closed
        self._closed = True
        close_stream(self._stream)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended)

    def _came(self, pieces: list[tuple[int, bytes]]) -> None:
        output = b"".join(data for stream, data in pieces if stream == _STDOUT)
        for stream, data in pieces:
            if stream != _STDOUT:
                self._log(data)
        if output:
            self._output.append(output)
            self._some.set()
        else:
            self._room.release()

    def _ended(self) -> None:
        self.over.set()
        self._some.set()

    async def receive(self) -> bytes:
        """Some bytes of standard output; empty at its end."""
        while not self._output:
            if self.over.is_set():
                return b""
            self._some.clear()
            await self._some.wait()
        self._room.release()
        return self._output.popleft()

    async def send(self, data: bytes) -> None:
        """Write to standard input. If the other end has gone, nothing happens."""
        if self._closed or self.over.is_set():
            return
        if isinstance(self._sock, socket.socket) and type(self._sock) is socket.socket:
            # A command is short, and usually there is room for it: then it does not need a thread.
            with contextlib.suppress(BlockingIOError):
                try:
                    data = data[self._sock.send(data, socket.MSG_DONTWAIT) :]
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    return
            if not data:
                return
        with contextlib.suppress(OSError, RuntimeError):
            await self._loop.run_in_executor(self._writer, self._sock.sendall, data)

    def end_input(self) -> None:
        """End standard input."""
        with contextlib.suppress(OSError):
            if hasattr(self._sock, "shutdown_write"):  # an SSH channel
                self._sock.shutdown_write()
            else:
                self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection, which ends the threads that wait for it."""
        if self._closed:
            return
        self._closed = True
        self._room.release()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._writer.shutdown(wait=False)
        self._ended()
