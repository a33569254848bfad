"""What a supervisor and its workers say to each other: messages over a socket pair, and a worker's end of it.

What this module knows: how a message is framed, and who waits for which answer. Decisions are made in `gate` and in
`bokbok.processes`. A message is a list in JSON, after its length in four bytes. That is enough, since both ends are the
same version of this library, on one machine, and nobody else has the socket.

Nothing here blocks under a lock or on an event loop: the link's thread sends what the socket does not take at once, and
an answer is a future.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .._fork import track
from .logs import Log

__all__ = ["Channel", "Link", "LinkLost"]

_log = Log("bokbok.processes")

_LENGTH = struct.Struct(">I")
_READ = 1 << 16


class LinkLost(Exception):
    """There will be no answer: the supervisor has ended, or the worker stops."""


class Channel:
    """Messages over a non-blocking socket. Only one thread may use it at a time.

    Args:
        sock: one of a pair.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._out = bytearray()
        self._in = bytearray()

    @property
    def unsent(self) -> bool:
        """Whether `flush` has left something."""
        return bool(self._out)

    def put(self, message: list[Any]) -> None:
        """Queue a message for the next `flush`."""
        data = json.dumps(message, separators=(",", ":")).encode()
        self._out += _LENGTH.pack(len(data)) + data

    def flush(self) -> None:
        """Send as much as the socket takes now.

        Raises:
            OSError: the other end is gone.
        """
        while self._out:
            try:
                sent = self.sock.send(self._out)
            except BlockingIOError:
                return
            del self._out[:sent]

    def receive(self) -> list[list[Any]]:
        """The messages that have come. It calls `recv` at least once, and stops when there is nothing to read.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            piece = self.sock.recv(_READ)
        except BlockingIOError:
            return []
        except OSError:
            piece = b""
        if not piece:
            raise EOFError
        self._in += piece
        messages: list[list[Any]] = []
        start = 0
        while len(self._in) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._in, start)
            end = start + _LENGTH.size + length
            if len(self._in) < end:
                break
            messages.append(json.loads(self._in[start + _LENGTH.size : end]))
            start = end
        del self._in[:start]
        return messages


class Link:
    """A worker's end. Any thread may use it.

    Args:
        sock: that to the supervisor.
        told: called in the link's own thread with each message that is not an answer, and with `["lost"]` at the end,
            if the supervisor has gone.
    """

    def __init__(self, sock: socket.socket, told: Callable[[list[Any]], None]) -> None:
        self._channel = Channel(sock)
        self._told = told
        self._lock = threading.Lock()
        self._answers: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._over = False
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        track(self)
        threading.Thread(target=self._run, name="bokbok-link", daemon=True).start()

    def next_number(self) -> int:
        """A number that this worker has not used yet, for a connection or a question."""
        return next(self._numbers)

    def tell(self, *message: Any) -> None:
        """Tell the supervisor something. If the supervisor has gone, nothing happens."""
        with self._lock:
            self._send(list(message))

    def ask(self, *message: Any) -> Future[Any]:
        """Ask the supervisor. The answer is a future, which may be cancelled. It fails with `LinkLost` if no answer
        comes."""
        answer: Future[Any] = Future()
        number = self.next_number()
        with self._lock:
            if self._over:
                answer.set_exception(LinkLost("the supervisor is gone"))
                return answer
            self._answers[number] = answer
            self._send(["ask", number, *message])
        return answer

    def _send(self, message: list[Any]) -> None:
        if self._over:
            return
        waits = self._channel.unsent  # for the link's thread
        self._channel.put(message)
        if waits:
            return
        with contextlib.suppress(OSError):  # the link's thread finds the end
            self._channel.flush()
        if self._channel.unsent:
            with contextlib.suppress(OSError):  # full: it is awake
                self._waker.send(b"\0")

    def flushed(self, seconds: float) -> None:
        """Wait until everything is sent, before the process ends, but not longer than so many seconds."""
        with contextlib.suppress(OSError), self._lock:
            self._channel.sock.settimeout(seconds)
            self._channel.flush()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(EOFError):
            selector.register(self._wake, selectors.EVENT_READ)
            key = selector.register(self._channel.sock, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(4096)
                with self._lock:
                    with contextlib.suppress(OSError):
                        self._channel.flush()
                    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._channel.unsent else 0)
                if events != key.events:
                    key = selector.modify(self._channel.sock, events)
                if self._channel.sock in ready:
                    for message in self._channel.receive():
                        self._take(message)
        with self._lock:
            self._over = True
            waiting = list(self._answers.values())
            self._answers.clear()
        for answer in waiting:
            _settle(answer, LinkLost("the supervisor is gone"))
        self._told(["lost"])

    def _take(self, message: list[Any]) -> None:
        if message[0] != "answer":
            try:
                self._told(message)
            except Exception:
                _log.exception("a message of the supervisor failed: %s", message[0])
            return
        with self._lock:
            answer = self._answers.pop(message[1], None)
        if answer is not None:
            _settle(answer, message[2])

    def _forked(self) -> None:
        """In a forked child: only the parent has the link (see `_fork`)."""
        self._lock = threading.Lock()
        self._over = True
        for sock in (self._channel.sock, self._wake, self._waker):
            sock.close()


def _settle(answer: Future[Any], result: Any) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
